import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the operating system says of a finished command and everything it waited for. */
export interface Measured {
  readonly wallSeconds: number;
  /** User and system time of the command and its children. */
  readonly cpuSeconds: number;
  /** Largest resident set of a single process among them. */
  readonly peakBytes: number;
  readonly exitCode: number;
  readonly stdout: string;
}

/**
 * Runs a command to its end and measures it from outside, by `wait4` (through Python, which has it). Throws where the exit code is not one of
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
import json, os, sys, time
start = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.monotonic() - start
json.dump({'wallSeconds': wall, 'cpuSeconds': usage.ru_utime + usage.ru_stime, 'peakBytes': usage.ru_maxrss * 1024,
           'exitCode': os.waitstatus_to_exitcode(status)}, open(sys.argv[1], 'w'))
`;

/** Runs the commands in turn, A B A B …, after one warm-up of each, and returns each one's measurements, so that drift of the machine hits all alike. */
export async function inTurn<Name extends string>(
  runs: number,
  commands: Readonly<Record<Name, () => Promise<Measured>>>,
): Promise<Record<Name, Measured[]>> {
  const names = Object.keys(commands) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as Measured[]])) as Record<Name, Measured[]>;
  for (let run = -1; run < runs; run++)
    for (const name of names) {
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
export const megabytes = (measured: readonly Measured[]): string =>
  `${Math.round(Math.max(...measured.map((m) => m.peakBytes)) / 1e6)} MB`;
