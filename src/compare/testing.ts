import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import type { DataType, Field } from '../lake/types.ts';
import type { CompareOptions } from './compare.ts';
import { engineType, valueTypeOf } from './types.ts';

/** Small tables for tests: columns by name, and rows of plain values (dates as days, timestamps as microseconds). */
export type TableSpec = Readonly<Record<string, DataType & { readonly notNull?: boolean }>>;
export type Row = readonly (string | number | boolean | bigint | null)[];

export const defaults: CompareOptions = { table: 't', key: ['id'], columns: [], samples: 20, values: 'Masked' };

export function relationOf(spec: TableSpec, rows: readonly Row[], name = 'test'): Relation {
  const columns: Field[] = Object.entries(spec).map(([column, { notNull, ...type }]) => ({
    name: column,
    physicalName: column,
    nullable: notNull !== true,
    type,
  }));
  const select = (values: readonly string[]): string =>
    `SELECT ${columns.map((field, i) => `CAST(${values[i] ?? 'NULL'}, ${quoteString(engineType(valueTypeOf(field.type)))}) AS ${quoteIdentifier(field.name)}`).join(', ')}`;
  const sql =
    rows.length === 0 ? `${select([])} WHERE 0` : rows.map((row) => select(row.map(literal))).join(' UNION ALL ');
  return { columns, sql, rows: rows.length, name, sizeBytes: undefined };
}

function literal(value: Row[number]): string {
  // Materialized: a UNION of constants takes 0 and -0 for one.
  return `materialize(${constant(value)})`;
}

function constant(value: Row[number]): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return quoteString(value);
  if (typeof value === 'boolean') return String(value);
  if (Object.is(value, -0)) return "'-0'";
  return `'${String(value).replace('NaN', 'nan').replace('Infinity', 'inf')}'`;
}
