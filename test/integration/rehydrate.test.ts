import { assert } from 'chai';
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { ResolvedSource, ResolvedTable } from '../../src/api/resolved.ts';
import { rowDigest } from '../../src/compare/row-digest.ts';
import { openSource } from '../../src/sources/connect.ts';
import { connectSnowflake } from '../../src/sources/snowflake-client.ts';
import type { Connection } from '../../src/sources/source.ts';
import { runAdvance } from '../../src/tasks/advance.ts';
import { runRehydrate } from '../../src/tasks/rehydrate.ts';
import { snapshotRelation } from '../../src/tasks/relations.ts';
import { errorOf, tableSpec } from '../support/snapshot-run.ts';
import { openSourceRun, type SourceRun } from '../support/source-run.ts';

/** Keys, cursors and versions as the example's manifest has them. */
const tables: Record<string, ResolvedTable> = {
  flights: tableSpec('flights', { baseVersion: '9', version: '15', key: ['id'], cursor: 'updated_at' }),
  planes: tableSpec('planes', { baseVersion: '6', version: '9', key: ['tailnum'], cursor: 'updated_at' }),
  airlines: tableSpec('airlines', { baseVersion: '1', version: '4', key: ['carrier'], cursor: 'updated_at' }),
  airports: tableSpec('airports', { baseVersion: '2', version: '5', key: ['faa'], cursor: 'updated_at' }),
  weather: tableSpec('weather', { baseVersion: '6', version: '9', key: ['origin', 'time_hour'], cursor: 'updated_at' }),
  types: tableSpec('types', { baseVersion: '1', version: '3', key: ['id'], cursor: 'updated_at' }),
};
const keyless = { ...tableSpec('weather', { baseVersion: '6', version: '9' }), name: 'keyless' };
const notAKey = { ...tableSpec('weather', { baseVersion: '6', version: '9', key: ['origin'] }), name: 'not_a_key' };
const all = [...Object.values(tables), keyless, notAKey];
const names = all.map(({ name }) => name);

const omitted: Record<ResolvedSource['engine'], readonly string[]> = {
  Postgres: ['text_nul'],
  MySQL: ['float_special', 'double_special'],
  Snowflake: [],
};

for (const engine of ['Postgres', 'MySQL', 'Snowflake'] as const) {
  describe(`rehydrating and advancing ${engine} from the example lake`, function () {
    this.timeout(300_000);
    let run: SourceRun;

    before(async () => {
      const columns = omitted[engine].map((column) => ({ table: 'types', column, omit: true }));
      run = await openSourceRun(engine, all, columns);
    });
    after(() => run?.close());

    const rehydrate = (...loaded: string[]) =>
      runRehydrate(run.context({ kind: 'rehydrate', source: 'shop', tables: loaded }));
    const advance = (...moved: string[]) =>
      runAdvance(run.context({ kind: 'advance', step: 'to-version', source: 'shop', tables: moved }));

    it('loads every table at its base, with a key where the data has one, and proves it', async () => {
      const { detail, summary } = await rehydrate(...names);
      assert.deepEqual(
        detail.tables.map(({ name, at, rows }) => [name, at, rows]),
        [
          ['flights', 'Base', 332_751],
          ['planes', 'Base', 3000],
          ['airlines', 'Base', 16],
          ['airports', 'Base', 1459],
          ['weather', 'Base', 25_337],
          ['types', 'Base', 36],
          ['keyless', 'Base', 25_337],
          ['not_a_key', 'Base', 25_337],
        ],
      );
      assert.deepEqual(
        detail.tables.map(({ primaryKey }) => primaryKey),
        [['id'], ['tailnum'], ['carrier'], ['faa'], ['origin', 'time_hour'], ['id'], [], []],
      );
      assert.deepEqual(detail.tables[6]?.notes, ['no primary key: no key was named']);
      assert.match(detail.tables[7]?.notes[0] ?? '', /^no primary key: key \(origin\) has 25334 duplicates/);
      assert.equal(summary.tables, names.length);
      assert.include(detail.typesNotExercised, { Postgres: 'uuid', MySQL: 'unsigned', Snowflake: 'vector' }[engine]);
    });

    it('brings every table to its target, and proves it', async () => {
      const { detail } = await advance(...names);
      assert.deepEqual(
        detail.tables.map(({ name, rows, applied }) => [name, rows, applied]),
        [
          ['flights', 336_146, { deleted: 1192, inserted: 4587 }],
          ['planes', 3317, { deleted: 261, inserted: 578 }],
          ['airlines', 16, { deleted: 2, inserted: 2 }],
          ['airports', 1461, { deleted: 6, inserted: 8 }],
          ['weather', 25_994, { deleted: 72, inserted: 729 }],
          ['types', 43, { deleted: 11, inserted: 18 }],
          ['keyless', 25_994, { deleted: 72, inserted: 729 }],
          ['not_a_key', 25_994, { deleted: 72, inserted: 729 }],
        ],
      );
      assert.deepEqual(
        detail.tables.flatMap(({ notes }) => notes),
        [],
      );
      const context = run.context({ kind: 'advance', step: 'to-version', source: 'shop', tables: names });
      for (const { name, digest } of detail.tables) {
        const target = await snapshotRelation(context, run.engine, name, 'Target', { source: 'shop' });
        assert.equal(digest, (await rowDigest(run.engine, target)).digest, name);
      }
    });

    it('advances nothing that is at its target already', async () => {
      const { detail } = await advance('airlines', 'types');
      assert.deepEqual(
        detail.tables.map(({ applied }) => applied),
        [null, null],
      );
    });

    it('refuses to advance a table that is neither at its base nor at its target', async () => {
      await rehydrate('airlines');
      await execute(engine, run.connection, "UPDATE airlines SET name = 'changed by somebody'");
      const error = await errorOf(advance('airlines'));
      assert.equal(error.code, 'ProofFailed');
      assert.equal(error.subject, 'airlines');
    });

    it('loads the target at once where nothing advances', async () => {
      const input = { kind: 'rehydrate', source: 'shop', tables: ['planes'] } as const;
      const { detail } = await runRehydrate(run.context(input, { scenario: [] }));
      assert.deepEqual([detail.tables[0]?.at, detail.tables[0]?.rows], ['Target', 3317]);
    });

    it('fails the proof by table and column when the source holds another value', async () => {
      const context = run.context({ kind: 'rehydrate', source: 'shop', tables: ['airports'] });
      await rehydrate('airports');
      await execute(engine, run.connection, "UPDATE airports SET name = CONCAT(name, ' ') WHERE faa = 'JFK'");
      const { proveEqual } = await import('../../src/sources/prove.ts');
      const source = await openSource(context, 'shop');
      const snapshot = await snapshotRelation(context, run.engine, 'airports', 'Base', { source: 'shop' });
      const table = source.driver.plan('airports', snapshot.columns, {
        primaryKey: ['faa'],
        cursor: undefined,
        columns: [],
      });
      const options = { signal: context.signal, onProgress: () => undefined };
      const error = await errorOf(proveEqual(run.engine, source.session, table, snapshot, options));
      await source.session.close();
      assert.equal(error.code, 'ProofFailed');
      assert.match(error.message, /airports.*column name/);
    });
  });
}

describe('the column types that a manifest names', () => {
  const cases: readonly {
    engine: ResolvedSource['engine'];
    table: string;
    column: string;
    type: string;
    fails?: RegExp;
  }[] = [
    { engine: 'Postgres', table: 'airlines', column: 'carrier', type: 'varchar(2)' },
    { engine: 'Postgres', table: 'airlines', column: 'name', type: 'citext' },
    { engine: 'Postgres', table: 'planes', column: 'seats', type: 'bigint' },
    {
      engine: 'Postgres',
      table: 'airlines',
      column: 'carrier',
      type: 'integer',
      fails: /column carrier holds a value that is not of its type/,
    },
    {
      engine: 'Postgres',
      table: 'airlines',
      column: 'name',
      type: 'varchar(5)',
      fails: /column name holds a value too long/,
    },
    {
      engine: 'Postgres',
      table: 'planes',
      column: 'seats',
      type: 'real; DROP TABLE x',
      fails: /not the name of a type/,
    },
    { engine: 'MySQL', table: 'planes', column: 'seats', type: 'bigint unsigned' },
    { engine: 'MySQL', table: 'airlines', column: 'carrier', type: 'char(2)' },
    { engine: 'MySQL', table: 'airlines', column: 'name', type: 'varchar(5)', fails: /column name holds/ },
    { engine: 'MySQL', table: 'airlines', column: 'name', type: 'int', fails: /column name holds/ },
  ];
  for (const { engine, table, column, type, fails } of cases) {
    it(`${fails === undefined ? 'holds' : 'refuses'} ${table}.${column} as ${type} in ${engine}`, async () => {
      const run = await openSourceRun(engine, [tableSpec(table, tables[table])], [{ table, column, type }]);
      try {
        const loading = runRehydrate(run.context({ kind: 'rehydrate', source: 'shop', tables: [table] }));
        if (fails === undefined) {
          const { detail } = await loading;
          assert.equal(detail.tables[0]?.columns.find(({ name }) => name === column)?.type, type);
        } else {
          assert.match((await errorOf(loading)).message, fails);
        }
      } finally {
        await run.close();
      }
    });
  }
});

async function execute(engine: ResolvedSource['engine'], connection: Connection, sql: string): Promise<void> {
  switch (engine) {
    case 'Postgres': {
      const client = new pg.Client(connection);
      await client.connect();
      await client.query(sql);
      await client.end();
      return;
    }
    case 'MySQL': {
      const client = await mysql.createConnection(connection);
      await client.query(sql);
      await client.end();
      return;
    }
    case 'Snowflake': {
      const client = await connectSnowflake(connection, new AbortController().signal);
      // Its names keep their case only in quotes.
      await client.run(sql.replaceAll(/\b(airlines|airports|name|faa)\b/g, '"$1"'));
      await client.close();
      return;
    }
  }
}

describe('advancing a table that says the same at its base', function () {
  this.timeout(60_000);
  let run: SourceRun;
  before(async () => {
    // Between the two a column was added, and no row.
    const same = tableSpec('planes', { baseVersion: '4', version: '5', key: ['tailnum'] });
    run = await openSourceRun('Postgres', [same], []);
  });
  after(() => run?.close());

  it('says that an incremental sync had nothing to do, also when it is done again', async () => {
    await runRehydrate(run.context({ kind: 'rehydrate', source: 'shop', tables: ['planes'] }));
    const input = { kind: 'advance', step: 'to-version', source: 'shop', tables: ['planes'] } as const;
    for (const _ of [1, 2]) {
      const { detail } = await runAdvance(run.context(input));
      assert.deepEqual(detail.tables[0]?.notes, [
        'its base version has the same rows as the other, so an incremental sync had nothing to do',
      ]);
    }
  });
});
