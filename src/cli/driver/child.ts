import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Task } from '../../run/types.ts';
import { type ErrorRecord, ParityError } from '../../support/error.ts';
import { redact } from '../../support/log.ts';
import { identify } from '../../support/process-identity.ts';
import type { Progress } from '../../tasks/task.ts';
import { formatTaskArguments, type TaskArguments } from '../task-arguments.ts';
import { parseTaskLine } from '../task-lines.ts';
import { memoryPlan, ownMemoryBytes, runtimeArguments } from './memory.ts';

export interface ChildOptions {
  readonly task: Task;
  readonly args: TaskArguments;
  readonly memoryBytes: number;
  /** Folder where the process's identity is kept while it lives. */
  readonly processes: string;
  /** The program that calls `runTask`. Default: the project's own. */
  readonly entry?: string;
  readonly onProgress: (progress: Progress) => void;
  /** Asks the process to stop (SIGTERM), and makes it after a few seconds. */
  readonly signal: AbortSignal;
  /** Ends it at once. */
  readonly kill: AbortSignal;
}

/** How the process ended: by itself (what it recorded counts, `said` is for when it could not record), or by force. */
export type ChildEnd =
  | { readonly kind: 'Exited'; readonly code: number; readonly said: Failure | undefined }
  | { readonly kind: 'Died'; readonly failure: Failure };

export interface Failure {
  readonly error: ErrorRecord;
  readonly table?: string;
}

/** From SIGTERM to SIGKILL. The process ends itself a little earlier. */
const graceMs = 7_000;
/** How often memory is looked at: growth of a few hundred MB between two looks is possible, and in the allowance. */
const watchMs = 250;
/** A process that was killed and is still there after this waits for a disk that does not answer. */
const burialMs = 15_000;

/** Runs one attempt in a process of its own: bounded in time and memory, gone when this returns, its scratch folder too. Never throws. */
export async function runChild(options: ChildOptions): Promise<ChildEnd> {
  const { task, args } = options;
  const seen: Seen = { tables: new Set(), said: undefined, stderr: '' };
  await mkdir(args.scratch, { recursive: true, mode: 0o700 });
  const child = start(options);
  const exited = exitOf(child);
  const pidFile = join(options.processes, `${task.id}.json`);
  await keepIdentity(child, pidFile);
  listen(child, seen, options.onProgress);
  const watch = guard(child, options);
  try {
    const exit = await exited;
    return explain(exit, watch.reason(), seen, options);
  } finally {
    watch.dispose();
    await rm(pidFile, { force: true });
    await rm(args.scratch, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Why the driver ended the process; undefined where it did not. */
type Reason = 'Stopped' | 'Timeout' | 'OutOfMemory';

interface Seen {
  /** Tables in the order of their latest progress. */
  readonly tables: Set<string>;
  said: Failure | undefined;
  /** The last of what it wrote on stderr. */
  stderr: string;
}

type Exit =
  | { readonly kind: 'exit'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly kind: 'unstartable'; readonly error: Error }
  | { readonly kind: 'undead' };

function start({ task, args, memoryBytes, entry }: ChildOptions): ChildProcess {
  const program = entry ?? ownEntry();
  // A group of its own: Ctrl-C in the terminal reaches the driver only, which then asks each task to stop.
  return spawn(
    process.execPath,
    [...runtimeArguments(task.input.kind, memoryBytes), program, ...formatTaskArguments(args)],
    {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  );
}

function ownEntry(): string {
  // In the package the sources are compiled.
  const name = import.meta.url.endsWith('.ts') ? '../task-process.ts' : '../task-process.js';
  return fileURLToPath(new URL(name, import.meta.url));
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      if (child.pid === undefined) resolve({ kind: 'unstartable', error });
    });
    child.once('exit', (code, signal) => {
      // What it wrote may still be on its way; a process that it left behind may hold the pipes open for ever.
      const settle = () => resolve({ kind: 'exit', code, signal });
      child.once('close', settle);
      setTimeout(settle, 1_000).unref();
    });
    child.once('parity-undead', () => resolve({ kind: 'undead' }));
  });
}

async function keepIdentity(child: ChildProcess, file: string): Promise<void> {
  const identity = child.pid === undefined ? undefined : identify(child.pid);
  if (identity !== undefined) await writeFile(file, JSON.stringify(identity), { mode: 0o600 });
}

function listen(child: ChildProcess, seen: Seen, onProgress: (progress: Progress) => void): void {
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = (lines.pop() ?? '').slice(-1_000_000);
    for (const text of lines) {
      const line = parseTaskLine(text);
      if (line?.type === 'progress') {
        noteTable(seen, line.progress.table);
        onProgress(line.progress);
      } else if (line?.type === 'failure') {
        seen.said = { error: line.error, ...(line.table === undefined ? {} : { table: line.table }) };
      }
    }
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    seen.stderr = (seen.stderr + chunk).slice(-8_192);
  });
}

function noteTable(seen: Seen, table: string | undefined): void {
  if (table === undefined) return;
  seen.tables.delete(table);
  seen.tables.add(table);
}

/** Watches the clock, the memory and the two signals, and ends the process when one of them says so. */
function guard(child: ChildProcess, options: ChildOptions): { reason(): Reason | undefined; dispose(): void } {
  const { killBytes } = memoryPlan(options.memoryBytes);
  const timers: NodeJS.Timeout[] = [];
  let reason: Reason | undefined;
  const kill = (why: Reason) => {
    reason ??= why;
    send(child, 'SIGKILL');
    timers.push(setTimeout(() => child.emit('parity-undead'), burialMs));
  };
  const stop = (why: Reason) => {
    if (reason !== undefined) return;
    reason = why;
    child.kill('SIGTERM');
    timers.push(setTimeout(() => kill(why), graceMs));
  };
  const onStop = () => stop('Stopped');
  const onKill = () => kill('Stopped');
  const watching = setInterval(async () => {
    const bytes = child.pid === undefined ? undefined : await ownMemoryBytes(child.pid);
    if (bytes !== undefined && bytes > killBytes && child.exitCode === null) kill('OutOfMemory');
  }, watchMs);
  timers.push(setTimeout(() => stop('Timeout'), options.task.timeoutSeconds * 1000));
  if (options.signal.aborted) onStop();
  if (options.kill.aborted) onKill();
  options.signal.addEventListener('abort', onStop);
  options.kill.addEventListener('abort', onKill);
  return {
    reason: () => reason,
    dispose: () => {
      for (const timer of timers) clearTimeout(timer);
      clearInterval(watching);
      options.signal.removeEventListener('abort', onStop);
      options.kill.removeEventListener('abort', onKill);
    },
  };
}

/** To the whole group, so that nothing that the task started outlives it. */
function send(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    child.kill(signal);
  }
}

function explain(exit: Exit, reason: Reason | undefined, seen: Seen, options: ChildOptions): ChildEnd {
  if (exit.kind === 'exit' && exit.code !== null && reason === undefined && isOwnExit(exit.code, seen)) {
    return { kind: 'Exited', code: exit.code, said: seen.said };
  }
  const table = tableInFlight(options.task, seen);
  const error = errorOf(exit, reason, seen, options);
  return { kind: 'Died', failure: { error: error.toJSON(), ...(table === undefined ? {} : { table }) } };
}

/** Codes other than 0 and 1 are the runtime's: a handler that crashed it, or a heap that was full. */
function isOwnExit(code: number, seen: Seen): boolean {
  return code === 0 || (code === 1 && seen.said !== undefined);
}

function errorOf(exit: Exit, reason: Reason | undefined, seen: Seen, options: ChildOptions): ParityError {
  const { task, memoryBytes } = options;
  const what = `task ${task.id}${about(task, seen)}`;
  const subject = tableInFlight(task, seen);
  const named = subject === undefined ? {} : { subject };
  if (reason === 'Stopped') return new ParityError('Cancelled', `${what} was stopped on request`, named);
  if (reason === 'Timeout') {
    return new ParityError('Timeout', `${what} did not end within ${task.timeoutSeconds} s and was stopped`, {
      ...named,
      advice: 'Give it more time with spec.execution.timeoutSeconds.',
    });
  }
  if (reason === 'OutOfMemory' || /heap out of memory|Allocation failed - JavaScript heap/.test(seen.stderr)) {
    return new ParityError(
      'OutOfMemory',
      `${what} needed more than its ${mebibytes(memoryBytes)} of memory and was ended`,
      {
        ...named,
        advice: 'Raise spec.execution.memory, or lower spec.execution.parallelism or threads so that more is free.',
      },
    );
  }
  if (exit.kind === 'unstartable') {
    return new ParityError('Crashed', `${what} could not be started: ${exit.error.message}`, {
      ...named,
      isRetryable: true,
    });
  }
  if (exit.kind === 'undead') {
    return new ParityError('Crashed', `${what} was killed, but its process does not end`, {
      ...named,
      advice: 'It waits for a disk or network file system that does not answer.',
    });
  }
  const how = exit.signal === null ? `ended with code ${exit.code}` : `was ended by ${exit.signal}`;
  return new ParityError('Crashed', `${what}: its process ${how}${lastWords(seen)}`, {
    ...named,
    isRetryable: true,
    ...(exit.signal === 'SIGKILL' ? { advice: 'If nobody killed it, the system ran out of memory: see its log.' } : {}),
  });
}

/** The table that the process last spoke of, or its only one. */
function tableInFlight(task: Task, seen: Seen): string | undefined {
  const tables = 'tables' in task.input ? task.input.tables : [];
  return tables.length === 1 ? tables[0] : [...seen.tables].at(-1);
}

function about(task: Task, seen: Seen): string {
  const table = tableInFlight(task, seen);
  if (table !== undefined) return ` (table ${table})`;
  const tables = 'tables' in task.input ? task.input.tables : [];
  if (tables.length === 0) return '';
  const shown = tables.slice(0, 3).join(', ');
  return ` (tables ${shown}${tables.length > 3 ? ` and ${tables.length - 3} more` : ''})`;
}

function lastWords(seen: Seen): string {
  const line = seen.stderr.trim().split('\n').at(-1)?.trim() ?? '';
  return line === '' ? '' : `; the last it said: ${redact(line.slice(0, 300))}`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
