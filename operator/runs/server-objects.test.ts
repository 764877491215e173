import { expect } from 'chai';
import { linted, type RenderedObject, rendered } from '../../test/support/helm.ts';
import { type ServerDescription, toChartValues } from './server-description.ts';
import { serverKind } from './server-kinds.ts';
import { serverObjects } from './server-objects.ts';

const plain: ServerDescription = {
  kind: serverKind('Postgres'),
  name: 'parity-0b6c1f2e-shop',
  namespace: 'shop',
  labels: { 'pipelineparity.io/run-uid': '0b6c1f2e-6a0e-4d7e-9c39-2f6d6a3f7a10', 'pipelineparity.io/source': 'shop' },
  image: 'docker.io/library/postgres:16',
  imagePullSecrets: [],
  storageRequest: '5Gi',
  runUid: '0b6c1f2e-6a0e-4d7e-9c39-2f6d6a3f7a10',
  operatorNamespace: 'parity-system',
  allowFrom: [],
  nodeSelector: {},
  tolerations: [],
  owner: { apiVersion: 'pipelineparity.io/v1alpha1', kind: 'PipelineParityRun', name: 'run', uid: '0b6c1f2e' },
};
const { storageRequest: _, ...bare } = plain;
const full: ServerDescription = {
  ...bare,
  imagePullSecrets: ['registry'],
  size: '20Gi',
  tlsSecret: 'shop-tls',
  allowFrom: [
    { cidr: '10.1.0.0/16' },
    { namespace: 'temporal', pods: 'app=worker,tier=etl' },
    { pods: 'app=here' },
    { namespace: 'all' },
  ],
  nodeSelector: { disk: 'fast' },
  tolerations: [{ key: 'spot', operator: 'Exists' }],
};

describe('A server of a source', function () {
  this.timeout(60_000);

  for (const engine of ['Postgres', 'MySQL'] as const) {
    const kind = serverKind(engine);
    const chart = `argocd/sources/${kind.name}`;
    for (const [what, description] of [
      ['with nothing said', plain],
      ['with everything said', full],
    ] as const) {
      it(`is the same from the ${engine} chart and from the operator, ${what}`, async () => {
        const server = { ...description, kind };
        const fromChart = byKind(await rendered(chart, server.name, toChartValues(server)));
        const { networkPolicy, configMap, service, statefulSet } = serverObjects(server);
        const own = { NetworkPolicy: networkPolicy, ConfigMap: configMap, Service: service, StatefulSet: statefulSet };
        expect(Object.keys(fromChart).toSorted()).to.deep.equal(Object.keys(own).toSorted());
        for (const [name, { metadata, ...fields }] of Object.entries(own)) {
          const { ownerReferences, namespace, ...marks } = metadata;
          expect(ownerReferences).to.have.length(1);
          expect(namespace).to.equal('shop');
          const { apiVersion, kind: _, ...rendered } = fromChart[name] ?? {};
          expect(rendered, name).to.deep.equal({ metadata: marks, ...fields });
        }
      });
    }

    it(`has no secret among its values or objects, and no chart of ${engine} without one`, async () => {
      const objects = await rendered(chart, 'parity-1-shop', toChartValues({ ...full, kind }));
      expect(objects.map(({ kind }) => kind)).not.to.contain('Secret');
      expect(await linted(chart, toChartValues(plain))).to.match(/0 chart\(s\) failed/);
      const refusal = await rendered(chart, 'parity-1-shop', {}).catch(String);
      expect(refusal).to.match(/auth.existingSecret names the Secret/);
    });

    it(`passes the settings of a user to ${engine} last`, async () => {
      const values = { ...toChartValues({ ...plain, kind }), settings: { a_setting: 'on', other: 10 } };
      const [statefulSet] = (await rendered(chart, 'x', values)).filter(({ kind }) => kind === 'StatefulSet');
      expect(JSON.stringify(statefulSet)).to.contain(
        engine === 'Postgres'
          ? '"args":["-c","a_setting=on","-c","other=10"]'
          : '"args":["--a_setting=on","--other=10"]',
      );
    });
  }

  it('runs the official image of the version, or of the newest that is known', () => {
    expect(serverKind('Postgres').image('15')).to.equal('docker.io/library/postgres:15');
    expect(serverKind('MySQL').image(undefined)).to.match(/^docker\.io\/library\/mysql:\d/);
  });
});

function byKind(objects: readonly RenderedObject[]): Readonly<Record<string, Partial<RenderedObject>>> {
  return Object.fromEntries(objects.map((object) => [object.kind, object]));
}
