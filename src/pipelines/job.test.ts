import { expect } from 'chai';
import type { JobPipelineSpec } from '../api/resolved.ts';
import { endedJobKey, jobExecutor } from './job.ts';
import { type Bench, contextFor, openBench } from './reference.fixture.ts';

const spec: JobPipelineSpec = {
  name: 'candidate',
  cursorBound: 'Inclusive',
  executions: 'PerSource',
  timeoutSeconds: 60,
  outputs: { kind: 'files', format: 'Delta', location: '{{landing}}/{{table}}' },
  job: {
    image: 'pipeline:1',
    ...{ imagePullSecrets: [], command: [], args: [], env: [], envFrom: [], mounts: [], tolerations: [] },
    resources: {},
    securityContext: { runAsNonRoot: true, readOnlyRootFilesystem: false },
  },
};

describe('a Job as a pipeline', () => {
  let bench: Bench;
  before(async () => {
    bench = await openBench();
  });
  after(async () => await bench.close());

  it('is looked at only once the operator has put its end on record: an older sync is not taken for it', async () => {
    const request = { pipeline: 'candidate', step: 'second', source: 'shop', mode: 'Incremental' } as const;
    const context = contextFor(bench, { ...request, tables: ['t'], at: 'Target' }, { pipeline: spec, keys: { t: [] } });
    const source = { host: 'h', port: 1, user: 'u', password: 'p', database: 'd' };
    const { source: name, ...rest } = request;
    const execution = {
      id: 'parity-1-candidate-second-shop',
      request: { ...executionRequest, ...rest, source: { ...connected, name } },
    };
    const start = async () => await jobExecutor(spec).start(execution, { source }, context);
    const error: unknown = await start().catch((thrown: unknown) => thrown);
    expect(error).to.have.property('code', 'Internal');
    expect(error).to.have.property('message', `no Job has carried out ${execution.id} of pipeline candidate`);
    const ended = { job: 'parity-1-job', uid: 'u', endedAt: '2026-03-01T12:00:00Z' };
    await bench.store.put(endedJobKey(execution.id), JSON.stringify(ended));
    expect(await (await start()).observe()).to.deep.equal({ state: 'Succeeded' });
  });
});

const executionRequest = {
  version: 1,
  run: '1',
  landing: 'file:///landed',
  storage: { endpoint: null, region: null },
  tables: [],
} as const;

const connected = {
  engine: 'Postgres',
  ...{ host: 'h', port: 1, user: 'u', database: 'd', schema: 'public' },
  ...{ secret: 's', secretDir: null },
} as const;
