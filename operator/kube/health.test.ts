import { expect } from 'chai';
import { startHealthServer } from './health.ts';
import { countQueue, countRequests, createMetrics } from './metrics.ts';

describe('health and metrics endpoints', () => {
  it('say what is wrong, by name, with 503 until it is well', async () => {
    let isSynced = false;
    await using server = await startHealthServer({
      port: 0,
      host: '127.0.0.1',
      live: { loop: () => undefined },
      ready: {
        runs: () => (isSynced ? undefined : 'not listed yet'),
        broken: () => {
          if (!isSynced) throw new Error('a check that throws is one that fails');
          return undefined;
        },
      },
      metrics: createMetrics().registry,
    });
    const ask = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      return `${response.status} ${await response.text()}`;
    };
    expect(await ask('/healthz')).to.equal('200 loop: ok\n');
    expect(await ask('/readyz')).to.equal(
      '503 runs: not listed yet\nbroken: Error: a check that throws is one that fails\n',
    );
    isSynced = true;
    expect(await ask('/readyz?verbose')).to.equal('200 runs: ok\nbroken: ok\n');
    expect(await ask('/')).to.match(/^404/);
  });

  it('refuse a port that is taken, in a sentence', async () => {
    const options = { host: '127.0.0.1', live: {}, ready: {}, metrics: createMetrics().registry };
    await using first = await startHealthServer({ ...options, port: 0 });
    const error: unknown = await startHealthServer({ ...options, port: first.port }).catch((error: unknown) => error);
    expect(error)
      .to.have.property('message')
      .that.matches(/^serving health checks on port \d+: .*EADDRINUSE/);
  });

  it('serve the counts of requests, of the queue and of this process', async () => {
    const metrics = createMetrics();
    const onRequest = countRequests(metrics);
    onRequest({ verb: 'patch', resource: 'jobs', code: 409, durationMs: 12 });
    onRequest({ verb: 'watch', resource: 'jobs', code: 200, durationMs: 300_000 });
    const hooks = countQueue(metrics);
    hooks.onDepth?.(3);
    hooks.onFailure?.('a/b', 5, new Error('no'), 1, 500);
    await using server = await startHealthServer({
      port: 0,
      host: '127.0.0.1',
      live: {},
      ready: {},
      metrics: metrics.registry,
    });
    const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    const text = await response.text();
    expect(response.headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
    expect(text).to.include('parity_api_requests_total{verb="patch",resource="jobs",code="409"} 1\n');
    expect(text).to.include('parity_api_request_duration_seconds_count{verb="patch"} 1\n');
    expect(text).to.not.include('parity_api_request_duration_seconds_count{verb="watch"}');
    expect(text).to.include('parity_queue_depth 3\n');
    expect(text).to.include('parity_queue_retries_total 1\n');
    expect(text).to.match(/process_resident_memory_bytes \d+/);
  });
});
