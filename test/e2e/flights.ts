import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '../..');
export const manifest = join(root, 'examples/flights/run.yaml');

export interface CliResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the `parity` command to its end, as a user would, in a state folder of the test's own. */
export async function parity(args: readonly string[], options: { stateDir: string; cwd?: string }): Promise<CliResult> {
  const child = spawn(process.execPath, [join(root, 'bin/parity.js'), ...args], {
    cwd: options.cwd ?? root,
    env: { ...process.env, PARITY_STATE_DIR: options.stateDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { exitCode, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** What a test reads of a report. */
export interface SeenReport {
  readonly verdict: string;
  readonly fingerprint: string;
  readonly comparisons: readonly SeenComparison[];
  readonly queries: readonly { readonly name: string; readonly outcome: string }[];
  readonly errors: readonly { readonly code: string; readonly message: string }[];
}
export interface SeenComparison {
  readonly table: string;
  readonly source: string;
  readonly step: string;
  readonly differences: number;
  readonly rows: Readonly<Record<'missing' | 'extra' | 'changed' | 'duplicated', number>>;
  readonly columns: readonly {
    readonly name: string;
    readonly changed: number;
    readonly causes: readonly SeenCause[];
  }[];
  readonly schema: readonly { readonly column: string; readonly difference: string; readonly counts: boolean }[];
  readonly causes: readonly SeenCause[];
  readonly unseen?: Readonly<Record<string, number | boolean>>;
}
interface SeenCause {
  readonly rule: string;
  readonly detail: string;
}

/** A run of the flights example, with its report; `left` is what remains in the state folder. */
export async function runFlights(
  more: readonly string[] = [],
): Promise<CliResult & { readonly report: SeenReport; readonly left: readonly string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'parity-e2e-'));
  try {
    const stateDir = join(folder, 'state');
    const result = await parity(['run', manifest, '--reports', join(folder, 'reports'), ...more], { stateDir });
    const [run = ''] = await readdir(join(folder, 'reports')).catch(() => []);
    const text = await readFile(join(folder, 'reports', run, 'report.json'), 'utf8').catch(() => undefined);
    if (text === undefined) throw new Error(`no report: ${result.stdout}${result.stderr}`);
    const left = [...(await readdir(join(stateDir, 'runs'))), ...(await readdir(join(stateDir, 'workspaces')))];
    return { ...result, report: JSON.parse(text) as SeenReport, left };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
