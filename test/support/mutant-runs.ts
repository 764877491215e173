import { expect } from 'chai';
import type { Bug } from '../../src/api/generated/enums.ts';
import type { CauseRule, DifferenceClass } from '../../src/compare/result.ts';
import type { Report } from '../../src/report/model.ts';
import { type CommandResult, type ExampleTable, Place, smallSpec } from './runs.ts';

/** Where a run with the bug must look: the comparison, and what it must name there. */
export interface Finding {
  readonly engine?: 'MySQL';
  readonly table: ExampleTable;
  readonly step: 'parity-at-base' | 'parity';
  /** What is most of the differences: a class of rows, of how many, or a column that is gone. */
  readonly class: DifferenceClass | 'schema';
  readonly rows: number;
  /** Where one column, and not whole rows, is wrong. */
  readonly column?: string;
  readonly rule: CauseRule;
  /** Further tables of the run, and whether they show the bug too. */
  readonly others?: Partial<Record<ExampleTable, 'Differs' | 'Equal'>>;
}

/** Steps of the runs. */
export const [full, incremental] = ['parity-at-base', 'parity'] as const;

/** Counts are those of the lake: they can be worked out from examples/lake/README.md without this software. */
export const findings: Readonly<Record<Exclude<Bug, 'None'>, Finding>> = {
  DroppedTail: {
    ...{ table: 'airports', step: full, class: 'missing', rows: 14, rule: 'MissingTail' },
    others: { airlines: 'Differs' },
  },
  DuplicatedBatch: { table: 'weather', step: full, class: 'duplicate', rows: 20_000, rule: 'DuplicatedBatch' },
  LostLastChunk: { table: 'weather', step: full, class: 'missing', rows: 5_337, rule: 'MissingTail' },
  CursorOffByOne: { table: 'flights', step: incremental, class: 'missing', rows: 2, rule: 'MissingBatch' },
  StaleUpdates: {
    ...{ table: 'airports', step: incremental, class: 'changed', rows: 6, column: 'updated_at', rule: 'StaleValue' },
    others: { airlines: 'Differs' },
  },
  ResurrectedDeletes: {
    ...{ table: 'types', step: incremental, class: 'duplicate', rows: 8, rule: 'ResurrectedDelete' },
    others: { airlines: 'Differs', airports: 'Differs' },
  },
  NullUnsafeMerge: {
    ...{ table: 'airports', step: incremental, class: 'changed', rows: 3, column: 'name', rule: 'StaleValue' },
    others: { types: 'Differs', airlines: 'Equal' },
  },
  DroppedNewColumn: {
    ...{ engine: 'MySQL', table: 'planes', step: incremental, class: 'schema', rows: 1, column: 'seat class' },
    rule: 'ColumnDropped',
  },
  SwappedColumns: {
    ...{ table: 'airports', step: full, class: 'changed', rows: 1_459, column: 'dst', rule: 'SwappedWith' },
    others: { airlines: 'Equal' },
  },
  TruncatedPrecision: {
    ...{ table: 'types', step: full, class: 'changed', rows: 36, column: 'decimal_38_10', rule: 'TruncatedPrecision' },
    others: { airlines: 'Equal' },
  },
  LostMicroseconds: {
    ...{ table: 'types', step: full, class: 'changed', rows: 35, column: 'timestamp', rule: 'TruncatedPrecision' },
    others: { airlines: 'Equal' },
  },
  ShiftedTimestamps: {
    ...{ table: 'airports', step: full, class: 'changed', rows: 1_459, column: 'updated_at', rule: 'ShiftedByHours' },
    others: { types: 'Differs' },
  },
  OffByOneDay: {
    ...{ table: 'types', step: full, class: 'changed', rows: 29, column: 'date', rule: 'OffByOneDay' },
    others: { airlines: 'Equal' },
  },
  Float32Rounding: {
    ...{ table: 'airports', step: full, class: 'changed', rows: 1_457, column: 'lat', rule: 'RoundedToFloat32' },
    others: { types: 'Differs', airlines: 'Equal' },
  },
  NullToEmpty: {
    ...{ table: 'airports', step: full, class: 'changed', rows: 3, column: 'tzone', rule: 'NullBecameEmpty' },
    others: { types: 'Differs', airlines: 'Equal' },
  },
  EmptyToNull: {
    ...{ table: 'types', step: full, class: 'changed', rows: 2, column: 'text', rule: 'EmptyBecameNull' },
    others: { airports: 'Equal' },
  },
  TrimmedStrings: {
    ...{ table: 'types', step: full, class: 'changed', rows: 4, column: 'text', rule: 'Trimmed' },
    others: { airports: 'Equal' },
  },
  WrongEncoding: {
    ...{ table: 'types', step: full, class: 'changed', rows: 7, column: 'text', rule: 'WrongEncoding' },
    others: { airports: 'Differs' },
  },
};

/** How a run with a bug ended. */
export interface MutantEnd {
  readonly result: CommandResult;
  readonly report: Report;
  readonly left: string;
}

/** Fails unless the run failed for the bug's reason, where the bug is, and left nothing. */
export function expectFound(bug: Exclude<Bug, 'None'>, { result, report, left }: MutantEnd): void {
  const { table, step, class: name, rows, column, rule, others } = findings[bug];
  expect(result.exitCode, result.stdout + result.stderr).to.equal(1);
  expect(report.verdict).to.equal('Failed');
  const found = comparisonOf(report, table, step);
  expect(found.outcome).to.equal('Different');
  expect(countOf(found, name)).to.equal(rows);
  const isOfCells = column !== undefined && name === 'changed';
  const causes = isOfCells ? found.columns.find((one) => one.name === column)?.causes : found.causes;
  expect(causes?.[0]?.rule, JSON.stringify(causes)).to.equal(rule);
  if (name === 'schema') expect(found.schema.map((one) => one.column)).to.include(column);
  for (const [other, outcome] of Object.entries(others ?? {})) {
    const wanted = outcome === 'Differs' ? 'Different' : 'Equal';
    expect(comparisonOf(report, other, step).outcome, other).to.equal(wanted);
  }
  expect(left, 'what is left').to.equal('nothing');
}

/** A run over the tables that the finding names; only a bug of the incremental sync needs one. */
export async function runWith(
  bug: Exclude<Bug, 'None'>,
  pipelineOf: (bug: Bug) => object = (bug) => ({ reference: { bug } }),
): Promise<MutantEnd> {
  const { table, step, engine, others } = findings[bug];
  const tables = [table, ...Object.keys(others ?? {}).filter((name): name is ExampleTable => name !== table)];
  const small = smallSpec(tables, { bug, ...(engine === undefined ? {} : { engine }) });
  const spec = { ...small, pipelines: [{ name: 'candidate', ...pipelineOf(bug) }] };
  const place = await Place.open();
  try {
    const result = await place.parity(['run', await place.manifest(step === full ? fullOnly(spec) : spec)]);
    const left = await place.expectNothingLeft().then(
      () => 'nothing',
      (error: unknown) => String(error),
    );
    const report = await place
      .report()
      .catch((error) => expect.fail(`${bug}: ${error}\n${result.stdout}${result.stderr}`));
    return { result, report, left };
  } finally {
    await place.close();
  }
}

/** Without an incremental sync: the base is the version under test. */
function fullOnly({ snapshot, ...spec }: Omit<ReturnType<typeof smallSpec>, 'pipelines'>): object {
  const tables = snapshot.tables.map(({ baseVersion, ...table }) => ({ ...table, version: baseVersion }));
  const scenario = [
    { name: 'first', sync: { mode: 'Full' } },
    { name: full, compare: {} },
  ];
  return { ...spec, snapshot: { ...snapshot, tables }, scenario };
}

export function comparisonOf(report: Report, table: string, step: string): Report['comparisons'][number] {
  const found = report.comparisons.find((one) => one.table === table && one.step === step);
  return found ?? expect.fail(`${table} was not compared in ${step}`);
}

/** How many rows of the class count, without those that a cursor could not see. */
export function countOf({ rows, schema, unseen }: Report['comparisons'][number], name: Finding['class']): number {
  switch (name) {
    case 'duplicate':
      return rows.duplicated;
    case 'schema':
      return schema.filter(({ counts }) => counts).length;
    case 'missing':
      return rows.missing - (unseen?.lateRow ?? 0) - (unseen?.nullCursor ?? 0);
    case 'extra':
      return rows.extra - (unseen?.deleted ?? 0);
    case 'changed':
      return rows.changed - (unseen?.unmovedCursor ?? 0);
  }
}
