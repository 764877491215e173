import { access, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { StartOptions } from '../../operator/operator.ts';
import { abandonedName } from '../../operator/runs/hold.ts';
import { abandonAnnotation, cleanupFinalizer, holdName } from '../../operator/runs/names.ts';
import { namespaces, secrets } from '../../src/kube/objects.ts';
import { type RunObject, runs } from '../../src/kube/runs.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { redact } from '../../src/support/log.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { databasesOf, rowsOf, sharedServer } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { fakeServer } from '../support/fake-server.ts';
import { Installation } from '../support/operator.ts';
import { smallSpec } from '../support/runs.ts';

const taskEntry = fileURLToPath(new URL('../support/fake-task.ts', import.meta.url));
/** Tasks that do no work but behave as they are told; all around them is the real thing. */
const fakes: Partial<StartOptions> = {
  taskEntry,
  startServer: async (engine, options) => {
    // What a server keeps, so that the next operator finds it.
    await mkdir(join(options.dir, 'data', 'base'), { recursive: true });
    return await fakeServer(engine, options);
  },
};

describe('the operator, with tasks as processes beside it', function () {
  this.timeout(300_000);
  let controlPlane: ControlPlane;
  let installation: Installation;

  before(async () => {
    controlPlane = await startControlPlane({ controllerManager: true });
  });
  after(() => controlPlane?.stop());
  beforeEach(async () => {
    installation = await Installation.open(controlPlane);
  });
  afterEach(async () => {
    await installation.removeRuns();
    await installation.close();
  });

  describe('with the real tasks', () => {
    it('carries a run out: passed, reported, cleaned up, nothing left', async () => {
      await installation.start();
      await installation.apply('passing', smallSpec(['planes', 'airlines']));
      const ended = await installation.until('passing', 'Finished');
      expect(ended.status?.result).to.include({ verdict: 'Passed', differences: 0 });
      expect(ended.status?.result?.fingerprint).to.match(/^[0-9a-f]{64}$/);
      expect(ended.status?.snapshot?.tables).to.include({ count: 2 });
      const clean = await installation.until('passing', 'CleanedUp');
      expect(clean.status?.phase).to.equal('Finished');
      await untilNothingIsLeft();
      expect((await installation.get('passing')).metadata.finalizers ?? []).to.deep.equal([]);
      expect(await installation.report()).to.include({ verdict: 'Passed' });
      await installation.delete('passing');
      await installation.untilGone('passing');
    });

    it('finds a bug in a database on the user’s own server, which goes with the run also when the Secret is gone', async () => {
      const { connection } = await sharedServer('Postgres');
      const name = { namespace: 'default', name: 'shop-server' };
      await installation.kube.create(secrets, { metadata: name, stringData: formatConnection(connection) });
      const spec = smallSpec(['planes'], { bug: 'DuplicatedBatch' });
      const sources = spec.sources.map(({ embedded: _, ...source }) => ({
        ...source,
        external: { secretRef: { name: name.name } },
      }));
      await installation.start();
      await installation.apply('failing', { ...spec, sources, cleanup: { policy: 'Never' } });
      const ended = await installation.until('failing', 'Finished');
      expect(ended.status?.result?.verdict, JSON.stringify(ended.status)).to.equal('Failed');
      expect(ended.status?.result?.differences).to.be.greaterThan(0);
      expect(condition(ended, 'Stalled')).to.include({ status: 'True', reason: 'Failed' });
      const own = await databasesOf(ended.metadata.uid);
      expect(own).to.have.length(1);
      expect(await rowsOf({ ...connection, database: own[0] ?? '' }, 'planes')).to.be.greaterThan(1_000);
      const { host, user, database, password } = connection;
      expect(redact(`${user}@${host}/${database}`), 'no secrets').to.equal(`${user}@${host}/${database}`);
      expect(redact(password)).to.not.contain(password);
      await installation.kube.delete(secrets, name);
      await installation.delete('failing');
      await installation.untilGone('failing');
      expect(await databasesOf(ended.metadata.uid)).to.deep.equal([]);
      await untilNothingIsLeft();
    });
  });

  const invalid: readonly { what: string; spec: object; options?: Partial<StartOptions>; says: RegExp }[] = [
    {
      what: 'a plan that does not come',
      spec: { planRef: { name: 'nowhere' } },
      says: /there is no PipelineParityPlan default\/nowhere/,
    },
    {
      what: 'a table that no source can know',
      spec: { ...smallSpec(['planes']), sources: [{ name: 'shop', engine: 'Postgres', tables: ['plains'] }] },
      says: /spec\.sources\[shop\]\.tables\[0\]: the snapshot has no table "plains"; did you mean "planes"/,
    },
    {
      what: 'a Secret that is not there',
      spec: { ...smallSpec(['planes']), reports: { location: 's3://reports', secretRef: { name: 'absent' } } },
      says: /there is no Secret default\/absent/,
    },
    {
      what: 'files, where the installation does not allow them',
      spec: smallSpec(['planes']),
      options: { allow: { command: false, embedded: true, fileLocations: false } },
      says: /spec\.snapshot\.location: found "file:.*write an s3/,
    },
    {
      what: 'no place for its report',
      spec: {
        ...smallSpec(['planes']),
        snapshot: { ...smallSpec(['planes']).snapshot, location: 's3://lake' },
        workspace: { location: 's3://work' },
        reports: {},
      },
      options: { allow: { command: false, embedded: true, fileLocations: false } },
      says: /^spec\.reports\.location: missing; add where reports go, such as s3:\/\/bucket\/prefix: they survive the run$/,
    },
    {
      what: 'embedded sources, where the installation does not allow them',
      spec: smallSpec(['planes']),
      options: { allow: { command: false, embedded: false, fileLocations: true } },
      says: /spec\.sources\[shop\]\.embedded: a cluster has no machine/,
    },
  ];
  for (const { what, spec, options, says } of invalid) {
    it(`ends a run with ${what} as InvalidSpec, and makes nothing for it`, async () => {
      await installation.start({ ...fakes, ...options, patienceMs: 0 });
      await installation.apply('invalid', spec);
      const ended = await installation.until('invalid', 'Finished');
      expect(condition(ended, 'Finished')).to.include({ reason: 'InvalidSpec' });
      expect(condition(ended, 'Finished')?.message).to.match(says);
      expect(ended.status?.result?.verdict).to.equal('Errored');
      expect(ended.metadata.finalizers ?? []).to.deep.equal([]);
      expect(await installation.leftovers()).to.deep.equal([]);
    });
  }

  it('takes the spec of a plan as it is at the start: what the plan says later changes nothing', async () => {
    const { snapshot, sources, pipelines } = behaving('sync:wait-once');
    await installation.applyPlan('plan', { snapshot, sources, pipelines });
    await installation.start(fakes);
    await installation.apply('planned', { planRef: { name: 'plan' } });
    const begun = await untilActive('planned', /^first-sync/);
    await untilWaiting(begun);
    await installation.changePlan('plan', { comparison: { samples: 7 }, cleanup: { policy: 'Never' } });
    await installation.stop();
    await installation.start(fakes);
    const ended = await installation.until('planned', 'CleanedUp');
    expect(ended.status?.specDigest).to.equal(begun.status?.specDigest);
    expect(ended.status?.result?.verdict).to.equal('Passed');
  });

  it('ends a run as Errored with what failed and what to do, and cleans up', async () => {
    await installation.start(fakes);
    await installation.apply('errored', behaving('sync:fail'));
    const ended = await installation.until('errored', 'Finished');
    expect(ended.status?.result?.verdict).to.equal('Errored');
    expect(ended.status?.tasks?.failures?.[0]).to.include({ code: 'CorruptTable' });
    expect(condition(ended, 'Synced')).to.include({ status: 'False', reason: 'CorruptTable' });
    await installation.until('errored', 'CleanedUp');
    await untilNothingIsLeft();
  });

  for (const behaviour of ['sync:flaky', 'sync:kill-once'] as const) {
    it(`begins a task again that behaves as ${behaviour}`, async () => {
      await installation.start(fakes);
      await installation.apply('again', behaving(behaviour));
      const ended = await installation.until('again', 'Finished');
      expect(ended.status?.result?.verdict, JSON.stringify(ended.status)).to.equal('Passed');
    });
  }

  it('is cancelled: tasks stopped, reported, cleaned up', async () => {
    await installation.start(fakes);
    await installation.apply('cancelled', behaving('sync:wait'));
    await untilActive('cancelled', /^first-sync/);
    await installation.change('cancelled', { cancel: true });
    const ended = await installation.until('cancelled', 'Finished');
    expect(ended.status?.result?.verdict).to.equal('Cancelled');
    expect(condition(ended, 'Finished')).to.include({ reason: 'Cancelled' });
    await installation.until('cancelled', 'CleanedUp');
    await untilNothingIsLeft();
  });

  it('is cancelled before it began: nothing is made', async () => {
    await installation.apply('never', { ...behaving('None'), cancel: true });
    await installation.start(fakes);
    const ended = await installation.until('never', 'Finished');
    expect(ended.status?.result?.verdict).to.equal('Cancelled');
    expect(await installation.leftovers()).to.deep.equal([]);
  });

  it('starts nothing while it is suspended, from the beginning or in the middle', async () => {
    await installation.apply('suspended', { ...behaving('snapshot:wait-once'), suspend: true });
    await installation.start(fakes);
    const waiting = await installation.until('suspended', 'Reconciling');
    expect(condition(waiting, 'Reconciling')).to.include({ reason: 'Suspended' });
    expect(await installation.leftovers()).to.deep.equal([]);
    await installation.change('suspended', { suspend: false });
    await untilWaiting(await untilActive('suspended', /^snapshot/));
    await installation.change('suspended', { suspend: true });
    await installation.stop();
    await installation.start(fakes);
    await eventually(async () => {
      const run = await installation.get('suspended');
      expect(condition(run, 'Reconciling')).to.include({ reason: 'Suspended' });
      expect(run.status?.tasks?.running).to.equal(0);
    });
    await installation.change('suspended', { suspend: false });
    const ended = await installation.until('suspended', 'Finished');
    expect(ended.status?.result?.verdict).to.equal('Passed');
  });

  const phases = ['resolve', 'snapshot', 'rehydrate', 'sync', 'compare', 'report'] as const;
  for (const [index, phase] of phases.entries()) {
    const propagation = index % 2 === 0 ? 'Background' : 'Foreground';
    it(`deleted (${propagation}) while its ${phase} runs, leaves nothing`, async () => {
      await installation.start(fakes);
      await installation.apply('deleted', behaving(`${phase}:wait`));
      await untilActive('deleted', new RegExp(phase));
      await installation.delete('deleted', 'default', propagation);
      await installation.untilGone('deleted');
      await untilNothingIsLeft();
    });
  }

  it('goes with its namespace, with all outside of it', async () => {
    const namespace = `passing-${installation.folder.slice(-6).toLowerCase()}`;
    await installation.kube.create(namespaces, { metadata: { name: namespace } });
    await installation.start(fakes);
    await installation.apply('inside', behaving('sync:wait'), namespace);
    await untilActive('inside', /sync/, namespace);
    await installation.kube.delete(namespaces, { name: namespace });
    await installation.untilGone('inside', namespace);
    await eventually(async () => {
      expect(await installation.kube.find(namespaces, { name: namespace })).to.equal(undefined);
    }, 60_000);
    await untilNothingIsLeft();
  });

  it('comes to the same end when the operator is killed and started again at many points', async () => {
    await installation.apply('restarted', behaving('None'));
    let isEnded = false;
    for (let round = 1; !isEnded; round++) {
      expect(round, 'rounds').to.be.lessThan(200);
      let reconciles = 0;
      const enough = Promise.withResolvers<void>();
      await installation.start({ ...fakes, graceMs: 0, onReconcile: () => ++reconciles > round && enough.resolve() });
      await Promise.race([enough.promise, installation.until('restarted', 'CleanedUp')]);
      await installation.stop();
      const run = await installation.get('restarted');
      isEnded = condition(run, 'CleanedUp')?.status === 'True';
    }
    await installation.start(fakes);
    await untilNothingIsLeft();
    const ended = await installation.get('restarted');
    expect(ended.status?.result).to.include({ verdict: 'Passed', differences: 0 });
  });

  it('writes nothing while nothing changes', async () => {
    let reconciles = 0;
    await installation.start({ ...fakes, onReconcile: () => reconciles++ });
    await installation.apply('quiet', behaving('sync:wait'));
    await untilActive('quiet', /sync/);
    const operator = await installation.restart({ ...fakes, onReconcile: () => reconciles++ });
    await untilActive('quiet', /sync/);
    const version = async () => (await installation.get('quiet')).metadata.resourceVersion;
    const writes = async () =>
      (await operator.metrics.apiRequests.get()).values
        .filter(
          ({ labels }) => ['create', 'patch', 'delete'].includes(String(labels.verb)) && labels.resource !== 'events',
        )
        .reduce((sum, { value }) => sum + value, 0);
    await eventually(async () => {
      const [before, seen] = [await version(), reconciles];
      const written = await writes();
      await eventually(() => expect(reconciles).to.be.greaterThan(seen + 1), 60_000);
      expect(await version()).to.equal(before);
      expect(await writes()).to.equal(written);
    }, 120_000);
  });

  it('keeps a run that its policy keeps, until the policy changes', async () => {
    await installation.start(fakes);
    await installation.apply('kept', { ...behaving('None'), cleanup: { policy: 'Never' } });
    const ended = await installation.until('kept', 'Finished');
    expect(condition(ended, 'CleanedUp')).to.include({ status: 'False', reason: 'Kept' });
    expect(await readdir(installation.workspaces)).to.deep.equal([`parity-${ended.metadata.uid}`]);
    await installation.change('kept', { cleanup: { policy: 'Always' } });
    await installation.until('kept', 'CleanedUp');
    await untilNothingIsLeft();
  });

  it('deletes a run when its time after the end is over, but only empties one that Argo CD tracks', async () => {
    await installation.start(fakes);
    const spec = { ...behaving('None'), cleanup: { policy: 'Never', ttlSecondsAfterFinished: 1 } };
    await installation.apply('passing-away', spec);
    await installation.apply('tracked', spec, 'default', {
      'argocd.argoproj.io/tracking-id': 'app:ppr:default/tracked',
    });
    await installation.untilGone('passing-away');
    await installation.until('tracked', 'CleanedUp');
    await untilNothingIsLeft();
    expect((await installation.get('tracked')).status?.result?.verdict).to.equal('Passed');
  });

  it('names what it could not remove and how to remove it, and goes on by itself when it can', async () => {
    await installation.start(fakes);
    await installation.apply('stuck', { ...behaving('None'), cleanup: { policy: 'Never' } });
    const ended = await installation.until('stuck', 'Finished');
    const mark = await installation.replaceMark(ended.metadata.uid);
    await installation.delete('stuck');
    await eventually(async () => {
      const run = await installation.get('stuck');
      expect(condition(run, 'CleanedUp')).to.include({ status: 'False', reason: 'Incomplete' });
      expect(condition(run, 'CleanedUp')?.message).to.match(/marked as run .*; remove it with: rm -rf/);
      expect(run.metadata.finalizers).to.include(cleanupFinalizer);
    });
    await mark.restore();
    await installation.untilGone('stuck');
    await untilNothingIsLeft();
  });

  it('lets go of a run that an administrator abandons, and keeps for the sweeper what it knows of it', async () => {
    await installation.start(fakes);
    await installation.apply('abandoned', { ...behaving('None'), cleanup: { policy: 'Never' } });
    const { metadata } = await installation.until('abandoned', 'Finished');
    const mark = await installation.replaceMark(metadata.uid);
    await installation.delete('abandoned');
    await installation.kube.mergePatch(runs, metadata, {
      metadata: { annotations: { [abandonAnnotation]: metadata.uid } },
    });
    await installation.untilGone('abandoned');
    const kept = await installation.kube.get(secrets, { namespace: 'default', name: abandonedName(metadata.uid) });
    expect(kept.metadata.labels).to.include({ 'pipelineparity.io/abandoned': 'true' });
    await mark.restore();
  });

  it('tells as Events what happened, once', async () => {
    await installation.start(fakes);
    const { metadata } = await installation.apply('told', behaving('None'));
    await installation.until('told', 'CleanedUp');
    const wanted = ['SnapshotCopied', 'Rehydrated', 'Synced', 'Compared', 'Passed', 'CleanedUp'];
    await eventually(async () => {
      const told = await installation.eventsOf(metadata.uid);
      expect(told.filter((reason) => wanted.includes(reason)).sort()).to.deep.equal([...wanted].sort());
    });
  });

  it('is lost: a run whose hold was removed by force is finalized all the same', async () => {
    await installation.start(fakes);
    await installation.apply('holdless', { ...behaving('None'), cleanup: { policy: 'Never' } });
    const { metadata } = await installation.until('holdless', 'Finished');
    const hold = { namespace: 'default', name: holdName(metadata.uid) };
    await installation.kube.mergePatch(secrets, hold, { metadata: { finalizers: [] } });
    await installation.kube.delete(secrets, hold);
    await installation.delete('holdless');
    await installation.untilGone('holdless');
    await untilNothingIsLeft();
  });

  it('writes a status that stays small, also with a thousand tables', async () => {
    await installation.start(fakes);
    const tables = Array.from({ length: 1000 }, (_, index) => ({ name: `t${index}`, path: `t${index}`, key: ['id'] }));
    const base = behaving('None');
    const snapshot = { ...base.snapshot, tables: [...base.snapshot.tables, ...tables].slice(0, 1000) };
    await installation.apply('wide', {
      ...base,
      snapshot,
      sources: [{ ...base.sources[0], tables: snapshot.tables.map(({ name }) => name) }],
    });
    const ended = await installation.until('wide', 'Finished');
    expect(ended.status?.result?.verdict, JSON.stringify(ended.status)).to.equal('Passed');
    expect(Buffer.byteLength(JSON.stringify(ended.status))).to.be.lessThan(32 * 1024);
  });

  /** A run over one table whose fake tasks behave so. */
  function behaving(behaviour: string) {
    const table = { name: 'planes', path: `behave/${behaviour}`, key: ['tailnum'] };
    return {
      snapshot: { location: 'file:///nowhere/lake', tables: [table] },
      sources: [{ name: 'shop', engine: 'Postgres', tables: ['planes'], embedded: {} }],
      pipelines: [{ name: 'candidate', reference: {} }],
    };
  }

  function condition(run: Awaited<ReturnType<Installation['get']>>, type: string) {
    return run.status?.conditions?.find((each) => each.type === type);
  }

  async function untilActive(name: string, task: RegExp, namespace = 'default') {
    return await eventually(async () => {
      const run = await installation.get(name, namespace);
      expect(run.status?.tasks?.active?.join(), JSON.stringify(run.status)).to.match(task);
      return run;
    }, 60_000);
  }

  /** A task that waits once has begun to. */
  async function untilWaiting({ metadata }: RunObject): Promise<void> {
    await eventually(() => access(join(installation.workspaces, `parity-${metadata.uid}`, 'waited')));
  }

  async function untilNothingIsLeft(): Promise<void> {
    await eventually(async () => expect(await installation.leftovers()).to.deep.equal([]));
  }
});
