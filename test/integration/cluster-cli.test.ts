import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { stringify } from 'yaml';
import type { RunStatus } from '../../src/api/generated/types.ts';
import { followRun } from '../../src/cli/cluster/follow.ts';
import { formatTerminationMessage } from '../../src/cli/termination-log.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { type ConfigMap, configMaps, namespaces, type Pod, pods } from '../../src/kube/objects.ts';
import { cleanupFinalizer, labels, plans, type RunObject, runs, titleAnnotation } from '../../src/kube/runs.ts';
import type { Verdict } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { type ApiProxy, startApiProxy } from '../support/api-proxy.ts';
import { at, condition, finished, kindOf, running, runSpec, type Said, say } from '../support/cluster-runs.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';

describe('the command line on a real API server, where the test plays the operator by writing status', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let proxy: ApiProxy;
  let kube: KubeClient;
  let folder: string;
  let namespace: string;
  let count = 0;

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startApiProxy({ kubeconfig: controlPlane.kubeconfig });
    kube = await connect({ kubeconfig: controlPlane.kubeconfig, requestsPerSecond: 500, burst: 500 });
    folder = await mkdtemp(join(tmpdir(), 'parity-cluster-cli-'));
  });
  after(async () => {
    kube?.close();
    await proxy?.[Symbol.asyncDispose]();
    await controlPlane?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });
  beforeEach(async () => {
    namespace = `cli-${count++}`;
    await kube.create(namespaces, { metadata: { name: namespace } });
  });
  afterEach(() => proxy.decideBy(undefined));

  /** A command line in this process, through the proxy; what it says grows while it runs. */
  function parity(...argv: string[]): Said {
    return say([...argv, '--kubeconfig', proxy.kubeconfig, '-n', namespace], folder);
  }

  async function makeRun(name = 'flights', finalizers: readonly string[] = []): Promise<RunObject> {
    return await kube.create(runs, { metadata: { name, namespace, finalizers }, spec: runSpec() });
  }

  async function play(status: RunStatus, name = 'flights'): Promise<void> {
    await kube.mergePatch(runs, { namespace, name }, { status }, { subresource: 'status' });
  }

  async function dropFinalizer(): Promise<void> {
    await kube.mergePatch(runs, { namespace, name: 'flights' }, { metadata: { finalizers: null } });
  }

  /** Until the command watches runs. */
  async function watched(): Promise<void> {
    const isOpen = () =>
      proxy.requests.some(
        ({ isWatch, path, status }) => isWatch && status === 200 && path.endsWith(`/${namespace}/pipelineparityruns`),
      );
    await eventually(() => expect(isOpen()).to.equal(true));
  }

  /** Follows the run with other times than people have; what ends it. */
  async function follow(timing: { slackMs?: number; outageMs?: number }, timeoutMs = 60_000): Promise<ParityError> {
    const client = await connect({ kubeconfig: proxy.kubeconfig });
    try {
      const options = { pickupMs: 60_000, timeoutMs, timing: { checkMs: 100, ...timing } };
      await followRun({ client, namespace }, 'flights', options);
      throw new Error('it came to an end');
    } catch (error) {
      if (error instanceof ParityError) return error;
      throw error;
    } finally {
      client.close();
    }
  }

  describe('parity wait', () => {
    const verdicts: [Verdict, number][] = [
      ['Passed', 0],
      ['Failed', 1],
      ['Errored', 2],
      ['Cancelled', 3],
    ];
    for (const [verdict, code] of verdicts) {
      it(`ends with ${code} when the run has ${verdict}`, async () => {
        await makeRun();
        const said = parity('wait', 'ppr/flights');
        await watched();
        await play(running);
        await play(finished(verdict));
        expect(await said.code).to.equal(code);
        expect(said.out.split('\n')).to.deep.equal([
          '',
          '  tables       3 equal, 0 differ',
          '  differences  0',
          '  report       file:///nowhere/flights-1/report.json',
          '',
          `${verdict}  flights: Because.`,
          '',
        ]);
        expect(said.err).to.equal('');
      });
    }

    it('ends at once when the run has ended before, even if it is being deleted', async () => {
      await makeRun('flights', [cleanupFinalizer]);
      await play(finished('Failed'));
      await kube.delete(runs, { namespace, name: 'flights' });
      const said = parity('wait', 'flights', '--json');
      expect(await said.code).to.equal(1);
      expect(JSON.parse(said.out)).to.deep.include({ type: 'Result', verdict: 'Failed', message: 'Because.' });
      await dropFinalizer();
    });

    it('names the tasks that failed, and what to do', async () => {
      await makeRun();
      const failure = {
        task: 'resolve',
        code: 'AccessDenied',
        message: 'the lake refuses.',
        advice: 'Look at the Secret lake.',
      };
      await play({ ...finished('Errored'), tasks: { failed: 1, failures: [failure] } });
      const said = parity('wait', 'flights');
      expect(await said.code).to.equal(2);
      expect(said.out).to.match(/^\n✗ resolve: the lake refuses — Look at the Secret lake\.\n/);
      const described = parity('describe', 'flights');
      expect(await described.code).to.equal(0);
      expect(described.out).to.include('Failures\n  resolve: the lake refuses — Look at the Secret lake.\n');
      const json = parity('wait', 'flights', '--json');
      expect(await json.code).to.equal(2);
      expect(JSON.parse(json.out).errors).to.deep.equal([failure]);
    });

    it('ends with 2 and the reason when the spec cannot be carried out', async () => {
      await makeRun();
      const conditions = [condition('Finished', 'True', 'InvalidSpec'), condition('Succeeded', 'False', 'InvalidSpec')];
      await play({ conditions, result: { verdict: 'Errored' } });
      const said = parity('wait', 'flights');
      expect(await said.code).to.equal(2);
      expect(said.out).to.equal('\nErrored  flights: Because.\n');
    });

    const contradictions: { what: string; status: RunStatus }[] = [
      { what: 'Passed without Succeeded', status: { conditions: [condition('Finished', 'True', 'Passed')] } },
      { what: 'Passed with another result', status: { ...finished('Passed'), result: { verdict: 'Failed' } } },
      { what: 'a reason that nobody knows', status: { conditions: [condition('Finished', 'True', 'Fine')] } },
    ];
    for (const { what, status } of contradictions) {
      it(`does not take for a pass: ${what}`, async () => {
        await makeRun();
        await play(status);
        const said = parity('wait', 'flights');
        expect(await said.code).to.equal(2);
        expect(said.err).to.match(/^parity: the status of run flights cannot be trusted: Finished says .* — .*\n$/);
      });
    }

    it('says that a run is not there', async () => {
      const said = parity('wait', 'flights');
      expect(await said.code).to.equal(2);
      expect(said.err).to.equal(
        `parity: there is no run flights in namespace ${namespace} — List the runs with: kubectl get ppr -n ${namespace}\n`,
      );
    });

    it('says that no operator has picked the run up', async () => {
      await makeRun();
      const said = parity('wait', 'flights', '--pickup-timeout', '1s');
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/^parity: nobody has picked up run flights in 1\.0 s — Look whether an operator runs/);
    });

    it('says what the run waits for', async () => {
      await makeRun();
      const status = { phase: 'Pending', conditions: [condition('Reconciling', 'True', 'Queued')] };
      await play(status);
      const said = parity('watch', 'flights', '--timeout', '1s');
      expect(await said.code).to.equal(2);
      expect(said.out).to.include('\nQueued: Because.\n');
      expect(said.err).to.match(/was not over in 1\.0 s: it is Pending \(Queued: Because\) — /);
    });

    it('says that the run was not over in time, and what it was at', async () => {
      await makeRun();
      await play(running);
      const said = parity('wait', 'flights', '--timeout', '1s');
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/^parity: run flights was not over in 1\.0 s: it is Comparing — It goes on; wait/);
    });

    it('says that the run was deleted', async () => {
      await makeRun();
      await play(running);
      const said = parity('wait', 'flights');
      await watched();
      await kube.delete(runs, { namespace, name: 'flights' });
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/^parity: run flights \([-0-9a-f]{36}\) was deleted before it finished: it has no/);
    });

    it('says that the run is being deleted, without waiting for its end', async () => {
      await makeRun('flights', [cleanupFinalizer]);
      const said = parity('wait', 'flights');
      await watched();
      await kube.delete(runs, { namespace, name: 'flights' });
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/is being deleted before it finished: it has no verdict\n$/);
      await dropFinalizer();
    });

    it('does not take the verdict of another run that was made under the same name', async () => {
      await makeRun();
      const said = parity('wait', 'flights');
      await watched();
      proxy.decideBy(() => ({ kind: 'Drop' }));
      proxy.cut(() => true);
      await kube.delete(runs, { namespace, name: 'flights' });
      await makeRun();
      await play(finished('Passed'));
      // The watch cannot go on where it was, so the deletion is never told.
      proxy.decideBy(({ isWatch }) => (isWatch ? { kind: 'Answer', status: 410, body: expired } : undefined));
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/was deleted, and another run was made under its name: it has no verdict\n$/);
    });

    it('goes on after its watch was cut, dropped, answered by 503 and refused as too old', async () => {
      await makeRun();
      const said = parity('wait', 'flights');
      await watched();
      let faults = 0;
      proxy.decideBy(({ isWatch }) => {
        faults++;
        if (faults === 1) return { kind: 'Drop' };
        if (faults === 2) return { kind: 'Answer', status: 503, body: 'busy' };
        return isWatch && faults < 5 ? { kind: 'Answer', status: 410, body: expired } : undefined;
      });
      proxy.cut(({ isWatch }) => isWatch);
      await play(finished('Passed'));
      expect(await said.code).to.equal(0);
      expect(faults).to.be.above(3);
    });

    it('says that nothing has changed for longer than any task may take, and what holds the run up', async () => {
      await kube.create(runs, {
        metadata: { name: 'flights', namespace },
        spec: { ...runSpec(), execution: { timeoutSeconds: 1 } },
      });
      await play({ ...running, conditions: [condition('Stalled', 'True', 'ImagePull')] });
      const error = await follow({ slackMs: 200 });
      expect(error.code).to.equal('Timeout');
      expect(error.message).to.equal(
        'nothing has changed on run flights for 1.2 s, longer than any task of it may take: it is Comparing (ImagePull: Because)',
      );
    });

    it('waits for a run that waits for its turn, however quiet it is', async () => {
      await kube.create(runs, {
        metadata: { name: 'flights', namespace },
        spec: { ...runSpec(), execution: { timeoutSeconds: 1 } },
      });
      await play({ phase: 'Pending', conditions: [condition('Reconciling', 'True', 'Queued')] });
      const error = await follow({ slackMs: 0 }, 3000);
      expect(error.message).to.match(/was not over in 3\.0 s: it is Pending \(Queued: Because\)/);
    });

    it('says that the API server cannot be reached any more', async () => {
      await makeRun();
      await play(running);
      const error = follow({ outageMs: 500 });
      await watched();
      proxy.decideBy(() => ({ kind: 'Drop' }));
      proxy.cut(() => true);
      expect((await error).code).to.equal('Unreachable');
      expect((await error).message).to.match(/^nothing was heard of the API server for \d+(\.\d)? m?s/);
    });

    it('says in one sentence that the account may not see runs', async () => {
      await makeRun();
      const kubeconfig = await controlPlane.serviceAccount({ name: 'nobody', namespace });
      const said = say(['wait', 'flights', '--kubeconfig', kubeconfig, '-n', namespace], folder);
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(
        /^parity: reading PipelineParityRun \S+: pipelineparityruns\S* "flights" is forbidden: User .* — Give the account a Role .*\n$/,
      );
    });

    it('says in one sentence that the account may not watch runs', async () => {
      await makeRun();
      const rules = [{ apiGroups: ['pipelineparity.io'], resources: ['*'], verbs: ['get'] }];
      const kubeconfig = await controlPlane.serviceAccount({ name: 'reader', namespace, rules });
      const said = say(['wait', 'flights', '--kubeconfig', kubeconfig, '-n', namespace], folder);
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/^parity: listing pipelineparityruns in .* is forbidden: .* — Give the account a Role/);
    });

    it('says in one sentence that nobody answers', async () => {
      const kubeconfig = join(folder, 'nobody.kubeconfig');
      const text = await readFile(proxy.kubeconfig, 'utf8');
      await writeFile(kubeconfig, text.replaceAll(proxy.url, 'http://127.0.0.1:9'));
      const said = say(['wait', 'flights', '--kubeconfig', kubeconfig, '-n', namespace], folder);
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/^parity: reading PipelineParityRun \S+: connect ECONNREFUSED .* — Look whether/);
    });

    it('brings the reports, and writes the summary of a CI step', async () => {
      await makeRun();
      const reports = join(folder, namespace, 'flights-1');
      await mkdir(reports, { recursive: true });
      await writeFile(join(reports, 'report.md'), '## Fine\n');
      await writeFile(join(reports, 'report.json'), '{}\n');
      await play(finished('Passed', `file://${reports}/report.json`));
      const summary = join(folder, `${namespace}.md`);
      process.env.GITHUB_STEP_SUMMARY = summary;
      try {
        expect(await parity('wait', 'flights', '--reports', `${namespace}-here`).code).to.equal(0);
        expect(await readFile(join(folder, `${namespace}-here`, 'report.json'), 'utf8')).to.equal('{}\n');
        expect(await readFile(summary, 'utf8')).to.equal('## Fine\n');
        // A report that cannot be read leaves a summary of what the status says.
        await play(finished('Passed'));
        const said = parity('wait', 'flights', '--reports', 'none');
        expect(await said.code).to.equal(0);
        expect(said.err).to.match(/^parity: the reports were not brought here: .*\n$/);
        expect(await readFile(summary, 'utf8')).to.include('## ✅ flights: Passed\n\nBecause.');
      } finally {
        delete process.env.GITHUB_STEP_SUMMARY;
      }
    });
  });

  describe('parity watch', () => {
    it('shows conditions, and tasks by their pods', async () => {
      const run = await makeRun();
      const said = parity('watch', 'flights');
      await watched();
      await play(running);
      await eventually(() => expect(said.out).to.include('SnapshotCopied'));
      await makePod(run, 'compare-0', 1);
      await playPod('compare-0-1', { phase: 'Running', startTime: at(0) });
      await eventually(() => expect(said.out).to.include('first: compare flights …'));
      await playPod('compare-0-1', ended('Failed', { exitCode: 1, reason: 'OOMKilled' }));
      await eventually(() => expect(said.out).to.include('OOMKilled'));
      await makePod(run, 'compare-0', 2);
      const summary = { rows: 1000, differences: 0 };
      const message = formatTerminationMessage({ outcome: 'Succeeded', summary });
      await playPod('compare-0-2', ended('Succeeded', { exitCode: 0, message }));
      await eventually(() => expect(said.out).to.include('attempt 2'));
      await play(finished('Passed'));
      expect(await said.code).to.equal(0);
      expect(said.out.split('\n').slice(0, 7)).to.deep.equal([
        `flights is run ${run.metadata.uid} in namespace ${namespace}`,
        '✓ SnapshotCopied Because.',
        '  first: compare flights …',
        '✗ first: compare flights: its container ended with exit code 1 (OOMKilled)',
        '  first: compare flights …',
        '✓ first: compare flights 1,000 rows, no differences, 2.0 s, attempt 2',
        '',
      ]);
      expect(said.err).to.equal('');
    });

    it('shows tasks to their end, where the run goes on and ends before the cluster says that they have ended', async () => {
      const run = await makeRun();
      const said = parity('watch', 'flights');
      await watched();
      await play(running);
      await eventually(() => expect(said.out).to.include('SnapshotCopied'));
      await makePod(run, 'compare-0', 1);
      const message = formatTerminationMessage({ outcome: 'Succeeded', summary: { rows: 1000, differences: 0 } });
      await playPod('compare-0-1', { ...ended('Succeeded', { exitCode: 0, message }), phase: 'Running' });
      await eventually(() => expect(said.out).to.match(/^✓ first: compare flights 1,000 rows/m));
      await makePod(run, 'report', 1);
      await playPod('report-1', { phase: 'Running', startTime: new Date().toISOString() });
      await eventually(() => expect(said.out.match(/compare flights …/g)).to.have.length(2));
      await play(finished('Passed'));
      expect(await said.code).to.equal(0);
      expect(said.out.match(/^✓ first: compare flights/gm), said.out).to.have.length(2);
    });

    it('does not take the end of a pipeline that is a Job for the end of the task that it belongs to', async () => {
      const run = await makeRun();
      const said = parity('watch', 'flights');
      await watched();
      await play(running);
      await eventually(() => expect(said.out).to.include('SnapshotCopied'));
      await makePod(run, 'first-sync-0', 1, { [labels.execution]: 'of-flights' });
      await playPod('first-sync-0-1', { phase: 'Running', startTime: at(0) });
      await eventually(() => expect(said.out).to.include('first: compare flights …'));
      await playPod('first-sync-0-1', ended('Succeeded', { exitCode: 0 }));
      await makePod(run, 'first-sync-0', 2, { [labels.execution]: 'of-flights' });
      await playPod('first-sync-0-2', ended('Failed', { exitCode: 3 }));
      await eventually(() => expect(said.out).to.include('exit code 3'));
      await play(finished('Errored'));
      expect(await said.code).to.equal(2);
      expect(said.out).to.not.match(/^✓ first: compare flights/m);
    });

    it('shows conditions to an account that may not see pods, and says so once', async () => {
      await makeRun();
      await play(running);
      const rules = [{ apiGroups: ['pipelineparity.io'], resources: ['*'], verbs: ['get', 'list', 'watch'] }];
      const kubeconfig = await controlPlane.serviceAccount({ name: 'watcher', namespace, rules });
      const said = say(['watch', 'flights', '--kubeconfig', kubeconfig, '-n', namespace], folder);
      await eventually(() => expect(said.out).to.include('✓ SnapshotCopied'));
      await play(finished('Failed'));
      expect(await said.code).to.equal(1);
      expect(said.err.match(/single tasks were not shown: listing pods/g)).to.have.length(1);
    });
  });

  describe('parity run --cluster', () => {
    const manifest = async (...documents: object[]): Promise<string> => {
      const file = join(folder, `${namespace}.yaml`);
      await writeFile(file, documents.map((document) => stringify(document)).join('---\n'));
      return file;
    };
    const runOf = (extra: object = {}) => ({
      ...kindOf('PipelineParityRun', 'flights'),
      spec: { ...runSpec(), ...extra },
    });
    const created = async (name: string): Promise<RunObject> =>
      await eventually(async () => await kube.get(runs, { namespace, name }));

    it('creates the run with what the command line says, and ends with its verdict', async () => {
      const flags = ['--cluster', '--name', 'flights-7', '--set', 'spec.comparison.maxDifferences=3', '--keep'];
      const said = parity('run', await manifest(runOf()), ...flags);
      const { spec } = await created('flights-7');
      expect(spec.comparison).to.deep.equal({ maxDifferences: 3 });
      expect(spec.cleanup).to.deep.equal({ policy: 'Never' });
      await play(finished('Failed'), 'flights-7');
      expect(await said.code).to.equal(1);
      expect(said.out).to.match(/^flights-7 is run [-0-9a-f]{36} in namespace cli-\d+\n/);
    });

    it('creates the plan of the manifest, leaves the same one, and replaces another only when told to', async () => {
      const plan = { ...kindOf('PipelineParityPlan', 'nightly'), spec: runSpec() };
      const run = (name: string) => ({ ...kindOf('PipelineParityRun', name), spec: { planRef: { name: 'nightly' } } });
      const go = async (document: object, name: string, ...flags: string[]) => {
        const said = parity('run', await manifest(document, run(name)), '--cluster', '--detach', ...flags);
        const code = await said.code;
        return { code, err: said.err };
      };
      expect(await go(plan, 'a')).to.deep.equal({ code: 0, err: 'parity: plan nightly was created\n' });
      expect(await go(plan, 'b')).to.deep.equal({ code: 0, err: '' });
      const other = { ...plan, spec: { ...runSpec(), execution: { parallelism: 7 } } };
      const refused = await go(other, 'c');
      expect(refused.code).to.equal(64);
      expect(refused.err).to.match(
        /^parity: the plan nightly in namespace \S+ is not the one in the manifest — Replace/,
      );
      expect(await kube.find(runs, { namespace, name: 'c' })).to.equal(undefined);
      const replaced = await go(other, 'c', '--replace-plan');
      expect(replaced).to.deep.equal({ code: 0, err: 'parity: plan nightly was replaced\n' });
      expect((await kube.get(plans, { namespace, name: 'nightly' })).spec.execution).to.deep.equal({ parallelism: 7 });
    });

    it('creates a run of a plan that only the cluster has, and checks what is set by it', async () => {
      await kube.create(plans, { metadata: { name: 'nightly', namespace }, spec: runSpec() });
      const file = await manifest({
        ...kindOf('PipelineParityRun', 'flights'),
        spec: { planRef: { name: 'nightly' } },
      });
      const set = ['--set', 'spec.snapshot.tables[flights].version=3'];
      expect(await parity('run', file, '--cluster', '--detach', ...set).code).to.equal(0);
      const { spec } = await kube.get(runs, { namespace, name: 'flights' });
      expect(spec.planRef).to.deep.equal({ name: 'nightly' });
      expect(spec.snapshot?.tables).to.deep.equal([{ name: 'flights', path: 'flights', version: '3' }]);
      const wrong = parity('run', file, '--cluster', '--detach', '--set', 'spec.snapshot.tables[planes].version=3');
      expect(await wrong.code).to.equal(64);
      expect(wrong.err).to.match(/there is no such item in the run or its plan/);
    });

    it('makes no second run when the answer to the first was lost', async () => {
      let lost = 0;
      proxy.decideBy(({ method }) => (method === 'POST' && lost++ === 0 ? { kind: 'LoseReply' } : undefined));
      const said = parity('run', await manifest(runOf()), '--cluster', '--detach');
      expect(await said.code).to.equal(0);
      const { uid } = (await kube.get(runs, { namespace, name: 'flights' })).metadata;
      expect(said.out).to.equal(`flights is run ${uid}; wait for it with: parity wait flights -n ${namespace}\n`);
      expect(lost).to.equal(2);
    });

    it('cancels the run at the first Ctrl-C, and leaves it to the cluster at the second', async () => {
      const said = parity('run', await manifest(runOf()), '--cluster');
      await created('flights');
      await watched();
      process.emit('SIGINT');
      await eventually(() => expect(said.out).to.include('is being cancelled; press Ctrl-C again'));
      expect((await created('flights')).spec.cancel).to.equal(true);
      process.emit('SIGINT');
      expect(await said.code).to.equal(3);
      expect(said.err).to.match(/^parity: stopped waiting for run flights — It goes on; wait again with: parity wait/);
    });

    const refused: { what: string; document: object; says: RegExp }[] = [
      { what: 'a manifest that is wrong', document: runOf({ snapshto: {} }), says: /spec\.snapshto/ },
      {
        what: 'a plan that is nowhere',
        document: { ...kindOf('PipelineParityRun', 'flights'), spec: { planRef: { name: 'nowhere' } } },
        says: /^parity: the plan nowhere is neither beside the run nor in namespace \S+ — /,
      },
      {
        what: 'a manifest of another namespace',
        document: { ...runOf(), metadata: { name: 'flights', namespace: 'other' } },
        says: /is for namespace other, not for cli-\d+ — /,
      },
    ];
    for (const { what, document, says } of refused) {
      it(`refuses ${what} with 64, and makes nothing`, async () => {
        const said = parity('run', await manifest(document), '--cluster');
        expect(await said.code).to.equal(64);
        expect(said.err).to.match(says);
        expect((await kube.list(runs, { namespace })).items).to.deep.equal([]);
      });
    }

    it('refuses a name that is taken with 64, and says what the other run came to', async () => {
      await makeRun();
      await play(finished('Passed'));
      const said = parity('run', await manifest(runOf()), '--cluster');
      expect(await said.code).to.equal(64);
      expect(said.err).to.match(/^parity: a run flights is in namespace \S+ already \(Passed\) — A run is carried out/);
    });
  });

  describe('other commands', () => {
    it('describe a run with its conditions and tasks', async () => {
      const run = await makeRun();
      await play(running);
      await makePod(run, 'compare-0', 1);
      const said = parity('describe', 'flights');
      expect(await said.code).to.equal(0);
      expect(said.out).to.match(/^Name {7}flights\n/);
      expect(said.out).to.match(/SnapshotCopied {2}True {3}Completed {3}Because\./);
      expect(said.out).to.match(/compare-0 {2}attempt 1 {2}Waiting {2}compare-0-1/);
    });

    it('say of a run without pods that there are no logs', async () => {
      await makeRun();
      const said = parity('logs', 'flights', '--task', 'resolve');
      expect(await said.code).to.equal(2);
      expect(said.err).to.match(/^parity: run flights has no pod of a task resolve in namespace /);
    });

    it('say where the report lies, that there is none yet, and that it cannot be read', async () => {
      await makeRun();
      const early = parity('report', 'flights');
      expect(await early.code).to.equal(2);
      expect(early.err).to.match(/^parity: run flights has no report — /);
      await play(finished('Failed'));
      const said = parity('report', 'flights');
      expect(await said.code).to.equal(0);
      expect(said.out).to.equal('file:///nowhere/flights-1\n');
      const unreadable = parity('report', 'flights', '--json');
      expect(await unreadable.code).to.equal(2);
      expect(unreadable.err).to.match(/^parity: .*\/nowhere\/flights-1/);
    });

    it('cancel a run, once and again', async () => {
      await makeRun();
      for (const _ of [1, 2]) {
        const said = parity('cancel', 'flights');
        expect(await said.code).to.equal(0);
        expect(said.out).to.match(/^flights is being cancelled; wait for its end with: parity wait flights -n cli-/);
      }
      expect((await kube.get(runs, { namespace, name: 'flights' })).spec.cancel).to.equal(true);
    });

    it('leave a run that has finished when it is to be cancelled', async () => {
      await makeRun();
      await play(finished('Passed'));
      const said = parity('cancel', 'flights');
      expect(await said.code).to.equal(0);
      expect(said.out).to.equal('flights has finished already: Passed\n');
    });

    it('list what has no run, and only that', async () => {
      const run = await makeRun();
      const marked = (name: string, uid: string): Promise<ConfigMap> => {
        const marks = { [labels.run]: 'flights', [labels.runUid]: uid };
        return kube.create(configMaps, { metadata: { name, namespace, labels: marks } });
      };
      await marked('of-a-living-run', run.metadata.uid);
      await marked('orphan', '3a0f6f1c-5f0e-4b8e-9c39-0d9a6f3f1c11');
      const said = parity('gc', '--cluster', '--dry-run');
      expect(await said.code).to.equal(0);
      expect(said.out).to.match(
        /^ConfigMap {2}cli-\d+\/orphan {2}run flights {2}3a0f6f1c\S+ .*\n1 thing without a run; .*\n$/,
      );
    });
  });

  async function makePod(run: RunObject, task: string, attempt: number, more: object = {}): Promise<void> {
    const own = { [labels.runUid]: run.metadata.uid, [labels.task]: task, [labels.attempt]: String(attempt) };
    const marks = { ...own, ...more };
    const annotations = { [titleAnnotation]: 'first: compare flights' };
    const metadata = { name: `${task}-${attempt}`, namespace, labels: marks, annotations };
    await kube.create(pods, { metadata, spec: { containers: [{ name: 'task', image: 'none' }] } });
  }

  async function playPod(name: string, status: Pod['status']): Promise<void> {
    await kube.mergePatch(pods, { namespace, name }, { status }, { subresource: 'status' });
  }
});

const expired = JSON.stringify({ kind: 'Status', status: 'Failure', reason: 'Expired', code: 410, message: 'too old' });

/** The status of a pod whose container has ended after two seconds. */
function ended(
  phase: 'Succeeded' | 'Failed',
  how: { readonly exitCode: number; readonly reason?: string; readonly message?: string },
): Pod['status'] {
  const terminated = { ...how, startedAt: at(0), finishedAt: at(2) };
  const container = { name: 'task', image: 'none', imageID: '', ready: false, restartCount: 0, state: { terminated } };
  return { phase, startTime: at(0), containerStatuses: [container] };
}
