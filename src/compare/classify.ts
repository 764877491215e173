import type { Engine, QueryOptions } from '../engine/engine.ts';
import { absoluteDifference, isEqualCell, isSameValue } from './cells.ts';
import type { Cause, ColumnComparison } from './result.ts';
import { type RuleVariant, rulesFor } from './rules.ts';
import type { ComparisonPlan, PlannedColumn } from './schema.ts';

/** Changed rows that count, as a subquery over the pairs: `b<i>`, `d<i>`, with a base `a<i>` and `in_base`. */
export interface ChangedRows {
  readonly sql: string;
  readonly hasBase: boolean;
}

/**
 * Counts the changed cells of every compared column (`changed`; in how many of them a side is NULL; the largest difference), and the
 * rules that explain them. A cell is explained by one rule at most, so `explains` adds up to `changed` or less; a rule is named where it
 * explains at least one cell in 20.
 */
export async function classifyColumns(
  engine: Engine,
  plan: ComparisonPlan,
  changed: ChangedRows,
  options: QueryOptions,
): Promise<ColumnComparison[]> {
  const counts = await countCells(engine, plan, changed, options);
  const differing = plan.columns.filter((column) => (counts.get(column.name)?.changed ?? 0) > 0);
  const swaps = await findSwaps(engine, plan, differing, counts, changed, options);
  const result: ColumnComparison[] = [];
  for (const column of plan.columns) {
    const count = counts.get(column.name) ?? unchanged(column.name);
    const swap = swaps.get(column.name);
    const causes =
      count.changed === 0
        ? []
        : swap !== undefined
          ? [swap]
          : await explain(engine, plan.columns.indexOf(column), column, count.changed, changed, options);
    result.push({ ...count, causes });
  }
  return result;
}

/** A rule must explain at least this share of a column's changes to be named. */
const leastShare = 0.05;

function unchanged(name: string): ColumnComparison {
  return { name, changed: 0, baselineNull: 0, candidateNull: 0, causes: [] };
}

/** The counts of all compared columns where no row changed. */
export function unchangedColumns(plan: ComparisonPlan): ColumnComparison[] {
  return plan.columns.map((column) => unchanged(column.name));
}

async function countCells(
  engine: Engine,
  plan: ComparisonPlan,
  changed: ChangedRows,
  options: QueryOptions,
): Promise<Map<string, ColumnComparison>> {
  const found = new Map<string, ColumnComparison>();
  // Some columns a query: a table may have thousands, and a statement has a size limit.
  for (let start = 0; start < plan.columns.length; start += 50) {
    const part = plan.columns.slice(start, start + 50).map((column, i) => ({ column, n: start + i }));
    const selected = part.flatMap(({ column, n }) => {
      const [b, d] = [`b${n}`, `d${n}`];
      const differs = `NOT ${isEqualCell(column, b, d)}`;
      return [
        `countIf(${differs}) AS n${n}`,
        `countIf(${differs} AND isNull(${b})) AS bn${n}`,
        `countIf(${differs} AND isNull(${d})) AS dn${n}`,
        `toString(maxIf(${largest(column, b, d)}, ${differs})) AS l${n}`,
      ];
    });
    const [row] = await engine.rows<Record<string, string | null>>(
      `SELECT ${selected.join(', ')} FROM (${changed.sql})`,
      options,
    );
    for (const { column, n } of part) {
      const largestDifference = row?.[`l${n}`] ?? null;
      const count = Number(row?.[`n${n}`] ?? 0);
      found.set(column.name, {
        name: column.name,
        changed: count,
        baselineNull: Number(row?.[`bn${n}`] ?? 0),
        candidateNull: Number(row?.[`dn${n}`] ?? 0),
        ...(count === 0 || largestDifference === null ? {} : { largestDifference: shortNumber(largestDifference) }),
        causes: [],
      });
    }
  }
  return found;
}

/** Dates in microseconds, as timestamps are. */
function largest({ type }: PlannedColumn, b: string, d: string): string {
  const difference = absoluteDifference(type, b, d);
  return type.kind === 'date' ? `(${difference}) * 86400000000` : difference;
}

function shortNumber(text: string): string {
  return /^\d+\.\d*$/.test(text) ? text.replace(/\.?0+$/, '') : text;
}

async function explain(
  engine: Engine,
  number: number,
  column: PlannedColumn,
  changedCells: number,
  { sql, hasBase }: ChangedRows,
  options: QueryOptions,
): Promise<Cause[]> {
  const [b, d] = [`b${number}`, `d${number}`];
  const differs = `NOT ${isEqualCell(column, b, d)}`;
  const variants = rulesFor({ type: column.type, baseline: b, candidate: d, base: hasBase ? `a${number}` : undefined });
  const counts = await countBy(
    engine,
    variants.map((v) => v.sql),
    `(${sql}) WHERE ${differs}`,
    options,
  );
  const ranked = variants
    .map((variant, i) => ({ variant, count: counts[i] ?? 0 }))
    .filter(({ count }) => count > 0)
    .sort((x, y) => y.count - x.count);
  if (ranked.length === 0) return [];
  // Rules overlap (a date cut off is also a truncation): each cell goes to the rule that explains most.
  const exclusive = ranked.map(({ variant }, i) =>
    [variant.sql, ...ranked.slice(0, i).map((earlier) => `NOT ${earlier.variant.sql}`)].join(' AND '),
  );
  const own =
    ranked.length === 1
      ? [ranked[0]?.count ?? 0]
      : await countBy(engine, exclusive, `(${sql}) WHERE ${differs}`, options);
  return ranked
    .map(({ variant }, i) => toCause(variant, own[i] ?? 0))
    .filter((cause) => cause.explains > 0 && cause.explains >= changedCells * leastShare)
    .sort((x, y) => y.explains - x.explains);
}

function toCause({ rule, detail }: RuleVariant, explains: number): Cause {
  return { rule, detail, explains };
}

async function countBy(
  engine: Engine,
  conditions: readonly string[],
  from: string,
  options: QueryOptions,
): Promise<number[]> {
  const [row] = await engine.rows<Record<string, string>>(
    `SELECT ${conditions.map((condition, i) => `countIf(${condition}) AS n${i}`).join(', ')} FROM ${from}`,
    options,
  );
  return conditions.map((_, i) => Number(row?.[`n${i}`] ?? 0));
}

/**
 * Two columns of one type whose values changed places, in most of the cells that changed.
 * Only the first 30 changed columns are paired: the pairs grow with the square.
 */
async function findSwaps(
  engine: Engine,
  plan: ComparisonPlan,
  differing: readonly PlannedColumn[],
  counts: ReadonlyMap<string, ColumnComparison>,
  { sql }: ChangedRows,
  options: QueryOptions,
): Promise<Map<string, Cause>> {
  const some = differing.slice(0, 30);
  const pairs = some.flatMap((x, i) =>
    some
      .slice(i + 1)
      .filter((y) => y.type.kind === x.type.kind)
      .map((y) => ({ x, y })),
  );
  const causes = new Map<string, Cause>();
  if (pairs.length === 0) return causes;
  const number = (column: PlannedColumn): number => plan.columns.indexOf(column);
  const swapped = pairs.map(({ x, y }) => {
    const [i, j] = [number(x), number(y)];
    const differ = `NOT ${isSameValue(x.type, `b${i}`, `d${i}`)}`;
    return `${differ} AND ${isSameValue(x.type, `d${i}`, `b${j}`)} AND ${isSameValue(x.type, `d${j}`, `b${i}`)}`;
  });
  const found = await countBy(engine, swapped, `(${sql})`, options);
  for (const [p, { x, y }] of pairs.entries()) {
    const explains = found[p] ?? 0;
    for (const [column, other] of [
      [x, y],
      [y, x],
    ] as const) {
      const isMost = explains > 0 && explains * 2 > (counts.get(column.name)?.changed ?? 0);
      if (isMost && explains > (causes.get(column.name)?.explains ?? 0))
        causes.set(column.name, { rule: 'SwappedWith', detail: other.name, explains });
    }
  }
  return causes;
}
