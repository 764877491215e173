import { expect } from 'chai';
import { formatConnection } from '../../src/sources/connection.ts';
import { sharedServer } from '../support/databases.ts';
import { freePorts } from '../support/free-ports.ts';
import { type CommandResult, Place, smallSpec, startJobs } from '../support/runs.ts';
import { type RunningWorker, startTemporal, startWorkerProcess, type TemporalServer } from '../support/temporal.ts';

const queue = 'test-syncs';

interface Case {
  readonly workflowType?: string;
  readonly args?: string;
  readonly temporal?: object;
  readonly more?: object;
  readonly exitCode: number;
  readonly said: RegExp;
  /** What somebody does to the workflow once it runs. */
  readonly meanwhile?: 'terminate' | 'cancel';
}

/** What a workflow does or meets, and what the run says of it. */
const cases: Readonly<Record<string, Case>> = {
  'syncs each table': { exitCode: 0, said: /^Passed {2}run: / },
  'syncs all tables at once': { more: { executions: 'PerSource' }, exitCode: 0, said: /^Passed/ },
  'continues as new': { workflowType: 'continuing', exitCode: 0, said: /^Passed/ },
  'is asked whether it has landed': {
    workflowType: 'modest',
    args: '["{{request}}", "None", true]',
    more: { successWhen: { query: { type: 'landed', equals: 'true' } } },
    exitCode: 0,
    said: /^Passed/,
  },
  'denies that it has landed': {
    workflowType: 'modest',
    args: '["{{request}}", "None", false]',
    more: { successWhen: { query: { type: 'landed', equals: 'true' }, timeoutSeconds: 2 } },
    exitCode: 2,
    said: /PipelineFailed: .*ended well, but successWhen did not hold within 2 s: the query landed answers false, not true/,
  },
  'reports success and has landed nothing': {
    workflowType: 'idle',
    exitCode: 2,
    said: /PipelineFailed: .*Reading what pipeline candidate landed of airlines: it has landed no Delta table at file:/,
  },
  fails: {
    workflowType: 'failing',
    exitCode: 2,
    said: /PipelineFailed: .*failed: SyncFailed: nothing was synced ← activity failDeeply, after all its attempts ← reading page 7 of airlines ← connection reset by peer/,
  },
  'never ends': {
    workflowType: 'neverEnding',
    more: { timeoutSeconds: 4 },
    exitCode: 2,
    said: /Timeout: .*did not end within 4 s; the last that was seen of it: waits_for a lock/,
  },
  'does not end when it is told to': {
    workflowType: 'stubborn',
    more: { timeoutSeconds: 4 },
    exitCode: 2,
    said: /Timeout: .*did not end within 4 s/,
  },
  'is terminated by somebody else': {
    workflowType: 'neverEnding',
    meanwhile: 'terminate',
    exitCode: 2,
    said: /PipelineFailed: .*workflow parity-[0-9a-f-]+-candidate-first-shop-airlines-1 was terminated: .*by an administrator/,
  },
  'is cancelled by somebody else': {
    workflowType: 'neverEnding',
    meanwhile: 'cancel',
    exitCode: 2,
    said: /PipelineFailed: .*was cancelled, and not by this run/,
  },
  'is of a type that the worker does not know': {
    workflowType: 'syncTabel',
    exitCode: 2,
    said: /PipelineFailed: .*of the type syncTabel does not go on: its worker fails each of its steps \(.*no such function/,
  },
  'waits for a worker that is not there': {
    temporal: { taskQueue: 'nobody-polls' },
    exitCode: 2,
    said: /Unreachable: .*nobody polls the task queue nobody-polls in the namespace default: workflow .* waits for a worker/,
  },
  'is to run in a namespace that is not there': {
    temporal: { namespace: 'nowhere' },
    exitCode: 2,
    said: /NotFound: .*starting workflow .*: there is no namespace nowhere/,
  },
};

const nobody = 'a server that is not there';

describe('a run of a workflow of Temporal', function () {
  this.timeout(600_000);
  let server: TemporalServer;
  let worker: RunningWorker;
  let end: (name: string) => Promise<End>;

  before(async () => {
    server = await startTemporal();
    worker = await startWorkerProcess(server.address, queue);
    end = startJobs(
      2,
      new Map([
        // First, because it waits longest.
        [
          nobody,
          async () =>
            await runWith(undefined, {
              temporal: { address: `127.0.0.1:${await freePorts(1)}` },
              exitCode: 2,
              said: /./,
            }),
        ],
        ...Object.entries(cases).map(([what, one]) => [what, () => runWith(server, one)] as const),
      ]),
    );
  });

  after(async () => {
    await worker?.stop();
    await server?.stop();
  });

  for (const [what, { exitCode, said }] of Object.entries(cases))
    it(`that ${what} ends with ${exitCode} and says why`, async () => {
      const { result, left, running } = await end(what);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(exitCode);
      expect(result.stdout).to.match(new RegExp(said.source, 'm'));
      expect(left, 'what is left').to.equal('nothing');
      expect(running, 'workflows that still run').to.deep.equal([]);
    });

  it('says within a minute that nobody polls the task queue', async () => {
    expect((await end('waits for a worker that is not there')).seconds).to.be.below(60);
  });

  it('whose server is not there is Errored', async () => {
    const { result, left } = await end(nobody);
    expect(result.exitCode, result.stdout).to.equal(2);
    expect(result.stdout).to.match(
      /Unreachable: .*Temporal at 127\.0\.0\.1:\d+, connecting: the server does not answer/,
    );
    expect(left).to.equal('nothing');
  });

  it('leaves no workflow when its driver is killed and gc is run', async () => {
    const place = await Place.open();
    try {
      const manifest = await place.manifest(specOf(server.address, { workflowType: 'stubborn' }));
      let uid = '';
      const { ended } = place.start(['run', manifest, '--json'], (event, process) => {
        if (event.type === 'RunStarted') uid = event.run.uid;
        if (event.type === 'TaskStarted' && event.task.input.kind === 'sync')
          void untilRunning(server, uid).then(() => process.kill('SIGKILL'));
      });
      await ended;
      expect(await runningOf(server, uid)).to.have.length(1);
      const result = await place.parity(['gc']);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      expect(await runningOf(server, uid)).to.deep.equal([]);
      await place.expectNothingLeft();
    } finally {
      await place.close();
    }
  });

  it('says what gc could not end, and ends it once the server is back', async () => {
    const [port = 0] = await freePorts(1);
    let own = await startTemporal(port);
    const place = await Place.open();
    try {
      const manifest = await place.manifest(specOf(own.address, { taskQueue: 'nobody' }));
      let uid = '';
      const { ended } = place.start(['run', manifest, '--json'], (event, process) => {
        if (event.type === 'RunStarted') uid = event.run.uid;
        if (event.type === 'TaskStarted' && event.task.input.kind === 'sync')
          void untilRunning(own, uid).then(() => process.kill('SIGKILL'));
      });
      await ended;
      await own.stop();
      const lost = await place.parity(['gc']);
      expect(lost.exitCode, lost.stdout).to.not.equal(0);
      expect(lost.stdout + lost.stderr).to.include(`the workflows of pipeline candidate at ${own.address}`);
      expect(lost.stdout + lost.stderr).to.include('temporal workflow terminate --address');
      own = await startTemporal(port);
      const result = await place.parity(['gc']);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      await place.expectNothingLeft();
    } finally {
      await own.stop();
      await place.close();
    }
  });

  it('syncs 50 tables side by side, none twice and none lost, however often its driver is killed', async () => {
    const place = await Place.open();
    try {
      // A server that outlives the driver: workflows go on while nobody follows them.
      await place.secret('shop', formatConnection((await sharedServer('Postgres')).connection));
      const manifest = await place.manifest(fiftyTables(server.address));
      let uid = '';
      // Each time a little later: before the first workflow, between two of them, and when all have been started.
      for (const started of [0, 1, 20, 49, 50]) {
        const args = uid === '' ? ['run', manifest, '--json'] : ['run', '--resume', uid, '--json'];
        const { ended } = place.start(args, (event, process) => {
          if (event.type === 'RunStarted') uid = event.run.uid;
          if (event.type !== 'TaskStarted' || event.task.input.kind !== 'sync') return;
          void untilStarted(server, uid, started).then(() => process.kill('SIGKILL'));
        });
        const { exitCode } = await ended;
        expect(exitCode, `killed at ${started}`).to.equal(null);
      }
      const result = await place.parity(['run', '--resume', uid]);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      const ids = await allOf(server, uid);
      expect(ids).to.have.length(50);
      expect(new Set(ids).size).to.equal(50);
      expect(ids.every((id) => id.endsWith('-1'))).to.equal(true);
      await place.expectNothingLeft();
    } finally {
      await place.close();
    }
  });
});

interface End {
  readonly result: CommandResult;
  readonly left: string;
  readonly running: readonly string[];
  readonly seconds: number;
}

async function runWith(server: TemporalServer | undefined, one: Case): Promise<End> {
  const place = await Place.open();
  try {
    const { workflowType = 'reference', args = '["{{request}}", "None"]', temporal = {}, more = {}, meanwhile } = one;
    const spec = specOf(server?.address ?? '', { workflowType, args, ...temporal }, more);
    let [uid, startedMs, endedMs] = ['', 0, 0];
    const manifest = await place.manifest(spec);
    const { ended } = place.start(['run', manifest, '--json'], (event) => {
      if (event.type === 'RunStarted') uid = event.run.uid;
      if (event.type === 'TaskFailed') endedMs = Date.now();
      if (event.type !== 'TaskStarted' || event.task.input.kind !== 'sync') return;
      startedMs = Date.now();
      if (meanwhile !== undefined && server !== undefined)
        void untilRunning(server, uid).then(async ([id = '']) => {
          const handle = server.client.workflow.getHandle(id);
          await (meanwhile === 'cancel' ? handle.cancel() : handle.terminate('by an administrator'));
        });
    });
    const result = await ended;
    const left = await place.expectNothingLeft().then(
      () => 'nothing',
      (error: unknown) => String(error),
    );
    const running = server === undefined ? [] : await runningOf(server, uid);
    return { result: readable(result), left, running, seconds: (endedMs - startedMs) / 1000 };
  } finally {
    await place.close();
  }
}

/** The messages of the events, as a person would read them. */
function readable(result: CommandResult): CommandResult {
  const lines = result.stdout.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [line];
    const event = JSON.parse(line);
    if (event.type === 'TaskFailed') return [`${event.error.code}: ${event.error.message}`];
    return event.type === 'Verdict' ? [`${event.verdict}  run: ${event.message}`] : [];
  });
  return { ...result, stdout: lines.join('\n') };
}

function specOf(address: string, temporal: object, more: object = {}): object {
  const spec = smallSpec(['airlines', 'airports']);
  const [first, ...others] = spec.snapshot.tables.map(({ baseVersion, ...table }) => ({
    ...table,
    version: baseVersion,
  }));
  const tables = 'workflowType' in temporal && temporal.workflowType === 'reference' ? [first, ...others] : [first];
  const names = tables.flatMap((table) => (table === undefined ? [] : [table.name]));
  const pipeline = {
    name: 'candidate',
    temporal: { address, taskQueue: queue, workflowType: 'reference', args: '["{{request}}", "None"]', ...temporal },
    ...more,
  };
  return {
    ...spec,
    snapshot: { ...spec.snapshot, tables },
    sources: spec.sources.map((source) => ({ ...source, tables: names })),
    pipelines: [pipeline],
  };
}

/** One small table under fifty names. */
function fiftyTables(address: string): object {
  const spec = smallSpec(['airlines']);
  const names = Array.from({ length: 50 }, (_, index) => `t${index}`);
  return {
    ...spec,
    snapshot: {
      ...spec.snapshot,
      tables: names.map((name) => ({ name, path: 'airlines', version: '4', key: ['carrier'], cursor: 'updated_at' })),
    },
    sources: [{ name: 'shop', engine: 'Postgres', tables: names, external: { secretRef: { name: 'shop' } } }],
    pipelines: [
      {
        name: 'candidate',
        temporal: { address, taskQueue: queue, workflowType: 'reference', args: '["{{request}}", "None"]' },
      },
    ],
  };
}

async function allOf({ client }: TemporalServer, uid: string, more = ''): Promise<string[]> {
  const ids: string[] = [];
  for await (const { workflowId } of client.workflow.list({ query: `WorkflowId STARTS_WITH "parity-${uid}"${more}` }))
    ids.push(workflowId);
  return ids;
}

async function runningOf(server: TemporalServer, uid: string): Promise<string[]> {
  return await allOf(server, uid, ' AND ExecutionStatus = "Running"');
}

async function untilRunning(server: TemporalServer, uid: string): Promise<string[]> {
  for (;;) {
    const ids = await runningOf(server, uid);
    if (ids.length > 0) return ids;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function untilStarted(server: TemporalServer, uid: string, count: number): Promise<void> {
  while ((await allOf(server, uid)).length < count) await new Promise((resolve) => setTimeout(resolve, 20));
}
