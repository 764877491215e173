import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateMultipartUploadCommand,
  HeadBucketCommand,
  ListMultipartUploadsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'chai';
import { openStore } from '../../src/lake/open.ts';
import { mapBounded } from '../../src/lake/pool.ts';
import { ParityError } from '../../src/support/error.ts';
import {
  createWorkspace,
  planWorkspace,
  readMark,
  removalCommand,
  removeWorkspace,
  WorkspaceRefused,
} from '../../src/tasks/workspace.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';

const now = new Date('2026-01-01T00:00:00Z');

describe('a workspace in a folder', () => {
  let base: string;

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'parity-workspace-'));
  });

  afterEach(async () => {
    await rm(base, { recursive: true, force: true });
  });

  it('is marked, and goes with all that is in it', async () => {
    const run = identity();
    const plan = planWorkspace({ location: `file://${base}` }, run.uid);
    await createWorkspace(plan, run, undefined, now);
    await createWorkspace(plan, run, undefined, now);
    expect(await readMark(plan, undefined)).to.deep.equal({ ...run, createdAt: now.toISOString() });
    await mkdir(join(base, `parity-${run.uid}`, 'snapshot', 'flights'), { recursive: true });
    await removeWorkspace(plan, run, undefined);
    await removeWorkspace(plan, run, undefined);
    expect(await readdir(base)).to.deep.equal([]);
  });

  it('is left alone when its mark is missing or names another installation or run', async () => {
    const run = identity();
    const plan = planWorkspace({ location: `file://${base}` }, run.uid);
    const folder = join(base, `parity-${run.uid}`);
    await mkdir(folder);
    await writeFile(join(folder, 'precious'), '');
    expect(await failure(removeWorkspace(plan, run, undefined))).to.match(/without our mark/);
    for (const other of [
      { ...run, installation: 'other' },
      { ...run, uid: randomUUID() },
    ]) {
      await rm(join(folder, '.parity.json'), { force: true });
      await createWorkspace(plan, other, undefined, now);
      expect(await failure(removeWorkspace(plan, run, undefined))).to.match(/marked as run/);
      expect(await failure(createWorkspace(plan, run, undefined, now))).to.match(/is not this run's/);
    }
    expect(await readdir(folder)).to.include('precious');
  });

  it('names the command that removes it, quoted', () => {
    expect(removalCommand(planWorkspace({ location: "file:///a/it's" }, 'u'))).to.equal(
      "rm -rf '/a/it'\\''s/parity-u'",
    );
    expect(removalCommand(planWorkspace({ location: 's3://', endpoint: 'http://h' }, 'u'))).to.equal(
      'aws s3 rb --force s3://parity-u --endpoint-url http://h',
    );
  });
});

describe('a workspace on S3', function () {
  this.timeout(120_000);
  let server: SeaweedFs;
  let client: S3Client;

  before(async () => {
    server = await startSeaweedFs();
    client = new S3Client({
      endpoint: server.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: server.admin,
    });
    await server.createBucket('shared');
  });

  after(async () => {
    client?.destroy();
    await server?.stop();
  });

  it('under a prefix goes with more objects than one page holds, and nothing beside it does', async () => {
    const run = identity();
    const plan = at('s3://shared/dev', run.uid);
    await createWorkspace(plan, run, secret(), now);
    const store = await openStore(plan.storage, secret());
    await mapBounded([...Array(2_345).keys()], 32, (index) => store.put(`snapshot/t/${index}`, 'x'));
    const neighbour = `dev/parity-${run.uid}-2/kept`;
    await client.send(new PutObjectCommand({ Bucket: 'shared', Key: neighbour, Body: 'x' }));
    await removeWorkspace(plan, run, secret());
    await removeWorkspace(plan, run, secret());
    const all = await openStore({ location: 's3://shared', endpoint: server.endpoint }, secret());
    const left: string[] = [];
    for await (const { key } of all.list('')) left.push(key);
    expect(left).to.deep.equal([neighbour]);
    await all.delete([neighbour]);
    for (const one of [store, all]) one.close();
  });

  it('takes an object without content, and the SDK has nothing to say of it', async () => {
    const store = await openStore({ location: 's3://shared/empty', endpoint: server.endpoint }, secret());
    const warn = console.warn;
    const said: unknown[] = [];
    console.warn = (...words) => said.push(...words);
    try {
      await store.put('put', '');
      expect(await store.putIfAbsent('made', Buffer.alloc(0))).to.equal(true);
    } finally {
      console.warn = warn;
    }
    expect(said).to.deep.equal([]);
    for (const key of ['put', 'made']) expect((await store.head(key))?.sizeBytes).to.equal(0);
    await store.delete(['put', 'made']);
    store.close();
  });

  it('in a bucket of its own goes with versions, delete markers, open uploads and the bucket', async () => {
    const run = identity();
    const plan = at('s3://', run.uid);
    await createWorkspace(plan, run, secret(), now);
    const Bucket = `parity-${run.uid}`;
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }));
    const store = await openStore(plan.storage, secret());
    for (const body of ['1', '2']) await store.put('landed/a', body);
    await store.delete(['landed/a']);
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'landed/big' }));
    const part = { Bucket, Key: 'landed/big', UploadId, PartNumber: 1, Body: 'x'.repeat(1000) };
    await client.send(new UploadPartCommand(part));
    expect((await client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads).to.have.length(1);
    await removeWorkspace(plan, run, secret());
    await removeWorkspace(plan, run, secret());
    const gone = await client.send(new HeadBucketCommand({ Bucket })).catch((error: unknown) => error);
    expect(gone).to.be.instanceOf(Error);
    store.close();
  });

  it('that was killed before it was marked goes by its tags, and not by its name alone', async () => {
    const run = identity();
    const plan = at('s3://', run.uid);
    await createWorkspace(plan, run, secret(), now);
    const store = await openStore(plan.storage, secret());
    await store.delete(['.parity.json']);
    await store.put('something', 'x');
    expect(await failure(removeWorkspace(plan, { ...run, installation: 'other' }, secret()))).to.match(
      /without our mark/,
    );
    await removeWorkspace(plan, run, secret());
    store.close();
  });

  it('is left alone when its mark names another installation', async () => {
    const run = identity();
    const plan = at('s3://shared', run.uid);
    await createWorkspace(plan, run, secret(), now);
    expect(await failure(removeWorkspace(plan, { ...run, installation: 'other' }, secret()))).to.match(/marked as run/);
    await removeWorkspace(plan, run, secret());
  });

  it('is not made with wrong keys, and says so in one sentence without them', async () => {
    const run = identity();
    const wrong = { accessKeyId: 'admin', secretAccessKey: 'wrong-key-entirely' };
    const said = await failure(createWorkspace(at('s3://', run.uid), run, wrong, now));
    expect(said)
      .to.match(/refused these credentials/)
      .and.not.include('wrong-key-entirely');
  });

  for (const location of ['s3://', 's3://shared'])
    it(`at ${location} is refused only where no request can have been carried out: not where one was cut off before the server went`, async () => {
      const run = identity();
      const cutting = createServer((socket) => {
        cutting.close();
        socket.once('data', () => socket.destroy());
      });
      await once(cutting.listen(0, '127.0.0.1'), 'listening');
      const address = cutting.address();
      const port = typeof address === 'object' ? address?.port : undefined;
      const plan = planWorkspace({ location, endpoint: `http://127.0.0.1:${port}` }, run.uid);
      const make = () => createWorkspace(plan, run, secret(), now).catch((error: unknown) => error);
      expect(await make())
        .to.be.instanceOf(ParityError)
        .and.not.instanceOf(WorkspaceRefused);
      expect(await make()).to.be.instanceOf(WorkspaceRefused);
    });

  function at(location: string, uid: string) {
    return planWorkspace({ location, endpoint: server.endpoint }, uid);
  }

  function secret(): Record<string, string> {
    return { ...server.admin };
  }
});

function identity() {
  return { name: 'test', uid: randomUUID(), installation: 'this one' };
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).to.be.instanceOf(ParityError);
  return error instanceof ParityError ? error.message : '';
}
