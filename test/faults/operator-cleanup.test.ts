import {
  CreateMultipartUploadCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'chai';
import type { RunningOperator } from '../../operator/operator.ts';
import { applications } from '../../operator/runs/application.ts';
import { holdName } from '../../operator/runs/names.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { type ObjectName, secrets } from '../../src/kube/objects.ts';
import { type RunObject, runs } from '../../src/kube/runs.ts';
import { openStore } from '../../src/lake/open.ts';
import { mapBounded } from '../../src/lake/pool.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { log } from '../../src/support/log.ts';
import { type Decide, startFaultProxy } from '../support/api-proxy.ts';
import { sharedServer } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { isGone, type Lane, type Scenario, Stage } from '../support/operator-crash.ts';
import { keysOf } from '../support/played-cluster.ts';
import { reporting, smallRun } from '../support/small-run.ts';

/** What the issue allows from `kubectl delete` to nothing being left, once no task runs any more, in seconds. */
const mostSeconds = 30;
const manyObjects = 2_500;

type Name = Required<ObjectName>;

describe('what a run has outside the cluster goes with it; the test plays the kubelet, the controllers, Argo CD and the tasks', function () {
  this.timeout(180_000);
  const { level } = log;
  let stage: Stage;
  let lane: Lane;
  let s3: S3Client;

  before(async () => {
    log.level = 'error';
    stage = await Stage.open();
    lane = await stage.lane('cleanup');
    const { endpoint, admin } = stage.s3;
    s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { ...admin } });
  });
  after(async () => {
    log.level = level;
    s3?.destroy();
    await stage?.[Symbol.asyncDispose]();
  });

  it(`its bucket with ${manyObjects} objects, versions, delete markers and open uploads, also without the Secret of its keys`, async () => {
    let seconds = 0;
    const { outcome } = await lane.carryOut(
      deletedAfterItsEnd(ownBucket(), async (kube, name) => {
        const { metadata } = await kube.get(runs, name);
        await fill(`parity-${metadata.uid}`);
        await withoutSecrets([{ namespace: name.namespace, name: 'keys' }], async () => {
          const begun = performance.now();
          await kube.delete(runs, name);
          await untilGone(kube, name);
          seconds = (performance.now() - begun) / 1000;
        });
      }),
    );
    process.stdout.write(`      gone ${seconds.toFixed(1)} s after it was deleted\n`);
    expect(outcome.left).to.deep.equal([]);
    expect(seconds).to.be.greaterThan(0).and.at.most(mostSeconds);
  });

  it('its bucket, which is named while access to it is denied, and goes when it is given back', async () => {
    let isDenied = false;
    const meddleS3: Decide = ({ path }) => (isDenied && path.startsWith('/parity-') ? denial : undefined);
    const { outcome } = await lane.carryOut(
      deletedAfterItsEnd(ownBucket(), async (kube, name) => {
        isDenied = true;
        await kube.delete(runs, name);
        const { metadata } = await eventually(async () => {
          const run = await kube.get(runs, name);
          expect(cleanedUp(run)).to.include({ status: 'False', reason: 'Incomplete' });
          return run;
        }, 60_000);
        const said = cleanedUp(await kube.get(runs, name))?.message;
        expect(said)
          .to.contain(`the workspace s3://parity-${metadata.uid}: `)
          .and.match(/denied|may not|refused/i);
        expect(said).to.contain(`remove it with: aws s3 rb --force s3://parity-${metadata.uid}`);
        expect(await stage.s3.buckets()).to.include(`parity-${metadata.uid}`);
        isDenied = false;
      }),
      { meddleS3 },
    );
    expect(outcome.left).to.deep.equal([]);
  });

  it('its database and its part of a bucket, also without any of the Secrets that it was given', async () => {
    const given = ['keys', 'database'].map((name) => ({ namespace: lane.namespace, name }));
    const snapshot = { ...smallRun.snapshot, location: 's3://lake', secretRef: { name: 'keys' } };
    const database = { external: { secretRef: { name: 'database' } } };
    const spec = { ...smallRun, snapshot, sources: [source('shop', database)], cleanup: { policy: 'Never' as const } };
    const { outcome } = await lane.carryOut(
      deletedAfterItsEnd(spec, async (kube, name) => {
        const { metadata } = await kube.get(runs, name);
        const there = (await stage.leftOf(lane.namespace, metadata.uid)).map((text) => text.split(' ')[0]);
        expect(there).to.include('database').and.include('Secret');
        // The default workspace's keys are the operator's own.
        await withoutSecrets([...given, { namespace: 'default', name: 'keys' }], async () => {
          await kube.delete(runs, name);
          await untilGone(kube, name);
        });
      }),
    );
    expect(outcome.left).to.deep.equal([]);
  });

  it('all of it, found by the sweeper from the hold, when its finalizer was stripped', async () => {
    const { kube } = stage;
    const name = { namespace: lane.namespace, name: 'stripped' };
    const sources = [
      source('shop', { argocd: {} }),
      source('users', { external: { secretRef: { name: 'database' } } }),
    ];
    let operator: RunningOperator | undefined;
    try {
      operator = await stage.operator(lane.namespace, stage.controlPlane.kubeconfig, { sweepMs: 500 });
      const spec = { ...reporting, ...smallRun, ...ownBucket()(lane), sources };
      const { metadata } = await kube.create(runs, { metadata: name, spec });
      const { uid } = metadata;
      await eventually(
        async () => expect((await kube.get(runs, name)).status?.result?.verdict).to.equal('Passed'),
        60_000,
      );
      // Finalization would be as fast as whoever strips: the operator is not there meanwhile.
      await operator.stop();
      await kube.mergePatch(runs, name, { metadata: { finalizers: [] } });
      await kube.delete(runs, name);
      const left = (await stage.leftOf(name.namespace, uid)).map((text) => text.replace(uid, 'UID').split(' ')[0]);
      expect(new Set(left)).to.include.all.keys('Application', 'Secret', 'bucket', 'database');
      expect(await kube.find(secrets, { namespace: name.namespace, name: holdName(uid) })).to.not.equal(undefined);
      operator = await stage.operator(lane.namespace, stage.controlPlane.kubeconfig, { sweepMs: 500 });
      await eventually(async () => {
        // The cluster's collector, which nobody plays here, takes what the run owned.
        const owned = (text: string) => !/^(Job|Secret) /.test(text) || text.includes(holdName(uid));
        expect((await stage.leftOf(name.namespace, uid)).filter(owned)).to.deep.equal([]);
      }, 60_000);
      expect((await kube.listMetadata(applications, { namespace: 'argocd' })).items).to.deep.equal([]);
    } finally {
      await operator?.stop();
    }
  });

  for (const [how, endpointOf, isEnded] of [
    ['with keys that it does not know', (server: string) => server, true],
    ['because nobody answers there', () => 'http://127.0.0.1:1', false],
  ] as const) {
    it(`nothing, where its workspace was refused ${how}: it goes at once`, async () => {
      const { kube, controlPlane } = stage;
      const name = { namespace: lane.namespace, name: `refused-${isEnded}` };
      const stringData = { accessKeyId: 'nobody', secretAccessKey: 'nothing' };
      await kube.create(secrets, { metadata: { ...name, name: 'wrong' }, stringData });
      const endpoint = endpointOf(stage.s3.endpoint);
      const workspace = { location: 's3://', endpoint, secretRef: { name: 'wrong' } };
      let operator = await stage.operator(lane.namespace, controlPlane.kubeconfig, {});
      try {
        const spec = { ...reporting, ...smallRun, workspace, cleanup: { policy: 'Never' as const } };
        const { metadata } = await kube.create(runs, { metadata: name, spec });
        await eventually(async () => {
          const { status } = await kube.get(runs, name);
          if (isEnded) expect(status?.result).to.include({ verdict: 'Errored' });
          else expect(conditionOf(status, 'Stalled')).to.include({ status: 'True', reason: 'Unreachable' });
        }, 60_000);
        if (isEnded) {
          // What one has noted the next one finds.
          await operator.stop();
          operator = await stage.operator(lane.namespace, controlPlane.kubeconfig, {});
        }
        await kube.delete(runs, name);
        await untilGone(kube, name);
        expect(await stage.leftOf(name.namespace, metadata.uid)).to.deep.equal([]);
      } finally {
        await operator.stop();
        await kube.delete(secrets, { ...name, name: 'wrong' });
      }
    });
  }

  it('its workspace, where it was made unheard and refused afterwards: named until access is given, then gone', async () => {
    const { kube, controlPlane } = stage;
    const name = { namespace: lane.namespace, name: 'made-unheard' };
    let isMade = false;
    let isDenied = true;
    const proxy = await startFaultProxy({
      server: new URL(stage.s3.endpoint),
      decide: ({ method, path }) => {
        if (!path.startsWith('/parity-') || !isDenied) return undefined;
        if (isMade || method !== 'PUT') return denial;
        isMade = true;
        return { kind: 'LoseReply' };
      },
    });
    const operator = await stage.operator(lane.namespace, controlPlane.kubeconfig, {});
    try {
      const workspace = { location: 's3://', endpoint: proxy.url, secretRef: { name: 'keys' } };
      const spec = { ...reporting, ...smallRun, workspace, cleanup: { policy: 'Never' as const } };
      const { metadata } = await kube.create(runs, { metadata: name, spec });
      await eventually(
        async () => expect((await kube.get(runs, name)).status?.result).to.include({ verdict: 'Errored' }),
        60_000,
      );
      expect(await stage.s3.buckets()).to.include(`parity-${metadata.uid}`);
      await kube.delete(runs, name);
      await eventually(
        async () => expect(cleanedUp(await kube.get(runs, name))).to.include({ status: 'False', reason: 'Incomplete' }),
        60_000,
      );
      isDenied = false;
      await untilGone(kube, name);
      expect(await stage.leftOf(name.namespace, metadata.uid)).to.deep.equal([]);
    } finally {
      await operator.stop();
      await proxy[Symbol.asyncDispose]();
    }
  });

  /** A run that is kept when it has ended; then the test does something, and deletes it unless that has. */
  function deletedAfterItsEnd(
    spec: object | ((lane: Lane) => object),
    act: (kube: KubeClient, name: Name) => Promise<void>,
  ): Scenario {
    return {
      name: 'is deleted after its end',
      spec,
      meanwhile: {
        at: /^report$/,
        isCarriedOut: true,
        act: async (kube, name) => {
          await eventually(
            async () => expect((await kube.get(runs, name)).status?.result).to.not.equal(undefined),
            60_000,
          );
          await act(kube, name);
        },
      },
      isOver: isGone,
    };
  }

  /** Objects enough for three pages, some of them more than once, some deleted since; and uploads that nobody has ended. */
  async function fill(Bucket: string): Promise<void> {
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
    const keys = Array.from({ length: manyObjects }, (_, n) => `landed/day=${n % 50}/part ${n}.parquet`);
    const written = [...keys, ...keys.slice(0, 100)];
    await mapBounded(written, 16, async (Key) => await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' })));
    const store = await openStore({ location: `s3://${Bucket}`, endpoint: stage.s3.endpoint }, keysOf(stage.s3.admin));
    await store.delete(keys.slice(50, 150));
    store.close();
    for (const Key of ['landed/one', 'landed/two']) {
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }));
      await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'x'.repeat(1000) }));
    }
  }

  /** While something is done, these Secrets are not there. */
  async function withoutSecrets(names: readonly Name[], work: () => Promise<void>): Promise<void> {
    const { connection } = await sharedServer('Postgres');
    for (const name of names) await stage.kube.delete(secrets, name);
    try {
      await work();
    } finally {
      for (const name of names) {
        const stringData = name.name === 'keys' ? keysOf(stage.s3.admin) : formatConnection(connection);
        await stage.kube.create(secrets, { metadata: name, stringData });
      }
    }
  }
});

function ownBucket(): (lane: Lane) => object {
  return ({ endpoint }) => ({
    ...smallRun,
    workspace: { location: 's3://', endpoint, secretRef: { name: 'keys' } },
    cleanup: { policy: 'Never' },
  });
}

function source(name: string, provider: object) {
  return { name, engine: 'Postgres' as const, tables: ['planes'], ...provider };
}

function cleanedUp({ status }: RunObject) {
  return conditionOf(status, 'CleanedUp');
}

function conditionOf(status: RunObject['status'], wanted: string) {
  return status?.conditions?.find(({ type }) => type === wanted);
}

async function untilGone(kube: KubeClient, name: Name): Promise<void> {
  await eventually(async () => {
    const run = await kube.find(runs, name);
    if (run !== undefined) throw new Error(`it is still there: ${cleanedUp(run)?.message}`);
  }, 60_000);
}

/** As S3 says it. */
const denial = {
  kind: 'Answer',
  status: 403,
  headers: { 'content-type': 'application/xml' },
  body: '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>',
} as const;
