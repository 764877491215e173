import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openStore } from '../../lake/open.ts';
import type { ObjectStore } from '../../lake/store.ts';
import { removalSecrets } from '../../pipelines/removals.ts';
import { conditions } from '../../run/conditions.ts';
import { buildGraph } from '../../run/graph.ts';
import { limitsOf } from '../../run/state.ts';
import type { Condition, RunState, Task, TaskGraph, Verdict } from '../../run/types.ts';
import { failures, verdict } from '../../run/verdict.ts';
import { ParityError, toParityError } from '../../support/error.ts';
import { log, redactError } from '../../support/log.ts';
import { retry, within } from '../../support/retry.ts';
import { readSecret, writeSecret } from '../../support/secrets.ts';
import { cleanUp, incomplete, type Leftover } from '../../tasks/cleanup.ts';
import { readOutput, recordSuccess, writeInput, writeRunRecord } from '../../tasks/records.ts';
import type { Resolution } from '../../tasks/task.ts';
import { createWorkspace, WorkspaceRefused } from '../../tasks/workspace.ts';
import { attemptEnd } from './attempt-end.ts';
import { runChild } from './child.ts';
import type { CleanupOutcome, Happening, RunOutcome } from './events.ts';
import { Sources } from './provision.ts';
import { endTaskProcesses, folderRemoval, refusalNote, removalsOf, storageSecret, workRemovals } from './removals.ts';
import { type Recorded, readRecorded } from './resume.ts';
import type { RunOptions } from './run.ts';
import { type AttemptEnd, carryOut, type ScheduleEnd, type View } from './schedule.ts';
import { type RunFile, type RunFolders, writeRunFile } from './state-dir.ts';

/** A report of a cancelled run is written while somebody waits at the terminal. */
const cancelledReportSeconds = 60;
/** Bound of starting one source, whatever tasks may take. */
const provisionSeconds = 300;

/** A killed process is gone at once, unless it waits for a disk. */
const stragglerSeconds = 30;

/** One run on this machine: the scheduler's hands. */
export class LocalRun {
  #file: RunFile;
  readonly #folders: RunFolders;
  readonly #secretFolders: readonly string[];
  readonly #options: RunOptions;
  readonly #sources: Sources;
  readonly #hurry: AbortSignal;
  #store: ObjectStore | undefined;
  #report: unknown;
  #leftovers: readonly Leftover[] = [];
  #writing: Promise<void> = Promise.resolve();
  #end: { readonly verdict: Verdict; readonly message: string } | undefined;

  constructor(file: RunFile, folders: RunFolders, secretFolders: readonly string[], options: RunOptions) {
    this.#file = file;
    this.#folders = folders;
    this.#secretFolders = secretFolders;
    this.#options = options;
    this.#hurry = options.hurry ?? new AbortController().signal;
    const { startServer } = options;
    this.#sources = new Sources({
      spec: file.spec,
      run: file.run,
      folders,
      secretFolders,
      ...(startServer === undefined ? {} : { startServer }),
    });
  }

  async carryOut(isResumed: boolean): Promise<RunOutcome> {
    const { run, spec, workspace } = this.#file;
    const location = workspace.storage.location;
    this.#say({ type: 'RunStarted', run, runDir: this.#folders.root, workspace: location, isResumed });
    const onCancel = () => {
      if (this.#file.stage.kind === 'Running') void this.#remember({ kind: 'Running', isCancelled: true });
    };
    this.#options.signal.addEventListener('abort', onCancel);
    try {
      const { graph, state } = await this.#begin(isResumed);
      this.#say({ type: 'Planned', tasks: graph.tasks });
      const end = await carryOut({
        spec,
        graph,
        state,
        execute: (task, attempt, signal, view) => this.#execute(task, attempt, signal, view),
        expand: () => this.#expand(),
        onHappening: (happening) => this.#say(happening),
        cancel: this.#options.signal,
        hurry: this.#hurry,
      });
      return await this.#conclude(end);
    } finally {
      this.#options.signal.removeEventListener('abort', onCancel);
      await this.#sources.stop();
      this.#store?.close();
    }
  }

  /** Opens the workspace. What fails here is the failure of the run's first task; there is no place for a report then. */
  async #begin(isResumed: boolean): Promise<Recorded> {
    const { spec, workspace, stage } = this.#file;
    try {
      if (isResumed) {
        await bounded(stragglerSeconds, 'the end of earlier task processes', (signal) =>
          endTaskProcesses(this.#folders, signal),
        );
      }
      const secret = await storageSecret(workspace.storage, this.#secretFolders);
      const name = workspace.storage.secretRef?.name;
      // Whoever removes the run later may not know where its secret came from.
      if (secret !== undefined && name !== undefined) await writeSecret(this.#folders.secrets, name, secret);
      for (const needed of removalSecrets(spec))
        await writeSecret(this.#folders.secrets, needed, await readSecret(needed, this.#secretFolders));
      await this.#makeWorkspace(isResumed, secret);
      this.#store = await openStore(workspace.storage, secret);
      if (!isResumed) return { graph: buildGraph(spec), state: nothingYet(stage) };
      const recorded = await readRecorded(this.#store, this.#file);
      return { ...recorded, state: await this.#reopenSources(recorded) };
    } catch (thrown) {
      const error = { ...redactError(toParityError(thrown).toJSON()), isRetryable: false };
      const left = new ParityError('Cancelled', 'there is no workspace to report from').toJSON();
      const tasks: RunState['tasks'] = {
        resolve: { phase: 'Failed', attempts: 1, error },
        report: { phase: 'Failed', attempts: 0, error: left },
      };
      return { graph: buildGraph(spec), state: { ...nothingYet(stage), tasks } };
    }
  }

  /** Notes where nothing of it can have been made, so that nobody looks for it with credentials that let nobody in. */
  async #makeWorkspace(isResumed: boolean, secret: Awaited<ReturnType<typeof storageSecret>>): Promise<void> {
    const { spec, workspace, run, createdAt } = this.#file;
    const note = refusalNote(this.#folders);
    await rm(note, { force: true });
    let isRefused = !isResumed;
    const make = async (): Promise<void> => {
      try {
        await createWorkspace(workspace, run, secret, new Date(createdAt));
      } catch (error) {
        isRefused &&= error instanceof WorkspaceRefused;
        throw error;
      }
    };
    try {
      await retry(make, { attempts: 1 + spec.execution.retries, signal: this.#options.signal });
    } catch (error) {
      if (isRefused) await writeFile(note, '', { mode: 0o600 });
      throw error;
    }
  }

  /** Servers of a run that is continued: one that cannot come back is the failure of its provision task. */
  async #reopenSources({ graph, state }: Recorded): Promise<RunState> {
    const tasks = { ...state.tasks };
    for (const { id, input, timeoutSeconds } of graph.tasks) {
      if (input.kind !== 'provision' || tasks[id]?.phase !== 'Succeeded') continue;
      try {
        await bounded(timeoutSeconds, `source ${input.source}`, (signal) => this.#sources.reopen(input.source, signal));
      } catch (error) {
        const record = { ...redactError(toParityError(error).toJSON()), isRetryable: false };
        tasks[id] = { phase: 'Failed', attempts: 1, error: record };
      }
    }
    return { ...state, tasks };
  }

  async #execute(task: Task, attempt: number, signal: AbortSignal, view: View): Promise<AttemptEnd> {
    switch (task.input.kind) {
      case 'provision':
        return await this.#provision(task, task.input.source, signal);
      case 'cleanup':
        return await this.#cleanUp(task, view);
      case 'report': {
        await this.#writeRecord(view);
        const timeoutSeconds = view.state.isCancelled ? cancelledReportSeconds : task.timeoutSeconds;
        const end = await this.#child({ ...task, timeoutSeconds }, attempt, signal);
        if (end.outcome === 'Succeeded') this.#report = await this.#detailOf(task.id);
        return end;
      }
      default:
        return this.#withSourceLoss(task, await this.#child(task, attempt, signal), signal);
    }
  }

  async #provision(task: Task, source: string, signal: AbortSignal): Promise<AttemptEnd> {
    const seconds = Math.min(task.timeoutSeconds, provisionSeconds);
    await bounded(seconds, `source ${source}`, (bound) =>
      this.#sources.provision(source, AbortSignal.any([signal, bound])),
    );
    await recordSuccess(this.#workspace(), task.id, { summary: {}, detail: null });
    return { outcome: 'Succeeded', summary: {} };
  }

  /** One attempt in a process of its own. What the task recorded is the truth; how its process ended only fills the gap. */
  async #child(task: Task, attempt: number, signal: AbortSignal): Promise<AttemptEnd> {
    const { run, spec, workspace } = this.#file;
    const store = this.#workspace();
    await writeInput(store, { id: task.id, run, spec, input: task.input });
    const { taskEntry } = this.#options;
    const end = await runChild({
      task,
      args: {
        id: task.id,
        workspace: workspace.storage,
        scratch: join(this.#folders.scratch, `${task.id}-${attempt}`),
        runFolder: this.#folders.root,
        attempt,
        secretFolders: this.#secretFolders,
      },
      memoryBytes: spec.execution.memoryBytes,
      processes: this.#folders.processes,
      ...(taskEntry === undefined ? {} : { entry: taskEntry }),
      onProgress: (progress) => this.#say({ type: 'TaskProgress', taskId: task.id, progress }),
      signal,
      kill: this.#hurry,
    });
    return await attemptEnd(store, { task, attempt, retries: spec.execution.retries }, end, signal.aborted);
  }

  /** A task that lost its database says that it is unreachable; the reason is known here. */
  #withSourceLoss(task: Task, end: AttemptEnd, signal: AbortSignal): AttemptEnd {
    if (end.outcome === 'Succeeded' || signal.aborted || !('source' in task.input)) return end;
    const { source } = task.input;
    if (source === undefined || !this.#sources.isLost(source)) return end;
    const error = new ParityError(
      'Crashed',
      `the database server of source ${source} ended by itself while task ${task.id} was using it: ${end.error.message}`,
      { subject: source, advice: 'Run again with --keep and read server.log in the folder of the source.' },
    );
    return { ...end, error: redactError(error.toJSON()) };
  }

  async #expand(): Promise<TaskGraph> {
    return buildGraph(this.#file.spec, await this.#detailOf<Resolution>('resolve'));
  }

  async #detailOf<Detail>(taskId: string): Promise<Detail> {
    const output = await retry(() => readOutput<Detail>(this.#workspace(), taskId), { attempts: 3 });
    if (output?.outcome === 'Succeeded') return output.detail;
    throw new ParityError('Internal', `task ${taskId} succeeded, but its result is not in the workspace`);
  }

  async #writeRecord(view: View): Promise<void> {
    const { run, spec, specDigest, createdAt } = this.#file;
    // As it will be once the report that reads this is written.
    const reported = withReport(view.state);
    const all = conditions(view.graph, reported, spec);
    await writeRunRecord(this.#workspace(), {
      run,
      spec,
      specDigest,
      graph: view.graph,
      state: view.state,
      verdict: verdict(view.graph, reported, limitsOf(spec)),
      message: messageOf(all),
      conditions: all,
      startedAt: createdAt,
      endedAt: new Date().toISOString(),
      timings: view.timings,
    });
  }

  async #cleanUp(task: Task, view: View): Promise<AttemptEnd> {
    const end = this.#sayVerdict(view);
    // From here on nobody may continue the run: its record goes.
    await this.#remember({ kind: 'CleaningUp', ...end });
    const timeoutMs = task.timeoutSeconds * 1000;
    const options = { timeoutMs: this.#hurry.aborted ? Math.min(timeoutMs, 60_000) : timeoutMs };
    const about = [this.#file, this.#folders, this.#secretFolders] as const;
    // Pipelines end before the databases that they read; what does not go here is tried again, and reported, below.
    await cleanUp(workRemovals(...about), options);
    await this.#sources.stop();
    this.#leftovers = await cleanUp(removalsOf(...about), options);
    if (this.#leftovers.length === 0) this.#leftovers = await cleanUp([folderRemoval(this.#folders)], options);
    if (this.#leftovers.length === 0) return { outcome: 'Succeeded', summary: {} };
    return { outcome: 'Failed', error: incomplete(this.#leftovers).toJSON() };
  }

  async #conclude(end: ScheduleEnd): Promise<RunOutcome> {
    const { run, spec } = this.#file;
    const { verdict, message } = this.#sayVerdict(end);
    const cleanup = await this.#cleanupOutcome(end);
    this.#say({ type: 'CleanedUp', cleanup });
    const work = end.graph.tasks.filter((task) => task.input.kind !== 'cleanup');
    return {
      run,
      verdict,
      message,
      errors: failures(work, end.state, limitsOf(spec)).map(({ task, error }) => ({ task: task.id, error })),
      conditions: conditions(end.graph, end.state, spec),
      graph: end.graph,
      state: end.state,
      report: this.#report,
      cleanup,
    };
  }

  async #cleanupOutcome(end: ScheduleEnd): Promise<CleanupOutcome> {
    if (end.isCleanedUp) return { kind: 'Removed' };
    const command = `parity gc --uid ${this.#file.run.uid}`;
    if (this.#leftovers.length > 0) return { kind: 'Incomplete', leftovers: this.#leftovers, command };
    await this.#remember({ kind: 'Kept', ...this.#sayVerdict(end) });
    const workspace = this.#file.workspace.storage.location;
    return { kind: 'Kept', workspace, runDir: this.#folders.root, command };
  }

  /** Said once, before cleaning up; a wait for the verdict does not wait for that. */
  #sayVerdict(view: View): { readonly verdict: Verdict; readonly message: string } {
    if (this.#end !== undefined) return this.#end;
    const { spec } = this.#file;
    const message = messageOf(conditions(view.graph, view.state, spec));
    this.#end = { verdict: verdict(view.graph, view.state, limitsOf(spec)), message };
    this.#say({ type: 'Verdict', ...this.#end });
    return this.#end;
  }

  /** On disk one after another: a later stage never gives way to an earlier one. A full disk keeps nobody from cleaning up. */
  async #remember(stage: RunFile['stage']): Promise<void> {
    const file = { ...this.#file, stage };
    this.#file = file;
    this.#writing = this.#writing
      .then(() => writeRunFile(this.#folders, file))
      .catch((error) => {
        log.warn('the stage of the run could not be recorded', { stage: stage.kind, error });
      });
    await this.#writing;
  }

  #workspace(): ObjectStore {
    if (this.#store !== undefined) return this.#store;
    throw new ParityError('Internal', 'the workspace is used before it was opened');
  }

  #say(happening: Happening): void {
    this.#options.onEvent({ time: new Date().toISOString(), ...happening });
  }
}

function nothingYet(stage: RunFile['stage']): RunState {
  return { tasks: {}, isCancelled: stage.kind === 'Running' && stage.isCancelled, isSuspended: false };
}

function withReport(state: RunState): RunState {
  return { ...state, tasks: { ...state.tasks, report: { phase: 'Succeeded', attempts: 1 } } };
}

function messageOf(all: readonly Condition[]): string {
  return all.find(({ type }) => type === 'Finished')?.message ?? '';
}

async function bounded(seconds: number, what: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const ms = seconds * 1000;
  const working = work(AbortSignal.timeout(ms));
  // It goes on in vain after its bound; nobody waits for it.
  working.catch(() => undefined);
  await within(ms + 1_000, working, () => new ParityError('Timeout', `${what} was not ready within ${seconds} s`));
}
