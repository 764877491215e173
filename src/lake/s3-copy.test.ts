import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { expect } from 'chai';
import { type SeaweedFs, startSeaweedFs } from '../../test/support/seaweedfs.ts';
import { openStore } from './open.ts';
import { Requests } from './requests.ts';
import { encodeKey, ObjectCopies } from './s3-copy.ts';

const KEYS = [
  'plain.parquet',
  'day=2024-01-01/part 1+2.parquet',
  "all of !'()*~&=?#%@:,;$.parquet",
  'ü/日本/😀.parquet',
  'a/..b/.c/d..',
];

describe('Copies of many objects on the server', function () {
  this.timeout(60_000);

  describe('of SeaweedFS', () => {
    let server: SeaweedFs;
    before(async () => {
      server = await startSeaweedFs();
      await server.createBucket('from');
      const from = await openStore(bucket('from'), { ...server.admin });
      for (const key of KEYS) await from.put(key, `content of ${key}`);
      from.close();
    });
    after(() => server.stop());

    const bucket = (name: string) => ({ location: `s3://${name}`, endpoint: server.endpoint, region: 'us-east-1' });

    for (const style of ['path', 'host'] as const) {
      it(`arrive whatever their keys hold, the bucket named in the ${style}, and the SDK sends only the first`, async () => {
        const to = `to-${style}`;
        await server.createBucket(to);
        const { port } = new URL(server.endpoint);
        const client = clientOf({
          ...(style === 'path'
            ? { endpoint: server.endpoint, forcePathStyle: true }
            : { endpoint: `http://s3.test:${port}`, forcePathStyle: false }),
          credentials: { ...server.admin },
        });
        const [sent, own, asked] = [sendsOf(client), new Requests(), new Requests()];
        const copies = new ObjectCopies(client, to, own);
        for (const key of KEYS) await copies.copy(`from/${encodeKey(key)}`, key, () => asked.take());
        client.destroy();
        const store = await openStore(bucket(to), { ...server.admin });
        for (const key of KEYS) expect(String(await store.get(key)), key).to.equal(`content of ${key}`);
        store.close();
        expect(sent.hosts).to.deep.equal([style === 'path' ? '127.0.0.1' : `${to}.s3.test`]);
        expect([own.count, asked.count]).to.deep.equal([KEYS.length - 1, KEYS.length]);
      });
    }
  });

  describe('of a server that answers as told', () => {
    it('are tried again by the SDK where the server is busy, fails within an answer of 200, or hangs up', async () => {
      const faults = new Map<string, (response: ServerResponse) => void>([
        ['busy', (response) => answer(response, 503, failure('SlowDown'))],
        ['late', (response) => answer(response, 200, failure('InternalError'))],
        ['cut', (response) => response.socket?.destroy()],
      ]);
      const { requests, copies, close } = await serve((request, response) => {
        const fault = faults.get(keyOf(request));
        faults.delete(keyOf(request));
        if (fault === undefined) answer(response, 200, DONE);
        else fault(response);
      });
      const keys = ['first', 'busy', 'late', 'cut', 'last'];
      for (const key of keys) await copies.copy(`from/${key}`, key, async () => undefined);
      close();
      expect(requests.map(({ key }) => key)).to.deep.equal([
        'first',
        'busy',
        'busy',
        'late',
        'late',
        'cut',
        'cut',
        'last',
      ]);
      expect(requests.map(({ bySdk }) => bySdk)).to.deep.equal([true, false, true, false, true, false, true, false]);
      expect(requests.map(({ source }) => source)).to.deep.equal(requests.map(({ key }) => `from/${key}`));
    });

    it('are left to the SDK where the server takes only what the SDK sends', async () => {
      const { requests, copies, close } = await serve((request, response) =>
        isBySdk(request) ? answer(response, 200, DONE) : answer(response, 403, failure('AccessDenied')),
      );
      for (const key of ['a', 'b', 'c', 'd']) await copies.copy(`from/${key}`, key, async () => undefined);
      close();
      expect(requests.map(({ bySdk }) => bySdk)).to.deep.equal([true, false, true, true, true]);
    });

    it('end in the error that the SDK reports', async () => {
      const { copies, close } = await serve((request, response) =>
        keyOf(request) === 'gone' ? answer(response, 404, failure('NoSuchKey')) : answer(response, 200, DONE),
      );
      await copies.copy('from/there', 'there', async () => undefined);
      const error = await copies.copy('from/gone', 'gone', async () => undefined).catch((thrown: unknown) => thrown);
      close();
      expect(error).to.have.property('name', 'NoSuchKey');
    });

    it('begun side by side before the first is answered all arrive', async () => {
      const { requests, copies, close } = await serve((_, response) => answer(response, 200, DONE));
      const keys = Array.from({ length: 50 }, (_, n) => `part-${n}`);
      await Promise.all(keys.map((key) => copies.copy(`from/${key}`, key, async () => undefined)));
      close();
      expect(new Set(requests.map(({ key }) => key))).to.deep.equal(new Set(keys));
      expect(requests.filter(({ bySdk }) => bySdk)).to.have.length(1);
    });

    it('are signed for the region, with the session token that is valid then', async () => {
      let session = 0;
      const { requests, copies, close } = await serve((_, response) => answer(response, 200, DONE), {
        region: 'eu-central-1',
        credentials: async () => {
          session += 1;
          // Expired at once, so that each request asks for new ones.
          return {
            accessKeyId: `key-${session}`,
            secretAccessKey: 's',
            sessionToken: `t-${session}`,
            expiration: new Date(0),
          };
        },
      });
      for (const key of ['a', 'b', 'c']) await copies.copy(`from/${key}`, key, async () => undefined);
      close();
      const sessions = requests.map(({ headers }) => String(headers['x-amz-security-token']));
      expect(new Set(sessions).size).to.equal(3);
      for (const [index, { headers }] of requests.entries()) {
        const scope = `Credential=${sessions[index]?.replace('t-', 'key-')}/\\d{8}/eu-central-1/s3/aws4_request,`;
        expect(headers.authorization).to.match(new RegExp(scope));
      }
    });
  });
});

const DONE = '<?xml version="1.0"?>\n<CopyObjectResult><ETag>"0"</ETag></CopyObjectResult>';

function failure(code: string): string {
  return `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>as told</Message></Error>`;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' }).end(text);
}

function keyOf({ url = '' }: IncomingMessage): string {
  return new URL(url, 'http://server').pathname.replace('/to/', '');
}

function isBySdk({ headers }: IncomingMessage): boolean {
  return headers['amz-sdk-invocation-id'] !== undefined;
}

async function serve(
  respond: (request: IncomingMessage, response: ServerResponse) => void,
  config: Partial<S3ClientConfig> = {},
) {
  const requests: { key: string; source: unknown; bySdk: boolean; headers: IncomingMessage['headers'] }[] = [];
  const server = createServer((request, response) => {
    const { headers } = request;
    requests.push({ key: keyOf(request), source: headers['x-amz-copy-source'], bySdk: isBySdk(request), headers });
    respond(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = clientOf({
    endpoint: `http://127.0.0.1:${port}`,
    forcePathStyle: true,
    credentials: { accessKeyId: 'a', secretAccessKey: 's' },
    ...config,
  });
  const close = () => {
    client.destroy();
    server.close();
    server.closeAllConnections();
  };
  return { requests, copies: new ObjectCopies(client, 'to', new Requests()), close };
}

/** A client that finds every host here. */
function clientOf(config: S3ClientConfig): S3Client {
  const httpAgent = new Agent({
    keepAlive: true,
    lookup: (_, { all }, found) => (all === true ? found(null, [HERE]) : found(null, HERE.address, HERE.family)),
  });
  return new S3Client({
    region: 'us-east-1',
    requestChecksumCalculation: 'WHEN_REQUIRED',
    requestHandler: { httpAgent },
    ...config,
  });
}

const HERE = { address: '127.0.0.1', family: 4 };

/** The hosts of what the client itself sends from now on. */
function sendsOf(client: S3Client): { readonly hosts: readonly string[] } {
  const hosts: string[] = [];
  client.middlewareStack.add(
    (next) => async (args) => {
      const { request } = args;
      if (typeof request === 'object' && request !== null && 'hostname' in request)
        hosts.push(String(request.hostname));
      return next(args);
    },
    { step: 'finalizeRequest', name: 'testSends' },
  );
  return { hosts };
}
