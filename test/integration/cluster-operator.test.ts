import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { stringify } from 'yaml';
import type { RunningOperator } from '../../operator/operator.ts';
import { clusterAccess } from '../../src/kube/kubeconfig.ts';
import { namespaces } from '../../src/kube/objects.ts';
import { type ApiProxy, startApiProxy } from '../support/api-proxy.ts';
import { apply } from '../support/apply.ts';
import { kindOf, type Said, say } from '../support/cluster-runs.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type RenderedObject, rendered } from '../support/helm.ts';
import { Installation } from '../support/operator.ts';
import { type Access, accessOf, compareAccess, compareCounted } from '../support/rbac.ts';
import { exampleLake } from '../support/runs.ts';

const account = { name: 'parity', namespace: 'parity-system' };

describe('the command line and an operator that has the Roles of its chart', function () {
  this.timeout(300_000);
  let controlPlane: ControlPlane;
  let chart: readonly RenderedObject[];
  let proxy: ApiProxy;
  let installation: Installation;
  let operator: RunningOperator;
  let folder: string;

  before(async () => {
    controlPlane = await startControlPlane({ controllerManager: true });
    // What the operator does is asked in its own name, through a proxy that remembers it.
    const own = await controlPlane.serviceAccount(account);
    proxy = await startApiProxy({ kubeconfig: own });
    installation = await Installation.open(controlPlane, {
      namespace: account.namespace,
      namespaces: ['shop'],
      roleBinding: 'parity-runs',
      access: { kubeconfig: proxy.kubeconfig },
      lease: { name: 'parity' },
    });
    await installation.kube.create(namespaces, { metadata: { name: 'shop' } });
    chart = await rendered('charts/pipeline-parity', 'parity', { watch: { namespaces: ['shop'] } }, account.namespace);
    const access = await clusterAccess({ kubeconfig: controlPlane.kubeconfig });
    for (const object of chart) if (/^(Cluster)?Role(Binding)?$/.test(object.kind)) await apply(access, object);
    access.close();
    operator = await installation.start();
    folder = await mkdtemp(join(tmpdir(), 'parity-on-cluster-'));
    await mkdir(join(folder, 'store'));
  });
  after(async () => {
    await installation?.close();
    await proxy?.[Symbol.asyncDispose]();
    await controlPlane?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  /** As a user does it who is no operator. */
  function parity(...argv: string[]): Said {
    return say([...argv, '--kubeconfig', controlPlane.kubeconfig, '-n', 'shop'], folder);
  }

  async function manifest(): Promise<string> {
    const file = join(folder, 'run.yaml');
    const spec = {
      snapshot: {
        location: pathToFileURL(exampleLake).href,
        tables: [{ name: 'airlines', path: 'airlines', version: '4', key: ['carrier'] }],
      },
      sources: [{ name: 'shop', engine: 'Postgres', tables: ['airlines'], embedded: {} }],
      pipelines: [{ name: 'candidate', reference: {} }],
      execution: { threads: 1, memory: '512Mi' },
      reports: { location: pathToFileURL(join(folder, 'store')).href },
    };
    await writeFile(file, stringify({ ...kindOf('PipelineParityRun', 'airlines'), spec }));
    return file;
  }

  it('carry out a run that passes, and bring its report', async () => {
    const said = parity('run', await manifest(), '--cluster', '--name', 'passing', '--reports', 'here');
    expect(await said.code, said.err).to.equal(0);
    expect(said.out).to.match(
      /\n {2}tables +1 equal, 0 differ\n[\s\S]*\nPassed {2}passing: Baseline and candidate are equal\.\n$/,
    );
    const report = JSON.parse(await readFile(join(folder, 'here', 'report.json'), 'utf8'));
    expect(report).to.include({ kind: 'PipelineParityReport', verdict: 'Passed' });
  });

  it('carry out a run that fails, and say by what', async () => {
    const bug = ['--set', 'spec.pipelines[candidate].reference.bug=DuplicatedBatch'];
    const said = parity('run', await manifest(), '--cluster', '--name', 'failing', ...bug);
    expect(await said.code, said.err).to.equal(1);
    expect(said.out).to.match(/\nFailed {2}failing: .*airlines.*\n$/);
    const described = parity('describe', 'failing');
    expect(await described.code).to.equal(0);
    expect(described.out).to.match(/Finished +True +Failed/);
  });

  it('cancel a run', async () => {
    const said = parity('run', await manifest(), '--cluster', '--name', 'cancelled');
    await eventually(() => expect(said.out).to.include('is run '));
    expect(await parity('cancel', 'cancelled').code).to.equal(0);
    expect(await said.code, said.err).to.equal(3);
  });

  it('say why a run cannot be carried out', async () => {
    const said = parity('run', await manifest(), '--cluster', '--name', 'wrong', '--set', 'spec.reports=');
    expect(await said.code).to.equal(2);
    expect(said.out).to.match(/\nErrored {2}wrong: .*spec\.reports\.location: missing; add where reports go/);
  });

  it('ask for nothing that the chart does not allow', () => {
    const asked = proxy.requests.flatMap(({ method, path, query }): Access[] => {
      const access = accessOf(method, path, query);
      return access === undefined ? [] : [access];
    });
    expect(asked.length).to.be.above(20);
    expect(proxy.requests.filter(({ status }) => status === 403)).to.deep.equal([]);
    const { missing, unused } = compareAccess(chart, account, asked);
    expect(missing).to.deep.equal([]);
    // What only Jobs and servers in the cluster need is not asked for here, where tasks are processes.
    expect(unused).to.not.include('patch pipelineparityruns/status.pipelineparity.io in shop');
    expect(unused).to.not.include('patch rolebindings.rbac.authorization.k8s.io in shop');
    expect(unused).to.include('create jobs.batch in shop');
  });

  it('count the same as they ask', async () => {
    const counted = compareCounted(chart, account, [await operator.metrics.registry.metrics()]);
    expect(counted.missing).to.deep.equal([]);
    expect(counted.unused).to.include('create jobs').and.not.include('patch pipelineparityruns');
  });
});
