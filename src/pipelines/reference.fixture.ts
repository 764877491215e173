import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ResolvedPipeline, ResolvedSpec } from '../api/resolved.ts';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { openStore } from '../lake/open.ts';
import type { Relation } from '../lake/relation.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Field } from '../lake/types.ts';
import type { SourceSession } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import type { Pipeline, SyncRequest, SyncStatus } from './pipeline.ts';
import type { SourceAccess } from './reference.ts';

/** A workspace and an engine in a folder of their own. */
export interface Bench {
  readonly engine: Engine;
  readonly store: ObjectStore;
  readonly folder: string;
  close(): Promise<void>;
}

/**
 * Opens a bench, in a folder that goes with it or in one that stays. Until it is closed the current folder is `/`, for the engine reaches only what lies
 * below it.
 */
export async function openBench(lasting?: string): Promise<Bench> {
  const cwd = process.cwd();
  process.chdir('/');
  const folder = lasting ?? (await mkdtemp(join(tmpdir(), 'parity-pipeline-')));
  const scratch = join(folder, 'scratch', String(process.pid));
  await mkdir(scratch, { recursive: true });
  await mkdir(join(folder, 'workspace'), { recursive: true });
  const store = await openStore({ location: `file://${join(folder, 'workspace')}` });
  const engine = await openEngine({ scratch, memoryBytes: 1024 ** 3, threads: 2 });
  return {
    engine,
    store,
    folder,
    close: async () => {
      await engine.close();
      store.close();
      process.chdir(cwd);
      await rm(lasting === undefined ? folder : scratch, { recursive: true, force: true });
    },
  };
}

/** A table of a source that is only a SELECT in canonical types. */
export interface FakeTable {
  readonly fields: readonly Field[];
  readonly cursor?: string;
  readonly sql: string;
  readonly rows?: number;
}

/** A source whose tables are SELECTs; `tables` may change between syncs. The cursor is an integer column or an instant. */
export function fakeSource(tables: ReadonlyMap<string, FakeTable>): SourceAccess {
  const tableOf = (name: string): FakeTable => {
    const table = tables.get(name);
    if (table === undefined) throw new ParityError('NotFound', `The source has no table ${name}.`);
    return table;
  };
  const session: SourceSession = {
    load: () => Promise.reject(new Error('a pipeline does not load its source')),
    apply: () => Promise.reject(new Error('a pipeline does not change its source')),
    async export(_, { name }, { since }): Promise<Relation> {
      const { sql, fields, rows } = tableOf(name);
      const relation = { columns: fields, name: `fake ${name}`, sizeBytes: undefined };
      if (since === undefined) return { ...relation, sql, rows };
      const isInstant = /[-:]/.test(since.value.slice(1));
      const mark = isInstant
        ? `toUnixTimestamp64Micro(parseDateTime64BestEffort('${since.value}', 6, 'UTC'))`
        : since.value;
      const operator = since.inclusive ? '>=' : '>';
      return {
        ...relation,
        sql: `SELECT * FROM (${sql}) WHERE ${quoteIdentifier(since.cursor)} ${operator} ${mark}`,
        rows: undefined,
      };
    },
    listTables: async () => [...tables.keys()],
    close: async () => undefined,
  };
  return {
    connect: async () => session,
    describe: async (_context, _source, name) => {
      const { fields, cursor } = tableOf(name);
      return { name, primaryKey: [], cursor, columns: fields.map((field) => ({ field, sqlType: 'fake' })) };
    },
  };
}

/** What a sync task of the request would be given. */
export function contextFor(
  bench: Bench,
  request: SyncRequest,
  options: { pipeline: ResolvedPipeline; keys: Readonly<Record<string, readonly string[]>>; signal?: AbortSignal },
): TaskContext {
  const storage = { location: 'file:///unused' };
  const spec: ResolvedSpec = {
    snapshot: {
      ...storage,
      limits: {},
      tables: Object.entries(options.keys).map(([name, key]) => ({ name, path: name, key, exclude: [], mask: [] })),
    },
    workspace: storage,
    sources: [
      { name: request.source, engine: 'Postgres', tables: request.tables, columns: [], provider: { kind: 'embedded' } },
    ],
    pipelines: [options.pipeline],
    scenario: [],
    comparison: { profile: 'Exact', columns: [], unseen: 'Expected', maxDifferences: 0, samples: 20, values: 'Shown' },
    queries: [],
    execution: { parallelism: 1, retries: 0, timeoutSeconds: 60, memoryBytes: 1024 ** 3, threads: 2 },
    cleanup: { policy: 'Always' },
    reports: { ...storage, formats: [] },
  };
  const { pipeline, step, mode, source, tables, at } = request;
  return {
    file: {
      id: `${step}-${pipeline}`,
      run: { name: 'test', uid: bench.folder, installation: 'test' },
      spec,
      input: { kind: 'sync', step, pipeline, mode, source, tables, at },
    },
    attempt: 1,
    workspace: bench.store,
    engine: async () => bench.engine,
    scratch: join(bench.folder, 'scratch'),
    secret: (name) => Promise.reject(new ParityError('NotFound', `There is no secret ${name}.`)),
    progress: () => undefined,
    signal: options.signal ?? new AbortController().signal,
    detailOf: (id) => Promise.reject(new ParityError('NotFound', `There is no task ${id}.`)),
  };
}

/** Has the pipeline carry out the request, and returns how that ended. */
export async function untilEnd(pipeline: Pipeline, request: SyncRequest, context: TaskContext): Promise<SyncStatus> {
  await pipeline.start(request, context);
  for (;;) {
    const status = await pipeline.observe(request, context);
    if (status.state !== 'Running') return status;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
