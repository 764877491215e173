import { gunzipSync } from 'node:zlib';
import { isObject } from '../api/json.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { ParityError, toParityError } from '../support/error.ts';
import type { Relation } from './relation.ts';
import { icebergTable } from './relation-source.ts';
import type { ObjectReader } from './store.ts';
import type { DataType, Field } from './types.ts';

/**
 * An Iceberg table as the engine reads it, at a snapshot id or the newest. Rows are not known beforehand. Nested columns are refused by name:
 * the engine reads NULL arrays, maps and structs as empty ones. So are times of day, which it reads as whole seconds. Dates outside 1900–2299 end the reading with an error.
 */
export async function icebergRelation(
  engine: Engine,
  reader: ObjectReader,
  path: string,
  snapshotId: string | undefined,
  omit: readonly string[] = [],
): Promise<Relation> {
  const name = `${reader.url(path)}${snapshotId === undefined ? '' : `@${snapshotId}`}`;
  const table = await icebergTable(engine, reader, path);
  const settings = snapshotId === undefined ? '' : ` SETTINGS iceberg_snapshot_id = ${BigInt(snapshotId)}`;
  const described = await describe(engine, `${table}${settings}`, name);
  const wanted = described.filter((column) => !omit.includes(column.name));
  const times = await timeColumns(reader, path);
  const time = wanted.find((column) => times.has(column.name));
  if (time !== undefined) throw unread(time.name, 'time', name);
  const columns = wanted.map((column) => icebergColumn(column.name, column.type, name));
  const values = columns.map(({ field, value }) => `${value} AS ${quoteIdentifier(field.name)}`);
  return {
    columns: columns.map(({ field }) => field),
    sql: `SELECT ${values.join(', ')} FROM ${table} AS t${settings}`,
    rows: undefined,
    name,
    sizeBytes: undefined,
  };
}

/** Names that a schema of the newest metadata gives to a time of day: the engine's description says only that it is a number. */
async function timeColumns(reader: ObjectReader, path: string): Promise<ReadonlySet<string>> {
  const versions = new Map<string, number>();
  for await (const { key } of reader.list(`${path}/metadata/`)) {
    const version = /\/v?(\d+)[^/]*\.metadata\.json(\.gz)?$/.exec(key)?.[1];
    if (version !== undefined) versions.set(key, Number(version));
  }
  const newest = Math.max(...versions.values());
  const names = new Set<string>();
  for (const [key, version] of versions) {
    if (version !== newest) continue;
    const bytes = await reader.get(key);
    const text = (/\.gz(\.|$)/.test(key) ? gunzipSync(bytes) : bytes).toString('utf8');
    for (const name of timeFields(JSON.parse(text))) names.add(name);
  }
  return names;
}

function timeFields(metadata: unknown): string[] {
  if (!isObject(metadata)) return [];
  const schemas = [metadata.schema, ...(Array.isArray(metadata.schemas) ? metadata.schemas : [])];
  const fields = schemas.flatMap((schema: unknown) =>
    isObject(schema) && Array.isArray(schema.fields) ? schema.fields : [],
  );
  return fields.flatMap((field: unknown): string[] =>
    isObject(field) && field.type === 'time' && typeof field.name === 'string' ? [field.name] : [],
  );
}

async function describe(engine: Engine, table: string, name: string): Promise<{ name: string; type: string }[]> {
  try {
    return await engine.rows(`DESCRIBE ${table}`);
  } catch (error) {
    const { message, code } = toParityError(error);
    const isGone = /No snapshot found/i.test(message);
    const found = isGone ? 'that snapshot is not in its metadata' : message;
    throw new ParityError(isGone ? 'VersionGone' : code, `Reading the Iceberg table ${name}: ${found}`, {
      subject: name,
      cause: error,
    });
  }
}

function icebergColumn(name: string, described: string, table: string): { field: Field; value: string } {
  const column = `t.${quoteIdentifier(name)}`;
  const inner = /^Nullable\((.*)\)$/s.exec(described)?.[1] ?? described;
  const found = typeOf(inner);
  if (found === undefined) throw unread(name, inner, table);
  const field = { name, physicalName: name, type: found.type, nullable: inner !== described };
  return { field, value: `CAST(${found.value(column)}, 'Nullable(${found.as})')` };
}

function unread(column: string, type: string, table: string): ParityError {
  return new ParityError(
    'UnsupportedFeature',
    `Reading ${table}, the column ${column} is of the type ${type}, which is not read exactly from Iceberg.`,
    {
      subject: column,
      advice: `Compare without the column (--ignore ${column}), or its table as parquet: files.`,
    },
  );
}

interface Found {
  readonly type: DataType;
  readonly as: string;
  readonly value: (column: string) => string;
}

function typeOf(described: string): Found | undefined {
  const same = (type: DataType): Found => ({ type, as: described, value: (column) => column });
  const time = (kind: 'timestamp' | 'timestamp_ntz'): Found => ({
    type: { kind },
    as: 'Int64',
    value: (column) => `toUnixTimestamp64Micro(${column})`,
  });
  const [, precision, scale] = /^Decimal\((\d+), (\d+)\)$/.exec(described) ?? [];
  if (precision !== undefined) return same({ kind: 'decimal', precision: Number(precision), scale: Number(scale) });
  if (/^DateTime64\(6, '.+'\)$/.test(described)) return time('timestamp');
  switch (described) {
    case 'Int32':
      return same({ kind: 'integer' });
    case 'Int64':
      return same({ kind: 'long' });
    case 'Float32':
      return same({ kind: 'float' });
    case 'Float64':
      return same({ kind: 'double' });
    case 'Bool':
      return same({ kind: 'boolean' });
    case 'String':
      return same({ kind: 'string' });
    case 'Date32':
    case 'Date':
      return { type: { kind: 'date' }, as: 'Int32', value: (column) => `toInt32(${column})` };
    case 'DateTime64(6)':
      return time('timestamp_ntz');
    default:
      return undefined;
  }
}
