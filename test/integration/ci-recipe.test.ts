import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { parse } from 'yaml';
import type { RunStatus } from '../../src/api/generated/types.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { namespaces } from '../../src/kube/objects.ts';
import { plans, type RunObject, runs } from '../../src/kube/runs.ts';
import type { Verdict } from '../../src/run/types.ts';
import { finished, running, runSpec } from '../support/cluster-runs.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const script = join(root, 'examples/ci/parity-ci.sh');
const run = promisify(execFile);

describe('the CI recipe on a real API server, where the test plays the operator by writing status', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let kube: KubeClient;
  let folder: string;
  let namespace: string;
  let started: ChildProcess | undefined;
  let count = 0;

  before(async () => {
    controlPlane = await startControlPlane();
    kube = await connect({ kubeconfig: controlPlane.kubeconfig });
  });
  after(async () => {
    kube?.close();
    await controlPlane?.stop();
  });
  beforeEach(async () => {
    namespace = `ci-${count++}`;
    await kube.create(namespaces, { metadata: { name: namespace } });
    await kube.create(plans, { metadata: { name: 'nightly', namespace }, spec: runSpec() });
    folder = await mkdtemp(join(tmpdir(), 'parity-ci-'));
    await git('init', '-q', '-b', 'main');
    await commit('pipelines/a.sql', 'select 1');
  });
  afterEach(async () => {
    started?.kill('SIGKILL');
    started = undefined;
    await rm(folder, { recursive: true });
  });

  async function git(...argv: string[]): Promise<string> {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@example.com'];
    return (await run('git', ['-C', folder, ...identity, ...argv])).stdout.trim();
  }

  async function commit(file: string, text: string): Promise<void> {
    const path = join(folder, file);
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, text);
    await git('add', '.');
    await git('commit', '-q', '-m', file);
  }

  /** The recipe as a CI system would call it, in a checkout of the user's. */
  function recipe(env: Readonly<Record<string, string>>) {
    const child = spawn(script, [], {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        KUBECONFIG: controlPlane.kubeconfig,
        PARITY_COMMAND: `${process.execPath} ${join(root, 'bin/parity.js')}`,
        PARITY_NAMESPACE: namespace,
        PARITY_BUILD: 'Build 7',
        GITHUB_OUTPUT: join(folder, 'output'),
        GITHUB_STEP_SUMMARY: join(folder, 'summary.md'),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started = child;
    const said = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said.out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said.err += text;
    });
    const code = new Promise<number | null>((resolve) => child.once('close', resolve));
    return Object.assign(said, { code, child });
  }

  async function theRun(): Promise<RunObject> {
    return await eventually(async () => {
      const [found] = (await kube.list(runs, { namespace })).items;
      if (found === undefined) throw new Error('there is no run yet');
      return found;
    });
  }

  async function play({ metadata }: RunObject, status: RunStatus): Promise<void> {
    await kube.mergePatch(runs, metadata, { status }, { subresource: 'status' });
  }

  const verdicts: [Verdict, number][] = [
    ['Passed', 0],
    ['Failed', 1],
    ['Errored', 2],
  ];
  for (const [verdict, code] of verdicts) {
    it(`makes a run of the plan, and ends with ${code} when it has ${verdict}`, async () => {
      const reports = join(folder, 'store');
      await mkdir(reports);
      await writeFile(join(reports, 'report.xml'), '<testsuites/>');
      await writeFile(join(reports, 'report.md'), '## Mine\n');
      const said = recipe({
        PARITY_PLAN: 'nightly',
        PARITY_SET: 'spec.comparison.samples=5\n\nspec.execution.parallelism=3\n',
      });
      const made = await theRun();
      const name = `nightly-${await git('rev-parse', '--short=8', 'HEAD')}-build-7`;
      expect(made.metadata.name).to.equal(name);
      expect(made.spec).to.deep.equal({
        planRef: { name: 'nightly' },
        comparison: { samples: 5 },
        execution: { parallelism: 3 },
      });
      await play(made, running);
      await play(made, finished(verdict, `file://${reports}/report.json`));
      expect(await said.code, said.err).to.equal(code);
      expect(said.out).to.match(new RegExp(`\\n${verdict} {2}${name}: Because\\.\\n$`));
      expect(await readFile(join(folder, 'output'), 'utf8')).to.equal(`name=${name}\nverdict=${verdict}\n`);
      expect(await readFile(join(folder, 'summary.md'), 'utf8')).to.equal('## Mine\n');
      expect(await readFile(join(folder, 'parity-reports/report.xml'), 'utf8')).to.equal('<testsuites/>');
    });
  }

  it('cancels the run when the build is cancelled, and ends with 3 when that is done', async () => {
    const said = recipe({ PARITY_PLAN: 'nightly' });
    const made = await theRun();
    await eventually(() => expect(said.out).to.include(' is run '));
    said.child.kill('SIGINT');
    await eventually(async () => expect((await theRun()).spec.cancel).to.equal(true));
    await play(made, finished('Cancelled'));
    expect(await said.code).to.equal(3);
    expect(await readFile(join(folder, 'output'), 'utf8')).to.match(/\nverdict=Cancelled\n$/);
  });

  it('makes no run while nothing under test has changed', async () => {
    await git('checkout', '-q', '-b', 'change');
    await commit('docs/a.md', 'words');
    const paths = { PARITY_PLAN: 'nightly', PARITY_PATHS: 'pipelines\nschemas', PARITY_BASE: 'main' };
    const unchanged = recipe(paths);
    expect(await unchanged.code).to.equal(0);
    expect(unchanged.out).to.equal('Nothing under test has changed since main.\n');
    expect(await readFile(join(folder, 'output'), 'utf8')).to.equal('verdict=Skipped\n');
    expect((await kube.list(runs, { namespace })).items).to.deep.equal([]);
    await commit('pipelines/a.sql', 'select 2');
    const changed = recipe(paths);
    await play(await theRun(), finished('Passed'));
    expect(await changed.code).to.equal(0);
  });

  it('runs where it cannot be told what has changed', async () => {
    const said = recipe({ PARITY_PLAN: 'nightly', PARITY_PATHS: 'pipelines', PARITY_BASE: 'nowhere' });
    await play(await theRun(), finished('Passed'));
    expect(await said.code).to.equal(0);
  });

  it('fails when the run is not over in time', async () => {
    const said = recipe({ PARITY_PLAN: 'nightly', PARITY_TIMEOUT: '1s' });
    expect(await said.code).to.equal(2);
    expect(said.err).to.match(/parity: run \S+ was not over in 1\.0 s/);
    expect(await readFile(join(folder, 'output'), 'utf8')).to.match(/verdict=Errored\n$/);
  });

  const misuses: [string, Readonly<Record<string, string>>, RegExp][] = [
    ['neither plan nor manifest', {}, /set PARITY_PLAN or PARITY_MANIFEST/],
    ['both', { PARITY_PLAN: 'a', PARITY_MANIFEST: 'b.yaml' }, /set one of/],
    [
      'a plan that is not there',
      { PARITY_PLAN: 'weekly' },
      /the plan weekly is neither beside the run nor in namespace/,
    ],
    ['a manifest that is not there', { PARITY_MANIFEST: 'b.yaml' }, /reading b\.yaml: there is no such file/],
  ];
  for (const [what, env, says] of misuses) {
    it(`ends with 64 for ${what}`, async () => {
      const said = recipe(env);
      expect(await said.code).to.equal(64);
      expect(said.err).to.match(says);
    });
  }
});

describe('the GitHub Action', () => {
  const file = async (path: string) => await readFile(join(root, path), 'utf8');

  it('hands each of its inputs on, under names that the recipe knows', async () => {
    const [action, text, recipe] = [
      parse(await file('action.yml')),
      await file('action.yml'),
      await file('examples/ci/parity-ci.sh'),
    ];
    for (const input of Object.keys(action.inputs)) expect(text).to.include(`inputs.${input} `);
    const step = action.runs.steps.find(({ id }: { id?: string }) => id === 'run');
    for (const name of Object.keys(step.env))
      expect(recipe, name).to.match(new RegExp(`\\$\\{${name}[:}]|\\$${name}\\b`));
    for (const output of Object.keys(action.outputs)) expect(recipe).to.include(`output ${output} `);
  });

  it('is used by the example with inputs that it has', async () => {
    const action = parse(await file('action.yml'));
    const workflow = parse(await file('examples/ci/github.yml'));
    const step = workflow.jobs.warehouse.steps.find(({ uses }: { uses: string }) =>
      uses.startsWith('pipeline-parity/'),
    );
    for (const input of Object.keys(step.with)) expect(action.inputs).to.have.property(input);
  });
});
