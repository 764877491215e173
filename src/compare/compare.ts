import type { ComparisonColumn } from '../api/resolved.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import { type CountedRows, droppedColumns, tableCauses } from './causes.ts';
import { isSameValue } from './cells.ts';
import { classifyColumns, unchangedColumns } from './classify.ts';
import { type Digest, differingBuckets, digestSide, type SideSql, sideSql } from './digest.ts';
import { type Drilled, drillDown, dropWork, workTables } from './drill.ts';
import type { ColumnComparison, TableComparison, UnseenCounts } from './result.ts';
import { differenceClasses, readSamples } from './samples.ts';
import { type ComparisonPlan, planComparison } from './schema.ts';
import {
  baseExpressions,
  cursorOf,
  isUnseenReason,
  lastCursor,
  noUnseen,
  type UnseenOptions,
  unseenReason,
} from './unseen.ts';

export interface CompareOptions {
  readonly table: string;
  /** Columns of the key by their names in the baseline; empty: rows are compared as a multiset. NULL is a key like any other. */
  readonly key: readonly string[];
  /** Those of other tables are passed over. */
  readonly columns: readonly ComparisonColumn[];
  /** What counts as equal beside what is equal. */
  readonly profile?: 'Exact' | 'PostHog';
  /** Types that the source declares columns with, where the manifest says so: for the profile. */
  readonly sourceTypes?: ReadonlyMap<string, string>;
  /** Largest number of samples of each class. */
  readonly samples: number;
  readonly values: 'Masked' | 'Shown';
  /** Orders rows for `MissingTail` and `MissingBatch`; taken from `unseen` where that is given. */
  readonly cursor?: string;
  /** An earlier version that the candidate may still hold values of: for `StaleValue` and `ResurrectedDelete`. */
  readonly base?: Relation;
  /** Set after an incremental sync: what its cursor cannot see is told apart. */
  readonly unseen?: UnseenOptions;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly rows: number;
    readonly totalRows?: number;
    readonly note: string;
  }) => void;
}

/**
 * Compares two relations, row by row and cell by cell, and says what differs, how much, and why. Nothing is rounded, trimmed or collated.
 *
 * Counts add up: `baseline = matched + missing + changed` and `candidate = matched + extra + changed + duplicated`. Of one key's rows,
 * those that are on both sides match copy by copy; what is left is paired (`changed`); what remains in the baseline is `missing`; what
 * remains in the candidate is `duplicated` where the baseline has the key, else `extra`. Without a key, a row's whole content is its key,
 * so that nothing is `changed`. Column counts and causes leave out what an incremental sync could not see, where that is expected.
 * With a tolerance, repeated rows of one key match exactly first, then in the order of their values.
 *
 * Equal tables are read once a side; memory does not grow with the tables or their differences. Throws `InvalidSpec` for names and
 * tolerances that make no sense, `CorruptTable` where a side has not the rows it says it has, `Cancelled`, and what the engine throws.
 */
export async function compareRelations(
  engine: Engine,
  baseline: Relation,
  candidate: Relation,
  options: CompareOptions,
): Promise<TableComparison> {
  const plan = planComparison(baseline, candidate, options);
  const cursor = options.unseen?.cursor ?? options.cursor;
  const carried = cursor === undefined ? undefined : cursorOf(baseline, cursor, options.table);
  const sides = {
    baseline: sideSql(baseline, plan, (column) => column.baseline, carried?.sql),
    candidate: sideSql(candidate, plan, (column) => column.candidate),
  };
  const digests = {
    baseline: await digestSide(engine, baseline, sides.baseline, progress(options, baseline, 'reading the baseline')),
    candidate: await digestSide(
      engine,
      candidate,
      sides.candidate,
      progress(options, candidate, 'reading the candidate'),
    ),
  };
  const buckets = differingBuckets(digests.baseline, digests.candidate);
  if (buckets.length === 0) return toComparison(plan, digests, options, equalRows(plan, options));

  const work = workTables();
  try {
    const base = baseSide(plan, options, cursor);
    const drilled = await drillDown(
      engine,
      work,
      {
        plan,
        buckets,
        digests,
        sides: { ...sides, ...(base === undefined ? {} : { base }) },
        cursorType: carried?.type ?? 'Nullable(UInt8)',
      },
      progress(options, baseline, `reading what differs in ${buckets.length} of 4096 parts`),
    );
    const found = await countDifferences(
      engine,
      plan,
      drilled,
      { sides, digests, cursor, hasBase: base !== undefined },
      options,
    );
    await dropWork(engine, work);
    return toComparison(plan, digests, options, found);
  } catch (error) {
    // What went wrong first is what matters; the tables go with the engine's scratch folder at the latest.
    await dropWork(engine, work).catch(() => undefined);
    throw error;
  }
}

/** What was found in the rows. */
interface RowDifferences {
  readonly counts: Readonly<Record<(typeof differenceClasses)[number], number>>;
  readonly unseen: UnseenCounts | undefined;
  readonly columns: readonly ColumnComparison[];
  readonly causes: TableComparison['causes'];
  readonly samples: TableComparison['samples'];
  readonly notes: readonly string[];
}

function equalRows(plan: ComparisonPlan, options: CompareOptions): RowDifferences {
  return {
    counts: { missing: 0, extra: 0, changed: 0, duplicate: 0 },
    unseen: options.unseen === undefined ? undefined : noUnseen(),
    columns: unchangedColumns(plan),
    causes: [],
    samples: [],
    notes: [],
  };
}

/** The base as a third side; none where it lacks a column of the key, so that its rows cannot be found. */
function baseSide(plan: ComparisonPlan, options: CompareOptions, cursor: string | undefined): SideSql | undefined {
  const base = options.unseen?.base ?? options.base;
  if (base === undefined) return undefined;
  const names = new Set(base.columns.map((field) => field.name));
  if (!plan.key.every((column) => names.has(column.name))) return undefined;
  const extra = cursor !== undefined && names.has(cursor) ? cursorOf(base, cursor, options.table).sql : 'NULL';
  return sideSql(base, plan, baseExpressions(base), extra);
}

async function countDifferences(
  engine: Engine,
  plan: ComparisonPlan,
  drilled: Drilled,
  read: {
    sides: { baseline: SideSql };
    digests: { baseline: Digest };
    cursor: string | undefined;
    hasBase: boolean;
  },
  options: CompareOptions,
): Promise<RowDifferences> {
  const query = options.signal === undefined ? {} : { signal: options.signal };
  const { unseen } = options;
  const isLooking = unseen !== undefined && read.hasBase;
  const reason = isLooking ? unseenReason(await lastCursor(engine, unseen, options.table, query), unseen.bound) : "''";
  const pairs = `SELECT *, ${reason} AS unseen FROM ${drilled.pairs}`;
  const counted = unseen?.policy === 'Fail' ? pairs : `SELECT * FROM (${pairs}) WHERE unseen = ''`;

  const { counts, unseenCounts, ...rows } = await countClasses(engine, pairs, unseen?.policy, query);
  const changed = { sql: `SELECT * FROM (${counted}) WHERE class = 'changed'`, hasBase: read.hasBase };
  const columns = rows.changed === 0 ? unchangedColumns(plan) : await classifyColumns(engine, plan, changed, query);
  if (rows.changed > 0 && columns.every((column) => column.changed === 0))
    throw new ParityError(
      'Internal',
      `Comparing ${options.table}: ${rows.changed} rows differ and no cell of theirs does.`,
    );
  const replaced =
    read.hasBase && counts.duplicate > rows.copies ? await countReplaced(engine, plan, counted, query) : 0;
  const cameBack = rows.cameBack + replaced;
  const countedRows: CountedRows = { ...rows, cameBack, sql: counted, baselineRows: read.digests.baseline.rows };
  const notes =
    drilled.duplicatedKeys > 0 && plan.key.length > 0
      ? [
          `among the keys that differ, ${drilled.duplicatedKeys} have duplicates in the baseline: their rows were compared as multisets`,
        ]
      : [];
  return {
    counts,
    unseen: unseen === undefined ? undefined : unseenCounts,
    columns,
    causes: await tableCauses(engine, plan, read.sides.baseline, countedRows, read.cursor, query),
    samples: await readSamples(engine, plan, pairs, { limit: options.samples, values: options.values }, query),
    notes,
  };
}

/** Surplus rows that are exactly the base's row of their key: they lie beside what replaced them. */
async function countReplaced(
  engine: Engine,
  plan: ComparisonPlan,
  counted: string,
  query: QueryOptions,
): Promise<number> {
  const isOfBase = plan.columns.map(({ type }, i) => isSameValue(type, `d${i}`, `a${i}`)).join(' AND ');
  const [found] = await engine.rows<{ n: string }>(
    `SELECT count() AS n FROM (${counted}) WHERE class = 'duplicate' AND NOT is_copy AND in_base AND ${isOfBase}`,
    query,
  );
  return Number(found?.n ?? 0);
}

async function countClasses(
  engine: Engine,
  pairs: string,
  policy: UnseenOptions['policy'] | undefined,
  query: QueryOptions,
): Promise<
  Pick<CountedRows, 'missing' | 'copies' | 'cameBack'> & {
    counts: Record<(typeof differenceClasses)[number], number>;
    unseenCounts: UnseenCounts;
    changed: number;
  }
> {
  const found = await engine.rows<{ class: string; unseen: string; n: string; copies: string; known: string }>(
    `SELECT class, unseen, count() AS n, sum(is_copy) AS copies, sum(in_base) AS known FROM (${pairs}) GROUP BY class, unseen`,
    query,
  );
  const counts = { missing: 0, extra: 0, changed: 0, duplicate: 0 };
  const unseenCounts = noUnseen();
  let [missing, changed, copies, cameBack] = [0, 0, 0, 0];
  for (const row of found) {
    const name = differenceClasses.find((one) => one === row.class);
    if (name === undefined) throw new ParityError('Internal', `The class ${row.class} of a difference is unknown.`);
    counts[name] += Number(row.n);
    if (isUnseenReason(row.unseen)) unseenCounts[row.unseen] += Number(row.n);
    if (row.unseen !== '' && policy !== 'Fail') continue;
    if (name === 'missing') missing += Number(row.n);
    if (name === 'changed') changed += Number(row.n);
    if (name === 'duplicate') copies += Number(row.copies);
    if (name === 'extra') cameBack += Number(row.known);
  }
  return { counts, unseenCounts, missing, changed, copies, cameBack };
}

function toComparison(
  plan: ComparisonPlan,
  digests: { baseline: Digest; candidate: Digest },
  options: CompareOptions,
  found: RowDifferences,
): TableComparison {
  const { missing, extra, changed, duplicate } = found.counts;
  const matched = digests.baseline.rows - missing - changed;
  if (matched < 0 || matched !== digests.candidate.rows - extra - changed - duplicate)
    throw new ParityError(
      'Internal',
      `Comparing ${options.table}: the counts of rows do not add up (baseline ${digests.baseline.rows}, candidate ${digests.candidate.rows}, ` +
        `missing ${missing}, extra ${extra}, changed ${changed}, duplicated ${duplicate}).`,
      { advice: 'A side may have changed while it was read: run again; if it stays, report it.' },
    );
  const unseenTotal = found.unseen === undefined ? 0 : Object.values(found.unseen).reduce((sum, n) => sum + n, 0);
  const isCounted = options.unseen?.policy === 'Fail';
  const differences =
    missing +
    extra +
    changed +
    duplicate -
    (isCounted ? 0 : unseenTotal) +
    plan.differences.filter((d) => d.counts).length;
  return {
    table: options.table,
    verdict: differences === 0 ? 'Equal' : 'Different',
    rows: {
      baseline: digests.baseline.rows,
      candidate: digests.candidate.rows,
      matched,
      missing,
      extra,
      changed,
      duplicated: duplicate,
    },
    differences,
    key: plan.key.map((column) => column.name),
    columns: found.columns,
    schema: plan.differences,
    samples: found.samples,
    causes: [...found.causes, ...droppedColumns(plan.differences)],
    ...(found.unseen === undefined ? {} : { unseen: { ...found.unseen, total: unseenTotal, counted: isCounted } }),
    digest: { baseline: digests.baseline.text, candidate: digests.candidate.text },
    notes: [...plan.notes, ...found.notes],
  };
}

function progress({ signal, onProgress }: CompareOptions, relation: Relation, note: string): QueryOptions {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined
      ? {}
      : {
          onProgress: ({ readRows }) =>
            onProgress({ rows: readRows, note, ...(relation.rows === undefined ? {} : { totalRows: relation.rows }) }),
        }),
  };
}
