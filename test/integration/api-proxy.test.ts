import { createServer, request } from 'node:http';
import { ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { expect } from 'chai';
import { type Fault, type FaultProxy, startFaultProxy } from '../support/api-proxy.ts';
import { startSeaweedFs } from '../support/seaweedfs.ts';

describe('the fault proxy of the tests', () => {
  const heard: string[] = [];
  const server = createServer(async (message, response) => {
    let body = '';
    for await (const chunk of message) body += chunk;
    heard.push(`${message.method} ${message.url} ${message.headers.host} ${body}`);
    response.setHeader('x-server', 'yes');
    for (let i = 0; i < 3; i++) await new Promise((resolve) => response.write(`line ${i}\n`, resolve));
    response.end();
  });
  let proxy: FaultProxy;
  before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  beforeEach(async () => {
    heard.length = 0;
    const address = server.address();
    proxy = await startFaultProxy({
      server: new URL(`http://127.0.0.1:${typeof address === 'object' ? address?.port : undefined}`),
    });
  });
  afterEach(() => proxy[Symbol.asyncDispose]());
  after(() => {
    server.close();
    server.closeAllConnections();
  });

  it('passes what nobody decides about: method, path, body and the Host that signatures cover', async () => {
    expect(await ask(proxy, 'PUT', '/b/k?x=1', 'text')).to.equal('200 line 0\nline 1\nline 2\n');
    expect(heard).to.deep.equal([`PUT /b/k?x=1 ${new URL(proxy.url).host} text`]);
    expect(proxy.writes().map(({ method, path, status }) => [method, path, status])).to.deep.equal([
      ['PUT', '/b/k', 200],
    ]);
  });

  it('lets a decision read the body, which passes all the same', async () => {
    let seen = '';
    proxy.decideBy(async (request) => {
      seen = String(await request.body());
      return undefined;
    });
    await ask(proxy, 'POST', '/', 'text');
    expect(seen).to.equal('text');
    expect(heard[0]).to.match(/ text$/);
  });

  const faults: readonly { says: string; fault: Fault; client: string; server: number }[] = [
    { says: 'drops a request before the server hears of it', fault: { kind: 'Drop' }, client: 'cut', server: 0 },
    {
      says: 'loses the reply of a request that was carried out',
      fault: { kind: 'LoseReply' },
      client: 'cut',
      server: 1,
    },
    {
      says: 'answers by itself',
      fault: { kind: 'Answer', status: 429, headers: { 'retry-after': '7' }, body: 'no' },
      client: '429 no',
      server: 0,
    },
    {
      says: 'delays',
      fault: { kind: 'Delay', beforeMs: 5, afterMs: 5 },
      client: '200 line 0\nline 1\nline 2\n',
      server: 1,
    },
    {
      says: 'cuts an answer after so many bytes',
      fault: { kind: 'Cut', afterBytes: 9 },
      client: 'cut after 9',
      server: 1,
    },
    {
      says: 'loses a reply that the test decides to lose',
      fault: { kind: 'Afterwards', decide: async (status) => (status === 200 ? 'Lose' : 'Forward') },
      client: 'cut',
      server: 1,
    },
    {
      says: 'doubles, drops and changes lines',
      fault: { kind: 'Rewrite', line: (line) => (line === 'line 0' ? [] : line === 'line 1' ? [line, line] : ['€']) },
      client: '200 line 1\nline 1\n€\n',
      server: 1,
    },
  ];
  for (const { says, fault, client, server } of faults)
    it(says, async () => {
      proxy.decideBy(() => fault);
      expect(await ask(proxy, 'GET', '/')).to.equal(client);
      expect(heard).to.have.length(server);
    });

  it('falls silent within an answer, and the connection stays', async () => {
    proxy.decideBy(() => ({ kind: 'Silence', afterBytes: 9 }));
    const asked = ask(proxy, 'GET', '/');
    const first = await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 200, 'silent'))]);
    expect(first).to.equal('silent');
    expect(proxy.cut(() => true)).to.equal(1);
    expect(await asked).to.equal('cut after 9');
  });

  it('stands before S3 too: signatures, large bodies and lists hold, and a write that was carried out can lose its reply', async function () {
    this.timeout(120_000);
    const s3 = await startSeaweedFs();
    try {
      await s3.createBucket('bucket');
      await using before = await startFaultProxy({ server: new URL(s3.endpoint) });
      const config = {
        endpoint: before.url,
        region: 'us-east-1',
        forcePathStyle: true,
        credentials: s3.admin,
        maxAttempts: 1,
      };
      const client = new S3Client(config);
      const Body = Buffer.alloc(3_000_000, 'x');
      await client.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'a key/é', Body }));
      before.decideBy((request) => (request.isWrite ? { kind: 'LoseReply' } : undefined));
      const lost: unknown = await client
        .send(new PutObjectCommand({ Bucket: 'bucket', Key: 'lost', Body: 'y' }))
        .catch((error: unknown) => error);
      expect(lost).to.be.instanceOf(Error);
      const { Contents } = await client.send(new ListObjectsV2Command({ Bucket: 'bucket' }));
      expect(Contents?.map(({ Key, Size }) => [Key, Size])).to.deep.equal([
        ['a key/é', 3_000_000],
        ['lost', 1],
      ]);
      expect(before.writes().map(({ method, status }) => [method, status])).to.deep.equal([
        ['PUT', 200],
        ['PUT', 200],
      ]);
      client.destroy();
    } finally {
      await s3.stop();
    }
  });

  it('cuts the connection when the server behind is gone', async () => {
    await using orphan = await startFaultProxy({ server: new URL('http://127.0.0.1:1') });
    expect(await ask(orphan, 'GET', '/')).to.equal('cut');
  });
});

/** What a client sees: status and body, or where it was cut. */
function ask(proxy: FaultProxy, method: string, path: string, body?: string): Promise<string> {
  return new Promise((resolve) => {
    const sent = request(new URL(path, proxy.url), { method, agent: false }, async (response) => {
      let text = '';
      try {
        for await (const chunk of response.setEncoding('utf8')) text += chunk;
        resolve(`${response.statusCode} ${text}`);
      } catch {
        resolve(`cut after ${text.length}`);
      }
    });
    sent.on('error', () => resolve('cut'));
    sent.end(body);
  });
}
