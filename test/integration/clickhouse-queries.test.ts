import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import type { SqlCase } from '../../src/api/resolved.ts';
import { openStore } from '../../src/lake/open.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { type Bench, openBench } from '../../src/pipelines/reference.fixture.ts';
import { pipelineRemovals } from '../../src/pipelines/removals.ts';
import { clickHouseClient } from '../../src/sources/clickhouse-client.ts';
import { createRunDatabase } from '../../src/sources/run-database.ts';
import type { ParityError } from '../../src/support/error.ts';
import { type QueryDetail, runQuery } from '../../src/tasks/query.ts';
import { contextOf, sideOf, writeTable } from '../../src/tasks/sides.fixture.ts';
import {
  type ClickHouse,
  realClickHouse,
  type ServedClickHouse,
  sharedClickHouse,
} from '../support/clickhouse/start.ts';
import { type S3Keys, type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import { errorOf } from '../support/snapshot-run.ts';
import { spec } from '../support/spec.ts';

const quick = { name: 'q', expect: { sameAs: 'Baseline' }, timeoutSeconds: 60 } as const;
const clickhouse = { secretRef: { name: 'warehouse' } };

describe('queries on a server', () => {
  let bench: Bench;

  before(async () => {
    bench = await openBench();
    const flights =
      "SELECT toInt32(number) AS id, ['AA', 'UA', 'DL'][1 + number % 3] AS carrier, toDate32('2013-01-01') + number AS day, fromUnixTimestamp64Micro(toInt64(number), 'UTC') AS at";
    await writeTable(bench, 'one', 'flights', `${flights}, 1 AS only_here FROM numbers(12)`);
    await writeTable(bench, 'two', 'flights', `${flights} FROM numbers(13) WHERE number != 3`);
    for (const side of ['one', 'two']) {
      await writeTable(
        bench,
        side,
        'airlines',
        "SELECT 'AA' AS carrier, 'American' AS name UNION ALL SELECT 'UA', 'United'",
      );
      await writeTable(bench, side, 'old', "SELECT 1 AS id, toDate32('1900-01-01') - 1 AS day");
      await writeTable(bench, side, 'twice', 'SELECT toUInt8(1) AS id FROM numbers(3)');
      await writeTable(bench, side, 'empty', "SELECT CAST(NULL, 'Nullable(String)') AS name WHERE 0");
    }
  });
  after(() => bench.close());

  const contextFor = (server: ClickHouse, query: Partial<SqlCase> & { sql: string }, keys = server.secret) => {
    const input = {
      kind: 'query',
      step: 's',
      queries: ['q'],
      baseline: sideOf(bench, 'one'),
      candidate: sideOf(bench, 'two'),
    } as const;
    const tables = ['flights', 'airlines', 'old', 'twice', 'empty'].map((name) => ({ name }));
    const context = contextOf(bench, input, {
      tables,
      comparison: { values: 'Shown' },
      queries: [{ ...quick, clickhouse, ...query }],
    });
    const run = { ...context.file.run, uid: crypto.randomUUID() };
    return { ...context, file: { ...context.file, run }, secret: async () => keys };
  };
  const databases = async (server: ClickHouse): Promise<readonly string[]> => {
    const client = clickHouseClient(server.connection);
    const rows = await client.rows(`SELECT name FROM system.databases WHERE name LIKE 'parity_%'`);
    client.close();
    return rows.map((row) => row.name ?? '');
  };

  const suite = (name: string, open: () => Promise<ClickHouse>): unknown =>
    describe(`by ClickHouse (${name})`, function () {
      this.timeout(60_000);
      let server: ClickHouse;
      let others: readonly string[];
      before(async () => {
        server = await open();
        others = await databases(server);
      });
      afterEach('leaves no database', async () => {
        assert.deepEqual(await databases(server), others);
      });

      const run = async (query: Partial<SqlCase> & { sql: string }) => {
        const { detail } = await runQuery(contextFor(server, query));
        const [result] = detail.queries;
        if (result === undefined) throw new Error('no result');
        return result;
      };
      const failure = (query: Partial<SqlCase> & { sql: string }): Promise<ParityError> => errorOf(run(query));

      const same: readonly [string, string][] = [
        ['groups', 'SELECT carrier, count() AS n FROM {{airlines}} GROUP BY carrier'],
        ['rows that are there several times', 'SELECT count(), sum(id) FROM {{twice}}'],
        ['a table without rows', 'SELECT * FROM {{empty}}'],
        ['no tables', "SELECT ';' AS `a;b`, NULL, [1, 2], map('a', 1) -- ; \n;"],
        ['a date that it does not use and that no type there holds', 'SELECT id FROM {{old}}'],
      ];
      for (const [title, sql] of same)
        it(`agree on ${title}`, async () => {
          const result = await run({ sql });
          assert.include(result, { outcome: 'Equal', message: '' });
          assert.equal(result.ranIn.candidate, `ClickHouse at ${server.connection.host}:${server.connection.port}`);
        });

      it('join tables and show the rows that differ', async () => {
        const sql = `SELECT a.name, max(f.id) AS last FROM {{flights}} AS f JOIN {{ airlines }} AS a ON a.carrier = f.carrier GROUP BY a.name`;
        const result = await run({ sql });
        assert.equal(result.message, '1 of 2 rows differs');
        assert.sameDeepMembers(
          [...result.samples],
          [
            { baseline: '["American","9"]', candidate: null },
            { baseline: null, candidate: '["American","12"]' },
          ],
        );
      });

      it('give what the embedded engine gives, to the digest', async () => {
        const sql =
          'SELECT * EXCEPT only_here, day + 1, toStartOfMonth(day) FROM {{flights}} WHERE id < 3 ORDER BY id DESC';
        const both = { ...quick, sql: sql.replace('* EXCEPT only_here', 'id, carrier, day, at') };
        const there = await run(both);
        const { clickhouse: _, ...here } = { ...both, clickhouse };
        const { detail } = await runQuery({
          ...contextFor(server, both),
          file: { ...contextFor(server, both).file, spec: { ...contextFor(server, both).file.spec, queries: [here] } },
        });
        assert.equal(detail.queries[0]?.ranIn.baseline, 'the embedded engine');
        assert.equal(there.baselineDigest, detail.queries[0]?.baselineDigest);
        assert.equal(there.outcome, 'Equal');
      });

      it('are compared in order where the outermost SELECT orders', async () => {
        const result = await run({ sql: 'SELECT id FROM {{flights}} ORDER BY id LIMIT 5' });
        assert.equal(result.message, '2 of 5 rows differ');
        assert.deepEqual(result.samples, [
          { baseline: '["3"]', candidate: '["4"]' },
          { baseline: '["4"]', candidate: '["5"]' },
        ]);
      });

      it('keep the order of many rows', async () => {
        const sql = 'SELECT number % 1000 AS n, number FROM numbers(200000) ORDER BY n, number';
        const result = await run({ sql });
        assert.include(result, { outcome: 'Equal', baselineRows: 200_000 });
      });

      const expectations: readonly [string, string, string[], 'Equal' | 'Different'][] = [
        [
          'dates and times',
          'SELECT min(day), max(at) FROM {{airlines}} LEFT JOIN {{flights}} AS f USING (carrier)',
          ['["2013-01-01", "1970-01-01 00:00:00.000012"]'],
          'Equal',
        ],
        [
          'a join with nothing on one side',
          "SELECT b.carrier FROM {{airlines}} AS a LEFT JOIN (SELECT 'x' AS carrier) AS b USING (carrier) LIMIT 1",
          ['[null]'],
          'Equal',
        ],
        ['another number', 'SELECT count() FROM {{airlines}}', ['[3]'], 'Different'],
      ];
      for (const [title, sql, rows, outcome] of expectations)
        it(`are held against rows of the manifest: ${title}`, async () => {
          const result = await run({ sql, expect: { rows } });
          assert.equal(result.outcome, outcome, JSON.stringify(result.samples));
        });

      it('differ where one fails on the candidate alone, with the words of ClickHouse', async () => {
        const result = await run({ sql: 'SELECT sum(only_here) FROM {{flights}}' });
        assert.equal(result.outcome, 'Different');
        assert.match(result.message, /^it fails on the candidate only: .*only_here/);
      });

      const refused: readonly [string, string, string, RegExp][] = [
        ['that fails on both sides', 'SELECT nope FROM {{airlines}}', 'QueryFailed', /Query q on the baseline: .*nope/],
        ['that reads a system table', 'SELECT * FROM system.users', 'QueryFailed', /reads system.users/],
        ['with two statements', 'SELECT 1; DROP TABLE x', 'QueryFailed', /more than one statement/],
        [
          'that uses a date that no type there holds',
          'SELECT day FROM {{old}}',
          'UnrepresentableValue',
          /column day has a date/,
        ],
      ];
      for (const [title, sql, code, message] of refused)
        it(`refuse one ${title}`, async () => {
          const error = await failure({ sql });
          assert.equal(error.code, code, error.message);
          assert.match(error.message, message);
          assert.equal(error.subject, 'q');
        });

      it('are Errored, not Failed, where one takes longer than its time', async () => {
        const error = await failure({
          sql: 'SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1',
          timeoutSeconds: 0.3,
        });
        assert.equal(error.code, 'Timeout', error.message);
        assert.match(error.message, /Query q on the baseline: it did not end within 0.3 s/);
      });

      it('are Errored where nobody lets them in', async () => {
        const error = await errorOf(
          runQuery(contextFor(server, { sql: 'SELECT 1' }, { ...server.secret, password: 'no' })),
        );
        assert.equal(error.code, 'AccessDenied');
      });

      it('leave databases that cleanup finds where their task was killed, by the mark that it left first', async () => {
        const run = { name: 'r', uid: crypto.randomUUID(), installation: 'test' };
        await createRunDatabase(server.connection, 'ClickHouse', run, 'queries q 1 baseline');
        const folder = await mkdtemp(join(tmpdir(), 'parity-queries-'));
        const about = {
          run,
          spec: spec({ queries: [{ ...quick, sql: 'SELECT 1', clickhouse }] }),
          workspace: () => Promise.reject(new Error('not needed')),
          secret: async () => server.secret,
        };
        const remove = async (more: object): Promise<void> => {
          for (const removal of pipelineRemovals({ ...about, ...more }))
            await removal.remove(new AbortController().signal);
        };
        await remove({ runFolder: folder });
        assert.lengthOf(await databases(server), others.length + 1);
        await remove({});
        assert.deepEqual(await databases(server), others);
        await rm(folder, { recursive: true });
      });
    });

  const real = realClickHouse();
  suite('the embedded engine behind its HTTP interface', sharedClickHouse);
  if (real !== undefined) suite('a real server', async () => real);

  describe('with a workspace in S3 that the server may read (the embedded engine behind its HTTP interface)', function () {
    this.timeout(60_000);
    let server: ServedClickHouse;
    let s3: SeaweedFs;
    let workspace: ObjectStore;
    before(async () => {
      server = await sharedClickHouse();
      s3 = await startSeaweedFs();
      await s3.createBucket('work');
      workspace = await openStore({ location: 's3://work/run', endpoint: s3.endpoint }, { ...s3.admin });
    });
    after(async () => {
      workspace.close();
      await s3.stop();
    });

    const run = async (sql: string, keys: S3Keys = s3.reader): Promise<QueryDetail['queries'][number] | undefined> => {
      const context = contextFor(server, { sql }, { ...server.secret, ...keys });
      return (await runQuery({ ...context, workspace })).detail.queries[0];
    };

    it('read its rows there, and keep none', async () => {
      await server.seen();
      const sql =
        'SELECT a.name, max(f.day), max(f.at) FROM {{airlines}} AS a LEFT JOIN {{flights}} AS f USING (carrier) WHERE f.id < 3 GROUP BY ALL';
      assert.include(await run(sql), { outcome: 'Equal', baselineRows: 2 });
      const seen = await server.seen();
      assert.lengthOf(
        seen.filter((statement) => /^INSERT|^CREATE TABLE/.test(statement)),
        0,
      );
      assert.lengthOf(
        seen.filter((statement) => /^CREATE OR REPLACE VIEW .* FROM s3\('http/s.test(statement)),
        4,
      );
      assert.deepEqual(await databases(server), []);
    });

    it('agree on a table without rows, and on rows that are there several times', async () => {
      assert.include(await run('SELECT (SELECT count() FROM {{empty}}), count(), sum(id) FROM {{twice}}'), {
        outcome: 'Equal',
      });
    });

    it('refuse a date that no type there holds', async () => {
      assert.equal((await errorOf(run('SELECT day FROM {{old}}'))).code, 'UnrepresentableValue');
    });

    it('say so where the keys do not let the server in, and do not say the keys', async () => {
      const keys = { accessKeyId: 'nobody', secretAccessKey: 'not-a-secret-key' };
      const error = await errorOf(run('SELECT count() FROM {{airlines}}', keys));
      assert.equal(error.code, 'AccessDenied', error.message);
      assert.notInclude(`${error.message} ${error.advice}`, keys.secretAccessKey);
    });
  });

  describe('with a cluster (the embedded engine behind its HTTP interface)', () => {
    let server: ServedClickHouse;
    before(async () => {
      server = await sharedClickHouse();
    });

    it('make and drop everything on all of its nodes', async () => {
      await server.seen();
      const secret = { ...server.secret, cluster: 'parity_cluster' };
      const context = contextFor(server, { sql: 'SELECT count() FROM {{airlines}}' }, secret);
      const { detail } = await runQuery(context);
      assert.equal(detail.queries[0]?.outcome, 'Equal');
      const changes = (await server.seen()).filter((sql) => /^(CREATE|DROP)/.test(sql));
      assert.lengthOf(changes, 8);
      for (const sql of changes) assert.match(sql, / ON CLUSTER `parity_cluster`/);
      assert.lengthOf(
        changes.filter((sql) => /ENGINE = ReplicatedMergeTree/.test(sql)),
        2,
      );
      assert.deepEqual(await databases(server), []);
    });

    it('note what they are about to make before it is made', async () => {
      const runFolder = await mkdtemp(join(tmpdir(), 'parity-queries-'));
      await server.answerWith([
        { statement: 'CREATE DATABASE', times: 1, answer: { status: 500, body: 'Code: 999. DB::Exception: gone' } },
      ]);
      const error = await errorOf(runQuery({ ...contextFor(server, { sql: 'SELECT 1' }), runFolder }));
      await server.answerWith([]);
      assert.equal(error.code, 'Unreachable', error.message);
      assert.isTrue(error.isRetryable);
      assert.deepEqual(await readdir(runFolder), ['queries-warehouse.database']);
      await rm(runFolder, { recursive: true });
    });
  });
});
