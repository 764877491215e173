import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';

export interface RowDigest {
  readonly rows: number;
  /** `<rows>-<sum of 128-bit row hashes>`, hex. */
  readonly digest: string;
}

/**
 * Digest of a relation's rows that does not depend on their order: their number and the sum of a 128-bit hash of each. Two relations with the
 * same columns have equal digests if and only if they hold the same rows, duplicates counted (up to a collision, 1 in 2^128).
 * Reads the relation once; memory does not grow with it.
 *
 * Throws `CorruptTable` where the relation knows its number of rows and another number came.
 */
export async function rowDigest(engine: Engine, relation: Relation, options: QueryOptions = {}): Promise<RowDigest> {
  const [found] = await engine.rows<Record<string, string>>(
    `SELECT count() AS ${ownName('n')}, toString(sum(${rowHash(relation.columns)})) AS ${ownName('h')} FROM (${relation.sql})`,
    options,
  );
  const rows = Number(found?.['parity~n'] ?? 0);
  if (relation.rows !== undefined && relation.rows !== rows)
    throw new ParityError(
      'CorruptTable',
      `Reading ${relation.name} gave ${rows} rows where its own metadata counts ${relation.rows}.`,
      {
        subject: relation.name,
        advice: 'Check the data files of the table: one may be truncated, or its statistics wrong.',
      },
    );
  const sum = BigInt.asUintN(128, BigInt(found?.['parity~h'] ?? 0));
  return { rows, digest: `${rows.toString(16)}-${sum.toString(16).padStart(32, '0')}` };
}

/** Digest of each column by itself, to say which column differs; columns swapped between rows are not seen by it. */
export async function columnDigests(
  engine: Engine,
  relation: Relation,
  options: QueryOptions = {},
): Promise<ReadonlyMap<string, string>> {
  const sums = relation.columns.map((column, index) => `toString(sum(${rowHash([column])})) AS ${ownName(index)}`);
  const [found] = await engine.rows<Record<string, string>>(
    `SELECT ${sums.join(', ')} FROM (${relation.sql})`,
    options,
  );
  return new Map(relation.columns.map((column, index) => [column.name, found?.[`parity~${index}`] ?? '']));
}

/**
 * A quoted name for what a query computes beside a table's own columns. In the engine an alias hides a column of its name wherever the query says it,
 * so a plain `n` would replace a user's column `n` without a word; columns that begin with `parity~` are refused.
 */
export function ownName(name: string | number): string {
  return `\`parity~${name}\``;
}

/**
 * UInt128 expression over the columns of a relation in canonical types. Over a tuple, because the hash of a bare NULL is NULL; -0.0 and 0.0 are
 * different, and every NaN is the same (no text keeps the bits of one).
 */
export function rowHash(columns: readonly Field[]): string {
  const values = columns.map(({ name, type }) => {
    const column = quoteIdentifier(name);
    return type.kind === 'float' || type.kind === 'double' ? `if(isNaN(${column}), nan, ${column})` : column;
  });
  return `reinterpretAsUInt128(xxh3_128(tuple(${values.join(', ')})))`;
}
