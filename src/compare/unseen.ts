import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import type { UnseenCounts } from './result.ts';
import type { PlannedColumn } from './schema.ts';
import { engineType, valueTypeOf } from './types.ts';

/** How the candidate was last synced: by a cursor, from `base` to the baseline. */
export interface UnseenOptions {
  /** What the sources held, and the candidate had landed, before the incremental sync. */
  readonly base: Relation;
  readonly cursor: string;
  /** How the pipeline compares with the last cursor value it saw: `>=` or `>`. */
  readonly bound: 'Inclusive' | 'Exclusive';
  /** Whether rows that the cursor cannot see count as differences. */
  readonly policy: 'Expected' | 'Fail';
}

/** The expression of each planned column over a row of the base; a column that the base does not have yet is NULL there. */
export function baseExpressions(base: Relation): (column: PlannedColumn) => string {
  const fields = new Map(base.columns.map((field) => [field.name, field]));
  return ({ name, type, ofBase }) => {
    const field = fields.get(name);
    if (field === undefined) return `CAST(NULL, '${engineType(type)}')`;
    const column = `side.${quoteIdentifier(name)}`;
    if (ofBase !== undefined) return ofBase(column);
    const value =
      engineType(valueTypeOf(field.type)) === engineType(type) ? column : `CAST(${column}, '${engineType(type)}')`;
    return type.kind === 'float' ? `if(isNaN(${value}), CAST('nan', '${engineType(type)}'), ${value})` : value;
  };
}

/** The cursor of a relation: its engine type and the expression over a row of `side`. Throws `InvalidSpec` where there is no such column. */
export function cursorOf(relation: Relation, cursor: string, table: string): { type: string; sql: string } {
  const field = relation.columns.find((column) => column.name === cursor);
  const type = field === undefined ? undefined : valueTypeOf(field.type);
  if (type === undefined || type.kind === 'json')
    throw new ParityError(
      'InvalidSpec',
      `Comparing ${table}: the cursor ${cursor} is no column of ${relation.name} that has an order.`,
      {
        subject: `${table}.${cursor}`,
        advice: 'Name a column with numbers, dates, times or text as the cursor of the table.',
      },
    );
  return { type: engineType(type), sql: `side.${quoteIdentifier(cursor)}` };
}

/** The greatest cursor of the base as a literal of the engine, or undefined where it has none (no rows, or only NULLs). One pass over one column. */
export async function lastCursor(
  engine: Engine,
  { base, cursor }: UnseenOptions,
  table: string,
  options: QueryOptions,
): Promise<string | undefined> {
  const { type, sql } = cursorOf(base, cursor, table);
  const [row] = await engine.rows<{ last: string | null }>(
    `SELECT hex(toString(max(${sql}))) AS last FROM (${base.sql}) AS side`,
    options,
  );
  return row?.last == null ? undefined : `CAST(unhex(${quoteString(row.last)}), '${type}')`;
}

/**
 * SQL over the pairs for why the incremental sync could not see a difference; '' where it could have. Only where the candidate's rows of
 * the key are exactly the base's can a difference be unseen:
 *
 * - `deleted`: in the base, no longer in the baseline; a cursor sees no deletes;
 * - `nullCursor`: the row's cursor is NULL, which is neither greater nor equal;
 * - `lateRow`: inserted with a cursor less than the base's greatest, so it was passed already;
 * - `tiedCursor`: inserted, or moved to, exactly the base's greatest cursor, and the pipeline asks for greater ones only;
 * - `unmovedCursor`: updated, but its cursor did not pass the base's greatest.
 */
export function unseenReason(last: string | undefined, bound: UnseenOptions['bound']): string {
  const isBefore = last === undefined ? '0' : `ifNull(x < ${last}, 0)`;
  const isTied = last === undefined || bound === 'Inclusive' ? '0' : `ifNull(x = ${last}, 0)`;
  return `multiIf(
    NOT is_base, '',
    class IN ('extra', 'duplicate'), if(in_base, 'deleted', ''),
    isNull(x), 'nullCursor',
    class = 'missing', multiIf(${isBefore}, 'lateRow', ${isTied}, 'tiedCursor', ''),
    ${isBefore} OR (${isTied} AND x <=> ax), 'unmovedCursor',
    ${isTied}, 'tiedCursor',
    '')`;
}

/** All zero: nothing unseen. */
export function noUnseen(): Record<keyof UnseenCounts, number> {
  return { deleted: 0, nullCursor: 0, tiedCursor: 0, lateRow: 0, unmovedCursor: 0 };
}

/** Whether a text is the name of a reason. */
export function isUnseenReason(text: string): text is keyof UnseenCounts {
  return text in noUnseen();
}
