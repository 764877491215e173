import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the operating system says of a finished command and everything it waited for. */
export interface Measured {
  readonly wallSeconds: number;
  /** User and system time of the command and its children. */
  readonly cpuSeconds: number;
  /** Largest resident set of a single process among them, pages of mapped files (the engine's library is one of 500 MB) included. */
  readonly peakBytes: number;
  /** Largest sum over all processes at one time of what is theirs alone and their share of what they share (PSS). */
  readonly treeBytes: number;
  /** The same without the pages of mapped files: what the system could not drop. */
  readonly ownBytes: number;
  readonly exitCode: number;
  readonly stdout: string;
}

/**
 * Runs a command to its end and measures it from outside, by `wait4` (through Python, which has it) and, for the memory of all processes
 * together, by looking at /proc every tenth of a second. Throws where the exit code is not one of
 * `expected`: a benchmark of something that failed measures nothing.
 */
export async function measure(
  command: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string; expected?: readonly number[] } = {},
): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'parity-bench-'));
  const result = join(folder, 'result.json');
  try {
    const child = spawn('python3', ['-c', WRAPPER, result, ...command], {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.end(options.input ?? '');
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', () => resolve());
    });
    const measured = JSON.parse(await readFile(result, 'utf8')) as Omit<Measured, 'stdout'>;
    if (!(options.expected ?? [0]).includes(measured.exitCode))
      throw new Error(
        `${command.slice(0, 4).join(' ')} … ended with ${measured.exitCode}: ${Buffer.concat([...stdout, ...stderr])
          .toString()
          .slice(-2000)}`,
      );
    return { ...measured, stdout: Buffer.concat(stdout).toString() };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const WRAPPER = `
import ctypes, json, os, sys, threading, time
# Processes that lose their parent become ours: servers that a command starts are counted with it.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
done, peaks = threading.Event(), {'tree': 0, 'own': 0}

def tree(pid):
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir(f'/proc/{parent}/task'):
                found += [int(child) for child in open(f'/proc/{parent}/task/{thread}/children').read().split()]
        except OSError:
            pass
    return found[1:]

def field(text, name):
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(name + ':')), 0)

def watch():
    while not done.wait(0.1):
        total = own = 0
        for pid in tree(os.getpid()):
            try:
                text = open(f'/proc/{pid}/smaps_rollup').read()
            except OSError:
                continue
            total += field(text, 'Pss')
            own += field(text, 'Pss_Anon') + field(text, 'Pss_Shmem')
        peaks['tree'], peaks['own'] = max(peaks['tree'], total), max(peaks['own'], own)

watcher = threading.Thread(target=watch)
watcher.start()
start = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.monotonic() - start
done.set()
watcher.join()
json.dump({'wallSeconds': wall, 'cpuSeconds': usage.ru_utime + usage.ru_stime, 'peakBytes': usage.ru_maxrss * 1024,
           'treeBytes': peaks['tree'], 'ownBytes': peaks['own'], 'exitCode': os.waitstatus_to_exitcode(status)}, open(sys.argv[1], 'w'))
`;

/** Runs the commands in turn, A B B A …, after one warm-up of each, and returns each one's measurements, so that drift of the machine hits all alike. */
export async function inTurn<Name extends string>(
  runs: number,
  commands: Readonly<Record<Name, () => Promise<Measured>>>,
): Promise<Record<Name, Measured[]>> {
  const names = Object.keys(commands) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as Measured[]])) as Record<Name, Measured[]>;
  for (let run = -1; run < runs; run++)
    // There and back: what a server does now and then (a new volume, a checkpoint) does not always fall to the same one.
    for (const name of run % 2 === 0 ? names : names.toReversed()) {
      const measured = await commands[name]();
      if (run >= 0) results[name].push(measured);
    }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Median, and smallest to largest, of the pairwise ratios of two measurements. */
export function ratio(a: readonly Measured[], b: readonly Measured[], of: (measured: Measured) => number): string {
  const ratios = a.map((measured, index) => of(measured) / of(b[index] ?? measured));
  return `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
}

export const wall = (measured: Measured): number => measured.wallSeconds;
export const cpu = (measured: Measured): number => measured.cpuSeconds;

/** Largest memory of all runs: resident in the largest process, and of it (in all processes) what is not a mapped file. */
export const megabytes = (measured: readonly Measured[]): string =>
  `${largest(measured, (m) => m.peakBytes)} MB, own ${largest(measured, (m) => m.ownBytes)} MB`;

export function largest(measured: readonly Measured[], of: (measured: Measured) => number): number {
  return Math.round(Math.max(...measured.map(of)) / 1e6);
}

/** CPU seconds so far of a running server: of its process, its living children and those it has waited for. */
export async function serverCpu(pid: number): Promise<number> {
  const [stat, children] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8'),
    readFile(`/proc/${pid}/task/${pid}/children`, 'utf8'),
  ]);
  // Fields 14 to 17 in proc(5); the name, which may hold spaces, ends with the last bracket. A tick is 10 ms.
  const ticks = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .reduce((sum, field) => sum + Number(field), 0);
  let seconds = ticks / 100;
  for (const child of children.split(' ').filter((text) => text !== ''))
    seconds += await serverCpu(Number(child)).catch(() => 0);
  return seconds;
}
