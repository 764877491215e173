import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { CloneFrom, ResolvedSource, ResolvedSpec, ResolvedTable } from '../../src/api/resolved.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openStore } from '../../src/lake/open.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import type { TaskInput } from '../../src/run/types.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import type { Connection } from '../../src/sources/source.ts';
import type { Resolution, TaskContext } from '../../src/tasks/task.ts';
import { sharedServer } from './databases.ts';
import { resolveLake, specOf, takeSnapshot } from './snapshot-run.ts';
import { sharedSnowflake } from './snowflake.ts';

const lake = pathToFileURL(join(import.meta.dirname, '../../examples/lake')).href;

/** A snapshot of the example lake, a source with a database of its own, and the contexts of tasks between them. */
export interface SourceRun {
  readonly engine: Engine;
  readonly connection: Connection;
  readonly workspace: ObjectStore;
  context(
    input: TaskInput,
    options?: { scenario?: ResolvedSpec['scenario']; signal?: AbortSignal; cloneFrom?: CloneFrom },
  ): TaskContext;
  close(): Promise<void>;
}

async function sharedOf(engine: ResolvedSource['engine']): Promise<Connection> {
  return (engine === 'Snowflake' ? await sharedSnowflake() : await sharedServer(engine)).connection;
}

export const advances: ResolvedSpec['scenario'] = [{ name: 'to-version', advance: {} }];

/** Until it is closed the current folder is `/`, as in a task: the engine reaches only what lies below it. */
export async function openSourceRun(
  engineName: ResolvedSource['engine'],
  tables: readonly ResolvedTable[],
  columns: ResolvedSource['columns'],
  own?: Connection,
): Promise<SourceRun> {
  const cwd = process.cwd();
  process.chdir('/');
  const folder = await mkdtemp(join(tmpdir(), 'parity-source-run-'));
  const run = {
    lake: { location: lake },
    workspace: { location: pathToFileURL(join(folder, 'workspace')).href },
    tables,
  };
  await mkdir(join(folder, 'scratch'));
  await takeSnapshot(run);
  const resolution: Resolution = await resolveLake(run);
  const workspace = await openStore(run.workspace);
  const engine = await openEngine({ scratch: join(folder, 'scratch'), memoryBytes: 1024 ** 3, threads: 2 });
  const mark = { uid: crypto.randomUUID(), installation: 'test' };
  const server = own ?? (await sharedOf(engineName));
  const connection = await createRunDatabase(server, engineName, mark, 'shop');
  const source: ResolvedSource = {
    name: 'shop',
    engine: engineName,
    tables: tables.map(({ name }) => name),
    columns,
    provider: engineName === 'Snowflake' ? { kind: 'external', secretRef: { name: 'shop' } } : { kind: 'embedded' },
  };
  return {
    engine,
    connection,
    workspace,
    context: (input, { scenario = advances, signal = new AbortController().signal, cloneFrom } = {}) => ({
      file: {
        id: input.kind,
        run: { name: 'test', ...mark },
        spec: { ...specOf(run), sources: [cloneFrom === undefined ? source : { ...source, cloneFrom }], scenario },
        input,
      },
      attempt: 1,
      workspace,
      scratch: engine.scratch,
      signal,
      engine: async () => engine,
      secret: async () => formatConnection(connection),
      progress: () => undefined,
      detailOf: async <Detail>() => structuredClone(resolution) as Detail,
    }),
    close: async () => {
      await engine.close();
      workspace.close();
      await dropRunDatabase(server, engineName, mark);
      process.chdir(cwd);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
