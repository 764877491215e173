import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { applications } from '../../../operator/runs/application.ts';
import { labels } from '../../../src/kube/runs.ts';
import { type Release, testRelease } from '../../support/release.ts';
import { flightsManifest, Place, root } from '../../support/runs.ts';

describe('the flights example on a cluster, its Postgres and MySQL deployed by Argo CD', function () {
  this.timeout(900_000);
  let release: Release;

  before(async () => {
    release = await testRelease();
  });

  it('passes with the fingerprint of the same run on one machine', async () => {
    const alone = onThisMachine();
    alone.catch(() => undefined);
    const { metadata } = await release.apply('flights-round-trip', await flights('argocd'));
    await release.until('flights-round-trip', 'SourcesProvisioned');
    const deployed = await release.kube.list(applications, { labelSelector: `${labels.runUid}=${metadata.uid}` });
    expect(deployed.items.map((each) => each.metadata.labels?.[labels.source]).sort()).to.deep.equal(['fleet', 'ops']);
    await release.kubectl('wait', '--for=condition=Finished', 'ppr/flights-round-trip', '--timeout=600s');
    const ended = await release.until('flights-round-trip', 'Finished');
    expect(ended.status?.result, JSON.stringify(ended.status)).to.include({ verdict: 'Passed', differences: 0 });
    expect(ended.status?.result?.fingerprint).to.equal(await alone);
    await release.until('flights-round-trip', 'CleanedUp');
    await release.untilNothingLeft(metadata.uid);
  });

  it('fails where the pipeline has a bug, and the verdict is what kubectl shows', async () => {
    const spec = await flights('kubernetes');
    const pipelines = [{ name: 'candidate', reference: { bug: 'ShiftedTimestamps' } }];
    await release.apply('flights-with-a-bug', { ...spec, pipelines });
    const ended = await release.until('flights-with-a-bug', 'Finished', 'True', 600_000);
    const { verdict, differences = 0 } = ended.status?.result ?? {};
    expect(verdict, JSON.stringify(ended.status)).to.equal('Failed');
    expect(differences).to.be.greaterThan(0);
    const shown = await release.kubectl('get', 'ppr', 'flights-with-a-bug', '--no-headers');
    expect(shown).to.match(new RegExp(`^flights-with-a-bug +\\w+ +Failed +${differences} `));
    const { comparisons } = await release.report(ended);
    expect(comparisons.filter(({ outcome }) => outcome === 'Different')).not.to.have.length(0);
    await release.delete('flights-with-a-bug');
    await release.untilGone('flights-with-a-bug');
    await release.untilNothingLeft(ended.metadata.uid);
  });

  /** The manifest that users apply, in this cluster's places and with its images. */
  async function flights(by: 'argocd' | 'kubernetes') {
    const { spec } = parse(await readFile(join(root, 'examples/cluster/run.yaml'), 'utf8'));
    const { lake, reports, cluster } = release;
    const images: Record<string, string> = { Postgres: cluster.postgresImage, MySQL: cluster.mysqlImage };
    const { workspace: _, ...rest } = spec;
    return {
      ...rest,
      snapshot: { ...spec.snapshot, location: `s3://${lake}`, ...release.store('lake') },
      sources: spec.sources.map(({ kubernetes: _, ...source }: { kubernetes: object; engine: string }) => ({
        ...source,
        image: images[source.engine],
        [by]: {},
      })),
      reports: { ...spec.reports, location: `s3://${reports}`, ...release.store('reports') },
    };
  }

  /** Fingerprint of the example by `parity run`. */
  async function onThisMachine(): Promise<string> {
    const place = await Place.open();
    try {
      const { exitCode, stdout, stderr } = await place.parity(['run', flightsManifest, '--reports', place.reports]);
      expect(exitCode, stdout + stderr).to.equal(0);
      return (await place.report()).fingerprint ?? 'none';
    } finally {
      await place.close();
    }
  }
});
