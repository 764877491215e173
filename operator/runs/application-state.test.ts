import { expect } from 'chai';
import type { Application, ApplicationStatus } from './application.ts';
import { deploymentOf } from './application-state.ts';

const commit = 'a'.repeat(40);
const other = 'b'.repeat(40);
const time = '2025-03-01T10:00:00Z';

interface Row {
  readonly when: string;
  readonly status?: ApplicationStatus;
  readonly ageMs?: number;
  readonly targetRevision?: string;
  readonly deletionTimestamp?: string;
  readonly operation?: Application['operation'];
  readonly kind: ReturnType<typeof deploymentOf>['kind'];
  readonly says?: RegExp;
}

const succeeded = { phase: 'Succeeded', finishedAt: time, syncResult: { revision: commit } } as const;
const own = { kind: 'StatefulSet', namespace: 'shop', name: 'db', status: 'Synced' };
const synced = { sync: { status: 'Synced', revision: commit }, operationState: succeeded, resources: [own] };
const healthy = { ...synced, health: { status: 'Healthy' } };

const rows: readonly Row[] = [
  { when: 'nobody has looked at it', kind: 'Deploying', says: /waiting for Argo CD/ },
  {
    when: 'nobody has looked at it for two minutes',
    ageMs: 120_000,
    kind: 'Stalled',
    says: /not touched it for 120 s; does its application controller run/,
  },
  {
    when: 'its repository cannot be read',
    status: { conditions: [{ type: 'ComparisonError', message: 'no such path' }] },
    kind: 'Stalled',
    says: /ComparisonError: no such path/,
  },
  {
    when: 'its project does not allow it',
    status: { conditions: [{ type: 'InvalidSpecError', message: 'not permitted in project' }] },
    kind: 'Stalled',
    says: /not permitted/,
  },
  {
    when: 'a warning is all there is',
    status: { ...healthy, conditions: [{ type: 'OrphanedResourceWarning', message: '1 orphan' }] },
    kind: 'Healthy',
  },
  {
    when: 'the first sync is under way',
    status: { operationState: { phase: 'Running', message: 'waiting for completion' } },
    kind: 'Deploying',
    says: /waiting for completion/,
  },
  {
    when: 'a sync is tried again',
    status: {
      operationState: {
        phase: 'Running',
        message: 'one task failed',
        retryCount: 2,
        syncResult: {
          resources: [
            { kind: 'Service', name: 'db', status: 'SyncFailed', message: 'quota' },
            { kind: 'ConfigMap', name: 'db', status: 'Synced', message: 'created' },
          ],
        },
      },
    },
    kind: 'Stalled',
    says: /one task failed; Service db: quota$/,
  },
  {
    when: 'a sync failed for good',
    status: { operationState: { phase: 'Failed', message: 'it failed', finishedAt: time } },
    kind: 'OperationFailed',
    says: /it failed/,
  },
  {
    when: 'a sync failed and the next is asked for',
    status: { operationState: { phase: 'Error', message: 'it failed', finishedAt: time } },
    operation: {
      initiatedBy: { username: 'x' },
      sync: { prune: false, syncOptions: [] },
      retry: { limit: 1, backoff: { duration: '1s', factor: 1, maxDuration: '1s' } },
    },
    kind: 'Stalled',
    says: /it failed/,
  },
  { when: 'a branch has been deployed', targetRevision: 'main', status: healthy, kind: 'NotPinned' },
  {
    when: 'another commit than the one asked for was deployed',
    targetRevision: other,
    status: healthy,
    kind: 'Stalled',
    says: /deployed a+ in place of b+/,
  },
  {
    when: 'it does not say what it deployed',
    status: { ...healthy, operationState: { phase: 'Succeeded' } },
    kind: 'Stalled',
    says: /which commit/,
  },
  {
    when: 'it was compared with another commit last',
    status: { ...healthy, sync: { status: 'Synced', revision: other } },
    kind: 'Deploying',
    says: /being compared/,
  },
  {
    when: 'an object has drifted',
    status: {
      ...healthy,
      sync: { status: 'OutOfSync', revision: commit },
      resources: [{ ...own, status: 'OutOfSync' }],
    },
    kind: 'Stalled',
    says: /OutOfSync: StatefulSet db is OutOfSync/,
  },
  { when: 'its health is not known yet', status: synced, kind: 'Deploying' },
  {
    when: 'its pods are starting',
    status: { ...synced, health: { status: 'Progressing' } },
    kind: 'Deploying',
    says: /Progressing/,
  },
  {
    when: 'it is degraded and says why',
    status: {
      ...synced,
      health: { status: 'Degraded' },
      resources: [{ ...own, health: { status: 'Degraded', message: 'replica set failed' } }],
    },
    kind: 'Stalled',
    says: /Degraded: StatefulSet db: replica set failed/,
  },
  { when: 'all is well', status: healthy, kind: 'Healthy' },
  {
    when: 'all is well, but the sync is still under way',
    status: { ...healthy, operationState: { ...succeeded, phase: 'Running' } },
    kind: 'Deploying',
  },
  {
    when: 'somebody else deletes it',
    status: healthy,
    deletionTimestamp: time,
    kind: 'Stalled',
    says: /not by this run/,
  },
  {
    when: 'it deploys into another namespace',
    status: { ...healthy, resources: [own, { ...own, namespace: 'kube-system' }] },
    kind: 'Failed',
    says: /into namespace kube-system/,
  },
  {
    when: 'it deploys for the whole cluster',
    status: { ...healthy, resources: [{ kind: 'ClusterRole', name: 'all' }] },
    kind: 'Failed',
    says: /ClusterRole all into the whole cluster/,
  },
];

describe('An Application', () => {
  for (const {
    when,
    kind,
    says,
    status,
    ageMs = 1000,
    targetRevision = commit,
    deletionTimestamp,
    operation,
  } of rows) {
    it(`is ${kind} when ${when}`, () => {
      const deployment = deploymentOf(
        {
          apiVersion: 'argoproj.io/v1alpha1',
          kind: 'Application',
          metadata: {
            name: 'parity-1-shop',
            namespace: 'argocd',
            uid: '1',
            resourceVersion: '1',
            creationTimestamp: time,
            ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
          },
          spec: {
            project: 'p',
            source: { repoURL: 'r', path: 'p', targetRevision, helm: { releaseName: 'n', valuesObject: {} } },
            destination: { server: 's', namespace: 'shop' },
          },
          ...(operation === undefined ? {} : { operation }),
          ...(status === undefined ? {} : { status }),
        },
        { namespace: 'shop', ageMs, patienceMs: 60_000 },
      );
      expect(deployment.kind).to.equal(kind);
      const message =
        'message' in deployment ? deployment.message : 'error' in deployment ? deployment.error.message : '';
      if (says !== undefined) expect(message).to.match(says);
      if (message !== '') expect(message).to.match(/^Application argocd\/parity-1-shop/);
    });
  }
});
