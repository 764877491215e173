import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { parse } from 'yaml';
import { loadManifest } from '../../src/api/manifest.ts';
import { rendered } from '../support/helm.ts';

const chart = 'argocd/example';

describe('The example of runs from Git', function () {
  this.timeout(60_000);

  it('is a plan, and a run of it that is valid', async () => {
    const [plan, run] = await objects({});
    const { spec, name } = loadManifest(JSON.stringify(run), {
      planText: JSON.stringify(plan),
      defaultWorkspace: 's3://runs',
      defaultProvider: 'argocd',
    });
    expect(name).to.match(/^flights-[0-9a-f]{10}$/);
    expect(spec.sources[0]?.provider).to.deep.equal({ kind: 'argocd', server: { size: '20Gi', allowFrom: [] } });
  });

  it('is a new run when what it tests changes, and only then', async () => {
    const nameOf = async (values: object): Promise<string | undefined> => (await objects(values))[1]?.metadata.name;
    const name = await nameOf({});
    expect(await nameOf({ trigger: '1' })).to.equal(name);
    const others = [
      await nameOf({ trigger: '2' }),
      await nameOf({ plan: { comparison: { maxDifferences: 1 } } }),
      await nameOf({ plan: { snapshot: { region: 'eu-central-1' } } }),
    ];
    expect(new Set([name, ...others])).to.have.property('size', 4);
  });

  it('is synced by an Application that prunes, and cleans up when it goes', async () => {
    const file = new URL(`../../${chart}/application.yaml`, import.meta.url);
    const application: object = parse(await readFile(file, 'utf8'));
    expect(application).to.have.nested.property('spec.source.path', chart);
    expect(application).to.have.nested.property('spec.syncPolicy.automated.prune', true);
    expect(application).to.have.nested.property('metadata.finalizers[0]', 'resources-finalizer.argocd.argoproj.io');
  });

  /** The plan, then the run. */
  async function objects(values: object) {
    const all = await rendered(chart, 'example', values);
    expect(all.map(({ kind }) => kind).toSorted()).to.deep.equal(['PipelineParityPlan', 'PipelineParityRun']);
    return all.toSorted((a, b) => (a.kind < b.kind ? -1 : 1));
  }
});
