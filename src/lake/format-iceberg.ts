import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { ParityError, toParityError } from '../support/error.ts';
import type { Relation } from './relation.ts';
import { icebergTable } from './relation-source.ts';
import type { ObjectReader } from './store.ts';
import type { DataType, Field } from './types.ts';

/**
 * An Iceberg table as the engine reads it, at a snapshot id or the newest. Rows are not known beforehand. Nested columns are refused by name:
 * the engine reads NULL arrays, maps and structs as empty ones. Dates outside 1900–2299 end the reading with an error.
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
  if (found === undefined) {
    throw new ParityError(
      'UnsupportedFeature',
      `Reading ${table}, the column ${name} is of the type ${inner}, which is not read exactly from Iceberg.`,
      {
        subject: name,
        advice: `Compare without the column (--ignore ${name}), or its table as parquet: files.`,
      },
    );
  }
  const field = { name, physicalName: name, type: found.type, nullable: inner !== described };
  return { field, value: `CAST(${found.value(column)}, 'Nullable(${found.as})')` };
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
