import { expect } from 'chai';
import { type ClientOptions, KubeClient } from './client.ts';
import { isKubeError, KubeError } from './error.ts';
import { configMaps, jobs, type KubeObject } from './objects.ts';
import { reply, type Script, type ScriptedServer, scriptedServer, status } from './scripted-server.fixture.ts';

/** Answers as the API server words them; test/integration has the same client on a real one. */
describe('the client', () => {
  const name = { namespace: 'shop', name: 'a' };
  let server: ScriptedServer | undefined;
  afterEach(() => server?.[Symbol.asyncDispose]());

  async function client(script: Script, options: ClientOptions = {}): Promise<KubeClient> {
    server = await scriptedServer(script);
    return new KubeClient(server.access, { deadlineMs: 5000, ...options });
  }

  const refusals: readonly { code: number; body: unknown; reason: string }[] = [
    { code: 404, body: status(404, 'NotFound', { name: 'a', kind: 'configmaps' }), reason: 'NotFound' },
    { code: 404, body: '404 page not found\n', reason: 'NoSuchKind' },
    { code: 409, body: status(409, 'AlreadyExists'), reason: 'AlreadyExists' },
    { code: 409, body: status(409, 'Conflict'), reason: 'Conflict' },
    { code: 410, body: status(410, 'Expired'), reason: 'Gone' },
    { code: 422, body: status(422, 'Invalid'), reason: 'Invalid' },
    { code: 400, body: status(400, 'BadRequest'), reason: 'Invalid' },
    { code: 401, body: status(401, 'Unauthorized'), reason: 'Unauthorized' },
    { code: 403, body: status(403, 'Forbidden'), reason: 'Forbidden' },
    {
      code: 403,
      body: status(403, 'Forbidden', { causes: [{ reason: 'NamespaceTerminating' }] }),
      reason: 'NamespaceTerminating',
    },
    { code: 500, body: 'internal error', reason: 'Server' },
    { code: 503, body: status(503, 'ServiceUnavailable'), reason: 'Server' },
    { code: 504, body: status(504, 'Timeout'), reason: 'Timeout' },
  ];
  for (const { code, body, reason } of refusals)
    it(`says ${reason} for ${code} ${typeof body === 'string' ? body.trim() : ''}`, async () => {
      const error = await failure((await client((_, response) => reply(response, code, body))).get(configMaps, name));
      expect({ reason: error.reason, status: error.status }).to.deep.equal({ reason, status: code });
      expect(error.message).to.match(/^reading ConfigMap shop\/a: /);
      expect(error.subject).to.equal('ConfigMap shop/a');
    });

  it('ends a request that is never answered at its deadline', async () => {
    const error = await failure((await client(() => {}, { deadlineMs: 50 })).get(configMaps, name));
    expect(error.reason).to.equal('Timeout');
    expect(error.message).to.equal('reading ConfigMap shop/a: no answer within 0.05 s');
  });

  it('ends a request whose answer stops half-way at its deadline', async () => {
    const slow: Script = (_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"metadata":');
    };
    expect((await failure((await client(slow, { deadlineMs: 50 })).get(configMaps, name))).reason).to.equal('Timeout');
  });

  it('says Unreachable for an answer that is cut half-way', async () => {
    const cut: Script = (request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"metadata":', () => request.socket.destroy());
    };
    expect((await failure((await client(cut)).get(configMaps, name))).reason).to.equal('Unreachable');
  });

  it('says Unreachable for an answer that is no JSON, as of a proxy in between', async () => {
    const page = await client((_, response) => reply(response, 200, '<html>sign in</html>'));
    expect((await failure(page.get(configMaps, name))).reason).to.equal('Unreachable');
  });

  it('says Unreachable where nobody listens', async () => {
    const gone = await client(() => {});
    await server?.[Symbol.asyncDispose]();
    const error = await failure(gone.get(configMaps, name));
    expect(error.reason).to.equal('Unreachable');
    expect(error.message).to.match(/ECONNREFUSED/);
  });

  it('uses one connection for requests that follow one another', async () => {
    const kube = await client((_, response) => reply(response, 200, { metadata: { name: 'a' } }));
    for (let i = 0; i < 5; i++) await kube.get(configMaps, name);
    expect(server?.connections()).to.equal(1);
  });

  it('waits as long as a 429 says, and then carries on', async () => {
    const kube = await client(({ index }, response) =>
      index === 0
        ? reply(response, 429, status(429, 'TooManyRequests'), { 'retry-after': '1' })
        : reply(response, 201, { metadata: { name: 'a' } }),
    );
    const startedAt = performance.now();
    await kube.create(configMaps, { metadata: name, data: {} });
    expect(performance.now() - startedAt).to.be.at.least(990);
    expect(server?.requests).to.have.length(2);
  });

  it('hands on a 429 that asks for more time than there is, with that time', async () => {
    const busy = await client((_, response) => reply(response, 429, 'busy', { 'retry-after': '60' }));
    const error = await failure(busy.get(configMaps, name));
    expect({ reason: error.reason, retryAfterMs: error.retryAfterMs }).to.deep.equal({
      reason: 'TooManyRequests',
      retryAfterMs: 60_000,
    });
    expect(server?.requests).to.have.length(1);
  });

  it('never sends a write again that may have happened', async () => {
    const failing = await client((_, response) => reply(response, 503, status(503, 'ServiceUnavailable')));
    await failure(failing.create(configMaps, { metadata: name }));
    expect(server?.requests).to.have.length(1);
  });

  it('sends no write that may not be written any more, but reads', async () => {
    const lost = () => {
      throw new KubeError('Conflict', 'another leads');
    };
    const kube = await client((_, response) => reply(response, 200, { metadata: { name: 'a' } }), { mayWrite: lost });
    await kube.get(configMaps, name);
    for (const write of [
      () => kube.create(configMaps, { metadata: name }),
      () => kube.mergePatch(configMaps, name, {}),
      () => kube.delete(configMaps, name),
    ])
      expect((await failure(write())).message).to.equal('another leads');
    expect(server?.requests).to.deep.equal(['GET /api/v1/namespaces/shop/configmaps/a']);
  });

  it('stops what runs when the signal aborts, and sends nothing after', async () => {
    const stop = new AbortController();
    const kube = await client(() => stop.abort(), { signal: stop.signal });
    const error: unknown = await kube.get(configMaps, name).catch((error: unknown) => error);
    expect(error).to.have.property('code', 'Cancelled');
    await kube.get(configMaps, name).catch(() => {});
    expect(server?.requests).to.have.length(1);
  });

  it('keeps to its rate, once the burst is used up', async () => {
    const kube = await client((_, response) => reply(response, 200, {}), { requestsPerSecond: 50, burst: 5 });
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: 15 }, () => kube.get(configMaps, name)));
    expect(performance.now() - startedAt).to.be.at.least(10 / 0.05 - 5);
  });

  it('reads a list page by page and names what its items are', async () => {
    const kube = await client(({ index }, response) =>
      reply(response, 200, {
        metadata: { resourceVersion: '7', ...(index === 0 ? { continue: 'next page' } : {}) },
        items: [{ metadata: { name: `j${index}` } }],
      }),
    );
    const { items, resourceVersion } = await kube.list(jobs, { namespace: 'shop', labelSelector: 'a=b', pageSize: 1 });
    expect(resourceVersion).to.equal('7');
    expect(items.map((job: KubeObject) => [job.apiVersion, job.kind, job.metadata.name])).to.deep.equal([
      ['batch/v1', 'Job', 'j0'],
      ['batch/v1', 'Job', 'j1'],
    ]);
    expect(server?.requests).to.deep.equal([
      'GET /apis/batch/v1/namespaces/shop/jobs?labelSelector=a%3Db&limit=1',
      'GET /apis/batch/v1/namespaces/shop/jobs?labelSelector=a%3Db&limit=1&continue=next+page',
    ]);
  });

  it('says whether a deleted object is gone or still kept', async () => {
    const kube = await client(({ index }, response) => {
      if (index === 0) reply(response, 200, { kind: 'ConfigMap', metadata: { finalizers: ['x'] } });
      else if (index === 1) reply(response, 200, { kind: 'Status', status: 'Success' });
      else reply(response, 404, status(404, 'NotFound', { name: 'a' }));
    });
    expect([
      await kube.delete(configMaps, name),
      await kube.delete(configMaps, name, { uid: 'u', resourceVersion: '5' }),
      await kube.delete(configMaps, name),
    ]).to.deep.equal(['deleting', 'gone', 'gone']);
  });

  it('reads the events of a watch, also where they are cut anywhere between two chunks', async () => {
    const events = [
      { type: 'ADDED', object: { metadata: { name: 'ä€😀', resourceVersion: '1' } } },
      { type: 'BOOKMARK', object: { metadata: { resourceVersion: '2' } } },
    ];
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    const kube = await client(async (_, response) => {
      response.writeHead(200);
      for (const byte of bytes) await new Promise((resolve) => response.write(Buffer.from([byte]), resolve));
      response.end();
    });
    expect(await all(kube.watch(configMaps, watching))).to.deep.equal([
      events[0],
      { type: 'BOOKMARK', resourceVersion: '2' },
    ]);
  });

  const watching = { resourceVersion: '1', timeoutSeconds: 60, idleMs: 2000 };
  const brokenWatches: readonly { says: string; script: Script; reason: string }[] = [
    {
      says: 'Gone, for an ERROR event with 410',
      script: (_, response) =>
        reply(response, 200, `${JSON.stringify({ type: 'ERROR', object: status(410, 'Expired') })}\n`),
      reason: 'Gone',
    },
    {
      says: 'Gone, for the answer 410',
      script: (_, response) => reply(response, 410, status(410, 'Gone')),
      reason: 'Gone',
    },
    {
      says: 'Unreachable, for a stream that ends within an event',
      script: (_, response) => reply(response, 200, '{"type":"ADDED","obj'),
      reason: 'Unreachable',
    },
    {
      says: 'Unreachable, for an event that is no JSON',
      script: (_, response) => reply(response, 200, '{"type":\n'),
      reason: 'Unreachable',
    },
    {
      says: 'Timeout, for silence',
      script: (_, response) => response.writeHead(200).flushHeaders(),
      reason: 'Timeout',
    },
  ];
  for (const { says, script, reason } of brokenWatches)
    it(`ends a watch with ${says}`, async () => {
      const kube = await client(script);
      const error = await failure(all(kube.watch(configMaps, { ...watching, idleMs: 100 })));
      expect(error.reason).to.equal(reason);
    });

  it('closes the connection of a watch that is not read on', async () => {
    const closed = Promise.withResolvers<void>();
    const kube = await client((request, response) => {
      request.socket.once('close', () => closed.resolve());
      response.writeHead(200);
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '2' } } })}\n`);
    });
    for await (const _ of kube.watch(configMaps, watching)) break;
    await closed.promise;
  });

  it('tells what it did, for metrics', async () => {
    const told: string[] = [];
    const kube = await client((_, response) => reply(response, 409, status(409, 'Conflict')), {
      onRequest: ({ verb, resource, code }) => told.push(`${verb} ${resource} ${code}`),
    });
    await failure(kube.mergePatch(jobs, name, { status: {} }, { subresource: 'status' }));
    expect(told).to.deep.equal(['patch jobs 409']);
    expect(server?.requests).to.deep.equal([
      'PATCH /apis/batch/v1/namespaces/shop/jobs/a/status?fieldManager=pipeline-parity',
    ]);
  });
});

async function failure(promise: Promise<unknown>): Promise<KubeError> {
  const error: unknown = await promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  );
  if (isKubeError(error)) return error;
  throw error;
}

async function all<T>(events: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const event of events) read.push(event);
  return read;
}
