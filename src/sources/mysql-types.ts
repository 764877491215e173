import { ownName } from '../compare/row-digest.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType } from '../lake/relation-types.ts';
import type { DataType, Field } from '../lake/types.ts';
import { type Limits, planTable } from './plan.ts';
import { dateText, type ReadColumn } from './postgres-types.ts';
import { guarded, type RefusalReason, rangeRefusal } from './refusals.ts';
import type { SourceDriver, SourceTable, SourceTableColumn } from './source.ts';

/** https://dev.mysql.com/doc/refman/8.4/en/innodb-limits.html and https://dev.mysql.com/doc/refman/8.4/en/identifier-length.html */
const limits: Limits = { engine: 'MySQL', columns: 1017, identifier: { max: 64, unit: 'characters' }, reserved: [] };

/** An index of InnoDB holds 3,072 bytes, and a character up to 4 of them. */
export const maxKeyBytes = 3072;

/** The table in docs/reference/types.md. */
export const planMysql: SourceDriver['plan'] = (table, columns, options) =>
  planTable(table, columns, options, limits, ({ name, type }, isKey) =>
    isKey ? keyType(type, options.keyLengths?.[name]) : mysqlType(type),
  );

function mysqlType(type: DataType): string | undefined {
  switch (type.kind) {
    case 'byte':
      return 'tinyint';
    case 'short':
      return 'smallint';
    case 'integer':
      return 'int';
    case 'long':
      return 'bigint';
    case 'float':
      return 'float';
    case 'double':
      return 'double';
    case 'boolean':
      return 'tinyint(1)';
    case 'string':
      return 'longtext';
    case 'binary':
      return 'longblob';
    case 'date':
      return 'date';
    // An instant is kept as its wall clock in UTC: MySQL's own `timestamp` ends in 2038.
    case 'timestamp':
    case 'timestamp_ntz':
      return 'datetime(6)';
    // MySQL's decimals have at most 30 digits behind the point; MariaDB's 38.
    case 'decimal':
      return type.scale > 30 ? undefined : `decimal(${type.precision},${type.scale})`;
    // Text, because the type `json` of MySQL orders keys anew and respells numbers.
    case 'struct':
    case 'array':
    case 'map':
      return 'longtext';
  }
}

/** Text of any length cannot be a key: it gets the length that the data needs. */
function keyType(type: DataType, length = 255): string | undefined {
  if (type.kind === 'string') return `varchar(${Math.max(1, length)})`;
  if (type.kind === 'binary') return `varbinary(${Math.max(1, length)})`;
  return mysqlType(type);
}

/**
 * A query whose CSV output is what `LOAD DATA` reads with `OPTIONALLY ENCLOSED BY '"' ESCAPED BY ''`: quotes doubled, all other bytes as they are,
 * so that text and binary travel untouched. (In its own escaped format `\f` would become `f`.)
 */
export function loadDataQuery(table: SourceTable, rows: Relation): string {
  const values = table.columns.map((column, index) => guarded(loadValue(column.field), index, refusalsOf(column)));
  return `SELECT ${values.join(', ')} FROM (${rows.sql}) SETTINGS format_csv_null_representation = 'NULL'`;
}

export const loadDataFormat = `CHARACTER SET binary FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' ESCAPED BY '' LINES TERMINATED BY '\\n'`;

function loadValue({ name, type }: Field): string {
  const column = quoteIdentifier(name);
  switch (type.kind) {
    case 'date':
      return dateText(column);
    case 'timestamp':
    case 'timestamp_ntz':
      return `fromUnixTimestamp64Micro(${column}, 'UTC')`;
    case 'boolean':
      return `toUInt8(${column})`;
    // The shortest text of the largest float is, read as a double, too large for a float.
    case 'float':
      return `toFloat64(${column})`;
    default:
      return column;
  }
}

function refusalsOf({ field }: SourceTableColumn): readonly { when: string; reason: RefusalReason }[] {
  if (field.type.kind !== 'float' && field.type.kind !== 'double') return rangeRefusal(field);
  const column = quoteIdentifier(field.name);
  // LOAD DATA turns each of these into 0 with a warning at most.
  return [
    { when: `isNaN(${column})`, reason: 'nan' },
    { when: `isInfinite(${column})`, reason: 'infinity' },
    { when: `${column} = 0 AND sign(1 / ${column}) = -1`, reason: 'negativeZero' },
  ];
}

/** Reading a column through the engine's `mysql()` function: integers by themselves, all else as exact text or a count since the epoch. */
export function readMysqlColumn({ field, sqlType }: SourceTableColumn, index: number): ReadColumn {
  const column = mysqlIdentifier(field.name);
  const canonical = engineType(field.type);
  const arrived = ownName(index);
  const asText = {
    select: `CAST(${column} AS CHAR)`,
    arrives: 'Nullable(String)',
    value: `CAST(${arrived} AS ${canonical})`,
  };
  switch (field.type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
      return asText;
    case 'boolean':
      return { ...asText, value: `CAST(${arrived} = '1' AS ${canonical})` };
    // A float prints six digits; the double that it equals prints all.
    case 'float':
      return {
        ...asText,
        select: `CAST(${column} + 0.0e0 AS CHAR)`,
        value: `toFloat32(CAST(${arrived} AS Nullable(Float64)))`,
      };
    case 'double':
    case 'decimal':
      return asText;
    case 'date':
      return { ...asText, select: `CAST(TO_DAYS(${column}) - 719528 AS CHAR)` };
    case 'timestamp':
    case 'timestamp_ntz':
      return { ...asText, select: `CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${utc(column, sqlType)}) AS CHAR)` };
    case 'binary':
      return { ...asText, select: column, value: arrived };
    default:
      return { ...asText, select: isText(sqlType) ? column : asText.select, value: arrived };
  }
}

/** Only the type `timestamp` is shown in the zone of whoever asks. */
function utc(column: string, sqlType: string): string {
  return /^timestamp/i.test(sqlType) ? `CONVERT_TZ(${column}, @@session.time_zone, '+00:00')` : column;
}

function isText(sqlType: string): boolean {
  return /^(long|medium|tiny)?text$|^varchar/i.test(sqlType);
}

/** An identifier for MySQL. */
export function mysqlIdentifier(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}
