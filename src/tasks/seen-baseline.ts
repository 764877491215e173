import { cursorOf, lastCursor } from '../compare/unseen.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType } from '../lake/relation-types.ts';
import type { ResolvedSide } from '../run/types.ts';
import { snapshotRelation } from './relations.ts';
import type { TaskContext } from './task.ts';

/**
 * The baseline of a query after an incremental sync: the snapshot as a pipeline that follows the cursor can know it. Rows that the cursor passes come from
 * the target; of every other key the rows are those of the base. So a query does not fail because of what no cursor can see, which
 * the comparison of the tables counts and shows.
 *
 * Returns the baseline itself where that does not apply: another side than the target of the snapshot, a table without base, key or cursor, a base
 * without any cursor value, or `comparison.unseen: Fail`.
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
  const bound = spec.pipelines.find((one) => one.name === candidate.pipeline)?.cursorBound ?? 'Inclusive';
  const base = await snapshotRelation(context, engine, name, 'Base', { source });
  const options = { base, cursor: table.cursor, bound, policy: spec.comparison.unseen };
  const last = await lastCursor(engine, options, name, { signal: context.signal });
  if (last === undefined) return baseline;

  const { sql: cursor } = cursorOf(baseline, table.cursor, name);
  const isSeen = `ifNull(${cursor} ${bound === 'Inclusive' ? '>=' : '>'} ${last}, 0)`;
  // A hash of the key instead of the key: it is never NULL, so that a NULL in a key equals a NULL.
  const hash = `sipHash128(tuple(0, ${table.key.map((column) => `side.${quoteIdentifier(column)}`).join(', ')}))`;
  const columns = baseline.columns.map(({ name: column }) => quoteIdentifier(column)).join(', ');
  const baseColumns = baseline.columns
    .map(({ name: column, type }) => {
      const own = base.columns.some((field) => field.name === column);
      return `CAST(${own ? quoteIdentifier(column) : 'NULL'}, '${engineType(type)}') AS ${quoteIdentifier(column)}`;
    })
    .join(', ');
  return {
    columns: baseline.columns,
    rows: undefined,
    sizeBytes: baseline.sizeBytes,
    name: `${baseline.name} as its cursor sees it`,
    sql: `SELECT ${columns} FROM (${baseline.sql}) AS side WHERE ${isSeen}
      UNION ALL SELECT ${baseColumns} FROM (SELECT side.*, ${hash} AS parity_key FROM (${base.sql}) AS side) AS old
      LEFT ANTI JOIN (SELECT ${hash} AS parity_key FROM (${baseline.sql}) AS side WHERE ${isSeen}) AS seen USING (parity_key)`,
  };
}

export interface SeenOptions {
  readonly side: ResolvedSide;
  readonly candidate: ResolvedSide;
  readonly table: string;
  readonly source: string | undefined;
}
