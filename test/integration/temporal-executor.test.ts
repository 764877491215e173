import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createSecureServer } from 'node:http2';
import { type AddressInfo, connect, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { TemporalPipelineSpec } from '../../src/api/resolved.ts';
import { type Execution, type ExecutionSecrets, executionsOf } from '../../src/pipelines/contract.ts';
import type { ExecutionState, Executor, RunningExecution } from '../../src/pipelines/external.ts';
import type { SyncRequest } from '../../src/pipelines/pipeline.ts';
import { type Bench, contextFor, openBench } from '../../src/pipelines/reference.fixture.ts';
import { temporalExecutor } from '../../src/pipelines/temporal.ts';
import { connectTemporal } from '../../src/pipelines/temporal-client.ts';
import { endWorkflows } from '../../src/pipelines/temporal-removal.ts';
import { ParityError } from '../../src/support/error.ts';
import { delay } from '../../src/support/retry.ts';
import type { TaskContext } from '../../src/tasks/task.ts';
import { type RunningWorker, startTemporal, startWorkerProcess, type TemporalServer } from '../support/temporal.ts';

const queue = 'executor-syncs';
const connection = { host: '127.0.0.1', port: 5432, user: 'parity', password: 'pass-words-1', database: 'shop' };
const secrets: ExecutionSecrets = { source: connection };

describe('the workflows of a pipeline', function () {
  this.timeout(120_000);
  let server: TemporalServer;
  let worker: RunningWorker;
  let folder: string;
  let bench: Bench;
  let uid: string;
  const executors: Executor[] = [];

  before(async () => {
    server = await startTemporal();
    worker = await startWorkerProcess(server.address, queue);
  });

  after(async () => {
    await worker?.stop();
    await server?.stop();
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-temporal-'));
    bench = await openBench(folder);
    uid = crypto.randomUUID();
  });

  afterEach(async () => {
    for (const executor of executors.splice(0)) await executor.close?.();
    await bench.close();
    await rm(folder, { recursive: true, force: true });
  });

  function specOf(workflowType: string, more: Partial<TemporalPipelineSpec['temporal']> = {}): TemporalPipelineSpec {
    return {
      ...{ name: 'candidate', cursorBound: 'Inclusive', executions: 'PerTable', timeoutSeconds: 60 },
      outputs: { kind: 'files', format: 'Delta', location: '{{landing}}/{{table}}' },
      temporal: {
        ...{ address: server.address, namespace: 'default', taskQueue: queue, workflowType, args: '["{{request}}"]' },
        ...more,
      },
    };
  }

  function contextOf(spec: TemporalPipelineSpec, attempt = 1): TaskContext {
    const context = contextFor(bench, request, { pipeline: spec, keys: { t: ['id'] } });
    const run = { name: 'test', uid, installation: 'test' };
    return { ...context, attempt, file: { ...context.file, run }, runFolder: folder };
  }

  async function executionOf(spec: TemporalPipelineSpec): Promise<Execution> {
    const [first] = await executionsOf(spec, request, contextOf(spec), connection);
    return first ?? expect.fail('no execution');
  }

  /** As a process of its own would: with a client of its own. */
  async function start(spec: TemporalPipelineSpec, attempt = 1): Promise<RunningExecution> {
    const executor = temporalExecutor(spec);
    executors.push(executor);
    return await executor.start(await executionOf(spec), secrets, contextOf(spec, attempt));
  }

  async function end(running: RunningExecution): Promise<Exclude<ExecutionState, { state: 'Running' }>> {
    for (;;) {
      const state = await running.observe();
      if (state.state !== 'Running') return state;
      await delay(20);
    }
  }

  async function untilNote(running: RunningExecution, note: RegExp): Promise<void> {
    for (;;) {
      const state = await running.observe();
      if (state.state !== 'Running') expect.fail(`it ended: ${JSON.stringify(state)}`);
      if (note.test(state.note ?? '')) return;
      await delay(20);
    }
  }

  const idOf = (attempt: number): string => `parity-${uid}-candidate-first-shop-t-${attempt}`;

  it('are one, however often they are started, at the same time and after they have ended', async () => {
    const spec = specOf('idle');
    const all = await Promise.all([1, 2, 3, 4].map(() => start(spec)));
    for (const running of all) expect(await end(running)).to.deep.equal({ state: 'Succeeded' });
    expect(await end(await start(spec))).to.deep.equal({ state: 'Succeeded' });
    const history = await server.client.workflow.getHandle(idOf(1)).fetchHistory();
    expect(history.events?.filter((event) => event.workflowExecutionStartedEventAttributes)).to.have.length(1);
    const second = server.client.workflow.getHandle(idOf(2)).describe();
    expect(await second.catch((error: unknown) => error)).to.have.property('name', 'WorkflowNotFoundError');
  });

  it('get a successor where the task that followed them was stopped, and only then', async () => {
    const spec = specOf('neverEnding');
    await (await start(spec)).cancel('stopped');
    expect(await end(await start(spec, 1))).to.have.property('state', 'Failed');
    const second = await start(spec, 2);
    expect(await second.observe()).to.have.property('state', 'Running');
    await endWorkflows(spec, [(await executionOf(spec)).id], undefined);
    expect((await server.client.workflow.getHandle(idOf(2)).describe()).status.name).to.equal('CANCELLED');
  });

  it('are not taken for ours where somebody else has started one of that name', async () => {
    await server.client.workflow.start('neverEnding', { workflowId: idOf(1), taskQueue: queue });
    const error: unknown = await start(specOf('idle')).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('message', `There is a workflow ${idOf(1)}, and it is not what this run asked for.`);
    await server.client.workflow.getHandle(idOf(1)).terminate();
  });

  it('tell how far they are by heartbeats, by their memo, and by a query', async () => {
    const beating = await start(specOf('beating'));
    await untilNote(beating, /^table airlines, rows \d+$/);
    await beating.cancel('seen');
    uid = crypto.randomUUID();
    const waiting = await start(specOf('neverEnding'));
    await untilNote(waiting, /^waits_for a lock$/);
    await waiting.cancel('seen');
    uid = crypto.randomUUID();
    const asked = await start(specOf('neverEnding', { progressQuery: '__stack_trace' }));
    await untilNote(asked, /neverEnding/);
    await asked.cancel('seen');
  });

  it('that do not end when they are asked to are terminated', async () => {
    const running = await start(specOf('stubborn'));
    await running.cancel('enough');
    expect((await server.client.workflow.getHandle(idOf(1)).describe()).status.name).to.equal('TERMINATED');
  });

  for (const [what, args, isThere] of [
    ['never have the password in their history', '["{{request}}", "{{source.secretDir}}", "{{tables}}"]', false],
    ['have the password in their history where the manifest puts it there', '[{"dsn": "{{source.url}}"}]', true],
  ] as const)
    it(what, async () => {
      const spec = specOf('idle', { args });
      await end(await start(spec));
      const history = await server.client.workflow.getHandle(idOf(1)).fetchHistory();
      const { input } = history.events?.[0]?.workflowExecutionStartedEventAttributes ?? {};
      const sent = (input?.payloads ?? []).map(({ data }) => Buffer.from(data ?? []).toString()).join();
      expect(sent.includes(connection.password), sent).to.equal(isThere);
      if (!isThere) expect(sent).to.include(`${folder}/secrets/source-shop`).and.to.include('["t"]');
    });

  it('whose server is lost are given up in a named error that may pass', async () => {
    const own = await startTemporal();
    const running = await start(specOf('neverEnding', { address: own.address }));
    expect(await running.observe()).to.have.property('state', 'Running');
    await own.stop();
    expect(await running.observe()).to.have.property('note', 'the server of Temporal does not answer');
    const error: unknown = await end(running).catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: 'Unreachable', isRetryable: true });
  });
});

const request: SyncRequest = {
  ...{ pipeline: 'candidate', step: 'first', source: 'shop', mode: 'Full' },
  ...{ tables: ['t'], at: 'Target' },
};

describe('the door to Temporal', function () {
  this.timeout(60_000);
  let server: TemporalServer;
  let folder: string;
  let pem: Readonly<Record<'ca' | 'cert' | 'key' | 'clientCert' | 'clientKey' | 'otherCert' | 'otherKey', string>>;

  before(async () => {
    server = await startTemporal();
    folder = await mkdtemp(join(tmpdir(), 'parity-temporal-tls-'));
    pem = await certificates(folder);
  });

  after(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const spec = (port: number): TemporalPipelineSpec['temporal'] => ({
    ...{ address: `127.0.0.1:${port}`, namespace: 'default', taskQueue: 'q', workflowType: 'w', args: '[]' },
    tls: { serverName: 'localhost' },
  });

  async function tryDoor(port: number, secret: Readonly<Record<string, string>>): Promise<string> {
    try {
      const client = await connectTemporal(spec(port), secret);
      const { namespaces } = await client.workflowService.listNamespaces({});
      await client.connection.close();
      return (namespaces ?? []).map(({ namespaceInfo }) => namespaceInfo?.name).includes('default') ? 'open' : 'empty';
    } catch (error) {
      return error instanceof ParityError ? error.code : String(error);
    }
  }

  it('opens to the right certificate, and to no other', async () => {
    const target = new URL(`http://${server.address}`);
    // The real server behind an end of TLS that asks for certificates, as those who run one put it behind a proxy.
    const door = createTlsServer(
      { key: pem.key, cert: pem.cert, ca: pem.ca, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] },
      (socket) => {
        const inner = connect(Number(target.port), target.hostname);
        for (const side of [socket, inner]) side.on('error', () => side.destroy());
        socket.pipe(inner).pipe(socket);
      },
    );
    const port = await listen(door);
    try {
      const tries = [
        tryDoor(port, { ca: pem.ca, cert: pem.clientCert, key: pem.clientKey }),
        tryDoor(port, { ca: pem.ca, cert: pem.otherCert, key: pem.otherKey }),
        tryDoor(port, { ca: pem.ca }),
        tryDoor(port, { ca: pem.otherCert, cert: pem.clientCert, key: pem.clientKey }),
        tryDoor(port, { cert: pem.clientCert }),
      ];
      expect(await Promise.all(tries)).to.deep.equal([
        'open',
        'Unreachable',
        'Unreachable',
        'Unreachable',
        'AccessDenied',
      ]);
    } finally {
      door.close();
    }
  });

  it('is asked with the API key, and a wrong one is refused in so many words (a server of the protocol, not Temporal)', async () => {
    const seen: string[] = [];
    const door = createSecureServer({ key: pem.key, cert: pem.cert });
    door.on('stream', (stream, headers) => {
      const key = String(headers.authorization);
      seen.push(key);
      const status = key === 'Bearer the-right-key' ? '12' : '16';
      stream.respond(
        {
          ':status': 200,
          'content-type': 'application/grpc',
          'grpc-status': status,
          'grpc-message': 'Request unauthorized.',
        },
        { endStream: true },
      );
    });
    const port = await listen(door);
    try {
      expect(await tryDoor(port, { ca: pem.ca, apiKey: 'the-wrong-key' })).to.equal('AccessDenied');
      // This one lets us in, and then knows no call: it is no Temporal.
      expect(await tryDoor(port, { ca: pem.ca, apiKey: 'the-right-key' })).to.not.equal('AccessDenied');
      expect(new Set(seen)).to.deep.equal(new Set(['Bearer the-wrong-key', 'Bearer the-right-key']));
    } finally {
      door.close();
    }
  });
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address: AddressInfo | string | null = server.address();
  return typeof address === 'object' && address !== null ? address.port : expect.fail('no port');
}

/** An authority with a server's and a client's certificate, and one that it has not signed. */
async function certificates(folder: string) {
  const run = promisify(execFile);
  const at = (name: string): string => join(folder, name);
  const made = ['-days', '2', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  for (const name of ['ca', 'other'])
    await run('openssl', [
      'req',
      '-x509',
      ...made,
      '-subj',
      `/CN=${name}`,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.crt`),
    ]);
  for (const name of ['server', 'client']) {
    const signed = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-addext', 'subjectAltName=DNS:localhost'];
    await run('openssl', [
      'req',
      '-x509',
      ...made,
      '-subj',
      `/CN=${name}`,
      ...signed,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.crt`),
    ]);
  }
  const text = (name: string): Promise<string> => readFile(at(name), 'utf8');
  return {
    ca: await text('ca.crt'),
    cert: await text('server.crt'),
    key: await text('server.key'),
    clientCert: await text('client.crt'),
    clientKey: await text('client.key'),
    otherCert: await text('other.crt'),
    otherKey: await text('other.key'),
  };
}
