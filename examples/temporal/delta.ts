import { randomUUID } from 'node:crypto';
import { DuckDBInstance } from '@duckdb/node-api';
import type { Column } from './database.ts';
import type { Folder } from './folder.ts';

/** A Delta table, as this worker writes it: https://github.com/delta-io/delta/blob/master/PROTOCOL.md */
export interface DeltaTable {
  /** Its rows as a relation of DuckDB; undefined before the first commit. */
  rows(): Promise<string | undefined>;
  /** Makes the rows of the query its whole content, in one atomic commit. Returns how many they are. */
  overwrite(columns: readonly Column[], query: string): Promise<number>;
}

export async function openTable(folder: Folder): Promise<DeltaTable> {
  const state = await readLog(folder);
  return {
    async rows() {
      if (state === undefined) return undefined;
      const paths: string[] = [];
      for (const name of state.files) paths.push(await folder.local(name));
      return `read_parquet([${paths.map((path) => `'${path}'`).join(', ')}])`;
    },

    async overwrite(columns, query) {
      const name = `${randomUUID()}.parquet`;
      let rows = 0;
      const size = await folder.add(name, async (path) => {
        rows = await writeParquet(path, columns, query);
      });
      const now = Date.now();
      const actions = [
        ...(state === undefined ? [protocol(columns)] : []),
        metaData(columns, state?.id ?? randomUUID(), now),
        ...[...(state?.files ?? [])].map((path) => ({ remove: { path, deletionTimestamp: now, dataChange: true } })),
        {
          add: {
            path: name,
            partitionValues: {},
            size,
            modificationTime: now,
            dataChange: true,
            stats: JSON.stringify({ numRecords: rows }),
          },
        },
      ];
      try {
        await commit(folder, (state?.version ?? -1) + 1, actions);
      } catch (error) {
        await folder.remove(name);
        throw error;
      }
      return rows;
    },
  };
}

interface State {
  readonly version: number;
  readonly id: string;
  readonly files: ReadonlySet<string>;
}

async function readLog(folder: Folder): Promise<State | undefined> {
  const names = (await folder.names('_delta_log')).filter((name) => /^\d{20}\.json$/.test(name)).sort();
  const files = new Set<string>();
  let id = '';
  for (const name of names) {
    for (const line of (await folder.text(`_delta_log/${name}`)).trim().split('\n')) {
      const { metaData: meta, add, remove } = JSON.parse(line);
      if (meta !== undefined) id = meta.id;
      if (add !== undefined) files.add(add.path);
      if (remove !== undefined) files.delete(remove.path);
    }
  }
  const last = names.at(-1);
  return last === undefined ? undefined : { version: Number(last.slice(0, 20)), id, files };
}

/** Fails where the version is there already: another worker was faster, and this one starts over. */
async function commit(folder: Folder, version: number, actions: readonly object[]): Promise<void> {
  const name = `_delta_log/${String(version).padStart(20, '0')}.json`;
  await folder.create(name, actions.map((action) => `${JSON.stringify(action)}\n`).join(''));
}

async function writeParquet(file: string, columns: readonly Column[], query: string): Promise<number> {
  // In a dictionary, DuckDB 1.5 makes one value of 0.0 and -0.0.
  const hasFloats = columns.some(({ type }) => type === 'float' || type === 'double');
  const options = `FORMAT parquet, COMPRESSION zstd${hasFloats ? ', DICTIONARY_SIZE_LIMIT 0' : ''}`;
  const duck = await DuckDBInstance.create();
  const connection = await duck.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const result = await connection.run(`COPY (${query}) TO '${file}' (${options})`);
    return Number(result.rowsChanged);
  } finally {
    connection.closeSync();
    duck.closeSync();
  }
}

function protocol(columns: readonly Column[]): object {
  const features = columns.some(({ type }) => type === 'timestamp_ntz') ? ['timestampNtz'] : [];
  return {
    protocol:
      features.length === 0
        ? { minReaderVersion: 1, minWriterVersion: 2 }
        : { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: features, writerFeatures: features },
  };
}

function metaData(columns: readonly Column[], id: string, createdTime: number): object {
  const fields = columns.map(({ name, type }) => ({ name, type, nullable: true, metadata: {} }));
  const schemaString = JSON.stringify({ type: 'struct', fields });
  const format = { provider: 'parquet', options: {} };
  return { metaData: { id, format, schemaString, partitionColumns: [], configuration: {}, createdTime } };
}
