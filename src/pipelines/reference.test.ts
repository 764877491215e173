import { expect } from 'chai';
import type { ResolvedPipeline } from '../api/resolved.ts';
import type { DataType, Field } from '../lake/types.ts';
import type { Bug } from './mutants.ts';
import type { Pipeline, SyncRequest, SyncStatus } from './pipeline.ts';
import { type Bench, contextFor, type FakeTable, fakeSource, openBench, untilEnd } from './reference.fixture.ts';
import { referencePipeline } from './reference.ts';

const column = (name: string, kind: 'long' | 'string' | 'integer'): Field => ({
  name,
  type: { kind },
  nullable: true,
  physicalName: name,
});
const nested: DataType = { kind: 'array', element: { kind: 'long' }, containsNull: true };

type Row = readonly [id: number | null, value: string | null, moved: number | null];

const baseFields = [column('id', 'long'), column('value', 'string'), column('moved', 'long')];

function table(rows: readonly Row[], fields: readonly Field[] = baseFields, extra = ''): FakeTable {
  const text = rows.map(
    ([id, value, moved]) => `(${id ?? 'NULL'}, ${value === null ? 'NULL' : `'${value}'`}, ${moved ?? 'NULL'})`,
  );
  const sql = `SELECT id, value, moved${extra} FROM values('id Nullable(Int64), value Nullable(String), moved Nullable(Int64)', ${text.join(', ')})`;
  return { fields, cursor: 'moved', sql, rows: rows.length };
}

describe('the reference pipeline', () => {
  let bench: Bench;
  /** A pipeline's name is new in every test: landed tables do not meet. */
  let serial = 0;
  let tables: Map<string, FakeTable>;
  let declared: ResolvedPipeline;
  let pipeline: Pipeline;
  let key: readonly string[];

  before(async () => {
    bench = await openBench();
  });
  after(() => bench.close());

  beforeEach(() => {
    tables = new Map();
    key = ['id'];
    declare('None');
  });

  function declare(bug: Bug, cursorBound: ResolvedPipeline['cursorBound'] = 'Inclusive'): void {
    serial += 1;
    declared = { name: `p${serial}`, cursorBound, reference: { bug } };
    pipeline = referencePipeline(declared, fakeSource(tables));
  }

  const request = (mode: 'Full' | 'Incremental', step: string): SyncRequest => ({
    pipeline: declared.name,
    step,
    source: 'shop',
    mode,
    tables: ['t'],
    at: 'Base',
  });

  async function sync(mode: 'Full' | 'Incremental', step: string): Promise<SyncStatus> {
    const asked = request(mode, step);
    const context = contextFor(bench, asked, { pipeline: declared, keys: { t: key } });
    return await untilEnd(pipeline, asked, context);
  }

  async function landed(): Promise<string[]> {
    const asked = request('Full', 'read');
    const context = contextFor(bench, asked, { pipeline: declared, keys: { t: key } });
    const relation = await pipeline.output('t', bench.engine, context);
    const names = relation.columns.map(({ name }) => `ifNull(toString(\`${name}\`), '-')`).join(", '/', ");
    const rows = await bench.engine.rows<{ row: string }>(
      `SELECT concat(${names}, '') AS row FROM (${relation.sql}) ORDER BY row`,
    );
    return rows.map(({ row }) => row);
  }

  const first: readonly Row[] = [
    [1, 'a', 10],
    [2, 'b', 20],
    [3, null, 30],
    [4, 'd', null],
  ];

  it('lands a table in full, NULLs and all', async () => {
    tables.set('t', table(first));
    const status = await sync('Full', 'one');
    expect(status).to.deep.include({ state: 'Succeeded', rows: 4 });
    expect(await landed()).to.deep.equal(['1/a/10', '2/b/20', '3/-/30', '4/d/-']);
  });

  it('replaces all rows by the next full sync', async () => {
    tables.set('t', table(first));
    await sync('Full', 'one');
    tables.set('t', table([[9, 'z', 1]]));
    await sync('Full', 'two');
    expect(await landed()).to.deep.equal(['9/z/1']);
  });

  it('lands a table without rows', async () => {
    tables.set('t', { ...table([[1, 'a', 1]]), sql: `SELECT * FROM (${table([[1, 'a', 1]]).sql}) WHERE 0`, rows: 0 });
    expect(await sync('Full', 'one')).to.deep.include({ state: 'Succeeded', rows: 0 });
    expect(await landed()).to.deep.equal([]);
  });

  it('merges what the cursor sees, and tells from where to where it went', async () => {
    tables.set('t', table(first));
    await sync('Full', 'one');
    tables.set(
      't',
      table([
        [1, 'late', 10],
        [2, 'b', 20],
        [3, 'tied', 30],
        [5, 'new', 40],
      ]),
    );
    expect(await sync('Incremental', 'two')).to.deep.include({
      state: 'Succeeded',
      rows: 5,
    });
    expect(await landed()).to.deep.equal(['1/a/10', '2/b/20', '3/tied/30', '4/d/-', '5/new/40']);
    const status = await sync('Incremental', 'three');
    expect(status.state === 'Succeeded' && status.tables?.[0]).to.deep.include({
      mode: 'Incremental',
      read: 1,
      rows: 5,
      cursor: { column: 'moved', from: '40', to: '40' },
    });
  });

  it('writes no data when there is nothing new', async () => {
    declare('None', 'Exclusive');
    tables.set('t', table(first));
    await sync('Full', 'one');
    const status = await sync('Incremental', 'two');
    expect(status.state === 'Succeeded' && status.tables?.[0]).to.deep.include({ read: 0, rows: 4 });
    expect(await landed()).to.have.length(4);
    const data: string[] = [];
    for await (const { key } of bench.store.list(`landed/${declared.name}/shop/t/`))
      if (key.endsWith('.parquet')) data.push(key);
    expect(data).to.have.length(1);
  });

  it('syncs a table in full whose cursor it cannot follow, and fails by name in an incremental sync', async () => {
    tables.set('t', { ...table(first), cursor: 'value' });
    expect(await sync('Full', 'one')).to.deep.include({ state: 'Succeeded' });
    const status = await sync('Incremental', 'two');
    expect(status.state === 'Failed' && status.message)
      .to.contain('table t')
      .and.contain('its cursor value');
  });

  it('does not see rows tied with the mark when its bound is exclusive', async () => {
    declare('None', 'Exclusive');
    tables.set('t', table(first));
    await sync('Full', 'one');
    tables.set(
      't',
      table([
        [3, 'tied', 30],
        [5, 'new', 40],
      ]),
    );
    await sync('Incremental', 'two');
    expect(await landed()).to.deep.equal(['1/a/10', '2/b/20', '3/-/30', '4/d/-', '5/new/40']);
  });

  it('syncs in full what has not landed yet, and what has no cursor', async () => {
    tables.set('t', table(first));
    const status = await sync('Incremental', 'one');
    expect(status.state === 'Succeeded' && status.tables?.[0]?.mode).to.equal('Full');
    const { cursor: _, ...bare } = table([[7, 'x', 1]]);
    tables.set('t', bare);
    await sync('Incremental', 'two');
    expect(await landed()).to.deep.equal(['7/x/1']);
  });

  it('adds columns that the source has gained, and drops those it has lost', async () => {
    tables.set('t', table(first));
    await sync('Full', 'one');
    const gained = [column('id', 'long'), column('moved', 'long'), column('extra', 'integer')];
    tables.set('t', {
      ...table([[5, 'x', 40]], gained),
      sql: 'SELECT toNullable(5::Int64) AS id, toNullable(40::Int64) AS moved, toNullable(7::Int32) AS extra',
    });
    await sync('Incremental', 'two');
    expect(await landed()).to.deep.equal(['1/10/-', '2/20/-', '3/30/-', '4/-/-', '5/40/7']);
  });

  it('lands nested values as the JSON text they are in the source', async () => {
    const fields: Field[] = [
      column('id', 'long'),
      { name: 'list', type: nested, nullable: true, physicalName: 'list' },
    ];
    tables.set('t', { fields, sql: `SELECT toNullable(1::Int64) AS id, toNullable('[1, null]') AS list`, rows: 1 });
    await sync('Full', 'one');
    expect(await landed()).to.deep.equal(['1/[1, null]']);
  });

  for (const [what, mode, keyOf, rows, said] of [
    ['a table without a key', 'Incremental', [], first, 'needs a key'],
    [
      'a key that is twice in the source',
      'Incremental',
      ['id'],
      [
        [5, 'x', 40],
        [5, 'y', 41],
      ],
      'share one value of (id)',
    ],
  ] as const)
    it(`fails by name in an incremental sync of ${what}`, async () => {
      tables.set('t', table(first));
      await sync('Full', 'one');
      key = keyOf;
      tables.set('t', table(rows));
      const status = await sync(mode, 'two');
      expect(status.state === 'Failed' && status.message)
        .to.contain('table t')
        .and.contain(said);
      expect(await landed()).to.have.length(4);
    });

  it('takes a key of NULL for a key like any other', async () => {
    tables.set(
      't',
      table([
        [null, 'old', 10],
        [1, 'a', 11],
      ]),
    );
    await sync('Full', 'one');
    tables.set('t', table([[null, 'new', 20]]));
    expect(await sync('Incremental', 'two')).to.deep.include({ state: 'Succeeded' });
    expect(await landed()).to.deep.equal(['-/new/20', '1/a/11']);
  });

  it('is one execution, however often a step is started', async () => {
    tables.set('t', table(first));
    const asked = request('Full', 'one');
    const context = contextFor(bench, asked, { pipeline: declared, keys: { t: key } });
    await Promise.all([pipeline.start(asked, context), pipeline.start(asked, context)]);
    await sync('Full', 'one');
    tables.set('t', table([[9, 'z', 1]]));
    await sync('Full', 'one');
    expect(await landed()).to.have.length(4);
    const log: string[] = [];
    for await (const { key } of bench.store.list(`landed/${declared.name}/shop/t/_delta_log/`)) log.push(key);
    expect(log).to.have.length(1);
  });

  it('stops when it is cancelled, and lands nothing', async () => {
    tables.set('t', {
      ...table(first),
      sql: 'SELECT toNullable(toInt64(number)) AS id, toNullable(toString(sleepEachRow(0.001))) AS value, toNullable(toInt64(number)) AS moved FROM numbers(1000000) SETTINGS function_sleep_max_microseconds_per_block = 0, max_block_size = 1000',
    });
    const asked = request('Full', 'one');
    const context = contextFor(bench, asked, { pipeline: declared, keys: { t: key } });
    await pipeline.start(asked, context);
    await pipeline.cancel(asked, context);
    expect(await pipeline.observe(asked, context)).to.have.nested.property('error.code', 'Cancelled');
    const error = await landed().catch((error: unknown) => error);
    expect(error).to.have.property('code', 'PipelineFailed');
  });

  const incremental: readonly (readonly [Bug, string, readonly string[]])[] = [
    ['None', 'merges as it should', ['1/new/40', '2/b/20', '3/tied/30', '5/-/50']],
    ['CursorOffByOne', 'does not see rows tied with the mark', ['1/new/40', '2/b/20', '3/-/30', '5/-/50']],
    ['StaleUpdates', 'ignores updates', ['1/a/10', '2/b/20', '3/-/30', '5/-/50']],
    [
      'ResurrectedDeletes',
      'leaves old rows beside new ones',
      ['1/a/10', '1/new/40', '2/b/20', '3/-/30', '3/tied/30', '5/-/50'],
    ],
    ['NullUnsafeMerge', 'loses updates of rows with NULL', ['1/new/40', '2/b/20', '3/-/30', '5/-/50']],
  ];
  for (const [bug, what, expected] of incremental)
    it(`${what} with the bug ${bug}`, async () => {
      declare(bug);
      tables.set('t', table(first.slice(0, 3)));
      await sync('Full', 'one');
      tables.set(
        't',
        table([
          [1, 'new', 40],
          [2, 'unmoved', 20],
          [3, 'tied', 30],
          [5, null, 50],
        ]),
      );
      expect(await sync('Incremental', 'two')).to.deep.include({ state: 'Succeeded' });
      expect(await landed()).to.deep.equal(expected);
    });

  it('drops a new column with the bug DroppedNewColumn', async () => {
    declare('DroppedNewColumn');
    tables.set('t', table([[1, 'a', 10]]));
    await sync('Full', 'one');
    tables.set(
      't',
      table([[1, 'b', 20]], [...baseFields, column('extra', 'integer')], ', toNullable(7::Int32) AS extra'),
    );
    await sync('Incremental', 'two');
    expect(await landed()).to.deep.equal(['1/b/20']);
  });
});
