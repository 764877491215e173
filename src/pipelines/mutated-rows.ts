import { quoteIdentifier } from '../engine/sql.ts';
import { engineType } from '../lake/relation-types.ts';
import type { Field } from '../lake/types.ts';
import { batchRows, type Mutant } from './mutants.ts';

export interface ReadShape {
  /** The source's columns. */
  readonly fields: readonly Field[];
  readonly key: readonly string[];
  readonly cursor: string | undefined;
  /** A SELECT of `fields` in canonical types, and how many rows it has. */
  readonly sql: string;
  readonly rows: number;
  /** The columns to land: some or all of `fields`. */
  readonly columns: readonly Field[];
}

/** The rows as this mutant lands them: a SELECT of `columns` in canonical types. Without a bug these are the rows that were read. */
export function mutatedRows(read: ReadShape, mutant: Mutant): string {
  const movable = read.columns.filter(({ name }) => !read.key.includes(name) && name !== read.cursor);
  const values = read.columns.map((column) => {
    const name = quoteIdentifier(column.name);
    // The source's own type decides: a struct that lands as JSON text is no string to a bug.
    const field = read.fields.find((other) => other.name === column.name) ?? column;
    const changed = mutant.value(
      field,
      read.fields.filter((other) => movable.some(({ name }) => name === other.name)),
    );
    return changed === undefined ? `r.${name} AS ${name}` : `CAST(${changed}, '${engineType(column.type)}') AS ${name}`;
  });
  return `SELECT ${values.join(', ')} FROM (${selectedRows(read, mutant)}) AS r`;
}

function selectedRows(read: ReadShape, { rows }: Mutant): string {
  const all = `SELECT ${list(read.fields.map(({ name }) => name))} FROM (${read.sql})`;
  switch (rows) {
    case 'All':
      return all;
    case 'AllAndFirstBatchTwice':
      return `${all} UNION ALL SELECT * FROM (${all} ORDER BY ${keyOrder(read)} LIMIT ${batchRows})`;
    case 'WithoutLastBatch':
      return `${all} ORDER BY ${keyOrder(read)} LIMIT ${Math.max(0, Math.ceil(read.rows / batchRows) - 1) * batchRows}`;
    case 'WithoutTail': {
      const lost = Math.max(1, Math.floor(read.rows / 100));
      const order = read.cursor === undefined ? '' : `${quoteIdentifier(read.cursor)} ASC NULLS FIRST, `;
      return `${all} ORDER BY ${order}${keyOrder(read)} LIMIT ${Math.max(0, read.rows - lost)}`;
    }
  }
}

/** An order that is the same in every run: a source hands out its rows in any. */
function keyOrder({ key, fields }: ReadShape): string {
  return list(key.length === 0 ? fields.map(({ name }) => name) : key);
}

function list(columns: readonly string[]): string {
  return columns.map(quoteIdentifier).join(', ');
}
