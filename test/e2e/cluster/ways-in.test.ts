import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Bug } from '../../../src/api/generated/enums.ts';
import { resource } from '../../../src/kube/objects.ts';
import { plans, type RunObject, runs } from '../../../src/kube/runs.ts';
import { kindOf, say } from '../../support/cluster-runs.ts';
import { eventually } from '../../support/eventually.ts';
import { type Release, testRelease } from '../../support/release.ts';
import { root, startJobs } from '../../support/runs.ts';

/** An Application of the user's own. */
const applications = resource('argoproj.io', 'v1alpha1', 'applications', 'Application');

const cases = [
  { bug: 'None', verdict: 'Passed', code: 0 },
  { bug: 'DuplicatedBatch', verdict: 'Failed', code: 1 },
] as const;

describe('ways to a run on a cluster', function () {
  this.timeout(600_000);
  let release: Release;
  let folder: string;
  let done: (name: string) => Promise<void>;

  before(async () => {
    release = await testRelease();
    folder = await mkdtemp(join(tmpdir(), 'parity-ways-'));
    done = startJobs(
      2,
      new Map([['git', fromGit], ['ci', fromCI], ...cases.map((each) => [each.verdict, () => byHand(each)] as const)]),
    );
  });
  after(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  function spec(bug?: Bug) {
    return release.spec(['airlines'], { isFullOnly: true, ...(bug === undefined ? {} : { bug }) });
  }

  it('are the CI recipe and a plan, whose later edits change nothing', () => done('ci'));

  it('are manifests in Git that Argo CD syncs: a change is another run, and the one before goes with all it made', () =>
    done('git'));

  for (const { verdict, code } of cases) {
    it(`are parity run --cluster, with parity wait beside it: both end with ${code} where the run has ${verdict}, and it brings its report`, () =>
      done(verdict));
  }

  async function byHand({ bug, verdict, code }: (typeof cases)[number]): Promise<void> {
    const name = `by-hand-${code}`;
    const file = join(folder, `${name}.yaml`);
    await release.remove(name);
    await writeFile(file, JSON.stringify({ ...kindOf('PipelineParityRun', name), spec: spec(bug) }));
    const started = parity('run', file, '--cluster', '--reports', name);
    await eventually(() => release.kube.get(runs, { namespace: release.runs, name }), 60_000);
    const waited = parity('wait', `ppr/${name}`);
    expect(await started.code, started.out + started.err).to.equal(code);
    expect(await waited.code, waited.out + waited.err).to.equal(code);
    expect(waited.out).to.match(new RegExp(`^${verdict} {2}${name}: `, 'm'));
    expect(JSON.parse(await readFile(join(folder, name, 'report.json'), 'utf8'))).to.include({ verdict });
    await release.delete(name);
    await release.untilGone(name);
  }

  async function fromCI(): Promise<void> {
    const { namespace, kube } = { namespace: release.runs, kube: release.kube };
    await release.remove('from-ci');
    await kube.delete(plans, { namespace, name: 'nightly' });
    await kube.create(plans, { metadata: { name: 'nightly', namespace }, spec: spec() });
    const recipe = promisify(execFile)(join(root, 'examples/ci/parity-ci.sh'), {
      cwd: folder,
      env: {
        ...process.env,
        KUBECONFIG: release.cluster.kubeconfig,
        PARITY_COMMAND: `${process.execPath} ${join(root, 'bin/parity.js')}`,
        PARITY_PLAN: 'nightly',
        PARITY_NAMESPACE: namespace,
        PARITY_NAME: 'from-ci',
        PARITY_REPORTS: join(folder, 'ci'),
        GITHUB_OUTPUT: join(folder, 'outputs'),
        GITHUB_STEP_SUMMARY: join(folder, 'summary.md'),
      },
    });
    await release.untilRun('from-ci', 120_000, ({ status }) => status?.specDigest !== undefined);
    const pipelines = [{ name: 'candidate', reference: { bug: 'DuplicatedBatch' } }];
    await kube.mergePatch(plans, { namespace, name: 'nightly' }, { spec: { pipelines } });
    // A code other than 0 rejects.
    await recipe;
    expect(await readFile(join(folder, 'outputs'), 'utf8')).to.equal('name=from-ci\nverdict=Passed\n');
    expect(await readFile(join(folder, 'summary.md'), 'utf8')).to.match(/Passed/);
    await release.delete('from-ci');
    await release.untilGone('from-ci');
    await kube.delete(plans, { namespace, name: 'nightly' });
  }

  async function fromGit(): Promise<void> {
    const plan = `gitops-${randomBytes(3).toString('hex')}`;
    const name = { namespace: 'argocd', name: `${release.name}-${plan}` };
    const { repository } = release.cluster;
    const source = (trigger: string) => ({
      repoURL: repository.url,
      path: 'argocd/example',
      targetRevision: repository.revision,
      helm: { valuesObject: { name: plan, trigger, plan: spec() } },
    });
    await release.kube.create(applications, {
      metadata: { ...name, finalizers: ['resources-finalizer.argocd.argoproj.io'] },
      ...{
        spec: {
          project: 'default',
          source: source('1'),
          destination: { server: 'https://kubernetes.default.svc', namespace: release.runs },
          syncPolicy: { automated: { prune: true, selfHeal: true } },
        },
      },
    });
    try {
      const first = await synced(plan, (run) => run.status?.phase === 'Finished');
      expect(first.status?.result, JSON.stringify(first.status)).to.include({ verdict: 'Passed' });

      await release.kube.mergePatch(applications, name, { spec: { source: source('2') } });
      const second = await synced(plan, ({ metadata }) => metadata.name !== first.metadata.name);
      await release.untilGone(first.metadata.name);
      await release.kube.delete(applications, name);
      await release.untilGone(second.metadata.name);
      for (const { metadata } of [first, second]) await release.untilNothingLeft(metadata.uid);
      await eventually(async () => expect(await release.kube.find(applications, name)).to.equal(undefined), 60_000);
    } finally {
      await release.kube.delete(applications, name);
    }
  }

  /** The run of the plan that is as asked. */
  async function synced(plan: string, is: (run: RunObject) => boolean): Promise<RunObject> {
    return await eventually(async () => {
      const { items } = await release.kube.list(runs, { namespace: release.runs });
      const own = items.filter(({ metadata }) => metadata.name.startsWith(`${plan}-`));
      const found = own.find(is);
      if (found !== undefined) return found;
      throw new Error(
        `no such run of ${plan}: ${JSON.stringify(own.map(({ metadata, status }) => [metadata.name, status]))}`,
      );
    }, 240_000);
  }

  /** A command line in this process. */
  function parity(...argv: string[]) {
    return say([...argv, '--kubeconfig', release.cluster.kubeconfig, '-n', release.runs], folder);
  }
});
