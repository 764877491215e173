import { mkdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChildEnd, runChild } from '../../src/cli/driver/child.ts';
import { endTaskProcesses } from '../../src/cli/driver/removals.ts';
import { type RunFolders, runFolders } from '../../src/cli/driver/state-dir.ts';
import type { Task, TaskId } from '../../src/run/types.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { redactError } from '../../src/support/log.ts';
import { writeSecret } from '../../src/support/secrets.ts';
import { readKeys, secretsOfTask } from './credentials.ts';
import type { Attempt, Hold, Removed, Scope, TaskExecutor, TaskFailure } from './types.ts';

export interface ProcessExecutorOptions {
  /** Folder of what processes need while they run. */
  readonly stateDir: string;
  /** Told the run, by `namespace/name`, of which something has ended. */
  readonly onChange: (key: string) => void;
  /** The program that a task process runs. Default: the project's own. */
  readonly taskEntry?: string;
}

/** Tasks as processes beside the operator: for development outside a cluster. They end with the operator, and their tasks are begun again. */
export class ProcessExecutor implements TaskExecutor {
  readonly #options: ProcessExecutorOptions;
  /** By uid, then by task. */
  readonly #runs = new Map<string, Map<TaskId, Child>>();

  constructor(options: ProcessExecutorOptions) {
    this.#options = options;
  }

  async observe({ hold }: Scope): Promise<readonly Attempt[]> {
    const children = await this.#childrenOf(hold);
    return [...children.values()].map(({ attempt }) => attempt);
  }

  async start(scope: Scope, task: Task, attempt: number): Promise<undefined> {
    const children = await this.#childrenOf(scope.hold);
    const known = children.get(task.id);
    if (known !== undefined && (known.attempt.attempt >= attempt || known.attempt.state.kind === 'Running')) return;
    const secrets = await this.#handOver(scope, task, attempt);
    const stop = new AbortController();
    const child: Child = {
      attempt: { taskId: task.id, attempt, startedAt: scope.now(), state: { kind: 'Running' }, isGone: false },
      stop,
      ended: Promise.resolve(),
    };
    children.set(task.id, child);
    child.ended = this.#carryOut(scope.hold, task, attempt, secrets, stop.signal).then(
      (failure) => this.#settle(scope.hold, child, failure),
      (error: unknown) => this.#settle(scope.hold, child, { error: redactError(toParityError(error).toJSON()) }),
    );
  }

  async stop({ hold }: Scope, taskIds: readonly TaskId[] | 'all'): Promise<Removed> {
    const children = await this.#childrenOf(hold);
    const meant = [...children.values()].filter(
      ({ attempt }) => attempt.state.kind === 'Running' && (taskIds === 'all' || taskIds.includes(attempt.taskId)),
    );
    for (const { stop } of meant) stop.abort();
    if (meant.length > 0)
      return { isGone: false, waitingFor: `${meant.length} task processes, which were asked to stop` };
    if (taskIds === 'all') await this.#removeFolders(hold);
    return { isGone: true, waitingFor: '' };
  }

  /** A process comes to an end by itself, or is ended at its deadline. */
  async end(): Promise<void> {}

  /** Ends every process, and resolves when they are gone. */
  async close(): Promise<void> {
    const all = [...this.#runs.values()].flatMap((children) => [...children.values()]);
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ ended }) => ended));
  }

  /** The run's processes; those that an earlier operator left are ended before any of this one begins. */
  async #childrenOf(hold: Hold): Promise<Map<TaskId, Child>> {
    const known = this.#runs.get(hold.run.uid);
    if (known !== undefined) return known;
    await endTaskProcesses(this.#folders(hold), AbortSignal.timeout(30_000));
    const children = this.#runs.get(hold.run.uid) ?? new Map<TaskId, Child>();
    this.#runs.set(hold.run.uid, children);
    return children;
  }

  async #carryOut(
    { spec, workspace }: Hold,
    task: Task,
    attempt: number,
    { folders, secrets, scratch }: Handed,
    signal: AbortSignal,
  ): Promise<TaskFailure | undefined> {
    const end = await runChild({
      task,
      args: { id: task.id, workspace: workspace.storage, scratch, attempt, secretFolders: [secrets] },
      memoryBytes: spec.execution.memoryBytes,
      processes: folders.processes,
      ...(this.#options.taskEntry === undefined ? {} : { entry: this.#options.taskEntry }),
      onProgress: () => undefined,
      signal,
      kill: never,
    });
    await rm(secrets, { recursive: true, force: true });
    return failureOf(end, task, signal.aborted);
  }

  /** Lays down the task's secrets in a folder of its own, as a pod has them mounted. */
  async #handOver({ kube, hold }: Scope, task: Task, attempt: number): Promise<Handed> {
    const folders = this.#folders(hold);
    const name = `${task.id}-${attempt}`;
    const secrets = join(folders.secrets, name);
    await mkdir(folders.sources, { recursive: true, mode: 0o711 });
    await mkdir(folders.processes, { recursive: true, mode: 0o700 });
    await mkdir(secrets, { recursive: true, mode: 0o700 });
    for (const { name: as, secretName } of secretsOfTask(task, hold.spec, hold.run.uid)) {
      const keys = await readKeys(kube, hold.namespace, secretName);
      // What is missing is the task's own error: it names the secret.
      if (keys !== undefined) await writeSecret(secrets, as, keys);
    }
    return { folders, secrets, scratch: join(folders.scratch, name) };
  }

  #settle(hold: Hold, child: Child, failure: TaskFailure | undefined): void {
    const state = { kind: 'Exited', ...(failure === undefined ? {} : { failure }) } as const;
    child.attempt = { ...child.attempt, state, endedAt: new Date(), isGone: true };
    this.#options.onChange(`${hold.namespace}/${hold.run.name}`);
  }

  async #removeFolders(hold: Hold): Promise<void> {
    const { scratch, secrets, processes, sources, root } = this.#folders(hold);
    for (const folder of [scratch, secrets, processes]) await rm(folder, { recursive: true, force: true });
    // Where servers have folders there, these two go with the last of them.
    for (const folder of [sources, root]) await rmdir(folder).catch(() => undefined);
    this.#runs.delete(hold.run.uid);
  }

  #folders(hold: Hold): RunFolders {
    return runFolders(this.#options.stateDir, hold.run.uid);
  }
}

interface Child {
  attempt: Attempt;
  readonly stop: AbortController;
  ended: Promise<void>;
}

interface Handed {
  readonly folders: RunFolders;
  readonly secrets: string;
  readonly scratch: string;
}

const never = new AbortController().signal;

function failureOf(end: ChildEnd, task: Task, wasAsked: boolean): TaskFailure | undefined {
  if (end.kind === 'Died') return end.failure;
  if (end.said === undefined) return undefined;
  // A task that says that it was stopped, although nobody here asked it to, was stopped from outside.
  if (wasAsked || end.said.error.code !== 'Cancelled') return end.said;
  const error = new ParityError('Crashed', `task ${task.id} was stopped by a signal from outside`, {
    isRetryable: true,
  });
  return { error: error.toJSON() };
}
