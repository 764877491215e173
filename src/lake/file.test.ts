import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { FileStore } from './file.ts';
import { FileReader, TEMPORARY_MARK } from './file-reader.ts';
import { Requests } from './requests.ts';
import { s3Client } from './s3-client.ts';
import { S3Reader } from './s3-reader.ts';

describe('a folder as an object store', () => {
  let root: string;
  let store: FileStore;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'parity-file-'));
    store = new FileStore({ scheme: 'file', root });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function keys(prefix: string, startAfter?: string): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of store.list(prefix, startAfter === undefined ? {} : { startAfter })) found.push(key);
    return found;
  }

  it('lists in the order of S3, in which a folder sorts with its slash', async () => {
    for (const key of ['a/b', 'a-b', 'a.b', 'a/a/a', 'a', 'ä', 'b'].filter((key) => key !== 'a'))
      await store.put(key, '');
    expect(await keys('')).to.deep.equal(['a-b', 'a.b', 'a/a/a', 'a/b', 'b', 'ä']);
    expect(await keys('a/')).to.deep.equal(['a/a/a', 'a/b']);
    expect(await keys('', 'a/a/a')).to.deep.equal(['a/b', 'b', 'ä']);
    expect(await keys('nothing/')).to.deep.equal([]);
  });

  it('gives an absent key to exactly one of many writers', async () => {
    const created = await Promise.all(Array.from({ length: 20 }, (_, n) => store.putIfAbsent('k', `${n}`)));
    const winner = created.indexOf(true);
    expect(created.filter(Boolean)).to.have.length(1);
    expect((await store.get('k')).toString()).to.equal(`${winner}`);
    expect(await readdir(root)).to.deep.equal(['k']);
  });

  it('leaves nothing of a stream that fails or has another length', async () => {
    const failing = Readable.from(
      (async function* () {
        yield Buffer.from('half');
        throw new Error('lost');
      })(),
    );
    for (const body of [failing, Readable.from([Buffer.from('abc')])]) {
      let hasFailed = false;
      await store.putStream('k', body, 10).catch(() => {
        hasFailed = true;
      });
      expect(hasFailed).to.equal(true);
    }
    expect(await readdir(root)).to.deep.equal([]);
  });

  it('copies, and never links: what is written to the copy does not reach the source', async () => {
    await store.put('source', 'abc');
    await store.copyFrom(store.location, 'source', 'copy', 3, new Requests());
    expect((await stat(join(root, 'source'))).ino).to.not.equal((await stat(join(root, 'copy'))).ino);
    expect((await stat(join(root, 'source'))).nlink).to.equal(1);
  });

  it('shows half-written files to their owner alone', async () => {
    await writeFile(join(root, `${TEMPORARY_MARK}1`), 'half');
    expect(await keys('')).to.have.length(1);
    const seen: string[] = [];
    for await (const { key } of new FileReader({ scheme: 'file', root }).list('')) seen.push(key);
    expect(seen).to.deep.equal([]);
  });

  it('removes folders with their last object, and takes a missing one as deleted', async () => {
    await store.put('a/b/c', '');
    await store.put('a/d', '');
    await store.delete(['a/b/c', 'a/b/missing']);
    expect(await readdir(join(root, 'a'))).to.deep.equal(['d']);
    await store.delete(['a/d']);
    expect(await readdir(root)).to.deep.equal([]);
  });

  for (const key of ['../secret', 'a/../../secret', '/etc/passwd']) {
    it(`refuses the key ${key}, which leaves the folder`, async () => {
      const error = await store.get(key).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(error).to.have.property('code', 'AccessDenied');
    });
  }
});

describe('a reader of production', () => {
  const location = { scheme: 's3' as const, bucket: 'b', root: '', endpoint: 'http://127.0.0.1:9', region: 'r' };
  const readers = {
    'of S3': () =>
      new S3Reader(location, s3Client(location, { accessKeyId: 'a', secretAccessKey: 's' }, new Requests())),
    'of a folder': () => new FileReader({ scheme: 'file', root: '/nowhere' }),
  };
  for (const [title, open] of Object.entries(readers)) {
    it(`${title} has no verb that writes`, () => {
      const reader = open();
      for (const verb of ['put', 'putIfAbsent', 'putStream', 'copyFrom', 'delete'])
        expect(verb in reader).to.equal(false);
      reader.close();
    });
  }
});

describe('a rate of requests', () => {
  it('is kept however many ask at once', async () => {
    const requests = new Requests(200);
    const start = performance.now();
    await Promise.all(Array.from({ length: 21 }, () => requests.take()));
    // 20 spaces of 5 ms; a timer may fire up to a millisecond early
    expect(performance.now() - start).to.be.at.least(98);
    expect(requests.count).to.equal(21);
  });
});
