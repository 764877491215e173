import { mapBounded } from '../../lake/pool.ts';
import type { ObjectReader } from '../../lake/store.ts';
import { buildGraph } from '../../run/graph.ts';
import type { RunState, Task, TaskGraph, TaskState } from '../../run/types.ts';
import { readAttempt, readOutput } from '../../tasks/records.ts';
import type { Resolution } from '../../tasks/task.ts';
import type { RunFile } from './state-dir.ts';

/** A run as its tasks recorded it. */
export interface Recorded {
  readonly graph: TaskGraph;
  readonly state: RunState;
}

/** How many records are read at once. */
const readers = 16;

/**
 * The graph and the state of a run from what lies in its workspace. A task without an end is pending, with the attempts that failed
 * counted; the report is always written again.
 */
export async function readRecorded(workspace: ObjectReader, file: RunFile): Promise<Recorded> {
  const isCancelled = file.stage.kind === 'Running' && file.stage.isCancelled;
  const partial = buildGraph(file.spec);
  const resolution = await readOutput<Resolution>(workspace, 'resolve');
  const graph = resolution?.outcome === 'Succeeded' ? buildGraph(file.spec, resolution.detail) : partial;
  const work = graph.tasks.filter((task) => !task.always);
  const states = await mapBounded(work, readers, (task) => stateOf(workspace, task));
  const tasks = Object.fromEntries(work.map((task, index) => [task.id, states[index] ?? pending]));
  return { graph, state: { tasks, isCancelled, isSuspended: false } };
}

const pending: TaskState = { phase: 'Pending', attempts: 0 };

async function stateOf(workspace: ObjectReader, task: Task): Promise<TaskState> {
  const output = await readOutput(workspace, task.id);
  if (output?.outcome === 'Succeeded') return { phase: 'Succeeded', attempts: 1, summary: output.summary };
  if (output?.outcome === 'Failed') {
    // Recorded as the end, so it is one, whatever the error says of itself.
    return { phase: 'Failed', attempts: 1, error: { ...output.error, isRetryable: false } };
  }
  let state = pending;
  for (let attempt = 1; ; attempt++) {
    const failed = await readAttempt(workspace, task.id, attempt);
    if (failed === undefined) return state;
    state = { phase: 'Failed', attempts: attempt, error: failed.error };
  }
}
