import type { Engine, QueryOptions } from '../engine/engine.ts';
import type { SideSql } from './digest.ts';
import type { Cause, SchemaDifference } from './result.ts';
import type { ComparisonPlan } from './schema.ts';

/** What is known of the rows that differ and count. */
export interface CountedRows {
  /** Subquery over the pairs. */
  readonly sql: string;
  readonly missing: number;
  readonly baselineRows: number;
  /** Surplus rows that equal another row of their key. */
  readonly copies: number;
  /** Extra rows whose key the base has, and surplus rows that the base holds exactly so. */
  readonly cameBack: number;
}

/**
 * Rules that explain whole rows or a whole column: `DuplicatedBatch` (two or more exact copies), `ResurrectedDelete` (extra or surplus
 * rows that the base had), `MissingTail` (exactly the rows at the end of the cursor's or the key's order), `MissingBatch` (exactly the rows of one
 * range of it), `ColumnDropped`.
 */
export async function tableCauses(
  engine: Engine,
  plan: ComparisonPlan,
  baseline: SideSql,
  rows: CountedRows,
  cursor: string | undefined,
  options: QueryOptions,
): Promise<Cause[]> {
  const causes: Cause[] = [];
  if (rows.copies > 1) causes.push({ rule: 'DuplicatedBatch', detail: 'exact copies of rows', explains: rows.copies });
  if (rows.cameBack > 0)
    causes.push({ rule: 'ResurrectedDelete', detail: 'rows of the base version', explains: rows.cameBack });
  const missing = await missingCause(engine, plan, baseline, rows, cursor, options);
  if (missing !== undefined) causes.push(missing);
  return causes;
}

/** One cause a column that the candidate no longer has. */
export function droppedColumns(differences: readonly SchemaDifference[]): Cause[] {
  return differences
    .filter(({ difference, counts }) => difference === 'Missing' && counts)
    .map(({ column }) => ({ rule: 'ColumnDropped', detail: column, explains: 1 }));
}

async function missingCause(
  engine: Engine,
  plan: ComparisonPlan,
  baseline: SideSql,
  rows: CountedRows,
  cursor: string | undefined,
  options: QueryOptions,
): Promise<Cause | undefined> {
  if (rows.missing === 0) return undefined;
  if (rows.missing === rows.baselineRows) return { rule: 'MissingBatch', detail: 'every row', explains: rows.missing };
  let nearly: Cause | undefined;
  for (const order of ordersOf(plan, cursor)) {
    const place = await placeOfMissing(engine, baseline, rows, order, options);
    if (place.unordered > 0) continue;
    const tail: Cause = { rule: 'MissingTail', detail: `the last by ${order.name}`, explains: rows.missing };
    if (place.tail === rows.missing) return tail;
    if (place.block === rows.missing && rows.missing > 1)
      return { rule: 'MissingBatch', detail: `one range of ${order.name}`, explains: rows.missing };
    if (isTailButForTies(place, rows)) nearly ??= tail;
  }
  return nearly;
}

/**
 * Rows that tie in the order can come in any, so a tail may begin in the middle of them: all rows after the first missing value are missing, and of
 * all from it on more than half. Where every row ties, there is no tail.
 */
function isTailButForTies({ tail, ties, missingTies }: Place, { missing, baselineRows }: CountedRows): boolean {
  return tail < baselineRows && missing - missingTies === tail - ties && missing * 2 > tail;
}

interface Order {
  readonly name: string;
  /** Over a row of the baseline's side, and over a pair. */
  readonly ofRow: string;
  readonly ofPair: string;
  readonly isNull: string;
}

function ordersOf(plan: ComparisonPlan, cursor: string | undefined): Order[] {
  const orders: Order[] = [];
  if (cursor !== undefined) orders.push({ name: cursor, ofRow: 'x', ofPair: 'x', isNull: 'isNull(x)' });
  if (plan.key.length > 0) {
    const cells = plan.key.map((column) => `b${plan.columns.indexOf(column)}`);
    const tuple = (names: readonly string[]): string =>
      `tuple(${names.map((name) => `assumeNotNull(${name})`).join(', ')})`;
    orders.push({
      name: plan.key.map((column) => column.name).join(', '),
      ofRow: tuple(plan.key.map((column) => column.alias)),
      ofPair: tuple(cells),
      isNull: cells.map((cell) => `isNull(${cell})`).join(' OR '),
    });
  }
  return orders;
}

/** How many rows of the baseline lie where the missing ones do. */
interface Place {
  /** From the first missing one on. */
  readonly tail: number;
  /** From the first missing one up to the last. */
  readonly block: number;
  /** Level with the first missing one, and how many of these are missing themselves. */
  readonly ties: number;
  readonly missingTies: number;
  /** Missing rows without a place in the order. */
  readonly unordered: number;
}

/** One pass over the order's columns. */
async function placeOfMissing(
  engine: Engine,
  baseline: SideSql,
  rows: CountedRows,
  order: Order,
  options: QueryOptions,
): Promise<Place> {
  const missing = `FROM (${rows.sql}) WHERE class = 'missing'`;
  const [found] = await engine.rows<Record<keyof Place, string>>(
    `WITH (SELECT tuple(min(${order.ofPair}), max(${order.ofPair})) ${missing}) AS ends
     SELECT countIf(ifNull(o >= ends.1, 0)) AS tail, countIf(ifNull(o >= ends.1 AND o <= ends.2, 0)) AS block,
       countIf(ifNull(o = ends.1, 0)) AS ties,
       (SELECT countIf(ifNull(${order.ofPair} = ends.1, 0)) ${missing}) AS missingTies,
       (SELECT countIf(${order.isNull}) ${missing}) AS unordered
     FROM (SELECT ${order.ofRow} AS o FROM (${baseline.sql}))`,
    options,
  );
  return {
    tail: Number(found?.tail),
    block: Number(found?.block),
    ties: Number(found?.ties),
    missingTies: Number(found?.missingTies),
    unordered: Number(found?.unordered),
  };
}
