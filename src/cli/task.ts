import { mkdir, rm } from 'node:fs/promises';
import type { Engine } from '../engine/engine.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { TaskKind } from '../run/types.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { log, redactError } from '../support/log.ts';
import { readSecret } from '../support/secrets.ts';
import { readInput, readOutput, recordFailure, recordSuccess, tableOf } from '../tasks/records.ts';
import { orphaned, type TaskContext, type TaskFile, type TaskHandler } from '../tasks/task.ts';
import { memoryPlan } from './driver/memory.ts';
import { parseTaskArguments, type TaskArguments } from './task-arguments.ts';
import { type TaskLine, throttle } from './task-lines.ts';
import { type TerminationMessage, writeTerminationMessage } from './termination-log.ts';

/** Least time between two progress lines of one table. */
const progressIntervalMs = 200;
/** How long a task may take to stop once it is asked to. */
const stopMs = 5_000;

export interface TaskOptions {
  /** What carries out a kind of task. Default: the project's own, loaded when needed. */
  readonly handlerOf?: (kind: TaskKind) => Promise<TaskHandler>;
}

/**
 * `parity task ID …`: carries out one task in this process and records how it ended in the workspace. Returns the exit code: 0
 * succeeded, 1 failed. Progress goes to stdout as JSON lines. Stops within seconds on SIGTERM, and when the parent process is gone.
 */
export async function runTask(argv: readonly string[], options: TaskOptions = {}): Promise<number> {
  const stop = listenForStop();
  let workspace: ObjectStore | undefined;
  let file: TaskFile | undefined;
  let args: TaskArguments | undefined;
  try {
    args = parseTaskArguments(argv);
    // The engine reaches only files inside the current folder: from here, all.
    process.chdir('/');
    workspace = await openWorkspace(args);
    const earlier = await readOutput(workspace, args.id);
    if (earlier?.outcome === 'Succeeded') {
      await sayEnd(args, { outcome: 'Succeeded', summary: earlier.summary });
      return 0;
    }
    file = await readInput(workspace, args.id);
    const handler = await (options.handlerOf ?? ownHandler)(file.input.kind);
    const result = await carryOut(handler, file, args, workspace, stop.signal);
    await recordSuccess(workspace, args.id, result);
    await sayEnd(args, { outcome: 'Succeeded', summary: result.summary });
    return 0;
  } catch (error) {
    const failure = describe(error, file, stop.signal);
    if (workspace !== undefined && file !== undefined && args !== undefined) {
      const { retries } = file.spec.execution;
      await recordFailure(workspace, { id: file.id, attempt: args.attempt, retries }, failure).catch((cause) =>
        log.warn('the failure could not be recorded', { cause }),
      );
    }
    print({ type: 'failure', ...failure });
    await sayEnd(args, { outcome: 'Failed', ...failure });
    log.debug('task failed', { stack: error instanceof Error ? error.stack : undefined });
    return 1;
  } finally {
    workspace?.close();
    stop.dispose();
  }
}

async function carryOut(
  handler: TaskHandler,
  file: TaskFile,
  args: TaskArguments,
  workspace: ObjectStore,
  signal: AbortSignal,
): ReturnType<TaskHandler> {
  await mkdir(args.scratch, { recursive: true, mode: 0o700 });
  const progress = throttle((progress) => print({ type: 'progress', progress }), progressIntervalMs);
  const timer = setInterval(() => progress.flush(), progressIntervalMs);
  let engine: Promise<Engine> | undefined;
  const context: TaskContext = {
    file,
    attempt: args.attempt,
    workspace,
    engine: () => {
      engine ??= openEngine(file, args);
      return engine;
    },
    scratch: args.scratch,
    ...(args.runFolder === undefined ? {} : { runFolder: args.runFolder }),
    secret: (name) => readSecret(name, args.secretFolders),
    progress: progress.progress,
    signal,
    detailOf: (taskId) => detailOf(workspace, taskId),
  };
  try {
    return await handler(context);
  } finally {
    clearInterval(timer);
    progress.flush();
    await engine?.then((open) => open.close()).catch((cause) => log.warn('closing the engine failed', { cause }));
    await rm(args.scratch, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function openWorkspace(args: TaskArguments): Promise<ObjectStore> {
  const { openStore } = await import('../lake/open.ts');
  const { secretRef } = args.workspace;
  const secret = secretRef === undefined ? undefined : await readSecret(secretRef.name, args.secretFolders);
  return await openStore(args.workspace, secret);
}

async function openEngine(file: TaskFile, args: TaskArguments): Promise<Engine> {
  const { openEngine } = await import('../engine/chdb.ts');
  const { memoryBytes, threads } = file.spec.execution;
  return await openEngine({ scratch: args.scratch, memoryBytes: memoryPlan(memoryBytes).engineBytes, threads });
}

async function detailOf<Detail>(workspace: ObjectStore, taskId: string): Promise<Detail> {
  const output = await readOutput<Detail>(workspace, taskId);
  if (output?.outcome === 'Succeeded') return output.detail;
  throw new ParityError('Internal', `task ${taskId} has no result that another task could read`, { subject: taskId });
}

/** A handler is loaded when its task runs: a process that copies files does not load the engine. */
async function ownHandler(kind: TaskKind): Promise<TaskHandler> {
  switch (kind) {
    case 'resolve':
      return (await import('../tasks/resolve.ts')).runResolve;
    case 'snapshot':
      return (await import('../tasks/snapshot.ts')).runSnapshot;
    case 'rehydrate':
      return (await import('../tasks/rehydrate.ts')).runRehydrate;
    case 'advance':
      return (await import('../tasks/advance.ts')).runAdvance;
    case 'sync':
      return (await import('../tasks/sync.ts')).runSync;
    case 'compare':
      return (await import('../tasks/compare.ts')).runCompare;
    case 'query':
      return (await import('../tasks/query.ts')).runQuery;
    case 'report':
      return (await import('../tasks/report.ts')).runReport;
    case 'provision':
    case 'cleanup':
      throw new ParityError('Internal', `a ${kind} task is carried out by the driver, not by a process of its own`);
  }
}

function describe(error: unknown, file: TaskFile | undefined, signal: AbortSignal) {
  const thrown = toParityError(error);
  const stopped = new ParityError('Cancelled', 'the task was stopped on request');
  const record = redactError((signal.aborted ? stopped : thrown).toJSON());
  const table = file === undefined ? undefined : tableOf(file.input, record);
  return { error: record, ...(table === undefined ? {} : { table }) };
}

/** A file that can't be written takes nothing from the task: its end is recorded. */
async function sayEnd(args: TaskArguments | undefined, message: TerminationMessage): Promise<void> {
  if (args?.terminationLog === undefined) return;
  const file = args.terminationLog;
  await writeTerminationMessage(file, message).catch((cause) =>
    log.warn('the termination message could not be written', { file, cause }),
  );
}

function print(line: TaskLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** SIGTERM, or the end of the parent (its IPC channel closes), stops the task; a task that does not stop in time is ended. */
function listenForStop(): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const stop = (subject?: string) => {
    if (controller.signal.aborted) return;
    const about = subject === undefined ? {} : { subject };
    controller.abort(new ParityError('Cancelled', 'the task was stopped on request', about));
    setTimeout(() => process.exit(1), stopMs).unref();
  };
  const onTerminate = () => stop();
  const onOrphaned = () => {
    stop(orphaned);
    // Nobody reads the end of this task any more.
    setTimeout(() => process.exit(1), 1_000).unref();
  };
  // Ctrl-C is the parent's to understand; it says SIGTERM where it means this process.
  const ignore = () => undefined;
  process.on('SIGTERM', onTerminate).on('SIGINT', ignore).on('SIGHUP', ignore);
  if (process.connected) process.once('disconnect', onOrphaned);
  process.channel?.unref();
  process.stdout.on('error', ignore);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off('SIGTERM', onTerminate).off('SIGINT', ignore).off('SIGHUP', ignore).off('disconnect', onOrphaned);
    },
  };
}
