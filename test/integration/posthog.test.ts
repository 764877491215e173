import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import pg from 'pg';
import type { PostHogPipelineSpec } from '../../src/api/resolved.ts';
import { openStore } from '../../src/lake/open.ts';
import type { SyncRequest, SyncStatus } from '../../src/pipelines/pipeline.ts';
import { landedIn, postHogPipeline } from '../../src/pipelines/posthog.ts';
import { removeFromPostHog } from '../../src/pipelines/posthog-removal.ts';
import { type Bench, contextFor, openBench } from '../../src/pipelines/reference.fixture.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import type { Connection } from '../../src/sources/source.ts';
import { toParityError } from '../../src/support/error.ts';
import { delay } from '../../src/support/retry.ts';
import type { TaskContext } from '../../src/tasks/task.ts';
import { sharedServer } from '../support/databases.ts';
import type { Fault } from '../support/posthog/server.ts';
import { type PostHog, type PostHogOptions, startPostHog } from '../support/posthog/start.ts';
import { startSeaweedFs } from '../support/seaweedfs.ts';

interface Case {
  readonly options?: Partial<PostHogOptions>;
  readonly faults?: readonly Fault[];
  readonly posthog?: Partial<PostHogPipelineSpec['posthog']>;
  readonly secret?: Readonly<Record<string, string>>;
  readonly cursor?: string;
  readonly timeoutSeconds?: number;
  /** Code and message of how it ends; undefined: it succeeds. */
  readonly ends?: readonly [string, RegExp];
}

const down: Fault = { request: '', times: 99, status: 503, body: { type: 'server_error', detail: 'down' } };
const throttled = (seconds: string, times: number): Fault => ({
  request: 'POST external_data_sources/',
  times,
  status: 429,
  headers: { 'retry-after': seconds },
  body: { type: 'throttled_error', detail: 'Request was throttled.' },
});

const cases: Readonly<Record<string, Case>> = {
  'has a job that fails': {
    options: { defects: ['FailingJob'] },
    ends: [
      'PipelineFailed',
      /^PostHog's job [0-9a-f-]+ for t ended as Failed: canceling statement due to statement timeout$/,
    ],
  },
  'has a job that never ends': {
    options: { defects: ['HangingJob'] },
    timeoutSeconds: 2,
    ends: ['Timeout', /-t did not end within 2 s; the last that was seen of it: t: 0 rows$/],
  },
  'completes a job and shows no table': {
    options: { defects: ['NoTable'] },
    ends: ['PipelineFailed', /^PostHog's job for t is Completed, but there is no table of it to query$/],
  },
  'has reached its limit of rows': {
    options: { defects: ['BillingLimit'] },
    ends: ['PipelineFailed', /for t ended as Billing limits$/],
  },
  'has so many tables that the job is no longer among the last fifty': {
    options: { defects: ['CrowdedJobs'] },
    timeoutSeconds: 20,
  },
  'refuses a private host': {
    options: { isCloud: true },
    ends: [
      'Unreachable',
      /^PostHog refuses the database of source shop at 127\.0\.0\.1: This host points to an internal or private IP/,
    ],
  },
  'wants TLS': {
    options: { requiresTls: true },
    ends: [
      'Unreachable',
      /^PostHog refuses the database of source shop at 127\.0\.0\.1: SSL\/TLS connection is required/,
    ],
  },
  'goes through a tunnel': {
    options: { isCloud: true },
    posthog: { sshTunnel: { host: 'ssh.example.com', port: 22, user: 'tunnel' } },
    secret: { sshPrivateKey: '-----BEGIN OPENSSH PRIVATE KEY-----' },
  },
  'has a tunnel without a key': {
    posthog: { sshTunnel: { host: 'ssh.example.com', port: 22, user: 'tunnel' } },
    ends: ['AccessDenied', /^the secret "posthog" of PostHog has no key "sshPrivateKey" or "sshPassword"$/],
  },
  'does not know the key': {
    secret: { key: 'phx_somebody-elses' },
    ends: [
      'AccessDenied',
      /does not know the key of secret posthog \(401\): Personal API key found in request Authorization header is invalid\.$/,
    ],
  },
  'lets the key read only': {
    secret: { key: 'phx_reader-of-the-test' },
    ends: [
      'AccessDenied',
      /does not let the key of secret posthog do that \(403\): API key missing required scope 'external_data_source:write'$/,
    ],
  },
  'has no such project': {
    secret: { project: '404' },
    ends: ['NotFound', /has no such thing in project 404 \(404\): Project not found\.$/],
  },
  'is not there': {
    secret: { host: 'http://127.0.0.1:9' },
    ends: ['Unreachable', /^PostHog at http:\/\/127\.0\.0\.1:9 does not answer: /],
  },
  'asks for patience': { faults: [throttled('0.3', 2)] },
  'asks for too much of it': {
    faults: [throttled('3600', 99)],
    ends: ['Unreachable', /answers with 429, too many requests, and wants 3600 s of silence: Request was throttled\.$/],
  },
  'fails now and then': {
    faults: [
      { ...down, request: 'GET external_data_sources/', times: 2 },
      { ...down, request: 'PATCH', times: 1 },
    ],
  },
  'makes the source and does not say so': {
    faults: [{ ...down, request: 'POST external_data_sources/', times: 2, isDone: true }],
  },
  'hangs up on what it has done': {
    faults: [{ ...down, request: 'PATCH external_data_schemas/', times: 1, isDone: true, status: 0 }],
  },
  'fails all the time': {
    faults: [{ ...down, request: 'GET external_data_sources/' }],
    ends: ['Unreachable', /^PostHog at http:\/\/127\.0\.0\.1:\d+ fails with 503: down$/],
  },
  'does not take the cursor': {
    cursor: 'name',
    ends: [
      'InvalidSpec',
      /^PostHog cannot sync t as Incremental: it does not take name as a cursor \(it takes id, seen_at\)\.$/,
    ],
  },
};

describe('PostHog as a pipeline (a server written from its routes)', function () {
  this.timeout(120_000);
  let folder: string;
  let bench: Bench;
  let connection: Connection;
  let posthog: PostHog | undefined;
  const table = 't';
  const database = `posthog_${randomUUID().slice(0, 8)}`;

  before(async () => {
    const shared = (await sharedServer('Postgres')).connection;
    await query(shared, `CREATE DATABASE ${database}`);
    connection = { ...shared, database };
    await query(
      connection,
      `CREATE TABLE t (id int PRIMARY KEY, name text, seen_at timestamptz NOT NULL, at time, bytes bytea);
       INSERT INTO t SELECT n, 'name ' || n, timestamptz '2024-01-01Z' + n * interval '1 second', time '01:00' + n * interval '1 ms', '\\x01' FROM generate_series(1, 50) n`,
    );
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-posthog-'));
    await mkdir(join(folder, 'bucket'));
    bench = await openBench(folder);
  });

  afterEach(async () => {
    await posthog?.stop();
    posthog = undefined;
    await bench.close();
    await rm(folder, { recursive: true, force: true });
  });

  const run = { name: 'test', uid: '8c9a2b1e-0000-4000-8000-000000000001', installation: 'test' };
  const bucket = (): string => pathToFileURL(join(folder, 'bucket')).href;

  function specOf({ posthog: more, timeoutSeconds = 60 }: Case = {}): PostHogPipelineSpec {
    return {
      name: 'candidate',
      cursorBound: 'Exclusive',
      executions: 'PerTable',
      timeoutSeconds,
      outputs: { kind: 'files', format: 'Delta', location: bucket() },
      posthog: { secretRef: { name: 'posthog' }, tables: [], ...more },
    };
  }

  const secretOf =
    (keys: Readonly<Record<string, string>>) =>
    async (name: string): Promise<Readonly<Record<string, string>>> =>
      name === 'posthog' ? keys : formatConnection(connection);

  function contextOf(
    spec: PostHogPipelineSpec,
    request: SyncRequest,
    keys: Readonly<Record<string, string>>,
    cursor = 'seen_at',
  ) {
    const context = contextFor(bench, request, { pipeline: spec, keys: { [table]: ['id'] } });
    const tables = context.file.spec.snapshot.tables.map((one) => ({ ...one, cursor }));
    const file = {
      ...context.file,
      run,
      spec: { ...context.file.spec, snapshot: { ...context.file.spec.snapshot, tables } },
    };
    return { ...context, file, runFolder: folder, secret: secretOf(keys) } satisfies TaskContext;
  }

  const requestOf = (mode: 'Full' | 'Incremental', step: string): SyncRequest => ({
    ...{ pipeline: 'candidate', step, source: 'shop', mode, tables: [table], at: 'Target' as const },
  });

  async function start(one: Case = {}): Promise<Readonly<Record<string, string>>> {
    posthog = await startPostHog({ bucket: { location: bucket() }, ...one.options });
    await posthog.answerWith(one.faults ?? []);
    return { ...posthog.secret, ...one.secret };
  }

  async function sync(spec: PostHogPipelineSpec, request: SyncRequest, context: TaskContext): Promise<SyncStatus> {
    const pipeline = postHogPipeline(spec);
    await pipeline.start(request, context);
    for (;;) {
      const status = await pipeline.observe(request, context);
      if (status.state !== 'Running') return status;
      await delay(20);
    }
  }

  async function removed(spec: PostHogPipelineSpec, keys: Readonly<Record<string, string>>): Promise<void> {
    await removeFromPostHog({
      pipeline: spec,
      run,
      runFolder: folder,
      secret: secretOf(keys),
      signal: AbortSignal.timeout(60_000),
    });
  }

  async function rowsOf(spec: PostHogPipelineSpec, context: TaskContext): Promise<readonly Record<string, unknown>[]> {
    const landed = await postHogPipeline(spec).output(table, bench.engine, context, 'shop');
    return await bench.engine.rows(`SELECT * FROM (${landed.sql}) ORDER BY id`);
  }

  for (const [what, one] of Object.entries(cases))
    it(`that ${what} ${one.ends === undefined ? 'is waited for' : `is ${one.ends[0]}, in one sentence`}`, async () => {
      const keys = await start(one);
      const spec = specOf(one);
      const request = requestOf('Full', 'first');
      const context = contextOf(spec, request, keys, one.cursor);
      const status = await sync(spec, request, context).catch((error: unknown) => ({
        state: 'Failed' as const,
        error: toParityError(error),
      }));
      if (one.ends === undefined) expect(status).to.have.property('state', 'Succeeded');
      else {
        const [code, message] = one.ends;
        expect(status.state === 'Failed' && status.error?.code).to.equal(code);
        expect(status.state === 'Failed' && status.error?.message).to.match(message);
      }
      await posthog?.answerWith([]);
      const error: unknown = await removed(spec, { ...keys, ...posthog?.secret }).catch((thrown: unknown) => thrown);
      expect((await posthog?.seen())?.sources).to.deep.equal([]);
      // PostHog forgets the files of what it has shown no table of.
      const isLeft = one.options?.defects?.includes('NoTable') === true;
      expect(error === undefined ? undefined : toParityError(error).code).to.equal(
        isLeft ? 'CleanupIncomplete' : undefined,
      );
      expect(await readdir(join(folder, 'bucket'))).to.have.length(isLeft ? 1 : 0);
    });

  it('lands full and incremental syncs, as PostHog changes them, and finds them by the API', async () => {
    const keys = await start();
    const spec = specOf();
    const full = requestOf('Full', 'first');
    const context = contextOf(spec, full, keys);
    expect(await sync(spec, full, context)).to.have.property('state', 'Succeeded');
    const [first, ...others] = await rowsOf(spec, context);
    expect(others).to.have.length(49);
    expect(first).to.include({
      id: 1,
      name: 'name 1',
      seen_at: '1704067201000000',
      at: 3600.001,
      _ph_partition_key: '0',
    });
    expect(first).to.not.have.property('bytes');
    expect((await landedIn(spec, context, 'shop', table)).name).to.equal('parity_8c9a2b1e_candidate_shop_postgres_t');

    await query(connection, "UPDATE t SET name = 'changed', seen_at = '2025-01-01Z' WHERE id = 7");
    await query(connection, "UPDATE t SET name = 'behind the cursor' WHERE id = 8");
    const more = requestOf('Incremental', 'second');
    expect(await sync(spec, more, context)).to.have.property('state', 'Succeeded');
    const names = (await rowsOf(spec, context)).map(({ name }) => name);
    expect([names.length, names[6], names[7]]).to.deep.equal([50, 'changed', 'name 8']);

    const again = requestOf('Full', 'third');
    expect(await sync(spec, again, context)).to.have.property('state', 'Succeeded');
    expect((await rowsOf(spec, context))[7]).to.include({ name: 'behind the cursor' });
    const seen = await posthog?.seen();
    expect(seen?.jobs).to.have.length(3);
    expect(seen?.requests.filter((line) => /POST external_data_sources\/$/.test(line))).to.have.length(1);
    expect(
      seen?.requests.filter((line) => /(reload|resync)/.test(line)).map((line) => line.split('/').at(-2)),
    ).to.deep.equal(['reload', 'resync']);
  });

  it('reads all of a table each time whose own sync type is FullRefresh', async () => {
    const keys = await start();
    const spec = specOf({ posthog: { syncType: 'Incremental', tables: [{ name: table, syncType: 'FullRefresh' }] } });
    const full = requestOf('Full', 'first');
    const context = contextOf(spec, full, keys);
    expect(await sync(spec, full, context)).to.have.property('state', 'Succeeded');
    await query(connection, "UPDATE t SET name = 'never passed by the cursor' WHERE id = 9");
    const more = requestOf('Incremental', 'second');
    expect(await sync(spec, more, context)).to.have.property('state', 'Succeeded');
    expect((await rowsOf(spec, context))[8]).to.include({ name: 'never passed by the cursor' });
  });

  it('lands in a bucket, is read there with keys that may only read, and leaves nothing there', async () => {
    const s3 = await startSeaweedFs();
    try {
      const storage = { location: `s3://${await s3.createBucket('posthog')}/dlt`, endpoint: s3.endpoint };
      const keys = await start({ options: { bucket: storage, bucketKeys: { ...s3.admin } } });
      const spec: PostHogPipelineSpec = {
        ...specOf(),
        outputs: { kind: 'files', format: 'Delta', ...storage, secretRef: { name: 'warehouse' } },
      };
      const secret = async (name: string): Promise<Readonly<Record<string, string>>> =>
        name === 'warehouse' ? { ...s3.reader } : await secretOf(keys)(name);
      const request = requestOf('Full', 'first');
      const context = { ...contextOf(spec, request, keys), secret };
      expect(await sync(spec, request, context)).to.have.property('state', 'Succeeded');
      expect(await rowsOf(spec, context)).to.have.length(50);
      await removeFromPostHog({ pipeline: spec, run, runFolder: folder, secret, signal: AbortSignal.timeout(60_000) });
      const store = await openStore(storage, { ...s3.admin });
      const left: string[] = [];
      for await (const { key } of store.list('')) left.push(key);
      store.close();
      expect(left).to.deep.equal([]);
    } finally {
      await s3.stop();
    }
  });

  it('is one sync, however often it is asked for, also by two processes at once', async () => {
    const keys = await start();
    const spec = specOf();
    const request = requestOf('Full', 'first');
    const context = contextOf(spec, request, keys);
    const both = await Promise.all([sync(spec, request, context), sync(spec, request, context)]);
    expect(both.map(({ state }) => state)).to.deep.equal(['Succeeded', 'Succeeded']);
    expect(await sync(spec, request, context)).to.have.property('state', 'Succeeded');
    const seen = await posthog?.seen();
    expect(seen?.sources).to.have.length(1);
    expect(seen?.jobs.length).to.be.within(1, 2);
  });

  it('does not touch what another run or installation has made there', async () => {
    const keys = await start();
    const spec = specOf();
    const request = requestOf('Full', 'first');
    const theirs = contextOf(spec, request, keys);
    const other = { ...theirs, file: { ...theirs.file, run: { ...run, uid: '8c9a2b1e-0000-4000-8000-0000000000ff' } } };
    expect(await sync(spec, request, other)).to.have.property('state', 'Succeeded');
    await removed(spec, keys);
    expect((await posthog?.seen())?.sources).to.have.length(1);
  });

  it('names the folder that PostHog has left behind', async () => {
    const keys = await start({ options: { defects: ['LeavesFiles'] } });
    const spec = specOf();
    const request = requestOf('Full', 'first');
    expect(await sync(spec, request, contextOf(spec, request, keys))).to.have.property('state', 'Succeeded');
    const error: unknown = await removed(spec, keys).catch((thrown: unknown) => thrown);
    expect(toParityError(error)).to.include({ code: 'CleanupIncomplete' });
    expect(toParityError(error).message).to.match(/but not what it landed in team_2_postgres_[0-9a-f_]+$/);
  });

  it('asks nobody where nothing was made', async () => {
    await removed(specOf(), { host: 'http://127.0.0.1:9', project: '2', key: 'none' });
  });
});

async function query(connection: Connection, sql: string): Promise<void> {
  const { host, port, user, password, database } = connection;
  const client = new pg.Client({ host, port, user, password, database });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
