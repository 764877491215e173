import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import type { ResolvedStorage } from '../../src/api/resolved.ts';
import { readDeltaSnapshot } from '../../src/lake/delta/log.ts';
import { openReader, openStore } from '../../src/lake/open.ts';
import { forEachBounded } from '../../src/lake/pool.ts';
import { readCopiedTable, snapshotPath } from '../../src/lake/snapshot-layout.ts';
import type { ObjectInfo, ObjectReader } from '../../src/lake/store.ts';
import { writeOpaqueTable } from '../support/delta-table.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import {
  errorOf,
  openWorkspace,
  resolveLake,
  type Secrets,
  type SnapshotRun,
  tableSpec,
  takeSnapshot,
} from '../support/snapshot-run.ts';

const EXAMPLES = resolve(import.meta.dirname, '../../examples/lake');
const PLANES = tableSpec('planes', { version: '9', baseVersion: '4' });
const WEATHER = tableSpec('weather', { version: '9', baseVersion: '5' });

describe('A snapshot from and to S3', function () {
  this.timeout(120_000);
  let server: SeaweedFs;
  let dir: string;
  let secrets: Secrets;
  let production: ResolvedStorage;
  let buckets = 0;

  before(async () => {
    server = await startSeaweedFs({ writerBuckets: ['own'] });
    dir = await mkdtemp(join(tmpdir(), 'parity-snapshot-s3-'));
    secrets = {
      admin: { ...server.admin },
      reader: { ...server.reader },
      writer: { ...server.writer },
      wrong: { accessKeyId: 'reader', secretAccessKey: 'no' },
    };
    production = s3('production', 'reader');
    await server.createBucket('production');
    await server.createBucket('own');
    await upload(EXAMPLES, ['planes', 'weather'], 'production');
  });
  after(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  function s3(path: string, secret: string): ResolvedStorage {
    return { location: `s3://${path}`, endpoint: server.endpoint, secretRef: { name: secret } };
  }

  async function newBucket(): Promise<string> {
    buckets += 1;
    return server.createBucket(`run-${buckets}`);
  }

  async function upload(folder: string, tables: readonly string[], bucket: string): Promise<void> {
    const from = await openReader({ location: `file://${folder}` });
    const to = await openStore(s3(bucket, 'admin'), { ...server.admin });
    for (const table of tables) {
      const copy = async ({ key, sizeBytes }: ObjectInfo) => to.putStream(key, await from.stream(key), sizeBytes);
      await forEachBounded(from.list(`${table}/`), 16, copy);
    }
    to.close();
  }

  it('is copied on the server where the workspace may read production, and equals its source at both versions', async () => {
    const run = { lake: production, workspace: s3(await newBucket(), 'admin'), tables: [PLANES, WEATHER], secrets };
    const { tables } = await takeSnapshot(run);
    expect(tables.map(({ copied }) => copied.serverSide)).to.deep.equal([true, true]);
    await expectSame(run);
  });

  it('is streamed where the workspace may not read production', async () => {
    const run = { lake: production, workspace: s3('own/streamed', 'writer'), tables: [PLANES, WEATHER], secrets };
    const { tables } = await takeSnapshot(run);
    expect(tables.map(({ copied }) => copied.serverSide)).to.deep.equal([false, false]);
    await expectSame(run);
  });

  it('has the same digest wherever it comes from and goes to', async () => {
    const local = { location: `file://${EXAMPLES}` };
    const runs = [
      { lake: production, workspace: s3(await newBucket(), 'admin') },
      { lake: local, workspace: s3(await newBucket(), 'admin') },
      { lake: production, workspace: { location: `file://${dir}/from-s3` } },
      { lake: local, workspace: { location: `file://${dir}/from-file` } },
    ].map((places) => ({ ...places, tables: [WEATHER], secrets }));
    const digests = new Set<string>();
    for (const run of runs) {
      for (const { digest } of (await takeSnapshot(run)).tables) digests.add(digest);
      await expectSame(run);
    }
    expect(digests.size).to.equal(1);
  });

  it('goes on where an interrupted one stopped, and copies no object twice', async () => {
    const files = new Map(Array.from({ length: 300 }, (_, n) => [`part-${n}.parquet`, randomBytes(500)] as const));
    await writeOpaqueTable(join(dir, 'interrupted/t'), files);
    const run = {
      lake: { location: `file://${dir}/interrupted` },
      workspace: s3(await newBucket(), 'admin'),
      tables: [tableSpec('t')],
      secrets,
    };
    const stop = new AbortController();
    let seen = 0;
    const onProgress = () => {
      seen += 1;
      if (seen === 100) stop.abort();
    };
    await takeSnapshot({ ...run, signal: stop.signal, onProgress }).then(
      () => expect.fail('it was not interrupted'),
      () => undefined,
    );
    const workspace = await openWorkspace(run);
    expect(await readCopiedTable(workspace, snapshotPath('t')), 'half a copy is no copy').to.equal(undefined);
    const { tables } = await takeSnapshot(run);
    const { files: copied } = tables[0]?.copied ?? { files: 0 };
    expect(copied).to.be.within(1, 201);
    expect((await keysOf(workspace, 'snapshot/t/')).length).to.equal(302);
    expect((await takeSnapshot(run)).tables[0]?.copied.files).to.equal(0);
    workspace.close();
  });

  it('copies 2,500 small files', async () => {
    const files = new Map(
      Array.from({ length: 2500 }, (_, n) => [`day=${n % 50}/part ${n}.parquet`, randomBytes(64)] as const),
    );
    await writeOpaqueTable(join(dir, 'small/t'), files);
    const bucket = await newBucket();
    await upload(join(dir, 'small'), ['t'], bucket);
    const run = {
      lake: s3(bucket, 'reader'),
      workspace: s3(await newBucket(), 'admin'),
      tables: [tableSpec('t')],
      secrets,
    };

    const { tables } = await takeSnapshot(run);

    expect(tables[0]?.files).to.equal(2500);
    expect(tables[0]?.copied).to.include({ files: 2501, serverSide: true });
  });

  it('uploads large objects in parts', async () => {
    const bytes = randomBytes(40 * 1024 * 1024 + 17);
    await writeOpaqueTable(join(dir, 'large/t'), new Map([['big.parquet', bytes]]));
    const run = {
      lake: { location: `file://${dir}/large` },
      workspace: s3(await newBucket(), 'admin'),
      tables: [tableSpec('t')],
      secrets,
    };
    await takeSnapshot(run);
    const workspace = await openWorkspace(run);
    expect((await workspace.head('snapshot/t/big.parquet'))?.etag).to.match(/-3$/);
    expect((await workspace.get('snapshot/t/big.parquet')).equals(bytes)).to.equal(true);
    workspace.close();
  });

  describe('fails with one clear sentence', () => {
    const cases: {
      readonly title: string;
      readonly lake: () => Promise<ResolvedStorage>;
      readonly code: string;
      readonly says: RegExp;
    }[] = [
      {
        title: 'for wrong keys',
        lake: async () => s3('production', 'wrong'),
        code: 'AccessDenied',
        says: /^Listing s3:\/\/production\/planes\/_delta_log\/ failed: http.* refused these credentials \(SignatureDoesNotMatch\)$/,
      },
      {
        title: 'for a bucket that is not there',
        lake: async () => s3('absent', 'reader'),
        code: 'NotFound',
        says: /there is no bucket 'absent' at http/,
      },
      {
        title: 'for an empty bucket',
        lake: async () => s3(await newBucket(), 'reader'),
        code: 'NotFound',
        says: /^s3:\/\/run-\d+\/planes is not a Delta table: it has no log in _delta_log\/$/,
      },
      {
        title: 'for an endpoint where nothing listens',
        lake: async () => ({ ...s3('production', 'reader'), endpoint: 'http://127.0.0.1:9' }),
        code: 'Unreachable',
        says: /no usable answer from http:\/\/127\.0\.0\.1:9 \(ECONNREFUSED\)$/,
      },
    ];
    for (const { title, lake, code, says } of cases) {
      it(title, async () => {
        const workspace = { location: `file://${dir}/failed` };
        const error = await errorOf(resolveLake({ lake: await lake(), workspace, tables: [PLANES], secrets }));
        expect(error.message).to.match(says);
        expect(error.code).to.equal(code);
      });
    }

    for (const way of ['reader', 'writer'] as const) {
      it(`for an object that was truncated, ${way === 'writer' ? 'streamed' : 'copied on the server'}`, async () => {
        const bucket = await newBucket();
        await writeOpaqueTable(join(dir, bucket, 't'), new Map([['a.parquet', randomBytes(2000)]]));
        await writeFile(join(dir, bucket, 't/a.parquet'), randomBytes(1500));
        await upload(join(dir, bucket), ['t'], bucket);
        const workspace = way === 'writer' ? s3('own/truncated', 'writer') : s3(await newBucket(), 'admin');
        const error = await errorOf(
          takeSnapshot({ lake: s3(bucket, 'reader'), workspace, tables: [tableSpec('t')], secrets }),
        );
        expect(error.code).to.equal('CorruptTable');
        expect(error.message).to.match(new RegExp(`s3://${bucket}/t/a.parquet.*1500 bytes.*2000`));
      });
    }

    it('for a data file that VACUUM removed, naming the version and the corpus', async () => {
      const bucket = await newBucket();
      await writeOpaqueTable(join(dir, bucket, 't'), new Map([['a.parquet', randomBytes(20)]]));
      await rm(join(dir, bucket, 't/a.parquet'));
      await upload(join(dir, bucket), ['t'], bucket);
      const run = {
        lake: s3(bucket, 'reader'),
        workspace: s3(await newBucket(), 'admin'),
        tables: [tableSpec('t')],
        secrets,
      };
      const error = await errorOf(takeSnapshot(run));
      expect(error.code).to.equal('VersionGone');
      expect(error.message).to.equal(`Version 0 of s3://${bucket}/t is gone: its file a.parquet is not there any more`);
      expect(error.advice).to.contain('parity snapshot keep');
    });
  });

  /** Both versions of the copy say, and hold, what production does. */
  async function expectSame(run: SnapshotRun): Promise<void> {
    const lake = await openReader(run.lake, run.lake.secretRef && secrets[run.lake.secretRef.name]);
    const workspace = await openWorkspace(run);
    for (const table of run.tables) {
      for (const version of [Number(table.version), Number(table.baseVersion)]) {
        const path = snapshotPath(table.name);
        const copy = await readDeltaSnapshot(workspace, path, version);
        const source = await readDeltaSnapshot(lake, table.path, version);
        expect(copy).to.deep.equal(source);
        for (const file of copy.files) {
          const [ours, theirs] = [
            await workspace.get(`${path}/${file.path}`),
            await lake.get(`${table.path}/${file.path}`),
          ];
          expect(ours.equals(theirs), file.path).to.equal(true);
        }
      }
      const newest = await readDeltaSnapshot(workspace, snapshotPath(table.name), undefined);
      expect(newest.version, 'the log ends at the version asked for').to.equal(Number(table.version));
    }
    workspace.close();
    lake.close();
  }
});

async function keysOf(reader: ObjectReader, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of reader.list(prefix)) keys.push(key);
  return keys;
}
