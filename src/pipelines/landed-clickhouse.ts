import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ownName } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import { canonicalJsonFromText } from '../lake/nested.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType, isNested } from '../lake/relation-types.ts';
import type { DataType, Field } from '../lake/types.ts';
import { type ClickHouseClient, clickHouseClient } from '../sources/clickhouse-client.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';

export interface LandedInClickHouse {
  /** The table's name there. */
  readonly name: string;
  /** The run's table, for messages. */
  readonly table: string;
  /** What the snapshot holds: a String where it has a nested value is JSON text, a time where it has none with a zone is a wall clock. */
  readonly expected: ReadonlyMap<string, Field>;
  /** Columns that were never the source's: they are not even looked at. */
  readonly exclude?: readonly string[];
}

/**
 * A table of ClickHouse as it is there. The server writes its rows, cast to exact types, as one Parquet file into the engine's folder; the file has to hold as many as
 * the server counts. A table of an engine that merges rows later (Replacing, Collapsing, Summing, …) is read with FINAL: what it means to hold.
 * Throws `NotFound` where there is no such table, `UnsupportedFeature` naming the column of a type that has no exact one here, `UnrepresentableValue` naming the
 * column of a time with a part below the microsecond.
 */
export async function clickHouseRelation(
  engine: Engine,
  connection: Connection,
  landed: LandedInClickHouse,
  signal: AbortSignal,
): Promise<Relation> {
  const client = clickHouseClient(connection, { signal });
  try {
    const { from, columns } = await readingOf(client, connection, landed);
    const folder = join(engine.scratch, `clickhouse-${process.pid}-${sequence++}`);
    await mkdir(folder, { recursive: true });
    const file = join(folder, 'rows.parquet');
    // No name of the table's own: an alias would be taken for the column in the other values.
    const values = columns.map(({ value, type }, index) => `CAST(${value}, ${quoteString(type)}) AS ${ownName(index)}`);
    await client.parquet(`SELECT ${values.join(', ')} FROM ${from}`, file, { settings: parquet });
    const rows = await countOf(client, from);
    const relation = relationOver(columns, file, rows, `${landed.name} in ClickHouse`);
    await requireAll(engine, relation, rows, landed);
    return relation;
  } catch (error) {
    throw refusedTime(error, `Reading ${landed.table}`, landed.table) ?? error;
  } finally {
    client.close();
  }
}

/** The same as a SELECT for the server itself, which the table does not leave. Throws as `clickHouseRelation` does, but for values, which are refused when they are read. */
export async function clickHouseSelect(
  client: ClickHouseClient,
  connection: Connection,
  landed: LandedInClickHouse,
): Promise<{ readonly columns: readonly Field[]; readonly sql: string }> {
  const { from, columns } = await readingOf(client, connection, landed);
  return { columns: columns.map(({ field }) => field), sql: arrivedQuery(columns, `(${travelQuery(from, columns)})`) };
}

let sequence = 0;

/** Text as bytes, whatever is in it; other settings would let an old server write text only where it is UTF-8. */
const parquet = { output_format_parquet_string_as_string: 0, output_format_parquet_compression_method: 'zstd' };

interface FoundColumn {
  readonly name: string;
  readonly type: string;
}

interface ReadColumn {
  readonly field: Field;
  /** What the server computes. */
  readonly value: string;
  /** The type that this travels as; text for a nested value. */
  readonly type: string;
}

async function readingOf(
  client: ClickHouseClient,
  connection: Connection,
  landed: LandedInClickHouse,
): Promise<{ readonly from: string; readonly columns: readonly ReadColumn[] }> {
  const from = await sourceOf(client, connection, landed);
  const found = await columnsOf(client, connection, landed);
  const columns = found.filter(({ name }) => landed.exclude?.includes(name) !== true);
  return { from, columns: columns.map((column) => columnFor(column, landed)) };
}

/** Exact values under names of the project's own: an alias would be taken for the column of that name in the other values. */
function travelQuery(from: string, columns: readonly ReadColumn[]): string {
  const values = columns.map(({ value, type }, index) => `CAST(${value}, ${quoteString(type)}) AS ${ownName(index)}`);
  return `SELECT ${values.join(', ')} FROM ${from}`;
}

/** The canonical values of what `travelQuery` gave, under the columns' names. */
function arrivedQuery(columns: readonly ReadColumn[], from: string): string {
  const values = columns.map(({ field }, index) => {
    const value = isNested(field.type) ? canonicalJsonFromText(ownName(index), field.type) : ownName(index);
    return `${value} AS ${quoteIdentifier(field.name)}`;
  });
  return `SELECT ${values.join(', ')} FROM ${from}`;
}

/** The table, as a FROM names it. */
async function sourceOf(
  client: ClickHouseClient,
  { database }: Connection,
  { name }: LandedInClickHouse,
): Promise<string> {
  const [found] = await client.rows(
    `SELECT engine FROM system.tables WHERE database = ${quoteString(database)} AND name = ${quoteString(name)}`,
  );
  if (found === undefined)
    throw new ParityError('NotFound', `There is no table ${name} in the ClickHouse database ${database}.`);
  const table = `${quoteIdentifier(database)}.${quoteIdentifier(name)}`;
  return mergesLater.test(found.engine ?? '') ? `${table} FINAL` : table;
}

/** https://clickhouse.com/docs/engines/table-engines/mergetree-family; `Shared` is the cloud's. */
const mergesLater =
  /^(Replicated|Shared)?(Replacing|Collapsing|VersionedCollapsing|Summing|Aggregating|Coalescing)MergeTree$/;

async function columnsOf(
  client: ClickHouseClient,
  { database }: Connection,
  { name }: LandedInClickHouse,
): Promise<readonly FoundColumn[]> {
  // What is computed from other columns has not landed.
  const rows = await client.rows(
    `SELECT name, type FROM system.columns WHERE database = ${quoteString(database)} AND table = ${quoteString(name)}
     AND default_kind NOT IN ('ALIAS', 'EPHEMERAL', 'MATERIALIZED') ORDER BY position`,
  );
  return rows.map((row) => ({ name: row.name ?? '', type: row.type ?? '' }));
}

/** How a column is read: the table in docs/reference/types.md. */
function columnFor({ name, type: written }: FoundColumn, { table, expected }: LandedInClickHouse): ReadColumn {
  const type = plain(written);
  const read = reading(type, quoteIdentifier(name), expected.get(name)?.type, name);
  if (read === undefined)
    throw new ParityError(
      'UnsupportedFeature',
      `Reading ${table}, its column ${name} is of the type ${written}, which is not read exactly.`,
      {
        subject: table,
        advice: 'Have the pipeline land it as another type (a nested value as JSON text), or exclude the column.',
      },
    );
  const field: Field = { name, physicalName: name, type: read.as, nullable: true };
  return { field, value: read.value, type: isNested(read.as) ? 'Nullable(String)' : engineType(read.as) };
}

/** Without what changes how values are kept and not what they are. */
function plain(type: string): string {
  const [, inner] = /^(?:Nullable|LowCardinality)\(([\s\S]*)\)$/.exec(type) ?? [];
  if (inner !== undefined) return plain(inner);
  const [, simple] = /^SimpleAggregateFunction\(\w+, ([\s\S]*)\)$/.exec(type) ?? [];
  return simple === undefined ? type : plain(simple);
}

interface Reading {
  readonly as: DataType;
  readonly value: string;
}

function reading(type: string, column: string, expected: DataType | undefined, name: string): Reading | undefined {
  const simple = numbers.get(type);
  if (simple !== undefined) return { as: simple, value: column };
  const [, precision, scale] = /^Decimal\((\d+), (\d+)\)$/.exec(type) ?? [];
  if (precision !== undefined && Number(precision) <= 38)
    return { as: { kind: 'decimal', precision: Number(precision), scale: Number(scale) }, value: column };
  if (type === 'String') return { as: textOf(expected), value: column };
  // A cast would cut its zero bytes.
  if (/^FixedString\(/.test(type)) return { as: { kind: 'binary' }, value: `unhex(hex(${column}))` };
  if (type === 'Date' || type === 'Date32') return { as: { kind: 'date' }, value: `toInt32(${column})` };
  if (/^DateTime(\(|$)/.test(type))
    return { as: timeOf(expected), value: `toInt64(toUnixTimestamp(${column})) * 1000000` };
  const [, digits] = /^DateTime64\((\d)/.exec(type) ?? [];
  if (digits !== undefined) return { as: timeOf(expected), value: micros(column, Number(digits), name) };
  return written.test(type) ? { as: { kind: 'string' }, value: `toString(${column})` } : undefined;
}

/** Each has one exact text. A number of more than 38 digits is only equal to a text. */
const written = /^(UUID|IPv4|IPv6|Enum8\(|Enum16\(|Time$|Time64\(|U?Int(128|256)$|Decimal\()/;

/** The next wider type holds what is unsigned. */
const numbers: ReadonlyMap<string, DataType> = new Map<string, DataType>([
  ['Int8', { kind: 'byte' }],
  ['Int16', { kind: 'short' }],
  ['Int32', { kind: 'integer' }],
  ['Int64', { kind: 'long' }],
  ['UInt8', { kind: 'short' }],
  ['UInt16', { kind: 'integer' }],
  ['UInt32', { kind: 'long' }],
  ['UInt64', { kind: 'decimal', precision: 20, scale: 0 }],
  ['Float32', { kind: 'float' }],
  ['BFloat16', { kind: 'float' }],
  ['Float64', { kind: 'double' }],
  ['Bool', { kind: 'boolean' }],
]);

function textOf(expected: DataType | undefined): DataType {
  return expected !== undefined && (isNested(expected) || expected.kind === 'binary') ? expected : { kind: 'string' };
}

/** There is one type of time, an instant; its zone is only for display. */
function timeOf(expected: DataType | undefined): DataType {
  return { kind: expected?.kind === 'timestamp_ntz' ? 'timestamp_ntz' : 'timestamp' };
}

function micros(column: string, digits: number, name: string): string {
  if (digits <= 6) return `toUnixTimestamp64Micro(${column})`;
  const nanos = `toUnixTimestamp64Nano(${column})`;
  return `intDiv(${nanos} + throwIf(ifNull(${nanos} % 1000 != 0, false), ${quoteString(`${mark}${name}${mark}`)}), 1000)`;
}

/** A column's name inside an error of ours that the server hands back. */
const mark = '⟦nanoseconds⟧';

/** The error for a time with nanoseconds, where that is what the server's error says. */
export function refusedTime(error: unknown, doing: string, subject: string): ParityError | undefined {
  const column = error instanceof ParityError ? error.message.split(mark)[1] : undefined;
  if (column === undefined) return undefined;
  return new ParityError(
    'UnrepresentableValue',
    `${doing}, its column ${column} holds a time with a part below the microsecond, which is not read exactly.`,
    { subject, cause: error, advice: 'Land it as DateTime64(6), or as text.' },
  );
}

/** Counted by reading a column or none, and not from what the server has noted of the table. */
async function countOf(client: ClickHouseClient, from: string): Promise<number> {
  const [row] = await client.rows(`SELECT count() AS n FROM ${from}`, {
    settings: { optimize_trivial_count_query: 0 },
  });
  return Number(row?.n);
}

function relationOver(columns: readonly ReadColumn[], file: string, rows: number, name: string): Relation {
  const structure = columns.map(({ type }, index) => `${ownName(index)} ${type}`).join(', ');
  return {
    columns: columns.map(({ field }) => field),
    sql: arrivedQuery(columns, `file(${quoteString(file)}, Parquet, ${quoteString(structure)})`),
    rows,
    sizeBytes: undefined,
    name,
  };
}

/** Two statements have read the table: nobody may have written to it in between. */
async function requireAll(
  engine: Engine,
  { sql }: Relation,
  rows: number,
  { table }: LandedInClickHouse,
): Promise<void> {
  const [row] = await engine.rows<{ n: string }>(`SELECT count() AS n FROM (${sql})`);
  if (Number(row?.n) === rows) return;
  throw new ParityError(
    'CorruptTable',
    `Reading ${table} from ClickHouse, ${row?.n} rows came where it counts ${rows}.`,
    {
      subject: table,
      advice: 'Something still writes to the table: the pipeline must end after its last write has been carried out.',
    },
  );
}
