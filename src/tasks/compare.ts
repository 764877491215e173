import type { ComparisonColumn, ResolvedTable } from '../api/resolved.ts';
import { type CompareOptions, compareRelations } from '../compare/compare.ts';
import { type DifferenceClass, isLetPass, type TableComparison } from '../compare/result.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { cursorBoundOf } from '../pipelines/cursor-bound.ts';
import type { TaskInput } from '../run/types.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { sideRelation, snapshotRelation } from './relations.ts';
import type { TaskContext, TaskHandler } from './task.ts';

/** Detail of a `compare` task. */
export interface CompareDetail {
  readonly tables: readonly (TableComparison & { readonly source?: string })[];
}

type CompareInput = Extract<TaskInput, { kind: 'compare' }>;

/**
 * Compares the task's tables, one after another. A table with at most `comparison.maxDifferences` rows that differ does not count against the
 * run; the detail keeps its numbers as they are. An error names its table.
 */
export const runCompare: TaskHandler<CompareDetail> = async (context) => {
  const { input } = context.file;
  if (input.kind !== 'compare') throw new ParityError('Internal', `A ${input.kind} task was given to compare.`);
  const engine = await context.engine();
  const tables: CompareDetail['tables'][number][] = [];
  for (const table of input.tables) {
    const comparison = notingEmpty(await namingTable(table, () => compareTable(context, engine, input, table)));
    tables.push(input.source === undefined ? comparison : { ...comparison, source: input.source });
  }
  return { summary: summaryOf(tables, context.file.spec.comparison.maxDifferences), detail: { tables } };
};

/** Equal, but nobody should take it for a test. */
function notingEmpty(comparison: TableComparison): TableComparison {
  const { rows, notes } = comparison;
  if (rows.baseline > 0 || rows.candidate > 0) return comparison;
  return { ...comparison, notes: [...notes, 'no side has a row: only the columns were compared'] };
}

async function compareTable(
  context: TaskContext,
  engine: Engine,
  input: CompareInput,
  name: string,
): Promise<TableComparison> {
  const { spec } = context.file;
  const table = spec.snapshot.tables.find((one) => one.name === name);
  if (table === undefined) throw new ParityError('Internal', `The run has no table ${name}.`, { subject: name });
  const baseline = await sideRelation(context, engine, input.baseline, name, input.source);
  const candidate = await sideRelation(context, engine, input.candidate, name, input.source);
  const base = await baseRelation(context, engine, input, table);
  const hasColumn = (column: string): boolean => baseline.columns.some((field) => field.name === column);
  const cursor = table.cursor !== undefined && hasColumn(table.cursor) ? table.cursor : undefined;
  const unseen = unseenOf(context, input, base, table, cursor);
  return await compareRelations(engine, baseline, candidate, {
    table: name,
    key: table.key,
    columns: columnsOf(context, input.source, table),
    profile: spec.comparison.profile,
    sourceTypes: sourceTypesOf(context, input.source, name),
    samples: spec.comparison.samples,
    values: spec.comparison.values,
    signal: context.signal,
    onProgress: (progress) => context.progress({ table: name, ...progress }),
    ...(cursor === undefined ? {} : { cursor }),
    ...(base === undefined ? {} : { base }),
    ...(unseen === undefined ? {} : { unseen }),
  });
}

/** What the sources held before they were advanced: there, a stale or resurrected row comes from. */
async function baseRelation(
  context: TaskContext,
  engine: Engine,
  { baseline, afterIncremental, source }: CompareInput,
  table: ResolvedTable,
): Promise<Relation | undefined> {
  const isAdvanced = afterIncremental || (baseline.kind === 'snapshot' && baseline.at === 'Target');
  if (table.baseVersion === undefined || !isAdvanced) return undefined;
  return await snapshotRelation(context, engine, table.name, 'Base', { source });
}

function unseenOf(
  context: TaskContext,
  { candidate, afterIncremental }: CompareInput,
  base: Relation | undefined,
  table: ResolvedTable,
  cursor: string | undefined,
): CompareOptions['unseen'] {
  if (!afterIncremental || base === undefined || cursor === undefined || candidate.kind !== 'pipeline')
    return undefined;
  const pipeline = context.file.spec.pipelines.find(({ name }) => name === candidate.pipeline);
  if (pipeline === undefined) return undefined;
  const bound = cursorBoundOf(pipeline, table, cursor, base);
  return bound === undefined ? undefined : { base, cursor, bound, policy: context.file.spec.comparison.unseen };
}

/** Settings of columns that this source leaves out, or that the run excludes, have nothing to apply to. */
function columnsOf(
  context: TaskContext,
  source: string | undefined,
  table: ResolvedTable,
): readonly ComparisonColumn[] {
  const { sources, comparison } = context.file.spec;
  const omitted = sources
    .filter(({ name }) => name === source)
    .flatMap(({ columns }) => columns.filter((column) => column.omit === true && column.table === table.name))
    .map(({ column }) => column);
  return comparison.columns.filter(({ column }) => !omitted.includes(column) && !table.exclude.includes(column));
}

/** Types that the manifest declares for the source's columns. */
function sourceTypesOf(context: TaskContext, source: string | undefined, table: string): ReadonlyMap<string, string> {
  const columns = context.file.spec.sources.filter(({ name }) => name === source).flatMap(({ columns }) => columns);
  return new Map(
    columns.flatMap(({ table: of, column, type }) => (of === table && type !== undefined ? [[column, type]] : [])),
  );
}

async function namingTable<Result>(table: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (thrown) {
    const error = toParityError(thrown);
    const message = error.message.startsWith(`Comparing ${table}`)
      ? error.message
      : `Comparing ${table}: ${error.message}`;
    throw new ParityError(error.code, message, {
      subject: table,
      cause: error,
      isRetryable: error.isRetryable,
      ...(error.advice === undefined ? {} : { advice: error.advice }),
    });
  }
}

function summaryOf(tables: readonly TableComparison[], maxDifferences: number) {
  const differing = tables.filter((table) => !isLetPass(table, maxDifferences));
  const [first] = differing;
  return {
    tables: tables.length,
    rows: tables.reduce((sum, { rows }) => sum + rows.baseline, 0),
    differences: differing.reduce((sum, { differences }) => sum + differences, 0),
    differing: differing.length,
    matched: tables.length - differing.length,
    ...(first === undefined ? {} : { headline: headlineOf(first) }),
  };
}

/** The largest class of a table's differences with the cause that explains most, e.g. `flights: 20000 duplicated rows (DuplicatedBatch)`. */
export function headlineOf({ table, rows, schema, causes, columns }: TableComparison): string {
  const counts: readonly [DifferenceClass, string, number][] = [
    ['duplicate', 'duplicated', rows.duplicated],
    ['missing', 'missing', rows.missing],
    ['extra', 'extra', rows.extra],
    ['changed', 'changed', rows.changed],
  ];
  const [name, word, count] = counts.reduce((most, one) => (one[2] > most[2] ? one : most));
  if (count === 0) {
    const [difference] = schema.filter(({ counts: isCounted }) => isCounted);
    return difference === undefined
      ? `${table}: differs`
      : `${table}: column ${difference.column} differs in the schema (${difference.difference})`;
  }
  const rule = {
    duplicate: ['DuplicatedBatch', 'ResurrectedDelete'],
    missing: ['MissingTail', 'MissingBatch'],
    extra: ['ResurrectedDelete'],
    changed: [],
  }[name];
  const column = columns.reduce(
    (most, one) => (one.changed > most.changed ? one : most),
    columns[0] ?? { name: '', changed: 0, causes: [] },
  );
  const named = causes.filter((one) => rule.some((known) => known === one.rule));
  const [cause] = name === 'changed' ? column.causes : named.sort((x, y) => y.explains - x.explains);
  const where = name === 'changed' && column.changed > 0 ? ` in ${column.name}` : '';
  return `${table}: ${count} ${word} ${count === 1 ? 'row' : 'rows'}${where}${cause === undefined ? '' : ` (${cause.rule})`}`;
}
