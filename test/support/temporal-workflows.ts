import {
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  proxyActivities,
  setHandler,
  sleep,
  upsertMemo,
} from '@temporalio/workflow';
import type { ExecutionRequest } from '../../src/pipelines/contract.ts';
import type * as activities from './temporal-activities.ts';

export { syncTable } from '../../examples/temporal/workflows.ts';

const { syncReference, failDeeply, beat } = proxyActivities<typeof activities>({
  startToCloseTimeout: '10 minutes',
  heartbeatTimeout: '1 minute',
  retry: { maximumAttempts: 2, initialInterval: 10 },
});

/** The built-in pipeline, with a bug, hosted by a worker. */
export async function reference(request: ExecutionRequest, bug: string): Promise<void> {
  await syncReference(request, bug);
}

export async function failing(): Promise<void> {
  try {
    await failDeeply();
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    throw ApplicationFailure.create({ message: 'nothing was synced', type: 'SyncFailed', cause });
  }
}

export async function neverEnding(): Promise<void> {
  upsertMemo({ progress: { waits_for: 'a lock' } });
  await condition(() => false);
}

/** Does not end when it is asked to. */
export async function stubborn(): Promise<void> {
  await CancellationScope.nonCancellable(() => condition(() => false));
}

export async function beating(): Promise<void> {
  await beat();
}

/** Syncs in its third run. */
export async function continuing(request: ExecutionRequest, bug: string, runs = 0): Promise<void> {
  if (runs < 2) await continueAsNew<typeof continuing>(request, bug, runs + 1);
  await syncReference(request, bug);
}

/** Reports success, and syncs nothing. */
export async function idle(): Promise<string> {
  return 'all done';
}

export const landed = defineQuery<boolean>('landed');

/** Syncs, but says so only a moment after it has ended. */
export async function modest(request: ExecutionRequest, bug: string, isLanded: boolean): Promise<void> {
  let done = false;
  setHandler(landed, () => done);
  await syncReference(request, bug);
  await sleep(10);
  done = isLanded;
}
