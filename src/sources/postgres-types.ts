import { ownName } from '../compare/row-digest.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType, isNested } from '../lake/relation-types.ts';
import type { DataType, Field } from '../lake/types.ts';
import { type Limits, planTable } from './plan.ts';
import { guarded, type RefusalReason, rangeRefusal } from './refusals.ts';
import type { SourceDriver, SourceTable, SourceTableColumn } from './source.ts';

/** https://www.postgresql.org/docs/current/limits.html */
const limits: Limits = {
  engine: 'Postgres',
  columns: 1600,
  identifier: { max: 63, unit: 'bytes' },
  reserved: ['ctid', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax'],
};

/** The table in docs/reference/types.md. */
export const planPostgres: SourceDriver['plan'] = (table, columns, options) =>
  planTable(table, columns, options, limits, ({ type }) => postgresType(type));

function postgresType(type: DataType): string {
  switch (type.kind) {
    case 'byte':
    case 'short':
      return 'smallint';
    case 'integer':
      return 'integer';
    case 'long':
      return 'bigint';
    case 'float':
      return 'real';
    case 'double':
      return 'double precision';
    case 'boolean':
      return 'boolean';
    case 'string':
      return 'text';
    case 'binary':
      return 'bytea';
    case 'date':
      return 'date';
    case 'timestamp':
      return 'timestamp(6) with time zone';
    case 'timestamp_ntz':
      return 'timestamp(6) without time zone';
    case 'decimal':
      return `numeric(${type.precision},${type.scale})`;
    // `json` keeps the text as it is; `jsonb` would put keys in another order.
    case 'struct':
    case 'array':
    case 'map':
      return 'json';
  }
}

/** A query whose TabSeparated output is what `COPY … FROM STDIN` reads: the same escapes, `\N` for NULL. */
export function copyInQuery(table: SourceTable, rows: Relation): string {
  const values = table.columns.map((column, index) => guarded(copyInValue(column.field), index, refusalsOf(column)));
  return `SELECT ${values.join(', ')} FROM (${rows.sql})`;
}

function copyInValue({ name, type }: Field): string {
  const column = quoteIdentifier(name);
  switch (type.kind) {
    case 'binary':
      return `concat('\\\\x', hex(${column}))`;
    case 'date':
      return dateText(column);
    case 'timestamp':
    case 'timestamp_ntz':
      return `fromUnixTimestamp64Micro(${column}, 'UTC')`;
    default:
      return column;
  }
}

/** The engine's own dates end at 2299 and begin at 1900; its DateTime64 prints all years from 1 to 9999. */
export function dateText(column: string): string {
  const exact = `substring(toString(fromUnixTimestamp64Micro(toInt64(${column}) * 86400000000, 'UTC')), 1, 10)`;
  return `if(${column} BETWEEN -25567 AND 120529, toString(toDate32(${column})), ${exact})`;
}

function refusalsOf({ field }: SourceTableColumn): readonly { when: string; reason: RefusalReason }[] {
  if (field.type.kind !== 'string') return rangeRefusal(field);
  return [{ when: `position(${quoteIdentifier(field.name)}, '\\0') > 0`, reason: 'nul' }];
}

/** How a column comes back: what Postgres is asked for, how its text arrives in the engine, and the canonical value made of that. */
export interface ReadColumn {
  readonly select: string;
  readonly arrives: string;
  readonly value: string;
}

/** Reading a column by `COPY … TO STDOUT`, in canonical engine types. Dates come as day numbers, all else as exact text. */
export function readColumn({ field, sqlType }: SourceTableColumn, index: number): ReadColumn {
  const column = pgIdentifier(field.name);
  const canonical = engineType(field.type);
  const plain = { select: column, arrives: canonical, value: ownName(index) };
  switch (field.type.kind) {
    case 'binary':
      return { ...plain, value: `unhex(substring(${ownName(index)}, 3))` };
    case 'date':
      return { ...plain, select: `${column} - DATE '1970-01-01'` };
    case 'timestamp':
      return micros(isZoned(sqlType) ? `${column} AT TIME ZONE 'UTC'` : column, index);
    case 'timestamp_ntz':
      return micros(isZoned(sqlType) ? `${column} AT TIME ZONE 'UTC'` : column, index);
    default:
      return isNested(field.type) || field.type.kind === 'string' ? { ...plain, select: `${column}::text` } : plain;
  }
}

function micros(select: string, index: number): ReadColumn {
  return { select, arrives: "Nullable(DateTime64(6, 'UTC'))", value: `toUnixTimestamp64Micro(${ownName(index)})` };
}

function isZoned(sqlType: string): boolean {
  return /with time zone|timestamptz/i.test(sqlType);
}

/** An identifier for Postgres. */
export function pgIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
