import { ParityError } from '../../src/support/error.ts';
import { removeFinalizer } from '../kube/patch.ts';
import type { Outcome } from '../kube/queue.ts';
import { type RunContext, saveStatus, scopeOf } from './context.ts';
import { freeze } from './freeze.ts';
import { deleteHold, keepAbandoned, readHold } from './hold.ts';
import { abandonAnnotation, cleanupFinalizer } from './names.ts';
import { releaseOwnAccess } from './own-access.ts';
import { describeLeftovers, incompleteRemoval, type Removal, removeAll } from './removals.ts';
import { conditionOf, withConditions } from './status.ts';
import { type Hold, type RunObject, runs } from './types.ts';

/** How soon something that goes by itself is looked at again, in ms. */
const waitMs = 1_000;

/**
 * A run that is being deleted: everything of it is removed, in the operator itself, and the finalizer comes off last. Each call is one step that can be cut off
 * anywhere. What can't be removed is named in `CleanedUp`; the error thrown then makes the queue come back, later each time.
 */
export async function finalize(context: RunContext, run: RunObject): Promise<Outcome> {
  if (!(run.metadata.finalizers ?? []).includes(cleanupFinalizer)) return undefined;
  const found = await holdOf(context, run);
  if (found === undefined) return await letGo(context, run);
  const isRefused = found.isRefused === true || context.recall(found.run.uid)?.mayHaveWorkspace === false;
  const hold = { ...found, isRefused };
  const scope = scopeOf(context, run, hold);
  const removal = await removeAll(scope, context.hands);
  if (removal.kind === 'Gone') return await letGo(context, run);
  if (run.metadata.annotations?.[abandonAnnotation] === run.metadata.uid) {
    await keepAbandoned(context.kube, hold, context.options.namespace);
    context.events.record(run, {
      type: 'Warning',
      reason: 'Abandoned',
      message: `Let go by an administrator with this left: ${inWords(removal)}`,
    });
    return await letGo(context, run);
  }
  await sayRemoval(context, run, removal);
  if (removal.kind === 'Incomplete') throw incompleteRemoval(removal.leftovers);
  return { againAfterMs: soonMs(context) };
}

/**
 * A run that has ended, and whose policy (or age) wants its things removed: as `finalize`, but the run stays. Nothing is left to be done for it once
 * `CleanedUp` is True: then it is let go of.
 */
export async function cleanUpAfterEnd(context: RunContext, run: RunObject): Promise<Outcome> {
  const hold = await readHold(context.kube, run.metadata.namespace ?? '', identity(context, run));
  if (conditionOf(run, 'CleanedUp')?.status !== 'True' && hold !== undefined) {
    const removal = await removeAll(scopeOf(context, run, hold), context.hands);
    await sayRemoval(context, run, removal);
    if (removal.kind === 'Incomplete') throw incompleteRemoval(removal.leftovers);
    return { againAfterMs: removal.kind === 'Waiting' ? soonMs(context) : 0 };
  }
  return await letGo(context, run);
}

function soonMs({ options }: RunContext): number {
  return Math.min(waitMs, options.lookAgainMs ?? waitMs);
}

/** The hold goes, then the finalizer: from here on nothing of the run is left, or somebody else looks after it. */
async function letGo(context: RunContext, run: RunObject): Promise<Outcome> {
  await deleteHold(context.kube, run.metadata.namespace ?? '', identity(context, run));
  await removeFinalizer(context.kube, runs, run, cleanupFinalizer);
  await releaseOwnAccess(context, run.metadata.namespace ?? '', run.metadata.uid);
  context.forget(run.metadata.uid);
  return undefined;
}

/** The hold; where somebody has removed it by force, the same decided again: without one, what was made could never be found. */
async function holdOf(context: RunContext, run: RunObject): Promise<Hold | undefined> {
  const { kube, options, now } = context;
  const hold = await readHold(kube, run.metadata.namespace ?? '', identity(context, run));
  if (hold !== undefined || run.status?.specDigest === undefined) return hold;
  if (conditionOf(run, 'CleanedUp')?.status === 'True') return undefined;
  const again = await freeze(kube, options, run, now());
  if (again.kind === 'Frozen') return again.hold;
  throw new ParityError(
    'CleanupIncomplete',
    `the hold Secret of run ${run.metadata.uid} is gone, and its workspace ${run.status.workspace ?? ''} cannot be told again: ${again.message}`,
    { advice: `Remove what it left, then set the annotation ${abandonAnnotation}=${run.metadata.uid}.` },
  );
}

async function sayRemoval(context: RunContext, run: RunObject, removal: Removal): Promise<void> {
  const now = context.now();
  const cleanedUp = {
    Gone: { status: 'True', reason: 'Completed', message: 'Nothing of the run is left but its reports.' },
    Waiting: { status: 'False', reason: 'InProgress', message: inWords(removal) },
    Incomplete: { status: 'False', reason: 'Incomplete', message: inWords(removal) },
  } as const;
  const status = withConditions(run, { CleanedUp: cleanedUp[removal.kind] }, now);
  const phase = removal.kind === 'Gone' ? 'Finished' : 'CleaningUp';
  await saveStatus(context, run, { ...status, phase });
}

function inWords(removal: Removal): string {
  switch (removal.kind) {
    case 'Gone':
      return 'nothing';
    case 'Waiting':
      return `Waiting for ${removal.waitingFor}`;
    case 'Incomplete':
      return describeLeftovers(removal.leftovers);
  }
}

function identity({ options }: RunContext, run: RunObject) {
  return { installation: options.installation, uid: run.metadata.uid };
}
