import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { addAction, commit, metaDataAction, protocolAction, removeAction } from '../../../src/lake/delta/commit.ts';
import { readDeltaSnapshot } from '../../../src/lake/delta/log.ts';
import type { ObjectStore } from '../../../src/lake/store.ts';
import type { DataType, Field } from '../../../src/lake/types.ts';
import type { SourceColumn, SourceTable } from './database.ts';
import { landedNames, normalized } from './naming.ts';

export interface LandRequest {
  readonly store: ObjectStore;
  /** Of the table, below the store's root: `team_2_postgres_0190…/flights`. */
  readonly path: string;
  readonly table: SourceTable;
  /** What `SourceDatabase.copy` wrote. */
  readonly csv: string;
  readonly mode: 'replace' | 'merge' | 'append';
  readonly primaryKey: readonly string[];
  /** The cursor, whose greatest value is returned. */
  readonly cursor: string | undefined;
  readonly loadId: number;
  /** A bug that PostHog has had: the first chunk of a first sync lands twice. */
  readonly hasDuplicatedChunk: boolean;
  /** Not one that is known of it: instants land in a zone's wall time, which the profile must not forgive. */
  readonly hasLocalTimes: boolean;
}

export interface Landed {
  readonly rows: number;
  readonly tableRows: number;
  readonly last: string | undefined;
  readonly columns: readonly Field[];
  /** Keys of the table's live files. */
  readonly files: readonly string[];
}

const partitionKey = '_ph_partition_key';
const chunkRows = 20_000;

/** Changes the rows as PostHog does by design (contract.md, "What it changes"), and makes them a version of the Delta table. Throws for keys that are not unique. */
export async function land(request: LandRequest): Promise<Landed> {
  const scratch = await mkdtemp(join(tmpdir(), 'posthog-'));
  const duck = await DuckDBInstance.create();
  const connection = await duck.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    return await landWith(connection, scratch, request);
  } finally {
    connection.closeSync();
    duck.closeSync();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function landWith(duck: DuckDBConnection, scratch: string, request: LandRequest): Promise<Landed> {
  const { store, path, table, csv, mode, primaryKey, cursor } = request;
  const names = table.columns.map((_, index) => `'c${index}'`).join(', ');
  await duck.run(
    (await stat(csv)).size === 0
      ? `CREATE TABLE raw AS SELECT ${table.columns.map((_, index) => `''::VARCHAR AS c${index}`).join(', ')} WHERE false`
      : `CREATE TABLE raw AS SELECT * FROM read_csv('${csv}', header = false, all_varchar = true, names = [${names}], nullstr = '', allow_quoted_nulls = false)`,
  );
  const columns = await landedColumns(duck, request);
  const own = [
    `'{"load_id": ${request.loadId}}' AS "_ph_debug"`,
    `uuid()::VARCHAR AS "_dlt_id"`,
    `'${request.loadId}' AS "_dlt_load_id"`,
  ];
  const values = columns.map(({ field, sql }) => `${sql} AS ${quote(field.name)}`);
  await duck.run(`CREATE TABLE incoming AS SELECT ${[...values, ...own].join(', ')} FROM raw`);
  const snapshot = (await store.head(`${path}/_delta_log/00000000000000000000.json`))
    ? await readDeltaSnapshot(store, path, undefined)
    : undefined;
  if (snapshot === undefined && request.hasDuplicatedChunk)
    await duck.run(`INSERT INTO incoming SELECT * FROM incoming LIMIT ${chunkRows}`);

  const key = primaryKey.map(normalized);
  if (mode === 'merge') {
    const [twice] = await all(
      duck,
      `SELECT 1 FROM incoming GROUP BY ${key.map(quote).join(', ')} HAVING count(*) > 1 LIMIT 1`,
    );
    if (twice !== undefined && !request.hasDuplicatedChunk)
      throw new Error(
        `The primary keys for this table are not unique. We can't sync incrementally until the table has a unique primary key. Primary keys being used are: ${JSON.stringify(primaryKey)}`,
      );
  }
  const isPartitioned = mode === 'merge';
  let content = 'incoming';
  if (mode !== 'replace' && snapshot !== undefined) {
    const files: string[] = [];
    for (const [index, file] of snapshot.files.entries()) {
      files.push(join(scratch, `${index}.parquet`));
      await writeFile(files.at(-1) ?? '', await store.get(`${path}/${file.path}`));
    }
    await duck.run(
      `CREATE TABLE existing AS SELECT * FROM read_parquet([${files.map((file) => `'${file}'`).join(', ')}])`,
    );
    const old =
      mode === 'append'
        ? 'SELECT * FROM existing'
        : `SELECT * FROM existing ANTI JOIN incoming USING (${key.map(quote).join(', ')})`;
    await duck.run(`CREATE TABLE merged AS (${old}) UNION ALL BY NAME SELECT * FROM incoming`);
    content = 'merged';
  }
  const parquet = join(scratch, 'content.parquet');
  await duck.run(
    `COPY (SELECT * FROM ${content}) TO '${parquet}' (FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 0)`,
  );
  const [count] = await all(duck, `SELECT count(*)::VARCHAR AS n FROM ${content}`);
  const [read] = await all(duck, 'SELECT count(*)::VARCHAR AS n FROM incoming');
  const fields: Field[] = [
    ...columns.map(({ field }) => field),
    ...['_ph_debug', '_dlt_id', '_dlt_load_id', ...(isPartitioned ? [partitionKey] : [])].map((name) => text(name)),
  ];
  const file = `${isPartitioned ? `${partitionKey}=0/` : ''}part-0-${randomUUID()}.zstd.parquet`;
  const { size } = await stat(parquet);
  await store.putStream(`${path}/${file}`, createReadStream(parquet), size);
  const schema = { kind: 'struct', fields } as const;
  const tableRows = Number(count?.n);
  const actions = [
    ...(snapshot === undefined ? [protocolAction(schema)] : []),
    metaDataAction({
      schema,
      partitionColumns: isPartitioned ? [partitionKey] : [],
      ...(snapshot === undefined ? {} : { id: snapshot.tableId }),
    }),
    ...(snapshot?.files ?? []).map((old) => removeAction(old)),
    addAction({
      path: file,
      sizeBytes: size,
      numRecords: tableRows,
      partitionValues: isPartitioned ? { [partitionKey]: '0' } : {},
    }),
  ];
  if (!(await commit(store, path, (snapshot?.version ?? -1) + 1, actions)))
    throw new Error('another sync has committed');

  const at = table.columns.findIndex(({ name }) => name === cursor);
  const cursorColumn = columns.find(({ index }) => index === at);
  const [last] =
    cursorColumn === undefined
      ? []
      : await all(duck, `SELECT max(${quote(cursorColumn.field.name)})::VARCHAR AS v FROM incoming`);
  return {
    rows: Number(read?.n),
    tableRows,
    last: last?.v ?? undefined,
    columns: fields,
    files: [`${path}/${file}`],
  };
}

interface LandedColumn {
  readonly index: number;
  readonly field: Field;
  readonly sql: string;
}

async function landedColumns(duck: DuckDBConnection, request: LandRequest): Promise<readonly LandedColumn[]> {
  const { table, primaryKey } = request;
  const landed = landedNames(table.columns.map(({ name }) => name));
  const columns: LandedColumn[] = [];
  for (const [index, column] of table.columns.entries()) {
    const change = await changeOf(duck, column, `c${index}`, primaryKey, request.hasLocalTimes);
    if (change === undefined) continue;
    const name = landed[index] ?? column.name;
    columns.push({
      index,
      sql: change.sql,
      field: { name, type: change.type, nullable: column.isNullable, physicalName: name },
    });
  }
  return columns;
}

/** How a column of the source lands, of the text that the database sent; undefined where it is left out. */
async function changeOf(
  duck: DuckDBConnection,
  { name, type: spelled }: SourceColumn,
  text: string,
  primaryKey: readonly string[],
  hasLocalTimes: boolean,
): Promise<{ readonly type: DataType; readonly sql: string } | undefined> {
  const type = spelled.toLowerCase();
  const as = (kind: Exclude<DataType['kind'], 'decimal' | 'struct' | 'array' | 'map'>, duckType: string) => ({
    type: { kind } as const,
    sql: `${text}::${duckType}`,
  });
  const isUnsigned = type.includes('unsigned');
  const [, precision, scale = '0'] = /^(?:numeric|decimal)\((\d+)(?:,(\d+))?\)/.exec(type) ?? [];
  if (precision !== undefined) return decimal(text, Number(precision), Number(scale));
  if (/^(numeric|decimal)/.test(type)) return await inferredDecimal(duck, text);
  if (/^(boolean|tinyint\(1\))/.test(type)) return as('boolean', 'BOOLEAN');
  if (/^tinyint/.test(type)) return isUnsigned ? as('short', 'SMALLINT') : as('byte', 'TINYINT');
  if (/^smallint/.test(type)) return isUnsigned ? as('integer', 'INTEGER') : as('short', 'SMALLINT');
  if (/^(integer|int\b|int\(|mediumint)/.test(type))
    return isUnsigned ? as('long', 'BIGINT') : as('integer', 'INTEGER');
  if (/^bigint/.test(type)) return isUnsigned ? decimal(text, 20, 0) : as('long', 'BIGINT');
  if (/^(real|float)/.test(type)) return finite(as('float', 'FLOAT'));
  if (/^double/.test(type)) return finite(as('double', 'DOUBLE'));
  if (type === 'date') return as('date', 'DATE');
  if (/^timestamp.* with time zone/.test(type)) {
    const zone = hasLocalTimes ? 'America/New_York' : 'UTC';
    return { type: { kind: 'timestamp_ntz' }, sql: `timezone('${zone}', ${text}::TIMESTAMPTZ)` };
  }
  if (/^(timestamp|datetime)/.test(type)) return as('timestamp_ntz', 'TIMESTAMP');
  if (/^time/.test(type)) return { type: { kind: 'double' }, sql: `EXTRACT(epoch FROM ${text}::TIME)::DOUBLE` };
  if (/^interval/.test(type)) return { type: { kind: 'double' }, sql: `EXTRACT(epoch FROM ${text}::INTERVAL)::DOUBLE` };
  if (/bytea|binary|blob/.test(type)) {
    const lower = name.toLowerCase();
    const isId = /^(id|uuid|guid)$|_id$/.test(lower) || primaryKey.some((key) => key.toLowerCase() === lower);
    return isId ? { type: { kind: 'string' }, sql: `lower(${text})` } : undefined;
  }
  return as('string', 'VARCHAR');
}

function decimal(text: string, precision: number, scale: number): { readonly type: DataType; readonly sql: string } {
  if (precision > 38) return { type: { kind: 'string' }, sql: text };
  return { type: { kind: 'decimal', precision, scale }, sql: `${text}::DECIMAL(${precision},${scale})` };
}

/** A numeric without digits of its own gets as many as its values have, and at least one after the point. */
async function inferredDecimal(duck: DuckDBConnection, text: string) {
  const [found] = await all(
    duck,
    `SELECT coalesce(max(length(ltrim(split_part(ltrim(${text}, '-'), '.', 1), '0'))), 0)::VARCHAR AS whole,
       coalesce(max(length(split_part(${text}, '.', 2))), 0)::VARCHAR AS scale FROM raw`,
  );
  const scale = Math.max(1, Number(found?.scale));
  return decimal(text, Math.max(1, Number(found?.whole) + scale), scale);
}

/** NaN and the infinities become NULL. */
function finite({ type, sql }: { readonly type: DataType; readonly sql: string }) {
  return { type, sql: `CASE WHEN isfinite(${sql}) THEN ${sql} END` };
}

function text(name: string): Field {
  return { name, type: { kind: 'string' }, nullable: true, physicalName: name };
}

async function all(duck: DuckDBConnection, sql: string): Promise<readonly Readonly<Record<string, string | null>>[]> {
  const reader = await duck.runAndReadAll(sql);
  return reader
    .getRowObjectsJson()
    .map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? null : String(value)])),
    );
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
