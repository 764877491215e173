import type { ObjectStore } from '../../lake/store.ts';
import type { Task } from '../../run/types.ts';
import { ParityError } from '../../support/error.ts';
import { log } from '../../support/log.ts';
import { retry } from '../../support/retry.ts';
import { readAttempt, readOutput, recordFailure } from '../../tasks/records.ts';
import type { ChildEnd } from './child.ts';
import type { AttemptEnd } from './schedule.ts';

/**
 * How an attempt ended whose process is gone. What the task recorded is the truth (it may have succeeded just before it was
 * killed); how its process ended only fills the gap, and is then recorded in the task's place.
 */
export async function attemptEnd(
  workspace: ObjectStore,
  { task, attempt, retries }: { readonly task: Task; readonly attempt: number; readonly retries: number },
  end: ChildEnd,
  wasAsked: boolean,
): Promise<AttemptEnd> {
  const output = await retry(() => readOutput(workspace, task.id), { attempts: 3 });
  if (output?.outcome === 'Succeeded') return { outcome: 'Succeeded', summary: output.summary };
  if (output?.outcome === 'Failed') return output;
  if (end.kind === 'Exited') {
    const recorded = await retry(() => readAttempt(workspace, task.id, attempt), { attempts: 3 });
    if (recorded !== undefined) return recorded;
    // A task that says that it was stopped, although nobody here asked it to, was stopped from outside.
    if (end.said !== undefined && (wasAsked || end.said.error.code !== 'Cancelled')) {
      return { outcome: 'Failed', ...end.said };
    }
  }
  const failure = end.kind === 'Died' ? end.failure : { error: silent(task, end.said !== undefined).toJSON() };
  await recordFailure(workspace, { id: task.id, attempt, retries }, failure).catch((error) =>
    log.warn('a failure could not be recorded', { task: task.id, error }),
  );
  return { outcome: 'Failed', ...failure };
}

function silent(task: Task, wasStopped: boolean): ParityError {
  const found = wasStopped ? 'was stopped by a signal from outside' : 'ended without recording a result';
  return new ParityError('Crashed', `task ${task.id} ${found}`, { isRetryable: true });
}
