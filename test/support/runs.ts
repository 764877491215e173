import { type ChildProcess, spawn } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { TableSpec } from '../../src/api/generated/types.ts';
import type { RunEvent } from '../../src/cli/driver/events.ts';
import type { Report } from '../../src/report/model.ts';

export const root = join(import.meta.dirname, '../..');
export const exampleLake = join(root, 'examples/lake');
export const flightsManifest = join(root, 'examples/flights/run.yaml');

/** How a command ended, as its caller sees it. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that goes on while the test does something to it. */
export interface RunningCommand {
  readonly process: ChildProcess;
  readonly ended: Promise<CommandResult>;
}

export interface Manifest {
  readonly kind: string;
  readonly spec: object;
}

/**
 * One test's own place on the machine: state folder, secrets, temp folder and reports of `parity` commands lie in it, so that whatever is left afterwards can be
 * seen. Commands are the real ones, in processes of their own.
 */
export class Place {
  readonly root: string;
  readonly stateDir: string;
  readonly secretsDir: string;
  readonly temp: string;
  readonly reports: string;

  private constructor(folder: string) {
    this.root = folder;
    this.stateDir = join(folder, 'state');
    this.secretsDir = join(folder, 'secrets');
    this.temp = join(folder, 'temp');
    this.reports = join(folder, 'reports');
  }

  static async open(): Promise<Place> {
    const place = new Place(await mkdtemp(join(tmpdir(), 'parity-')));
    await mkdir(place.temp);
    await mkdir(place.secretsDir);
    return place;
  }

  async close(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  /** Writes a manifest (JSON is YAML too) and returns its path. Reports go to this place unless the spec says otherwise. */
  async manifest(spec: object, name = 'run'): Promise<string> {
    const file = join(this.root, `${name}.yaml`);
    const reports = { location: pathToFileURL(this.reports).href, formats: ['JSON'] };
    const document = {
      apiVersion: 'pipelineparity.io/v1alpha1',
      kind: 'PipelineParityRun',
      metadata: { name },
      spec: { reports, ...spec },
    };
    await writeFile(file, JSON.stringify(document, null, 2));
    return file;
  }

  /** A secret that manifests refer to by its name. */
  async secret(name: string, keys: Readonly<Record<string, string>>): Promise<void> {
    await mkdir(join(this.secretsDir, name), { recursive: true });
    for (const [key, value] of Object.entries(keys)) await writeFile(join(this.secretsDir, name, key), value);
  }

  /** Runs a `parity` command to its end. */
  async parity(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
    return await this.start(args, () => undefined, { env }).ended;
  }

  /** Starts a `parity` command; each event that it prints (with `--json`) is handed on as it comes. */
  start(
    args: readonly string[],
    onEvent: (event: RunEvent, process: ChildProcess) => void,
    options: { readonly env?: NodeJS.ProcessEnv; readonly ownGroup?: boolean } = {},
  ): RunningCommand {
    const { GITHUB_STEP_SUMMARY: _, ...own } = process.env;
    const child = spawn(process.execPath, [join(root, 'bin/parity.js'), ...args], {
      cwd: this.root,
      env: {
        ...own,
        PARITY_STATE_DIR: this.stateDir,
        PARITY_SECRETS_DIR: this.secretsDir,
        TMPDIR: this.temp,
        ...options.env,
      },
      // As a shell starts a command at a terminal, whose Ctrl-C reaches the whole group.
      detached: options.ownGroup === true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr]: [string[], string[]] = [[], []];
    createInterface({ input: child.stdout }).on('line', (line) => {
      stdout.push(`${line}\n`);
      if (line.startsWith('{"time":')) onEvent(JSON.parse(line), child);
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => stderr.push(chunk));
    const ended = new Promise<CommandResult>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (exitCode) => resolve({ exitCode, stdout: stdout.join(''), stderr: stderr.join('') }));
    });
    return { process: child, ended };
  }

  /** The one report of this place. */
  async report(): Promise<Report> {
    const runs = await readdir(this.reports).catch(() => []);
    expect(runs, 'folders of reports').to.have.length(1);
    return JSON.parse(await readFile(join(this.reports, runs[0] ?? '', 'report.json'), 'utf8'));
  }

  /** Uids of the runs that the state folder still knows. */
  async runs(): Promise<readonly string[]> {
    return await entries(join(this.stateDir, 'runs'));
  }

  /** Fails unless every process, run, workspace and temp file of this place is gone. A killed process takes a moment to be. */
  async expectNothingLeft(): Promise<void> {
    const deadline = Date.now() + 10_000;
    while ((await this.processes()).length > 0 && Date.now() < deadline) await delay(20);
    const left = {
      processes: await this.processes(),
      runs: await this.runs(),
      workspaces: await entries(join(this.stateDir, 'workspaces')),
      temp: await entries(this.temp),
    };
    expect(left, JSON.stringify(left)).to.deep.equal({ processes: [], runs: [], workspaces: [], temp: [] });
  }

  /** Command lines of living processes that were started from this place, or work in it. */
  async processes(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const read = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
      const command = await read('cmdline');
      // The command line of a process that has ended, but was not yet asked how, is empty.
      if (command === '' || Number(pid) === process.pid) continue;
      if (`${command}${await read('environ')}`.includes(this.root))
        found.push(`${pid} ${command.replaceAll('\0', ' ')}`);
    }
    return found;
  }
}

/** The place's file or folder is there. */
export async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function entries(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch(() => []);
}

/** Tables of the example lake as its own manifest reads them. */
export const exampleTables = {
  flights: { name: 'flights', path: 'flights', baseVersion: '9', version: '15', key: ['id'], cursor: 'updated_at' },
  planes: { name: 'planes', path: 'planes', baseVersion: '4', version: '9', key: ['tailnum'], cursor: 'updated_at' },
  airlines: {
    name: 'airlines',
    path: 'airlines',
    baseVersion: '1',
    version: '4',
    key: ['carrier'],
    cursor: 'updated_at',
  },
  airports: { name: 'airports', path: 'airports', baseVersion: '2', version: '5', key: ['faa'], cursor: 'updated_at' },
  weather: {
    name: 'weather',
    path: 'weather',
    baseVersion: '6',
    version: '9',
    key: ['origin', 'time_hour'],
    cursor: 'updated_at',
  },
  types: { name: 'types', path: 'types', baseVersion: '1', version: '3', key: ['id'], cursor: 'updated_at' },
} satisfies Record<string, TableSpec>;
export type ExampleTable = keyof typeof exampleTables;

/** Columns of `types` that a source cannot hold, as its `columns` say it. */
export const columnsOfTypes = {
  Postgres: omitted('text_nul'),
  MySQL: omitted('float_special', 'double_special'),
};

function omitted(...columns: readonly string[]) {
  return columns.map((column) => ({ table: 'types', column, omit: true }));
}

/** The spec of a run over some tables of the example lake, in one source: full, compare, advance, incremental, compare, queries. */
export function smallSpec(
  tables: readonly ExampleTable[],
  options: { readonly engine?: 'Postgres' | 'MySQL'; readonly bug?: string } = {},
) {
  const { engine = 'Postgres', bug = 'None' } = options;
  const columns = tables.includes('types') ? columnsOfTypes[engine] : [];
  return {
    snapshot: { location: pathToFileURL(exampleLake).href, tables: tables.map((name) => exampleTables[name]) },
    sources: [{ name: 'shop', engine, tables, columns, embedded: {} }],
    pipelines: [{ name: 'candidate', reference: { bug } }],
  };
}

/**
 * Starts jobs that a describe block's tests look at, so many at a time, in their order. A test asks for its own by name: it waits until that one has ended, and
 * fails if it failed. Asked again for one that failed, it is done once more.
 */
export function startJobs<T>(lanes: number, jobs: ReadonlyMap<string, () => Promise<T>>): (name: string) => Promise<T> {
  const results = new Map([...jobs.keys()].map((name) => [name, Promise.withResolvers<T>()]));
  // A job that fails before its test asks is no unhandled rejection.
  for (const { promise } of results.values()) promise.catch(() => undefined);
  const failed = new Set<string>();
  const waiting = [...jobs];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [name, job] = next;
      await job().then(results.get(name)?.resolve, results.get(name)?.reject);
    }
  };
  for (let count = 0; count < lanes; count++) void lane();
  return async (name) => {
    const [result, job] = [results.get(name), jobs.get(name)];
    if (result === undefined || job === undefined) throw new Error(`there is no job ${name}`);
    if (failed.has(name)) return await job();
    return await result.promise.catch((error: unknown) => {
      failed.add(name);
      throw error;
    });
  };
}
