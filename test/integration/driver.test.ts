import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { ResolvedSpec } from '../../src/api/resolved.ts';
import type { RunEvent, RunOutcome } from '../../src/cli/driver/events.ts';
import { gc } from '../../src/cli/driver/gc.ts';
import { type RunOptions, resumeLocally, runLocally } from '../../src/cli/driver/run.ts';
import { ParityError } from '../../src/support/error.ts';
import { identify } from '../../src/support/process-identity.ts';
import { fakeServer } from '../support/fake-server.ts';
import { spec } from '../support/spec.ts';

const taskEntry = fileURLToPath(new URL('../support/fake-task.ts', import.meta.url));

describe('a run on one machine', function () {
  this.timeout(120_000);
  let stateDir: string;

  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'parity-driver-'));
  });

  afterEach(async () => {
    await rm(stateDir, { recursive: true, force: true });
  });

  const ends: readonly { behaviour: string; verdict: string; codes: string[]; says: RegExp }[] = [
    { behaviour: 'None', verdict: 'Passed', codes: [], says: /equal/ },
    { behaviour: 'sync:flaky', verdict: 'Passed', codes: [], says: /equal/ },
    { behaviour: 'sync:kill-once', verdict: 'Passed', codes: [], says: /equal/ },
    { behaviour: 'compare:differ', verdict: 'Failed', codes: [], says: /3 rows missing/ },
    { behaviour: 'compare:mute', verdict: 'Errored', codes: [], says: /without a result/ },
    { behaviour: 'resolve:fail', verdict: 'Errored', codes: ['CorruptTable'], says: /resolve: reading table flights/ },
    { behaviour: 'sync:fail', verdict: 'Errored', codes: ['CorruptTable'], says: /middle of a line/ },
    { behaviour: 'sync:kill', verdict: 'Errored', codes: ['Crashed'], says: /table planes.*SIGKILL/ },
    { behaviour: 'rehydrate:exit', verdict: 'Errored', codes: ['Crashed'], says: /table planes.*code 7/ },
    { behaviour: 'snapshot:eat', verdict: 'Errored', codes: ['OutOfMemory'], says: /table planes.*64 MiB/ },
    { behaviour: 'report:fail', verdict: 'Errored', codes: ['CorruptTable'], says: /report: reading/ },
  ];
  for (const { behaviour, verdict, codes, says } of ends) {
    it(`ends ${verdict} with nothing left when a task behaves as ${behaviour}`, async () => {
      const events: RunEvent[] = [];
      const outcome = await run(behaving(behaviour), { onEvent: (event) => events.push(event) });
      expect(outcome.verdict, outcome.message).to.equal(verdict);
      expect(outcome.errors.map(({ error }) => error.code)).to.deep.equal(codes);
      expect(outcome.message).to.match(says);
      expect(outcome.cleanup).to.deep.equal({ kind: 'Removed' });
      expect(events.filter(({ type }) => type === 'Verdict')).to.have.length(1);
      await expectNothingLeft();
    });
  }

  it('stops a task that ignores its timeout, and names it', async () => {
    const slow = behaving('sync:hang');
    const outcome = await run({ ...slow, execution: { ...slow.execution, timeoutSeconds: 2 } });
    expect(outcome.verdict).to.equal('Errored');
    expect(outcome.errors.map(({ error }) => error.code)).to.deep.equal(['Timeout']);
    expect(outcome.message).to.match(/first-sync-candidate-shop-0 .* did not end within 2 s/);
    await expectNothingLeft();
  });

  it('gives the report the verdict and hands its result on', async () => {
    const outcome = await run(behaving('compare:differ'));
    expect(outcome.report).to.deep.equal({ verdict: 'Failed', message: 'flights: 3 rows missing' });
  });

  it('is cancelled by one interrupt: reported, cleaned up', async () => {
    const cancel = new AbortController();
    const outcome = await run(behaving('sync:wait'), {
      signal: cancel.signal,
      onEvent: (event) => {
        if (event.type === 'TaskStarted' && event.task.input.kind === 'sync') cancel.abort();
      },
    });
    expect(outcome.verdict).to.equal('Cancelled');
    expect(outcome.report).to.deep.equal({ verdict: 'Cancelled', message: 'The run was cancelled.' });
    await expectNothingLeft();
  });

  it('is cancelled at once by two interrupts, even from a deaf task: not reported, cleaned up', async () => {
    const cancel = new AbortController();
    const hurry = new AbortController();
    const began = Date.now();
    const outcome = await run(behaving('sync:hang'), {
      signal: cancel.signal,
      hurry: hurry.signal,
      onEvent: (event) => {
        if (event.type === 'TaskProgress' && event.taskId.startsWith('first-sync')) {
          cancel.abort();
          hurry.abort();
        }
      },
    });
    expect(outcome.verdict).to.equal('Cancelled');
    expect(outcome.report).to.equal(undefined);
    expect(Date.now() - began).to.be.lessThan(30_000);
    await expectNothingLeft();
  });

  it('runs beside another one', async () => {
    const outcomes = await Promise.all([run(behaving('None')), run(behaving('compare:differ'))]);
    expect(outcomes.map(({ verdict }) => verdict)).to.deep.equal(['Passed', 'Failed']);
    expect(new Set(outcomes.map((outcome) => outcome.run.installation)).size).to.equal(1);
    await expectNothingLeft();
  });

  it('keeps everything when asked to, until gc is told to remove it', async () => {
    const outcome = await run(behaving('None'), { keep: true });
    const { uid } = outcome.run;
    expect(outcome.cleanup).to.include({ kind: 'Kept', command: `parity gc --uid ${uid}` });
    expect((await gc({ stateDir, dryRun: false })).runs.map(({ result }) => result.kind)).to.deep.equal(['Kept']);
    expect((await gc({ stateDir, dryRun: true, uid })).runs.map(({ result }) => result.kind)).to.deep.equal([
      'WouldRemove',
    ]);
    expect((await gc({ stateDir, dryRun: false, uid })).runs.map(({ result }) => result.kind)).to.deep.equal([
      'Removed',
    ]);
    await expectNothingLeft();
  });

  it('is Errored with the reason when its workspace cannot be made', async () => {
    const outcome = await run({ ...behaving('None'), workspace: { location: 'file:///proc/nowhere' } });
    expect(outcome.verdict).to.equal('Errored');
    expect(outcome.message).to.match(/making the workspace \/proc\/nowhere/);
    expect(await readdir(join(stateDir, 'runs'))).to.deep.equal([]);
  });

  it('is refused before anything is made where a source is deployed in a cluster', async () => {
    const one = behaving('None');
    const sources = one.sources.map((source) => ({
      ...source,
      provider: { kind: 'kubernetes', server: { allowFrom: [] } } as const,
    }));
    const error = await run({ ...one, sources }).catch((error: unknown) => error);
    expect(error).to.be.instanceOf(ParityError).with.property('code', 'InvalidSpec');
    expect(error)
      .to.have.property('message')
      .that.matches(/deployed in a cluster/);
    expect(await readdir(stateDir)).to.deep.equal([]);
  });

  describe('whose driver is killed', () => {
    it('leaves no task process behind, is removed by gc, and not before it is dead', async () => {
      const driver = await startDriver('sync:wait-once');
      expect((await gc({ stateDir, dryRun: false })).runs.map(({ result }) => result.kind)).to.deep.equal(['Running']);
      const [task] = await taskPids(driver.uid);
      await driver.kill();
      const { runs } = await gc({ stateDir, dryRun: false });
      expect(runs.map(({ uid, result }) => [uid, result.kind])).to.deep.equal([[driver.uid, 'Removed']]);
      expect(task === undefined ? undefined : identify(task)).to.equal(undefined);
      await expectNothingLeft();
    });

    it('is continued from what its tasks recorded, and ends as if nothing had happened', async () => {
      const driver = await startDriver('sync:wait-once');
      await mkdir(join(stateDir, 'runs', driver.uid, 'sources', 'shop', 'data', 'some'), { recursive: true });
      await driver.kill();
      const events: RunEvent[] = [];
      const outcome = await resumeLocally(driver.uid, options({ onEvent: (event) => events.push(event) }));
      expect(outcome.verdict, outcome.message).to.equal('Passed');
      const started = events.flatMap((event) => (event.type === 'TaskStarted' ? [event.task.input.kind] : []));
      expect(started).to.deep.equal(['sync', 'compare', 'report', 'cleanup']);
      await expectNothingLeft();
    });

    it('is Errored when it is continued and the database of a source is gone', async () => {
      const driver = await startDriver('sync:wait-once');
      await driver.kill();
      const outcome = await resumeLocally(driver.uid, options());
      expect(outcome.verdict).to.equal('Errored');
      expect(outcome.message).to.match(/provision-shop: the database of source "shop" is gone/);
      await expectNothingLeft();
    });

    it('is not touched by another installation, whatever lies in its folders', async () => {
      const driver = await startDriver('sync:wait-once');
      await driver.kill();
      await writeFile(join(stateDir, 'installation.json'), JSON.stringify({ id: 'somebody else' }));
      const { runs } = await gc({ stateDir, dryRun: false });
      expect(runs.map(({ result }) => result.kind)).to.deep.equal(['Incomplete']);
      expect(await readdir(join(stateDir, 'workspaces'))).to.deep.equal([`parity-${driver.uid}`]);
    });

    it('keeps its place while it lives: nobody else can continue it', async () => {
      const driver = await startDriver('sync:wait-once');
      const refused = await resumeLocally(driver.uid, options()).catch((error: unknown) => error);
      expect(refused).to.be.instanceOf(ParityError).with.property('code', 'BadUsage');
      await driver.kill();
    });
  });

  /** A driver in a process of its own, waiting in the middle of a sync. */
  async function startDriver(behaviour: string): Promise<{ uid: string; kill(): Promise<void> }> {
    const program = fileURLToPath(new URL('../support/fake-driver.ts', import.meta.url));
    const request = { name: 'test', spec: behaving(behaviour), specDigest: 'none' };
    const child = spawn(process.execPath, [program, stateDir, taskEntry, JSON.stringify(request)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    for await (const line of createInterface({ input: child.stdout })) {
      return {
        uid: line,
        kill: async () => {
          // Not before the task has begun to wait: its next attempt is to go on.
          const waited = join(stateDir, 'workspaces', `parity-${line}`, 'waited');
          while (behaviour.endsWith(':wait-once') && !(await stat(waited).catch(() => undefined))) await setTimeout(20);
          child.kill('SIGKILL');
          await exited;
        },
      };
    }
    throw new Error('the driver ended before its sync');
  }

  async function taskPids(uid: string): Promise<readonly number[]> {
    const folder = join(stateDir, 'runs', uid, 'processes');
    const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')));
    return files.map((text) => Number(JSON.parse(text).pid));
  }

  function behaving(behaviour: string): ResolvedSpec {
    const small = spec();
    return {
      ...small,
      workspace: { location: `file://${join(stateDir, 'workspaces')}` },
      pipelines: [{ name: 'candidate', cursorBound: 'Inclusive', reference: { bug: behaviour } }],
      execution: { ...small.execution, memoryBytes: 64 * 2 ** 20 },
    };
  }

  async function run(spec: ResolvedSpec, more: Partial<RunOptions> = {}): Promise<RunOutcome> {
    return await runLocally({ name: 'test', spec, specDigest: 'none' }, options(more));
  }

  function options(more: Partial<RunOptions> = {}): RunOptions {
    const signal = new AbortController().signal;
    return { stateDir, taskEntry, startServer: fakeServer, signal, onEvent: () => undefined, ...more };
  }

  async function expectNothingLeft(): Promise<void> {
    expect(await readdir(join(stateDir, 'runs'))).to.deep.equal([]);
    expect(await readdir(join(stateDir, 'workspaces'))).to.deep.equal([]);
  }
});
