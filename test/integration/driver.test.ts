import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { ResolvedSpec } from '../../src/api/resolved.ts';
import type { RunEvent, RunOutcome } from '../../src/cli/driver/events.ts';
import { gc } from '../../src/cli/driver/gc.ts';
import { type RunOptions, runLocally } from '../../src/cli/driver/run.ts';
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
    return await runLocally(
      { name: 'test', spec, specDigest: 'none' },
      {
        stateDir,
        taskEntry,
        startServer: async () => ({
          connection: { host: 'h', port: 1, user: 'u', password: 'p', database: 'd' },
          exited: new Promise(() => undefined),
          stop: async () => undefined,
        }),
        signal: new AbortController().signal,
        onEvent: () => undefined,
        ...more,
      },
    );
  }

  async function expectNothingLeft(): Promise<void> {
    expect(await readdir(join(stateDir, 'runs'))).to.deep.equal([]);
    expect(await readdir(join(stateDir, 'workspaces'))).to.deep.equal([]);
  }
});
