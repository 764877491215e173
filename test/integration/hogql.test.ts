import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { fieldOf } from '../../src/api/json.ts';
import type { HogQlCase } from '../../src/api/resolved.ts';
import { compareResults } from '../../src/compare/result-sets.ts';
import { openStore } from '../../src/lake/open.ts';
import { postHogClient } from '../../src/pipelines/posthog-client.ts';
import { type Bench, openBench } from '../../src/pipelines/reference.fixture.ts';
import { pipelineRemovals } from '../../src/pipelines/removals.ts';
import { enginePlace } from '../../src/queries/engine-place.ts';
import { postHogPlace } from '../../src/queries/posthog-place.ts';
import { type HogQlRequest, readHogQl, type TextRow } from '../../src/queries/posthog-rows.ts';
import { toParityError } from '../../src/support/error.ts';
import { cleanUp } from '../../src/tasks/cleanup.ts';
import { runQuery } from '../../src/tasks/query.ts';
import { contextOf, sideOf, writeTable } from '../../src/tasks/sides.fixture.ts';
import type { TaskContext } from '../../src/tasks/task.ts';
import type { Fault } from '../support/posthog/server.ts';
import { type PostHog, startPostHog } from '../support/posthog/start.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';

const uid = '8c9a2b1e-0000-4000-8000-000000000001';

describe('queries in PostHog (a server written from its routes)', function () {
  this.timeout(120_000);
  let folder: string;
  let bench: Bench;
  let s3: SeaweedFs;
  let posthog: PostHog;
  let workspace: TaskContext['workspace'];
  let keys: Readonly<Record<string, string>>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-hogql-'));
    s3 = await startSeaweedFs();
    const events =
      "SELECT 'view' AS event, toInt64(number) AS user, toDateTime('2026-01-01 00:00:00', 'UTC') + number * 86400 AS timestamp FROM numbers(60)";
    posthog = await startPostHog({ bucket: { location: pathToFileURL(folder).href }, ownTables: { events } });
    const storage = { location: `s3://${await s3.createBucket('dev')}/parity-${uid}`, endpoint: s3.endpoint };
    workspace = await openStore(storage, { ...s3.admin });
    keys = { ...posthog.secret, ...s3.reader };
    bench = await openBench();
    const orders =
      "SELECT toInt32(number) AS id, toInt64(9007199254740993 + number) AS amount, toDateTime64('2026-01-02 03:04:05.6', 6, 'UTC') AS at";
    await writeTable(bench, 'one', 'orders', `${orders}, 1 AS only_here FROM numbers(10)`);
    await writeTable(bench, 'two', 'orders', `${orders} FROM numbers(10) WHERE number != 3`);
  });

  after(async () => {
    await bench.close();
    workspace.close();
    await posthog.stop();
    await s3.stop();
    await rm(folder, { recursive: true, force: true });
  });

  afterEach(async () => {
    await posthog.answerWith([]);
    await removed();
    expect((await posthog.seen()).linked, 'linked tables').to.deep.equal([]);
  });

  interface Options {
    readonly secret?: Readonly<Record<string, string>>;
    readonly values?: 'Masked' | 'Shown';
    readonly sides?: readonly [string, string];
  }

  function contextFor(query: Partial<HogQlCase> & Pick<HogQlCase, 'hogql'>, options: Options): TaskContext {
    const [baseline, candidate] = options.sides ?? ['one', 'two'];
    const sides = { baseline: sideOf(bench, baseline), candidate: sideOf(bench, candidate) };
    const context = contextOf(
      bench,
      { kind: 'query', step: 's', queries: ['q'], ...sides },
      {
        tables: [{ name: 'orders' }],
        comparison: { values: options.values ?? 'Shown' },
        queries: [{ name: 'q', expect: { sameAs: 'Baseline' }, timeoutSeconds: 30, ...query }],
      },
    );
    const file = { ...context.file, id: 's-query-0', run: { name: 'test', uid, installation: 'test' } };
    return { ...context, file, workspace, runFolder: folder, secret: async () => options.secret ?? keys };
  }

  const hogql = (query: string, more: Partial<HogQlCase['hogql']> = {}): HogQlCase['hogql'] => ({
    ...{ query, secretRef: { name: 'posthog' }, pageBy: [] },
    ...more,
  });

  async function run(query: Partial<HogQlCase> & Pick<HogQlCase, 'hogql'>, options: Options = {}) {
    const { detail } = await runQuery(contextFor(query, options));
    const [result] = detail.queries;
    if (result === undefined) throw new Error('no result');
    return { result, notes: detail.notes };
  }

  async function removed(): Promise<void> {
    const { file } = contextFor({ hogql: hogql('SELECT 1') }, {});
    const about = { spec: file.spec, run: file.run, runFolder: folder };
    const workspaceOf = () => Promise.reject(new Error('it is not needed'));
    const removals = pipelineRemovals({ ...about, workspace: workspaceOf, secret: async () => keys });
    expect(await cleanUp(removals, { timeoutMs: 30_000 }), 'left over').to.deep.equal([]);
  }

  it('run on both sides, each linked there as a table of the run, and are compared as SQL is', async () => {
    const { result, notes } = await run({ hogql: hogql('SELECT orders.id, amount, at FROM {{orders}} ORDER BY id') });
    expect(result).to.include({ outcome: 'Different', baselineRows: 10, candidateRows: 9 });
    expect(result.samples[0]).to.deep.equal({
      baseline: '["3","9007199254740996","2026-01-02 03:04:05.6"]',
      candidate: '["4","9007199254740997","2026-01-02 03:04:05.6"]',
    });
    const host = new URL(posthog.secret.host).host;
    expect(result.ranIn).to.deep.equal({ baseline: `PostHog at ${host}`, candidate: `PostHog at ${host}` });
    expect(notes).to.deep.equal([]);
    const { linked } = await posthog.seen();
    expect(linked.map((table) => /"name":"(\w+?)_[0-9a-f]{6}"/.exec(JSON.stringify(table))?.[1])).to.deep.equal([
      'parity_8c9a2b1e_base_s_query_0_orders',
      'parity_8c9a2b1e_cand_s_query_0_orders',
    ]);
    expect(
      (await run({ hogql: hogql('SELECT id FROM {{orders}} AS o') }, { sides: ['one', 'one'] })).result.outcome,
    ).to.equal('Equal');
  });

  it("are made again by a later try, and never of a table that is not the run's", async () => {
    const query = { hogql: hogql('SELECT count() FROM {{orders}}') };
    await run(query);
    await run(query);
    const { linked } = await posthog.seen();
    expect(linked).to.have.length(2);
    await removed();
    const theirs = {
      name: fieldOf(linked[0], 'name'),
      format: 'Parquet',
      url_pattern: `${s3.endpoint}/dev/other/*.parquet`,
      credential: { access_key: 'a', access_secret: 'b' },
    };
    const client = postHogClient(keys, 'posthog', AbortSignal.timeout(30_000));
    const made = await client.post('warehouse_tables/', theirs);
    const error = await run(query).catch(toParityError);
    expect(error)
      .to.have.property('message')
      .that.matches(/PostHog has a table parity_8c9a2b1e_base_\S+ that is not this run's$/);
    await removed();
    expect((await posthog.seen()).linked).to.have.length(1);
    await client.delete(`warehouse_tables/${String(fieldOf(made, 'id'))}/`);
  });

  it('show no values where they are masked', async () => {
    const { result } = await run({ hogql: hogql('SELECT sum(amount) FROM {{orders}}') }, { values: 'Masked' });
    expect(result.samples).to.deep.equal([
      { baseline: null, candidate: null },
      { baseline: null, candidate: null },
    ]);
  });

  it('join events within a fixed window, and are held against rows of the manifest', async () => {
    const window = { from: '2026-01-05T00:00:00Z', to: '2026-01-09T00:00:00Z' };
    const query =
      'SELECT count(), min(o.id) FROM events AS e JOIN {{orders}} AS o ON o.id = e.user WHERE e.timestamp >= {{from}} AND e.timestamp < {{to}}';
    const { result } = await run({ hogql: hogql(query, { window }), expect: { rows: ['[4, 4]'] } });
    expect(result).to.include({ outcome: 'Equal', message: '' });
    expect(result.ranIn.baseline).to.equal('the manifest');
    const other = await run({ hogql: hogql(query, { window }), expect: { rows: ['[5, 4]'] } });
    expect(other.result.outcome).to.equal('Different');
  });

  it('count as different where they fail on the candidate alone', async () => {
    const { result } = await run({ hogql: hogql('SELECT sum(only_here) FROM {{orders}}') });
    expect(result.message).to.match(
      /^it fails on the candidate only: Query q on the candidate: PostHog says: .*only_here/,
    );
  });

  const down: Fault = { request: 'POST query/', times: 99, status: 503, body: { detail: 'down' } };
  const ends: readonly [string, string, Fault | Options | undefined, string, RegExp][] = [
    [
      'PostHog refuses',
      'SELECT nope FROM {{orders}}',
      undefined,
      'QueryFailed',
      /^Query q on the baseline: PostHog says: .*nope/,
    ],
    [
      'come with a wrong key',
      'SELECT 1',
      { secret: { key: 'phx_other' } },
      'AccessDenied',
      /^Query q on the baseline: .*does not know the key of secret posthog \(401\)/,
    ],
    [
      'come with a key that may not query',
      'SELECT 1',
      {
        request: 'POST query/',
        times: 1,
        status: 403,
        body: { detail: "API key missing required scope 'query:read'" },
      },
      'AccessDenied',
      /\(403\): API key missing required scope 'query:read'$/,
    ],
    [
      'go to a project that is not there',
      'SELECT 1',
      { secret: { project: '404' } },
      'NotFound',
      /no such thing in project 404 \(404\): Project not found/,
    ],
    [
      'are too many',
      'SELECT 1',
      {
        request: 'POST query/',
        times: 9,
        status: 429,
        headers: { 'retry-after': '3600' },
        body: { detail: 'throttled' },
      },
      'Unreachable',
      /429, too many requests, and wants 3600 s of silence: throttled$/,
    ],
    ['PostHog fails at', 'SELECT 1', down, 'Unreachable', /fails with 503: down$/],
    [
      'PostHog gives up',
      'SELECT 1',
      {
        request: 'GET query/',
        times: 1,
        status: 400,
        body: { query_status: { error: true, error_message: 'Query has hit the max execution time' } },
      },
      'LimitExceeded',
      /PostHog gave it up: Query has hit the max execution time$/,
    ],
    [
      'never end',
      'SELECT 1',
      { request: 'GET query/', times: 999, status: 202, body: { query_status: { complete: false } } },
      'Timeout',
      /^Query q on the baseline: it did not end within 0.5 s$/,
    ],
    [
      'PostHog would cut',
      'SELECT number FROM numbers(60000)',
      undefined,
      'LimitExceeded',
      /it has more than the 50000 rows that PostHog gives at once$/,
    ],
  ];
  for (const [what, text, about, code, message] of ends)
    it(`that ${what} end as ${code}, in one sentence`, async () => {
      if (about !== undefined && 'request' in about) await posthog.answerWith([about]);
      const options = about !== undefined && 'secret' in about ? { secret: { ...keys, ...about.secret } } : {};
      const timeoutSeconds = code === 'Timeout' ? 0.5 : 30;
      const error = await run({ hogql: hogql(text), timeoutSeconds }, options).catch(toParityError);
      expect(error).to.include({ code, subject: 'q' });
      expect(error).to.have.property('message').that.matches(message);
      if (code === 'Timeout') expect((await posthog.seen()).requests.at(-1)).to.match(/^DELETE query\//);
    });

  it('wait as long as PostHog asks for', async () => {
    await posthog.answerWith([{ request: 'POST query/', times: 2, status: 429, headers: { 'retry-after': '0.3' } }]);
    expect((await run({ hogql: hogql('SELECT 1') })).result.outcome).to.equal('Equal');
  });

  const refused: Fault = {
    ...{ request: 'POST warehouse_tables/', times: 1, status: 400 },
    body: {
      type: 'validation_error',
      code: 'invalid_input',
      detail: 'URL pattern must use https.',
      attr: 'url_pattern',
    },
  };

  it('have their baseline in the engine where PostHog does not take it, and the report says so with its words', async () => {
    await posthog.answerWith([refused]);
    const { result, notes } = await run(
      { hogql: hogql('SELECT *, amount / 3 AS third FROM {{orders}} ORDER BY id') },
      { sides: ['one', 'one'] },
    );
    expect(result).to.include({ outcome: 'Equal', baselineRows: 10 });
    expect(result.ranIn.baseline).to.equal('the embedded engine');
    expect(notes).to.deep.equal([
      'query q: its baseline ran in the embedded engine, because PostHog does not take orders: URL pattern must use https.',
    ]);
  });

  it('are no difference where only PostHog fails and the baseline ran elsewhere', async () => {
    await posthog.answerWith([refused]);
    const error = await run({ hogql: hogql('SELECT sum(only_here) FROM {{orders}}') }).catch(toParityError);
    expect(error).to.include({ code: 'QueryFailed', subject: 'q' });
    expect(error)
      .to.have.property('message')
      .that.matches(/^Query q on the candidate: PostHog says: /);
  });

  it('need a candidate that can be read there', async () => {
    const error = await run({ hogql: hogql('SELECT 1 FROM {{orders}}') }, { secret: posthog.secret }).catch(
      toParityError,
    );
    expect(error).to.include({ code: 'InvalidSpec' });
    expect(error)
      .to.have.property('message')
      .that.matches(/cannot run on the candidate: the secret posthog has no accessKeyId/);
  });

  it('write every value as the engine does for them', async () => {
    const context = contextFor({ hogql: hogql('') }, {});
    const text = `SELECT toInt64(-9223372036854775808), toUInt64('18446744073709551615'), 1.0, toFloat32(0.1), nan, toDecimal128('1.50', 10), true, NULL,
      toDateTime64('2026-01-02 03:04:05.060000', 6, 'UTC'), toDateTime('2026-01-02 03:04:05', 'America/New_York'), toDate('2026-01-02'), 'it''s "\\n"', ['a', 'b'], toUUID('8c9a2b1e-0000-4000-8000-000000000001')`;
    const query = { name: 'q', language: 'HogQL', text, timeoutSeconds: 30, pageBy: [] } as const;
    const place = { signal: context.signal, writing: 'PostHog' } as const;
    const places = [
      enginePlace(bench.engine, place),
      postHogPlace(context, bench.engine, { keys, secretName: 'posthog' }),
    ];
    const results = [];
    for (const [i, one] of places.entries()) {
      const database = `place${i}`;
      await bench.engine.execute(`DROP DATABASE IF EXISTS ${database} SYNC`);
      await bench.engine.execute(`CREATE DATABASE ${database}`);
      const side = {
        word: 'baseline',
        side: sideOf(bench, 'one'),
        database,
        sourceOf: () => undefined,
        relationOf: () => Promise.reject(new Error('no table')),
      } as const;
      const ran = await one.run(query, side);
      if ('failed' in ran) throw ran.failed;
      results.push(ran.result);
    }
    const [mine, theirs] = results;
    if (mine === undefined || theirs === undefined) throw new Error('no result');
    const compared = await compareResults(
      bench.engine,
      mine,
      theirs,
      { isOrdered: true, samples: 5, values: 'Shown' },
      {},
    );
    expect(compared.samples).to.deep.equal([]);
    expect(compared.outcome).to.equal('Equal');
  });

  describe('page by page', () => {
    async function read(text: string, more: Partial<HogQlRequest>): Promise<readonly TextRow[]> {
      const found: TextRow[] = [];
      const request = {
        text,
        pageBy: [],
        timeoutSeconds: 30,
        keys,
        secretName: 'posthog',
        signal: AbortSignal.timeout(60_000),
        ...more,
      };
      await readHogQl(request, async (rows) => void found.push(...rows));
      return found;
    }
    it('come whole, by numbers and texts', async () => {
      const text = "SELECT number % 2 AS a, concat('it''s ', toString(number)) AS b FROM numbers(10) -- all of them";
      const rows = await read(text, { pageBy: ['a', 'b'], pageRows: 3 });
      expect(rows.map(([, b]) => b).sort()).to.deep.equal(Array.from({ length: 10 }, (_, n) => `it's ${n}`));
    });
    for (const [what, text, message] of [
      ['rows that they do not tell apart', 'SELECT intDiv(number, 2) AS a FROM numbers(10)', /two rows have the same$/],
      [
        'NULL',
        'SELECT if(number = 9, NULL, number) AS a FROM numbers(10)',
        /rows were left out, or came while it was read$/,
      ],
      ['a missing column', 'SELECT number AS b FROM numbers(10)', /a/],
      ['a column that is no number', 'SELECT number / 7 AS a FROM numbers(10)', /a is a Float64/],
    ] as const)
      it(`are refused with ${what}`, async () => {
        const error = await read(text, { pageBy: ['a'], pageRows: 3 }).catch(toParityError);
        expect(error).to.have.property('message').that.matches(message);
      });
    it('are whole in one page where the LIMIT is their own', async () => {
      expect(await read('SELECT number FROM numbers(10) LIMIT 3', { pageRows: 3 })).to.have.length(3);
      expect(await read('SELECT number FROM numbers(3)', { pageRows: 3 })).to.have.length(3);
      const error = await read('SELECT number FROM numbers(4)', { pageRows: 3 }).catch(toParityError);
      expect(error).to.have.property('code', 'LimitExceeded');
    });
  });
});
