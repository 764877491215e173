import { expect } from 'chai';
import { buildGraph } from '../../src/run/graph.ts';
import { resolution, scenario, spec } from '../../test/support/spec.ts';
import { namedSecrets, secretsOfFinalization, secretsOfTask } from './credentials.ts';

const uid = '0f8fad5b-d9cb-469f-a165-70867728950e';
const of = spec({
  snapshot: { ...spec().snapshot, location: 's3://lake', secretRef: { name: 'lake' }, maskSecretRef: { name: 'mask' } },
  workspace: { location: 's3://work', secretRef: { name: 'work' } },
  reports: { location: 's3://reports', secretRef: { name: 'reports' }, formats: ['JSON'] },
  sources: [
    {
      ...spec().sources[0],
      name: 'shop',
      engine: 'Postgres',
      tables: ['flights'],
      columns: [],
      provider: { kind: 'external', secretRef: { name: 'server' } },
    },
    { name: 'other', engine: 'MySQL', tables: ['planes'], columns: [], provider: { kind: 'embedded' } },
  ],
});

describe('credentials', () => {
  /** By the beginning of the task's name: what it is handed beside the workspace's. */
  const handed: Readonly<Record<string, readonly string[]>> = {
    resolve: ['lake', 'reports'],
    snapshot: ['lake', 'mask'],
    'rehydrate-shop': ['source-shop'],
    'rehydrate-other': ['source-other'],
    'first-sync-candidate-shop': ['source-shop'],
    'first-sync-candidate-other': ['source-other'],
    'parity-compare': [],
    report: ['reports'],
  };

  it('of production reach only what reads it, those of a source only what works on it', () => {
    const { tasks } = buildGraph(of, resolution(of));
    for (const [begins, wanted] of Object.entries(handed)) {
      const found = tasks.filter(({ id }) => id.startsWith(begins));
      expect(found, begins).to.not.have.length(0);
      for (const task of found) {
        const names = secretsOfTask(task, of, uid).map(({ name }) => name);
        expect(names, task.id).to.have.members([...wanted, 'work']);
      }
    }
  });

  it('of a source are mounted from what was made for the run, never from the server that it lies on', () => {
    const { tasks } = buildGraph(of, resolution(of));
    const rehydrate = tasks.find(({ id }) => id.startsWith('rehydrate-shop'));
    const [secret] = rehydrate === undefined ? [] : secretsOfTask(rehydrate, of, uid);
    expect(secret).to.deep.equal({ name: 'source-shop', secretName: 'parity-0f8fad5b-shop' });
  });

  it('of PostHog and ClickHouse reach only the queries that run there, and what reads inherited ones', () => {
    const common = { expect: { sameAs: 'Baseline' }, timeoutSeconds: 60 } as const;
    const hogql = { query: 'SELECT 1', pageBy: [], secretRef: { name: 'posthog' } };
    const files = { location: 's3://queries', secretRef: { name: 'files' } };
    const asking = spec({
      queries: [
        { ...common, name: 'plain', sql: 'SELECT 1' },
        { ...common, name: 'served', sql: 'SELECT 1', clickhouse: { secretRef: { name: 'clickhouse' } } },
        { ...common, name: 'hog', hogql },
        { ...common, name: 'saved', inherited: { from: { files }, secretRef: { name: 'other' } } },
      ],
      scenario: [
        ...scenario.fullOnly,
        ...['plain', 'served', 'hog', 'saved'].map((name) => ({ name, query: { names: [name] } })),
      ],
    });
    const found = { ...common, name: 'saved/daily', hogql: { query: 'SELECT 1', pageBy: [] } };
    const inherited = { cases: [found], leftOut: [], untouched: {} };
    const { tasks } = buildGraph(asking, { ...resolution(asking), inherited });
    const given = tasks.flatMap((task) => {
      const names = secretsOfTask(task, asking, uid).map(({ name }) => name);
      return task.input.kind === 'query' || task.input.kind === 'resolve' ? [[task.id, ...names]] : [];
    });
    expect(given).to.deep.equal([
      ['resolve', 'files', 'other', 'posthog'],
      ['plain-query-0'],
      ['served-query-0', 'clickhouse'],
      ['hog-query-0', 'posthog'],
      ['saved-query-0', 'other'],
    ]);
    expect(tasks.find(({ id }) => id === 'saved-query-0')?.input).to.have.deep.property('queries', ['saved/daily']);
    expect(namedSecrets(asking)).to.have.members(['files', 'other', 'posthog', 'clickhouse']);
    expect(secretsOfFinalization(asking)).to.have.members(['other', 'posthog', 'clickhouse']);
  });

  it('are asked for at the start, all of them, and those that removing needs are copied', () => {
    expect(namedSecrets(of)).to.have.members(['work', 'lake', 'mask', 'reports', 'server']);
    expect(secretsOfFinalization(of)).to.have.members(['work', 'server']);
  });
});
