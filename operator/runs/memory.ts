import { openStore } from '../../src/lake/open.ts';
import { mapBounded } from '../../src/lake/pool.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { buildGraph } from '../../src/run/graph.ts';
import { isTaskId } from '../../src/run/task-id.ts';
import type { Task, TaskGraph, TaskId } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { type FailedOutput, readAttempt, readOutput, recordFailure } from '../../src/tasks/records.ts';
import type { Resolution, TaskOutput } from '../../src/tasks/task.ts';
import { createWorkspace, WorkspaceRefused } from '../../src/tasks/workspace.ts';
import { Lookout } from './lookout.ts';
import type { Records } from './state.ts';
import type { Attempt, Hold, TaskFailure } from './types.ts';

/** How many records are read at once. */
const readers = 16;

/**
 * What this process remembers of a run that it carries out: a cache of what lies in the workspace, by the run's uid. Lost, it is read
 * again; nothing is decided by it that the workspace would not decide.
 */
export class RunMemory implements Records {
  readonly #hold: Hold;
  #store: ObjectStore | undefined;
  #graph: TaskGraph;
  #isLoaded = false;
  #mayHaveWorkspace = true;
  readonly #ends = new Map<TaskId, TaskOutput<null>>();
  readonly #failures = new Map<TaskId, Map<number, FailedOutput>>();
  readonly #stopped = new Map<TaskId, number>();
  /** Sources that are being brought up: provisioning has no process that could be observed. */
  readonly provisioning = new Set<TaskId>();
  readonly #lookout: Lookout | undefined;

  /** `onEnd` is told of ends that lie in the workspace before the executor sees them; left out where it sees them at once. */
  constructor(hold: Hold, onEnd?: () => void) {
    this.#hold = hold;
    this.#lookout = onEnd === undefined ? undefined : new Lookout(onEnd);
    this.#graph = buildGraph(hold.spec);
  }

  /** The graph as far as it is known. */
  get graph(): TaskGraph {
    return this.#graph;
  }

  /** How the task ended; undefined while it has not. */
  endOf(id: TaskId): TaskOutput<null> | undefined {
    return this.#ends.get(id);
  }

  /** The failures of its attempts that were not its end, by attempt. */
  failuresOf(id: TaskId): ReadonlyMap<number, FailedOutput> {
    return this.#failures.get(id) ?? new Map();
  }

  /** The last attempt of the task that was stopped on request. */
  stoppedAttempt(id: TaskId): number | undefined {
    return this.#stopped.get(id);
  }

  /** Nobody has asked for the workspace of this run yet: it was begun just now. */
  beginAfresh(): void {
    this.#mayHaveWorkspace = false;
  }

  /** Whether the run may have a workspace; not where its store has refused it as often as it was asked, all of which this process has seen. */
  get mayHaveWorkspace(): boolean {
    return this.#mayHaveWorkspace;
  }

  /** The run's workspace, made and marked. Throws what making and opening it throws. */
  async workspace(now: Date): Promise<ObjectStore> {
    if (this.#store !== undefined) return this.#store;
    const { workspace, run } = this.#hold;
    const secret = storageKeys(this.#hold);
    try {
      await createWorkspace(workspace, run, secret, now);
    } catch (error) {
      if (!(error instanceof WorkspaceRefused)) this.#mayHaveWorkspace = true;
      throw error;
    }
    this.#mayHaveWorkspace = true;
    this.#store = await openStore(workspace.storage, secret);
    return this.#store;
  }

  /** Reads what tasks have recorded, once. Afterwards only the ends of attempts that were seen to end are read. */
  async load(store: ObjectStore): Promise<void> {
    if (!this.#isLoaded) {
      const recorded: { id: TaskId; attempt: number | undefined }[] = [];
      for await (const { key } of store.list('tasks/')) {
        const [, id, file] = /^tasks\/([^/]+)\/(output|attempt-\d+)\.json$/.exec(key) ?? [];
        if (id === undefined || file === undefined || !isTaskId(id)) continue;
        recorded.push({ id, attempt: file === 'output' ? undefined : Number(file.slice('attempt-'.length)) });
      }
      await mapBounded(recorded, readers, async ({ id, attempt }) => {
        if (attempt === undefined) await this.#readEnd(store, id);
        else await this.#readAttempt(store, id, attempt);
      });
      this.#isLoaded = true;
    }
    await this.#expand(store);
  }

  /** Takes in how attempts ended: what a task recorded is the truth, what was seen from outside fills the gap and is then recorded in its place. */
  async settle(store: ObjectStore, attempts: readonly Attempt[]): Promise<void> {
    const ended = attempts.filter(
      ({ state, taskId, attempt }) => state.kind === 'Exited' && !this.#knows(taskId, attempt),
    );
    const early = attempts.filter(
      ({ state, taskId }) =>
        state.kind === 'Running' && this.#lookout?.hasFound(taskId) === true && !this.#ends.has(taskId),
    );
    await mapBounded(early, readers, ({ taskId }) => this.#readSuccess(store, taskId));
    await mapBounded(ended, readers, async ({ taskId, attempt, state }) => {
      if ((await this.#readEnd(store, taskId)) || (await this.#readAttempt(store, taskId, attempt))) return;
      const failure = (state.kind === 'Exited' ? state.failure : undefined) ?? silent(taskId);
      if (failure.error.code === 'Cancelled') this.#stopped.set(taskId, attempt);
      else await this.recordFailure(store, taskId, attempt, failure);
    });
    await this.#expand(store);
  }

  /** Has it said at once when one of these attempts records its end. */
  lookFor(store: ObjectStore, attempts: readonly Attempt[]): void {
    const running = attempts.filter(({ state, taskId }) => state.kind === 'Running' && !this.#ends.has(taskId));
    this.#lookout?.lookFor(
      store,
      running.flatMap(({ taskId: id, startedAt }) => (startedAt === undefined ? [] : [{ id, startedAt }])),
    );
  }

  /** Records an attempt's failure in the task's place, and takes in what is recorded then. */
  async recordFailure(store: ObjectStore, id: TaskId, attempt: number, failure: TaskFailure): Promise<void> {
    const { retries } = this.#hold.spec.execution;
    await recordFailure(store, { id, attempt, retries }, failure);
    if (!(await this.#readEnd(store, id))) await this.#readAttempt(store, id, attempt);
  }

  /** Reads the task's end, if it has one by now. */
  async refresh(store: ObjectStore, task: Pick<Task, 'id'>): Promise<void> {
    await this.#readEnd(store, task.id);
    await this.#expand(store);
  }

  /** The detail of a task that succeeded, read again. Throws `Internal` where it is gone. */
  async detailOf<Detail>(store: ObjectStore, id: string): Promise<Detail> {
    const output = await readOutput<Detail>(store, id);
    if (output?.outcome === 'Succeeded') return output.detail;
    throw new ParityError('Internal', `task ${id} succeeded, but its result is not in the workspace`, { subject: id });
  }

  close(): void {
    this.#lookout?.close();
    this.#store?.close();
    this.#store = undefined;
  }

  #knows(id: TaskId, attempt: number): boolean {
    return this.#ends.has(id) || this.failuresOf(id).has(attempt) || this.#stopped.get(id) === attempt;
  }

  async #readEnd(store: ObjectStore, id: TaskId): Promise<boolean> {
    const output = await readOutput(store, id);
    if (output === undefined) return false;
    // Details can be large, and are read again by whoever needs one.
    this.#ends.set(id, output.outcome === 'Succeeded' ? { ...output, detail: null } : output);
    return true;
  }

  /** A failure is the end only once nothing of its attempt can write any more. */
  async #readSuccess(store: ObjectStore, id: TaskId): Promise<void> {
    const output = await readOutput(store, id);
    if (output?.outcome === 'Succeeded') this.#ends.set(id, { ...output, detail: null });
  }

  async #readAttempt(store: ObjectStore, id: TaskId, attempt: number): Promise<boolean> {
    const failed = await readAttempt(store, id, attempt);
    if (failed === undefined) return false;
    const known = this.#failures.get(id) ?? new Map<number, FailedOutput>();
    this.#failures.set(id, known.set(attempt, failed));
    return true;
  }

  /** The whole graph, once `resolve` has said what there is. A spec that turns out to make none is the failure of the task that showed it. */
  async #expand(store: ObjectStore): Promise<void> {
    const resolve = this.#graph.tasks.find(({ input }) => input.kind === 'resolve');
    if (this.#graph.isPartial !== true || resolve === undefined) return;
    if (this.#ends.get(resolve.id)?.outcome !== 'Succeeded') return;
    const resolution = await this.detailOf<Resolution>(store, resolve.id);
    try {
      this.#graph = buildGraph(this.#hold.spec, resolution);
    } catch (error) {
      if (!(error instanceof ParityError)) throw error;
      this.#ends.set(resolve.id, { outcome: 'Failed', error: { ...error.toJSON(), isRetryable: false } });
    }
  }
}

/** The workspace's keys, from the hold; undefined where it has none: then the environment's are used. */
export function storageKeys({ workspace, secrets }: Hold): Readonly<Record<string, string>> | undefined {
  const name = workspace.storage.secretRef?.name;
  return name === undefined ? undefined : secrets[name];
}

function silent(id: TaskId): TaskFailure {
  return {
    error: new ParityError('Crashed', `task ${id} ended without recording a result`, { isRetryable: true }).toJSON(),
  };
}
