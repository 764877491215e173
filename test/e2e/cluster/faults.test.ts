import { expect } from 'chai';
import { secrets } from '../../../src/kube/objects.ts';
import type { RunObject } from '../../../src/kube/runs.ts';
import { eventually } from '../../support/eventually.ts';
import { type Release, testRelease } from '../../support/release.ts';

describe('faults of a cluster, each named in the status of the run', function () {
  this.timeout(600_000);
  // A second attempt would find what the first has made.
  this.retries(0);
  let release: Release;

  before(async () => {
    release = await testRelease();
  });

  it('an image of a source that nobody has: Stalled with what kubelet says', async () => {
    const spec = small();
    const sources = spec.sources.map((source) => ({ ...source, image: 'local.parity/nowhere:1' }));
    await release.apply('no-image', { ...spec, sources });
    const run = await untilStalled('no-image', /(ErrImagePull|ImagePullBackOff).*nowhere/s);
    await removed(run);
  });

  it('a task that needs more memory than it may have: Errored, OutOfMemory, with what to raise', async () => {
    await release.apply('no-memory', release.spec(['flights'], { isFullOnly: true }));
    const { metadata } = await release.untilRun('no-memory', 120_000, ({ status }) => status?.phase === 'Rehydrating');
    await fillMemory(metadata.uid, 'rehydrate');
    const run = await release.until('no-memory', 'Finished');
    const [failure] = run.status?.tasks?.failures ?? [];
    expect(failure, JSON.stringify(run.status)).to.include({ code: 'OutOfMemory' });
    expect(failure?.advice).to.match(/spec\.execution\.memory/);
    await removed(run);
  });

  it('a Secret that is missing: it waits and says for which, and goes on once it is there', async () => {
    const spec = small();
    await release.apply('no-secret', { ...spec, snapshot: { ...spec.snapshot, secretRef: { name: 'late' } } });
    await release.untilRun('no-secret', 60_000, ({ status }) =>
      /Secret .*late/.test(JSON.stringify(status?.conditions)),
    );
    const { accessKeyId, secretAccessKey } = release.cluster.s3;
    await release.secret('late', { accessKeyId, secretAccessKey });
    const run = await release.until('no-secret', 'SnapshotCopied');
    await removed(run);
    await release.kube.delete(secrets, { namespace: release.runs, name: 'late' });
  });

  it('an Application that is never healthy: Stalled, and Errored when its time is over', async () => {
    const spec = release.spec(['airlines'], { by: 'argocd', isFullOnly: true });
    const sources = spec.sources.map((source) => ({ ...source, argocd: { path: 'no/such/folder' } }));
    await release.apply('no-chart', { ...spec, sources, execution: { ...spec.execution, timeoutSeconds: 20 } });
    await untilStalled('no-chart', /no\/such\/folder/);
    const run = await release.until('no-chart', 'Finished');
    expect(run.status?.result).to.include({ verdict: 'Errored' });
    const [failure] = run.status?.tasks?.failures ?? [];
    expect(failure).to.include({ code: 'Timeout' });
    expect(failure?.message).to.match(/no\/such\/folder/);
    await removed(run);
  });

  function small() {
    return release.spec(['airlines'], { isFullOnly: true });
  }

  async function untilStalled(name: string, says: RegExp, timeoutMs = 120_000): Promise<RunObject> {
    return await release.untilRun(name, timeoutMs, (run) => says.test(message(run, 'Stalled')));
  }

  /** Starts so many small processes beside the task that its container is full: then the kernel ends the largest, which is the task. */
  async function fillMemory(uid: string, task: string): Promise<void> {
    const pod = await eventually(async () => {
      const found = (await release.podsOf(uid)).find(
        ({ metadata, status }) => metadata.name.includes(`-${task}-`) && status?.phase === 'Running',
      );
      return found ?? expect.fail(`no pod of ${task} runs`);
    }, 60_000);
    const fill = 'for i in $(seq 60); do node --eval "setTimeout(() => {}, 60000)" & done; wait';
    // It is ended with the container.
    await release.kubectl('exec', pod.metadata.name, '--', 'sh', '-c', fill).catch(() => undefined);
  }

  async function removed({ metadata: { name, uid } }: RunObject): Promise<void> {
    await release.delete(name);
    await release.untilGone(name);
    await release.untilNothingLeft(uid);
  }
});

function message({ status }: RunObject, type: string): string {
  return status?.conditions?.find((condition) => condition.type === type)?.message ?? '';
}
