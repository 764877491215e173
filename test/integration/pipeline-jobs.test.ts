import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { parse } from 'yaml';
import { publishConnection } from '../../operator/runs/connections.ts';
import type { SourceProvider } from '../../operator/runs/types.ts';
import { configMaps, type Job, jobs, type Pod, pods, secrets } from '../../src/kube/objects.ts';
import { labels, type RunObject } from '../../src/kube/runs.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { sharedServer } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Kubelet } from '../support/kubelet.ts';
import { Installation } from '../support/operator.ts';
import { recordResult } from '../support/played-cluster.ts';
import { exampleLake, root } from '../support/runs.ts';

const password = 'words of a source';
/** A source that is there at once: what carries pipelines out is tested here. */
const readySources: SourceProvider = {
  ensure: async (scope, source) => {
    const connection = { host: 'db.example', port: 5432, user: 'u', password, database: 'd' };
    await publishConnection(scope, source, connection);
    return { state: 'Ready' };
  },
  remove: async () => ({ isGone: true, waitingFor: '' }),
};

type Fate = (job: Job) => NonNullable<Pod['status']> | undefined;

describe('a pipeline that is a Job, on a real API server whose Jobs a played kubelet runs', function () {
  this.timeout(300_000);
  let controlPlane: ControlPlane;
  let installation: Installation;
  let kubelet: Kubelet | undefined;
  /** Jobs of the pipeline, in the order in which their pods began. */
  let made: Job[] = [];

  before(async () => {
    controlPlane = await startControlPlane();
  });
  after(async () => {
    await controlPlane?.stop();
  });
  afterEach(async () => {
    await installation.stop();
    await kubelet?.stop();
    kubelet = undefined;
    await installation.removeRuns();
    await installation.close();
  });

  it('syncs in full and incrementally, as somebody would have it read a real Postgres, and passes', async () => {
    installation = await Installation.open(controlPlane, {
      executor: 'Process',
      allow: { command: false, embedded: false, fileLocations: true },
    });
    const server = (await sharedServer('Postgres')).connection;
    await make(secrets, 'shop', formatConnection(server));
    play();
    await installation.start();
    // The manifest that users apply, in this test's places and with its program.
    const { spec } = parse(await readFile(join(root, 'examples/cluster/job.yaml'), 'utf8'));
    const { tables } = spec.snapshot;
    const [source] = spec.sources;
    const [pipeline] = spec.pipelines;
    const program = [join(root, 'node_modules/.bin/node'), join(root, 'test/support/command-pipeline.ts'), 'Delta'];
    await installation.apply('round-trip', {
      snapshot: { location: pathToFileURL(exampleLake).href, tables },
      sources: [{ ...source, kubernetes: undefined, external: { secretRef: { name: 'shop' } } }],
      pipelines: [
        { ...pipeline, job: { ...pipeline.job, command: program, args: undefined }, outputs: { format: 'Delta' } },
      ],
    });
    const run = await installation.until('round-trip', 'Finished', 'True', 'default', 240_000);
    expect(run.status?.result?.verdict, JSON.stringify(run.status, null, 1)).to.equal('Passed');
    expect(run.status?.result?.tables).to.include({ matched: 2, differing: 0 });
    const uid = run.metadata.uid.slice(0, 8);
    expect(made.map(({ metadata }) => metadata.name)).to.deep.equal([
      `parity-${uid}-job-candidate-first-ops-1`,
      `parity-${uid}-job-candidate-second-ops-1`,
    ]);
    await installation.until('round-trip', 'CleanedUp');
    await untilNothingIsLeft();
    await installation.kube.delete(secrets, { namespace: 'default', name: 'shop' });
  });

  describe('whose tasks are played', () => {
    beforeEach(async () => {
      installation = await Installation.open(controlPlane, {
        executor: 'Jobs',
        allow: { command: false, embedded: false, fileLocations: true },
        providers: { kubernetes: readySources },
        patienceMs: 0,
      });
    });

    it('tells each table its own, the connection from a Secret, and keeps it from what it needs not', async () => {
      const told = join(installation.folder, 'told');
      await mkdir(told);
      await make(secrets, 'api', { token: 'of an api' });
      await make(configMaps, 'project', { 'a.sql': 'SELECT 1' });
      play();
      await installation.start();
      await installation.apply(
        'told',
        behaving(`env > ${told}/"$PARITY_TABLE"; cat "$PARITY_SOURCE_DIR/password" >> ${told}/"$PARITY_TABLE"`, {
          pipeline: { executions: 'PerTable' },
          job: {
            args: ['$(PARITY_MODE)', '{{table}}'],
            env: [
              { name: 'URL', value: '{{source.url}}' },
              { name: 'TABLE', value: 'x_{{table}}' },
              { name: 'TOKEN', secretKeyRef: { name: 'api', key: 'token' } },
            ],
            mounts: [{ path: '/project', configMapRef: { name: 'project' } }],
            resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { memory: '1Gi' } },
            nodeSelector: 'pool=batch',
            tolerations: [{ key: 'batch', operator: 'Exists', effect: 'NoSchedule' }],
            securityContext: { runAsUser: 1000 },
          },
        }),
      );
      const run = await installation.until('told', 'CleanedUp');
      expect(run.status?.result?.verdict, JSON.stringify(run.status)).to.equal('Passed');
      await untilNothingIsLeft();
      const lines = (await readFile(join(told, 'planes'), 'utf8')).split('\n');
      expect(lines).to.include.members([
        'PARITY_MODE=Full',
        'PARITY_TABLE=planes',
        'PARITY_SOURCE_HOST=db.example',
        `URL=postgresql://u:${encodeURIComponent(password)}@db.example:5432/d`,
        'TABLE=x_planes',
        'TOKEN=of an api',
        password,
      ]);
      expect(made.map(({ metadata }) => metadata.name.replace(/.*-job-/, '')).sort()).to.deep.equal([
        'candidate-first-shop-airlines-1',
        'candidate-first-shop-planes-1',
      ]);
      for (const job of made) expectRestricted(job, run);
      for (const name of ['api', 'project'])
        await installation.kube.delete(name === 'api' ? secrets : configMaps, { namespace: 'default', name });
    });

    it('that ends with another code is named with the last lines it said, without its password', async () => {
      play();
      await installation.start();
      await installation.apply('failing', behaving('cat $PARITY_SOURCE_DIR/password; echo; echo cannot go on; exit 3'));
      const failure = await failureOf('failing');
      expect(failure.code).to.equal('PipelineFailed');
      expect(failure.message, failure.message).to.match(
        /^Pipeline candidate failed on source shop: Job \S+-job-candidate-first-shop-1 ended with code 3; the last it said: \[redacted\] \| cannot go on$/,
      );
      expect(failure.advice).to.match(/logs, or kubectl logs job/);
      expect(made).to.have.length(1);
      await installation.until('failing', 'CleanedUp');
      await untilNothingIsLeft();
    });

    const fates: readonly {
      what: string;
      fate: NonNullable<Pod['status']>;
      code: string;
      says: RegExp;
      advice: RegExp;
      attempts: number;
    }[] = [
      {
        what: 'needs more memory than it may have',
        fate: ended({ exitCode: 137, reason: 'OOMKilled' }),
        code: 'OutOfMemory',
        says: /needed more than its 1Gi of memory/,
        advice: /spec\.pipelines\[candidate\]\.job\.resources\.limits\.memory/,
        attempts: 1,
      },
      {
        what: 'is evicted time and again',
        fate: { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' },
        code: 'OutOfMemory',
        says: /evicted from its node/,
        advice: /more room/,
        attempts: 2,
      },
      {
        what: 'has an image with a name that is none',
        fate: waiting('InvalidImageName', 'no such image'),
        code: 'NotFound',
        says: /the image pipeline:1 could not be pulled: no such image/,
        advice: /spec\.pipelines\[candidate\]\.job\.image/,
        attempts: 1,
      },
    ];
    for (const { what, fate, code, says, advice, attempts } of fates) {
      it(`that ${what} makes the run Errored, and says so`, async () => {
        play(() => fate);
        await installation.start();
        await installation.apply('errored', behaving('true', { job: { resources: { limits: { memory: '1Gi' } } } }));
        const failure = await failureOf('errored');
        expect(failure.code).to.equal(code);
        expect(failure.message, failure.message).to.match(says);
        expect(failure.advice).to.match(advice);
        expect(made).to.have.length(attempts);
        await installation.until('errored', 'CleanedUp');
        await untilNothingIsLeft();
      });
    }

    it('of which one table fails ends the others, and repeats after an eviction only what had not ended', async () => {
      const count = new Map<string, number>();
      play((job) => {
        const table = job.metadata.annotations?.['pipelineparity.io/table'] ?? '';
        count.set(table, (count.get(table) ?? 0) + 1);
        const isFirst = table === 'planes' && count.get(table) === 1;
        return isFirst ? { phase: 'Failed', reason: 'Evicted', message: 'disk pressure' } : undefined;
      });
      await installation.start();
      await installation.apply('evicted', behaving('true', { pipeline: { executions: 'PerTable' } }));
      const run = await installation.until('evicted', 'CleanedUp');
      expect(run.status?.result?.verdict, JSON.stringify(run.status)).to.equal('Passed');
      expect(count.get('planes')).to.equal(2);
      // It had begun beside the other one, and had ended, or was ended with it.
      expect(count.get('airlines')).to.be.within(1, 2);
      await untilNothingIsLeft();
    });

    for (const way of ['cancelled', 'deleted'] as const)
      it(`that is ${way} while it runs is ended first, then all else goes`, async () => {
        play();
        await installation.start();
        await installation.apply('stopped', behaving('exec sleep 600'));
        await untilItRuns();
        if (way === 'cancelled') {
          await installation.change('stopped', { cancel: true });
          const run = await installation.until('stopped', 'CleanedUp');
          expect(run.status?.result?.verdict).to.equal('Cancelled');
        } else {
          await installation.delete('stopped');
          await installation.untilGone('stopped');
        }
        await untilNothingIsLeft();
        expect(made).to.have.length(1);
      });

    it('goes on with the Job that was started by an operator that was killed, and starts it once', async () => {
      play();
      await installation.apply('restarted', behaving('sleep 1'));
      for (let round = 0; round < 60; round++) {
        let reconciles = 0;
        const enough = Promise.withResolvers<void>();
        await installation.start({ graceMs: 0, onReconcile: () => ++reconciles > 2 && enough.resolve() });
        await enough.promise;
        await installation.stop();
        const run = await installation.get('restarted');
        if (run.status?.conditions?.some(({ type, status }) => type === 'Finished' && status === 'True')) break;
      }
      await installation.start();
      const run = await installation.until('restarted', 'CleanedUp');
      expect(run.status?.result?.verdict).to.equal('Passed');
      expect(made).to.have.length(1);
      await untilNothingIsLeft();
    });

    const refused: readonly { what: string; job: object; sources?: object; says: RegExp }[] = [
      {
        what: 'what only the API server knows to be wrong',
        job: { tolerations: [{ key: 'a', operator: 'Exists', value: 'b' }] },
        says: /^spec\.pipelines\[0\]\.job: the API server refuses such a Job: .*tolerations\[0\].*value must be empty/,
      },
      {
        what: 'a Secret that is not there',
        job: { envFrom: [{ secretRef: { name: 'nowhere' } }] },
        says: /^there is no Secret default\/nowhere$/,
      },
      {
        what: 'a ConfigMap that is not there',
        job: { mounts: [{ path: '/project', configMapRef: { name: 'nowhere' } }] },
        says: /^there is no ConfigMap default\/nowhere$/,
      },
      {
        what: 'a source that its pods do not reach',
        job: {},
        sources: { embedded: {} },
        says: /spec\.pipelines\[candidate\]\.job: its pods do not reach source shop, which is embedded; write kubernetes/,
      },
    ];
    for (const { what, job, sources, says } of refused)
      it(`with ${what} is refused before anything is made`, async () => {
        await installation.start({ allow: { command: false, embedded: true, fileLocations: true } });
        await installation.apply('refused', behaving('true', { job, ...(sources === undefined ? {} : { sources }) }));
        const run = await installation.until('refused', 'Finished');
        const finished = run.status?.conditions?.find(({ type }) => type === 'Finished');
        expect(finished?.reason).to.equal('InvalidSpec');
        expect(finished?.message).to.match(says);
        expect(run.metadata.finalizers ?? []).to.deep.equal([]);
      });

    it("does not take over another's Job of its name", async () => {
      play();
      await installation.start();
      const run = await installation.apply('taken', { ...behaving('true'), suspend: true });
      const name = `parity-${run.metadata.uid.slice(0, 8)}-job-candidate-first-shop-1`;
      const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'a', command: ['true'] }] } };
      await installation.kube.create(jobs, { metadata: { name, namespace: 'default' }, spec: { template } });
      await installation.change('taken', { suspend: false });
      const failure = await failureOf('taken');
      expect(failure.code).to.equal('AccessDenied');
      expect(failure.message, failure.message).to.contain(
        `-job-candidate-first-shop-1 is there already and is not this run's`,
      );
      await installation.until('taken', 'CleanedUp');
      expect(await installation.kube.find(jobs, { namespace: 'default', name })).to.not.equal(undefined);
      await installation.kube.delete(jobs, { namespace: 'default', name });
    });
  });

  /** A run over two tables whose pipeline is a shell's line. */
  function behaving(line: string, more: { pipeline?: object; job?: object; sources?: object } = {}) {
    const job = { image: 'pipeline:1', command: ['/bin/sh', '-c', line], ...more.job };
    return {
      snapshot: {
        location: 'file:///lake',
        tables: ['planes', 'airlines'].map((name) => ({ name, path: name, key: ['id'] })),
      },
      sources: [
        { name: 'shop', engine: 'Postgres', tables: ['planes', 'airlines'], ...(more.sources ?? { kubernetes: {} }) },
      ],
      pipelines: [{ name: 'candidate', job, ...more.pipeline }],
      execution: { retries: 1, parallelism: 2 },
    };
  }

  function play(fate: Fate = () => undefined): void {
    made = [];
    kubelet = new Kubelet({
      kube: installation.kube,
      namespace: 'default',
      task: async ([, ...args]) => await recordResult(args),
      fate: (job) => {
        if (job.metadata.labels?.[labels.execution] === undefined) return undefined;
        made.push(job);
        return fate(job);
      },
    });
  }

  async function make(kind: typeof secrets | typeof configMaps, name: string, keys: Readonly<Record<string, string>>) {
    const metadata = { name, namespace: 'default' };
    if (kind === configMaps) await installation.kube.create(configMaps, { metadata, data: keys });
    else await installation.kube.create(secrets, { metadata, data: encoded(keys) });
  }

  async function untilItRuns(): Promise<void> {
    await eventually(async () => {
      const selection = { namespace: 'default', labelSelector: labels.execution };
      const { items } = await installation.kube.list(pods, selection);
      expect(items.map(({ status }) => status?.phase)).to.deep.equal(['Running']);
    }, 60_000);
  }

  async function failureOf(name: string) {
    const run = await installation.until(name, 'Finished');
    const [failure] = run.status?.tasks?.failures ?? [];
    if (failure === undefined || run.status?.result?.verdict !== 'Errored')
      throw new Error(`it did not fail: ${JSON.stringify(run.status)}`);
    return failure;
  }

  async function untilNothingIsLeft(): Promise<void> {
    await eventually(async () => expect(await installation.leftovers()).to.deep.equal([]), 60_000);
  }

  function expectRestricted(job: Job, run: RunObject): void {
    expect(job.metadata.ownerReferences?.[0]?.uid).to.equal(run.metadata.uid);
    expect(JSON.stringify(job.spec)).to.not.match(/words%20of|words of|db\.example/);
    const { backoffLimit, activeDeadlineSeconds, template } = job.spec ?? {};
    expect({ backoffLimit, activeDeadlineSeconds }).to.deep.equal({ backoffLimit: 0, activeDeadlineSeconds: 3585 });
    const { restartPolicy, automountServiceAccountToken, securityContext, containers, nodeSelector } =
      template?.spec ?? {};
    expect({ restartPolicy, automountServiceAccountToken }).to.deep.equal({
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
    });
    expect(nodeSelector).to.deep.equal({ pool: 'batch' });
    expect(securityContext).to.deep.equal({
      runAsNonRoot: true,
      runAsUser: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(containers?.[0]?.securityContext).to.deep.equal({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: false,
      capabilities: { drop: ['ALL'] },
    });
  }
});

function ended(terminated: { exitCode: number; reason: string }): NonNullable<Pod['status']> {
  const state = { terminated: { ...terminated, finishedAt: '2026-03-01T12:00:00Z' } };
  return { phase: 'Failed', containerStatuses: [containerStatus(state)] };
}

function waiting(reason: string, message: string): NonNullable<Pod['status']> {
  return { phase: 'Pending', containerStatuses: [containerStatus({ waiting: { reason, message } })] };
}

function containerStatus(state: object) {
  return { name: 'pipeline', image: 'image', imageID: '', ready: false, restartCount: 0, state };
}

function encoded(keys: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
}
