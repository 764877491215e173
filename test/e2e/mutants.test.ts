import { expect } from 'chai';
import { BUGS, type Bug } from '../../src/api/generated/enums.ts';
import type { CauseRule, DifferenceClass } from '../../src/compare/result.ts';
import type { Report } from '../../src/report/model.ts';
import { type CommandResult, type ExampleTable, Place, smallSpec } from '../support/runs.ts';

/** Where a run with the bug must look: the comparison, and what it must name there. */
interface Finding {
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

const [full, incremental] = ['parity-at-base', 'parity'] as const;

/** Counts are those of the lake: they can be worked out from examples/lake/README.md without this software. */
const findings: Readonly<Record<Exclude<Bug, 'None'>, Finding>> = {
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

/** Two at once: the runs are short, and mostly wait for one another's processes to start. */
const lanes = 2;

describe('a run of a pipeline with a bug', function () {
  this.timeout(600_000);
  const bugs = BUGS.filter((bug) => bug !== 'None');
  const ends = new Map<Bug, { readonly result: CommandResult; readonly report: Report; readonly left: string }>();

  before(async () => {
    const waiting = [...bugs];
    const lane = async (): Promise<void> => {
      for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) ends.set(bug, await runWith(bug));
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  });

  for (const bug of bugs) {
    const { table, step, class: name, rows, column, rule, others } = findings[bug];
    const where = column === undefined ? table : `${table}.${column}`;
    it(`${bug}: fails with ${rows} ${name} in ${where} by ${rule}`, () => {
      const { result, report, left } = ends.get(bug) ?? expect.fail('it has not run');
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
    });

    it(`${bug}: the terminal names ${where} and ${rule}`, () => {
      const { stdout } = ends.get(bug)?.result ?? expect.fail('it has not run');
      for (const word of [table, column ?? '', rule]) expect(stdout).to.include(word);
      expect(stdout.trimEnd().split('\n').at(-1)).to.match(/^Failed {2}run: /);
    });

    if (step === incremental) {
      it(`${bug}: is not there after the full sync`, () => {
        const { report } = ends.get(bug) ?? expect.fail('it has not run');
        const before = report.comparisons.filter((one) => one.step === full);
        expect(before).to.not.have.length(0);
        expect(before.map(({ outcome }) => outcome)).to.deep.equal(before.map(() => 'Equal'));
      });
    }
  }
});

/** A run over the tables that the finding names; only a bug of the incremental sync needs one. */
async function runWith(bug: Exclude<Bug, 'None'>): Promise<{ result: CommandResult; report: Report; left: string }> {
  const { table, step, engine, others } = findings[bug];
  const tables = [table, ...Object.keys(others ?? {}).filter((name): name is ExampleTable => name !== table)];
  const spec = smallSpec(tables, { bug, ...(engine === undefined ? {} : { engine }) });
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
function fullOnly({ snapshot, ...spec }: ReturnType<typeof smallSpec>): object {
  const tables = snapshot.tables.map(({ baseVersion, ...table }) => ({ ...table, version: baseVersion }));
  const scenario = [
    { name: 'first', sync: { mode: 'Full' } },
    { name: full, compare: {} },
  ];
  return { ...spec, snapshot: { ...snapshot, tables }, scenario };
}

function comparisonOf(report: Report, table: string, step: string): Report['comparisons'][number] {
  const found = report.comparisons.find((one) => one.table === table && one.step === step);
  return found ?? expect.fail(`${table} was not compared in ${step}`);
}

/** How many rows of the class count, without those that a cursor could not see. */
function countOf({ rows, schema, unseen }: Report['comparisons'][number], name: Finding['class']): number {
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
