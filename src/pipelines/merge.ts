import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { ParityError } from '../support/error.ts';
import type { MergeRule } from './mutants.ts';

/** Landed rows and rows that were read, with the same columns in the same canonical types. */
export interface MergeSides {
  readonly columns: readonly string[];
  readonly key: readonly string[];
  /** SELECTs of `columns`, in that order. */
  readonly landed: string;
  readonly read: string;
  readonly readRows: number;
}

/**
 * The merged table as SELECTs whose rows together are its rows.
 *
 * The keys that were read are held in memory while a part is written, so that a large read is merged in parts by hash of the key, and memory is bound
 * by `keysPerPart` whatever the size of either side.
 */
export function mergeParts(sides: MergeSides, rule: MergeRule): string[] {
  return partitions(sides).map((part) => mergeOf(part, rule));
}

/**
 * How many landed rows the read rows replace. Throws `PipelineFailed` naming table and key where a key is there twice on either side, for a merge
 * cannot tell such rows apart.
 */
export async function replacedRows(
  engine: Engine,
  sides: MergeSides,
  table: string,
  signal: AbortSignal,
): Promise<number> {
  let replaced = 0;
  for (const { landed, read, key } of partitions(sides)) {
    for (const [side, sql] of [
      ['the source', read],
      [
        'the landed table',
        `SELECT * FROM (${landed}) WHERE ${identity(key)} IN (SELECT ${identity(key)} FROM (${read}))`,
      ],
    ] as const) {
      const [count] = await engine.rows<{ rows: string; keys: string }>(
        `SELECT count() AS rows, uniqExact(${identity(key)}) AS keys FROM (${sql}) SETTINGS optimize_move_to_prewhere = 0`,
        { signal },
      );
      if (count === undefined || count.rows !== count.keys) throw ambiguousKey(table, key, side);
      if (side === 'the landed table') replaced += Number(count.rows);
    }
  }
  return replaced;
}

const keysPerPart = 1_000_000;

function partitions(sides: MergeSides): MergeSides[] {
  const parts = Math.max(1, Math.ceil(sides.readRows / keysPerPart));
  if (parts === 1) return [sides];
  return Array.from({ length: parts }, (_, part) => {
    const only = (sql: string): string =>
      `SELECT ${list(sides.columns)} FROM (${sql}) WHERE xxh3(tuple(0, ${list(sides.key)})) % ${parts} = ${part}`;
    return { ...sides, landed: only(sides.landed), read: only(sides.read) };
  });
}

function mergeOf(sides: MergeSides, rule: MergeRule): string {
  const { columns, key, landed, read } = sides;
  const pick = (sql: string, where: string): string => `SELECT ${list(columns)} FROM (${sql}) WHERE ${where}`;
  const keys = (sql: string, where = '1'): string => `(SELECT ${identity(key)} FROM (${sql}) WHERE ${where})`;
  const union = (...parts: string[]): string => parts.join(' UNION ALL ');
  switch (rule) {
    case 'Replace':
      return union(pick(landed, `${identity(key)} NOT IN ${keys(read)}`), pick(read, '1'));
    case 'InsertOnly':
      return union(
        pick(landed, '1'),
        pick(read, `${identity(key)} NOT IN ${keys(landed, `${identity(key)} IN ${keys(read)}`)}`),
      );
    case 'Append':
      return union(pick(landed, '1'), pick(read, '1'));
    case 'NullUnsafe': {
      const matchable = noneNull(key);
      const hasNull = `NOT (${noneNull(columns)})`;
      // Matched by key, but the row hash of one side is NULL, and NULL is never found to differ: these updates are lost.
      const stuck = keys(
        landed,
        `${matchable} AND ${identity(key)} IN ${keys(read)} AND (${hasNull} OR ${identity(key)} IN ${keys(read, hasNull)})`,
      );
      return union(
        pick(landed, `${identity(key)} NOT IN ${keys(read, matchable)} OR ${identity(key)} IN ${stuck}`),
        pick(read, `${identity(key)} NOT IN ${stuck}`),
      );
    }
  }
}

function ambiguousKey(table: string, key: readonly string[], side: string): ParityError {
  return new ParityError(
    'PipelineFailed',
    `The reference pipeline cannot sync ${table} incrementally: it needs a key, and several rows of ${side} share one value of (${key.join(', ')}).`,
    {
      subject: table,
      advice: 'Name columns in snapshot.tables[].key that tell the rows apart, or sync the table in full.',
    },
  );
}

function list(columns: readonly string[]): string {
  return columns.map(quoteIdentifier).join(', ');
}

/**
 * What a row's key is, NULL being equal to NULL. The engine's own `transform_null_in` will not do: with it, a set that holds NULL lets the Parquet reader
 * skip row groups that hold NULL, and matching rows are not found.
 */
function identity(key: readonly string[]): string {
  const parts = key
    .map(quoteIdentifier)
    .flatMap((name) => [`isNull(${name})`, `ifNull(${name}, defaultValueOfArgumentType(assumeNotNull(${name})))`]);
  return `(${parts.join(', ')})`;
}

function noneNull(columns: readonly string[]): string {
  return columns.map((column) => `isNotNull(${quoteIdentifier(column)})`).join(' AND ');
}
