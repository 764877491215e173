import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { link, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ParityError } from '../support/error.ts';
import {
  identify,
  isAlive,
  isProcessIdentity,
  type ProcessIdentity,
  signalIfAlive,
} from '../support/process-identity.ts';
import { delay } from '../support/retry.ts';

/** A command's process, also one that an earlier process of parity started. */
export interface CommandProcess {
  readonly startedAtMs: number;
  /** Undefined while it runs, and for ever where it was killed. */
  exitCode(): Promise<number | undefined>;
  isAlive(): boolean;
  /** Gone without an exit code, or stopped on request: how it would have ended is not known. */
  wasKilled(): Promise<boolean>;
  /** The last lines it wrote, on either stream. */
  lastLines(): Promise<readonly string[]>;
  /** Ends it and what it has started; resolves when it is gone. */
  stop(graceMs: number): Promise<void>;
}

export interface CommandLine {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/**
 * Starts a command in a group of its own, recorded in `folder` before its first instruction. Where another process was faster, that one's command is
 * returned and this one's is never started.
 */
export async function startProcess(folder: string, line: CommandLine): Promise<CommandProcess> {
  const log = await open(join(folder, files.log), 'a', 0o600);
  try {
    const child = spawn('/bin/sh', ['-c', wrapper, join(folder, files.exit), ...line.argv], {
      cwd: line.cwd,
      env: line.env,
      detached: true,
      stdio: ['pipe', log.fd, log.fd],
    });
    child.stdin?.on('error', () => undefined);
    if (child.pid === undefined) {
      const [error] = await once(child, 'error');
      throw new ParityError('Crashed', `a process for the command could not be started: ${String(error)}`, {
        isRetryable: true,
      });
    }
    child.on('error', () => undefined);
    child.unref();
    const identity = identify(child.pid);
    const mine = identity !== undefined && (await record(folder, identity));
    // Without the line the wrapper ends without having started anything.
    child.stdin?.end(mine ? 'go\n' : '');
    const process = await openProcess(folder);
    if (process !== undefined) return process;
    throw new ParityError('Crashed', 'the process of the command ended before it began', { isRetryable: true });
  } finally {
    await log.close();
  }
}

/** The command that was started in the folder; undefined where none was. */
export async function openProcess(folder: string): Promise<CommandProcess | undefined> {
  const file = join(folder, files.process);
  const identity = parseIdentity(await readFile(file, 'utf8').catch(() => undefined));
  if (identity === undefined) return undefined;
  const startedAtMs = (await stat(file)).mtimeMs;
  const exitCode = async (): Promise<number | undefined> => {
    const text = await readFile(join(folder, files.exit), 'utf8').catch(() => undefined);
    // A machine that went down may leave the file without its text: that is no code, and above all not 0.
    return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
  };
  return {
    startedAtMs,
    exitCode,
    isAlive: () => isAlive(identity),
    async wasKilled() {
      if (await exists(join(folder, files.stopped))) return true;
      // In this order: a command that ends in between has left its code by then.
      return !isAlive(identity) && (await exitCode()) === undefined;
    },
    lastLines: async () => await lastLines(join(folder, files.log)),
    async stop(graceMs) {
      if ((await exitCode()) !== undefined) return;
      await writeFile(join(folder, files.stopped), '', { mode: 0o600 });
      await endProcess(identity, graceMs);
    },
  };
}

/** Ends every command that was started under the folder, at once, and waits until they are gone. */
export async function endProcesses(executions: string, signal: AbortSignal): Promise<void> {
  for (const id of await readdir(executions).catch(() => [])) {
    for (const attempt of await readdir(join(executions, id)).catch(() => [])) {
      const text = await readFile(join(executions, id, attempt, files.process), 'utf8').catch(() => undefined);
      const identity = parseIdentity(text);
      if (identity !== undefined) await endProcess(identity, 0, signal);
    }
  }
}

const files = { process: 'process.json', exit: 'exit', stopped: 'stopped', log: 'log.txt' } as const;

/**
 * Waits for the word that it has been recorded; then runs the command, leaves its exit code, and takes with it whatever of its group is still there.
 * SIGTERM goes to the whole group: the wrapper outlives it, to leave the code.
 */
export const wrapper = `trap : TERM INT HUP
IFS= read -r word || exit 125
"$@" </dev/null
code=$?
printf %s "$code" >"$0.new" && mv "$0.new" "$0"
kill -KILL 0`;

/** A log that grows past this is begun anew: only its end is ever shown. */
const maxLogBytes = 64 * 2 ** 20;
const tailBytes = 16 * 1024;

/** Records the process, unless one is recorded; whoever sees the file sees all of it. */
async function record(folder: string, identity: ProcessIdentity): Promise<boolean> {
  const aside = join(folder, `.process-${randomUUID()}`);
  await writeFile(aside, JSON.stringify(identity), { mode: 0o600 });
  try {
    await link(aside, join(folder, files.process));
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

async function endProcess(identity: ProcessIdentity, graceMs: number, signal?: AbortSignal): Promise<void> {
  // A clock that is put back must not keep it.
  const deadline = performance.now() + graceMs;
  if (graceMs > 0) signalIfAlive(identity, 'SIGTERM');
  while (isAlive(identity)) {
    if (performance.now() >= deadline) signalIfAlive(identity, 'SIGKILL');
    await delay(20, signal);
  }
}

async function lastLines(file: string): Promise<readonly string[]> {
  const log = await open(file, 'r').catch(() => undefined);
  if (log === undefined) return [];
  try {
    const { size } = await log.stat();
    const start = Math.max(0, size - tailBytes);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(Math.min(size, tailBytes)), 0, undefined, start);
    const lines = buffer
      .subarray(0, bytesRead)
      .toString('utf8')
      .split(/[\r\n]+/);
    // The first one is cut where the log is longer.
    const whole = start > 0 ? lines.slice(1) : lines;
    if (size > maxLogBytes) await truncate(file);
    return whole
      .map((line) => line.trimEnd().slice(0, 500))
      .filter((line) => line.trim() !== '')
      .slice(-20);
  } finally {
    await log.close();
  }
}

function parseIdentity(text: string | undefined): ProcessIdentity | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isProcessIdentity(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
