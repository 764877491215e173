import { cursorOf, lastCursor } from '../compare/unseen.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType } from '../lake/relation-types.ts';
import { cursorBoundOf } from '../pipelines/cursor-bound.ts';
import type { ResolvedSide } from '../run/types.ts';
import { snapshotRelation } from './relations.ts';
import type { TaskContext } from './task.ts';

/**
 * The baseline of a query after an incremental sync: the snapshot as a pipeline that follows the cursor can know it. Rows that the cursor passes come from
 * the target; of every other key the rows are those of the base. So a query does not fail because of what no cursor can see, which
 * the comparison of the tables counts and shows.
 *
 * Returns the baseline itself where that does not apply: another side than the target of the snapshot, a table without base, key or cursor, a base
 * without any cursor value, a pipeline that reads all of the table each time, or `comparison.unseen: Fail`.
 */
export async function seenBaseline(
  context: TaskContext,
  engine: Engine,
  baseline: Relation,
  { side, candidate, table: name, source }: SeenOptions,
): Promise<Relation> {
  const { spec } = context.file;
  const table = spec.snapshot.tables.find((one) => one.name === name);
  if (side.kind !== 'snapshot' || side.at !== 'Target' || candidate.kind !== 'pipeline') return baseline;
  if (table?.cursor === undefined || table.baseVersion === undefined || table.key.length === 0) return baseline;
  if (spec.comparison.unseen === 'Fail') return baseline;
  const base = await snapshotRelation(context, engine, name, 'Base', { source });
  const pipeline = spec.pipelines.find((one) => one.name === candidate.pipeline);
  const bound = pipeline === undefined ? 'Inclusive' : cursorBoundOf(pipeline, table, table.cursor, base);
  if (bound === undefined) return baseline;
  return await asSeen(engine, baseline, base, {
    table: name,
    key: table.key,
    cursor: table.cursor,
    bound,
    signal: context.signal,
  });
}

/** Rows of `target` that a cursor passes after `base`, and the base's rows of every other key. `target` itself where the base has no cursor value. */
export async function asSeen(
  engine: Engine,
  target: Relation,
  base: Relation,
  { table, key, cursor, bound, signal }: CursorOptions,
): Promise<Relation> {
  const last = await lastCursor(engine, { base, cursor, bound, policy: 'Expected' }, table, { signal });
  if (last === undefined) return target;
  const isSeen = `ifNull(${cursorOf(target, cursor, table).sql} ${bound === 'Inclusive' ? '>=' : '>'} ${last}, 0)`;
  // A hash of the key instead of the key: it is never NULL, so that a NULL in a key equals a NULL.
  const hash = `sipHash128(tuple(0, ${key.map((column) => `side.${quoteIdentifier(column)}`).join(', ')}))`;
  const columns = target.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const baseColumns = target.columns
    .map(({ name, type }) => {
      const isInBase = base.columns.some((field) => field.name === name);
      return `CAST(${isInBase ? quoteIdentifier(name) : 'NULL'}, '${engineType(type)}') AS ${quoteIdentifier(name)}`;
    })
    .join(', ');
  return {
    columns: target.columns,
    rows: undefined,
    sizeBytes: target.sizeBytes,
    name: `${target.name} as its cursor sees it`,
    sql: `SELECT ${columns} FROM (${target.sql}) AS side WHERE ${isSeen}
      UNION ALL SELECT ${baseColumns} FROM (SELECT side.*, ${hash} AS parity_key FROM (${base.sql}) AS side) AS old
      LEFT ANTI JOIN (SELECT ${hash} AS parity_key FROM (${target.sql}) AS side WHERE ${isSeen}) AS seen USING (parity_key)`,
  };
}

export interface CursorOptions {
  readonly table: string;
  readonly key: readonly string[];
  readonly cursor: string;
  readonly bound: 'Inclusive' | 'Exclusive';
  readonly signal: AbortSignal;
}

export interface SeenOptions {
  readonly side: ResolvedSide;
  readonly candidate: ResolvedSide;
  readonly table: string;
  readonly source: string | undefined;
}
