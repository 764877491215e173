import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { chown, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ParityError } from '../support/error.ts';
import type { ServerCommand } from './embedded.ts';

/** For a program that makes a server's folder. */
const programTimeoutMs = 120_000;

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServerProcess {
  readonly pid: number;
  readonly logFile: string;
  readonly exited: Promise<Exit>;
  /** undefined while it runs. */
  exit(): Exit | undefined;
  /** The last lines of its log, for an error. */
  lastWords(): Promise<string>;
  stop(): Promise<void>;
}

/**
 * Starts a server as an unprivileged user (database servers refuse to run as root), in its own data folder, logging into a file. A tiny
 * shell beside it waits on a pipe held by this process: when this process dies, however it dies, the pipe closes and the shell ends the server.
 */
export async function startServerProcess(
  command: ServerCommand,
  paths: { dir: string; data: string; log: string },
): Promise<ServerProcess> {
  const log = await open(paths.log, 'a');
  const run = await asServerUser(command.file, command.args, paths.data, command.rootArgs);
  let child: ChildProcess;
  try {
    child = spawn(run.file, run.args, {
      ...run.identity,
      cwd: paths.data,
      env: { ...baseEnvironment(), ...command.env },
      stdio: ['ignore', log.fd, log.fd],
      // A group of its own: Ctrl-C in the terminal is for the driver, which ends the server in its turn.
      detached: true,
    });
  } finally {
    await log.close();
  }
  let exit: Exit | undefined;
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', () => resolve({ code: 127, signal: null }));
  });
  void exited.then((how) => {
    exit = how;
  });
  const { pid } = child;
  if (pid === undefined) {
    throw new ParityError('NotFound', `Starting ${command.file}: the system could not run it.`);
  }
  const guard = spawnGuard(pid, command.stopSignal);
  void exited.then(() => guard.kill('SIGKILL'));
  await writeFile(join(paths.dir, 'server.pid'), `${pid}\n`);
  return {
    pid,
    logFile: paths.log,
    exited,
    exit: () => exit,
    lastWords: () => lastLines(paths.log),
    stop: async () => {
      await end(child, exited, command.stopSignal);
      await rm(join(paths.dir, 'server.pid'), { force: true });
    },
  };
}

/**
 * Ends a server that an earlier, killed process left on this folder. A process id alone proves nothing: it is ended only if its
 * command line or current folder names this folder.
 */
export async function stopStray(dir: string): Promise<void> {
  const file = join(dir, 'server.pid');
  const pid = Number(await readFile(file, 'utf8').catch(() => ''));
  if (!(pid > 1)) return;
  for (let tries = 0; (await belongsTo(pid, dir)) && tries < 100; tries++) {
    try {
      // Postgres ends soon on SIGINT, MySQL on SIGTERM.
      for (const signal of tries < 50 ? (['SIGINT', 'SIGTERM'] as const) : (['SIGKILL'] as const))
        process.kill(pid, signal);
    } catch {
      break;
    }
    await delay(100);
  }
  await rm(file, { force: true });
}

/**
 * Runs a short program as the server's user, e.g. `initdb`. It too ends when this process dies, and is known to `stopStray`: what it would go on
 * writing into the folder would be in the way of the next attempt. Throws `Internal` with its last words where it fails.
 */
export async function runAsServerUser(
  file: string,
  args: readonly string[],
  options: {
    dir: string;
    data: string;
    log: string;
    signal: AbortSignal;
    doing: string;
    rootArgs?: readonly string[];
  },
): Promise<void> {
  const log = await open(options.log, 'a');
  try {
    const run = await asServerUser(file, args, options.data, options.rootArgs);
    const child = spawn(run.file, run.args, {
      ...run.identity,
      cwd: options.data,
      env: baseEnvironment(),
      stdio: ['ignore', log.fd, log.fd],
      // A group of its own: it starts servers for a moment, which have to end with it.
      detached: true,
    });
    const exit = await endOfProgram(child, options);
    if (exit.code === 0) return;
    const words = await lastLines(options.log);
    throw new ParityError(
      /No space left|Disk full/i.test(words) ? 'DiskFull' : 'Internal',
      `While ${options.doing}: ${exit.signal ?? `exit code ${exit.code}`}: ${words}`,
      { advice: `Read ${options.log}.` },
    );
  } catch (error) {
    if (options.signal.aborted) throw new ParityError('Cancelled', `Cancelled while ${options.doing}.`);
    throw error;
  } finally {
    await log.close();
  }
}

/** How the program ended. Whatever it started ends with it, on an abort and after its time too. */
async function endOfProgram(child: ChildProcess, { dir, signal }: { dir: string; signal: AbortSignal }): Promise<Exit> {
  const ended = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, by) => resolve({ code, signal: by }));
  });
  const { pid } = child;
  if (pid === undefined) return await ended;
  const guard = spawnGuard(-pid, 'SIGKILL');
  const kill = () => killQuietly(-pid);
  const timer = setTimeout(kill, programTimeoutMs);
  signal.addEventListener('abort', kill);
  try {
    await writeFile(join(dir, 'server.pid'), `${pid}\n`);
    if (signal.aborted) kill();
    return await ended;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', kill);
    kill();
    guard.kill('SIGKILL');
    await rm(join(dir, 'server.pid'), { force: true });
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** Gives a path to the server's user; nothing to do where this process is not root. */
export async function giveToServerUser(path: string): Promise<void> {
  const identity = await serverIdentity();
  if (identity !== undefined) await chown(path, identity.uid, identity.gid);
}

/** Path of a program in one of `folders` or on the PATH; undefined where there is none. */
export function findProgram(names: readonly string[], folders: readonly string[]): string | undefined {
  return programIn(names, [...folders, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']);
}

/** The first of these programs that is in one of these folders; undefined where none is. */
export function programIn(names: readonly string[], places: readonly string[]): string | undefined {
  for (const name of names)
    for (const folder of places) {
      const file = join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        if (statSync(file).isFile()) return file;
      } catch {
        // Not here: look in the next folder.
      }
    }
  return undefined;
}

/** Folders on the way that only root may enter are entered by one kept capability, so that nothing has to be copied elsewhere. */
async function asServerUser(
  file: string,
  args: readonly string[],
  data: string,
  rootArgs: readonly string[] | undefined,
): Promise<Command> {
  const identity = await serverIdentity();
  if (identity === undefined) return { file, args: [...args], identity: {} };
  if ((await othersMayEnter(dirname(file))) && (await othersMayEnter(dirname(data))))
    return { file, args: [...args], identity };
  if (rootArgs !== undefined) return { file, args: [...args, ...rootArgs], identity: {} };
  const setpriv = findProgram(['setpriv'], ['/usr/bin']);
  if (setpriv === undefined) {
    throw new ParityError(
      'UnsupportedFeature',
      `Starting a database server as root: its own user may not enter ${dirname(data)} or ${dirname(file)}.`,
      {
        advice:
          'Run parity as another user than root, set PARITY_STATE_DIR to a folder that every user may enter, or install util-linux (setpriv).',
      },
    );
  }
  // The securebit makes the capability count for access(2) too, by which Postgres looks for its own programs.
  const keep = [
    '--securebits=+no_setuid_fixup',
    '--inh-caps=-all,+dac_override',
    '--ambient-caps=-all,+dac_override',
    '--clear-groups',
  ];
  return {
    file: setpriv,
    args: [`--reuid=${identity.uid}`, `--regid=${identity.gid}`, ...keep, file, ...args],
    identity: {},
  };
}

interface Command {
  readonly file: string;
  readonly args: string[];
  readonly identity: { uid?: number; gid?: number };
}

/** The user that servers run as where this process is root; no user is ever made on somebody's machine. */
async function serverIdentity(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const wanted of ['postgres', 'mysql', 'nobody']) {
    const user = users.find(([name]) => name === wanted);
    if (user !== undefined) return { uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new ParityError(
    'UnsupportedFeature',
    'Starting a database server as root: there is no user nobody to run it.',
    {
      advice: 'Run parity as another user than root.',
    },
  );
}

async function othersMayEnter(folder: string): Promise<boolean> {
  for (let path = folder; ; path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

function spawnGuard(pid: number, signal: NodeJS.Signals): ChildProcess {
  const script = `trap '' INT HUP TERM; read -r _; kill -s ${signal.slice(3)} -- ${pid} 2>/dev/null`;
  const guard = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  guard.on('error', () => undefined);
  guard.stdin.on('error', () => undefined);
  guard.unref();
  if ('unref' in guard.stdin && typeof guard.stdin.unref === 'function') guard.stdin.unref();
  return guard;
}

async function end(child: ChildProcess, exited: Promise<Exit>, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal);
  const inTime = await Promise.race([exited.then(() => true), delay(10_000, false, { ref: false })]);
  if (inTime) return;
  child.kill('SIGKILL');
  await Promise.race([exited, delay(5_000, undefined, { ref: false })]);
}

async function belongsTo(pid: number, dir: string): Promise<boolean> {
  try {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return commandLine.includes(join(dir, 'data'));
  } catch {
    return (await readdir('/proc').catch(() => [])).length === 0 && isAlive(pid);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Nothing of our own environment (credentials of clouds, for one) is handed to a server. */
function baseEnvironment(): Record<string, string> {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', HOME: '/nonexistent' };
}

async function lastLines(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-5).join(' | ').slice(-1000);
}
