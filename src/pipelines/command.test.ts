import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { CommandPipelineSpec } from '../api/resolved.ts';
import { delay } from '../support/retry.ts';
import type { TaskContext } from '../tasks/task.ts';
import { commandExecutor } from './command.ts';
import { endProcesses } from './command-process.ts';
import { type Execution, type ExecutionSecrets, executionsFolder, executionsOf } from './contract.ts';
import type { ExecutionState, RunningExecution } from './external.ts';
import type { SyncRequest } from './pipeline.ts';
import { type Bench, contextFor, openBench } from './reference.fixture.ts';
import { isMet } from './success.ts';

const connection = { host: '127.0.0.1', port: 5432, user: 'parity', password: 'pass words', database: 'shop' };
const secrets: ExecutionSecrets = { source: connection };

describe('a command as a pipeline', () => {
  let folder: string;
  let bench: Bench;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-command-'));
    bench = await openBench(folder);
  });

  afterEach(async () => {
    await endProcesses(executionsFolder(folder), AbortSignal.timeout(10_000));
    await bench.close();
    await rm(folder, { recursive: true, force: true });
  });

  function specOf(script: string, more: Partial<CommandPipelineSpec> = {}): CommandPipelineSpec {
    return {
      name: 'candidate',
      cursorBound: 'Inclusive',
      executions: 'PerSource',
      timeoutSeconds: 60,
      outputs: { kind: 'files', format: 'Delta', location: '{{landing}}/{{table}}' },
      command: { argv: ['sh', '-c', script], folder: pathToFileURL(folder).href, env: [] },
      ...more,
    };
  }

  function contextOf(spec: CommandPipelineSpec): TaskContext {
    const request: SyncRequest = {
      ...{ pipeline: spec.name, step: 'first', source: 'shop', mode: 'Full' as const },
      ...{ tables: ['t', 'u'], at: 'Target' as const },
    };
    const context = contextFor(bench, request, { pipeline: spec, keys: { t: ['id'], u: [] } });
    const run = { name: 'test', uid: '8c9a2b1e-0000-4000-8000-000000000001', installation: 'test' };
    return { ...context, file: { ...context.file, run }, runFolder: folder };
  }

  async function executionOf(spec: CommandPipelineSpec): Promise<Execution> {
    const request = { pipeline: spec.name, step: 'first', source: 'shop', mode: 'Full', at: 'Target' } as const;
    const [first] = await executionsOf(spec, { ...request, tables: ['t', 'u'] }, contextOf(spec), connection);
    return first ?? expect.fail('no execution');
  }

  async function start(spec: CommandPipelineSpec): Promise<RunningExecution> {
    return await commandExecutor(spec).start(await executionOf(spec), secrets, contextOf(spec));
  }

  async function end(running: RunningExecution): Promise<Exclude<ExecutionState, { state: 'Running' }>> {
    for (;;) {
      const state = await running.observe();
      if (state.state !== 'Running') return state;
      await delay(10);
    }
  }

  async function untilFile(name: string): Promise<string> {
    for (;;) {
      const text = await readFile(join(folder, name), 'utf8').catch(() => '');
      if (text.endsWith('\n')) return text;
      await delay(10);
    }
  }

  it('and every other kind is told where the connection is: in the run’s folder, or in the cluster’s Secret', async () => {
    const spec = specOf('true');
    const request = { pipeline: spec.name, step: 'first', source: 'shop', mode: 'Full', at: 'Target' } as const;
    const { runFolder: _, ...inCluster } = contextOf(spec);
    const placeOf = async (context: TaskContext) => {
      const [first] = await executionsOf(spec, { ...request, tables: ['t'] }, context, connection);
      return first?.request.source;
    };
    expect(await placeOf(contextOf(spec))).to.include({
      secret: 'source-shop',
      secretDir: join(folder, 'secrets/source-shop'),
    });
    expect(await placeOf(inCluster)).to.include({ secret: 'parity-8c9a2b1e-shop', secretDir: null });
  });

  it('has ended well when it ends with code 0', async () => {
    expect(await end(await start(specOf('true')))).to.deep.equal({ state: 'Succeeded' });
  });

  for (const [what, argv, said] of [
    [
      'ends with another code',
      ['sh', '-c', 'echo out; echo no such table >&2; exit 3'],
      /code 3; the last it said: out \| no such table$/,
    ],
    ['says nothing', ['false'], /ended with code 1 without a word$/],
    ['is not there', ['no-such-program'], /no-such-program of pipeline candidate ended with code 127/],
    ['prints its password', ['sh', '-c', 'cat "$PARITY_SOURCE_DIR/url"; exit 1'], /said: \[redacted\]$/],
  ] as const)
    it(`has failed in words of its own where it ${what}`, async () => {
      const spec = specOf('');
      const state = await end(await start({ ...spec, command: { ...spec.command, argv } }));
      expect(state.state === 'Failed' && state.error.code).to.equal('PipelineFailed');
      expect(state.state === 'Failed' && state.error.message).to.match(said);
    });

  it('is named where its folder is not there', async () => {
    const spec = specOf('true');
    const error: unknown = await start({
      ...spec,
      command: { ...spec.command, folder: 'file:///no/such/folder' },
    }).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('message', 'Starting pipeline candidate, its folder /no/such/folder is not there.');
  });

  it('finds what it must do in its environment, and no secret there or in its arguments', async () => {
    process.env.PARITY_TEST_LEAK = 'leaked';
    const spec = specOf(
      'env > env.txt; tr "\\0" "\\n" < /proc/$$/cmdline > args.txt; cp "$PARITY_REQUEST" request.json; cat "$PARITY_SOURCE_DIR/url" > url.txt',
    );
    const env = [
      { name: 'DSN', value: '{{source.url}}' },
      { name: 'WHAT', value: '{{mode}} {{tables}}' },
    ];
    await end(await start({ ...spec, command: { ...spec.command, env } }));
    delete process.env.PARITY_TEST_LEAK;
    const variables = Object.fromEntries(
      (await readFile(join(folder, 'env.txt'), 'utf8')).split('\n').map((line) => line.split('=', 2)),
    );
    expect(variables).to.include({
      PARITY_MODE: 'Full',
      PARITY_TABLES: 't,u',
      PARITY_SOURCE_ENGINE: 'Postgres',
      PARITY_ATTEMPT: '1',
      WHAT: 'Full ["t","u"]',
      DSN: 'postgresql://parity:pass%20words@127.0.0.1:5432/shop',
    });
    expect(variables).to.not.have.any.keys('PARITY_TEST_LEAK', 'PARITY_STATE_DIR', 'PARITY_TABLE');
    expect(await readFile(join(folder, 'url.txt'), 'utf8')).to.equal(variables.DSN);
    const [args, request] = [
      await readFile(join(folder, 'args.txt'), 'utf8'),
      await readFile(join(folder, 'request.json'), 'utf8'),
    ];
    expect(args + request).to.not.include('words');
    expect(JSON.parse(request)).to.deep.include({ mode: 'Full', attempt: 1 });
    expect(JSON.parse(request).tables[0]).to.deep.equal({
      ...{ name: 't', key: ['id'], cursor: null },
      output: { format: 'Delta', location: `file://${folder}/workspace/landed/candidate/shop/t` },
    });
  });

  it('is one process, however often it is started, also at the same time', async () => {
    const spec = specOf('echo one >> runs.txt; sleep 0.2');
    const [first, second] = await Promise.all([start(spec), start(spec)]);
    await Promise.all([end(first), end(second)]);
    expect(await end(await start(spec))).to.deep.equal({ state: 'Succeeded' });
    expect(await readFile(join(folder, 'runs.txt'), 'utf8')).to.equal('one\n');
  });

  it('that failed is not started again', async () => {
    const spec = specOf('echo one >> runs.txt; exit 1');
    for (const _ of [1, 2]) expect(await end(await start(spec))).to.have.property('state', 'Failed');
    expect(await readFile(join(folder, 'runs.txt'), 'utf8')).to.equal('one\n');
  });

  it('that was killed is started again, as its next attempt', async () => {
    const spec = specOf('echo "$PARITY_ATTEMPT" >> runs.txt; [ "$PARITY_ATTEMPT" = 2 ] || sleep 60');
    await start(spec);
    await untilFile('runs.txt');
    await endProcesses(executionsFolder(folder), AbortSignal.timeout(10_000));
    expect(await end(await start(spec))).to.deep.equal({ state: 'Succeeded' });
    expect(await readFile(join(folder, 'runs.txt'), 'utf8')).to.equal('1\n2\n');
  });

  it('has not ended well where its exit code was lost with the machine: it is started again', async () => {
    const spec = specOf('echo "$PARITY_ATTEMPT" >> runs.txt');
    const execution = await executionOf(spec);
    await end(await start(spec));
    await writeFile(join(executionsFolder(folder), execution.id, '1', 'exit'), '');
    expect(await end(await start(spec))).to.deep.equal({ state: 'Succeeded' });
    expect(await readFile(join(folder, 'runs.txt'), 'utf8')).to.equal('1\n2\n');
  });

  for (const [sql, holds] of [
    ['SELECT true', true],
    ["SELECT toUInt64('18446744073709551615')", true],
    ['SELECT toInt64(-3)', true],
    ["SELECT 'true'", true],
    ["SELECT toDecimal128('0.5', 3)", true],
    ['SELECT toUInt64(0)', false],
    ["SELECT 'no rows yet'", false],
    ["SELECT 'false'", false],
    ['SELECT NULL', false],
    ['SELECT 1 WHERE 0', false],
  ] as const)
    it(`has ${holds ? '' : 'not '}done what successWhen asks for where ${sql} is the query`, async () => {
      const spec = specOf('true');
      const running = await start(spec);
      await end(running);
      const about = { execution: await executionOf(spec), secrets, context: contextOf(spec), spec, running };
      expect(await isMet({ sql, timeoutSeconds: 1 }, about)).to.have.property('isMet', holds);
    });

  it('takes with it what it has started, when it ends and when it is stopped', async () => {
    const left = async (): Promise<string[]> => {
      const commands = (await readdir('/proc'))
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => ''));
      return (await Promise.all(commands)).filter((environ) => environ.includes(`PARITY_REQUEST=${folder}`));
    };
    await end(await start(specOf('sleep 61 & sleep 62 & true')));
    const stopped = await start(
      specOf('trap "" TERM; sleep 63 & echo up > up.txt; while true; do sleep 1; done', { name: 'other' }),
    );
    await untilFile('up.txt');
    // The clock is put back once its grace has begun.
    const { now } = Date;
    let asked = 0;
    Date.now = () => (asked++ === 0 ? now() : now() - 3_600_000);
    await stopped.cancel('enough').finally(() => {
      Date.now = now;
    });
    const deadline = Date.now() + 5_000;
    while ((await left()).length > 0 && Date.now() < deadline) await delay(20);
    expect(await left()).to.have.length(0);
    expect(await stopped.observe()).to.have.property('state', 'Failed');
  }).timeout(20_000);

  it('is never started where the process that would have recorded it died', async () => {
    // What `startProcess` starts, without the line that says that it was recorded.
    await writeFile(join(folder, 'never.sh'), 'echo ran > ran.txt');
    const { wrapper } = await import('./command-process.ts');
    const child = spawn('/bin/sh', ['-c', wrapper, join(folder, 'exit'), 'sh', 'never.sh'], {
      cwd: folder,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    const code = new Promise((resolve) => child.once('exit', resolve));
    child.stdin.end();
    expect(await code).to.equal(125);
    expect(await readdir(folder)).to.not.include('ran.txt');
  });
});
