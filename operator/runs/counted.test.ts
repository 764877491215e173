import { expect } from 'chai';
import { createMetrics } from '../kube/metrics.ts';
import { countRun } from './counted.ts';
import type { RunObject } from './types.ts';

describe('what runs are counted by', () => {
  it('counts a run that ends once, with the rows that it compared', async () => {
    const metrics = createMetrics();
    const [running, ended] = [run('False'), run('True')];
    countRun(metrics, running, ended);
    countRun(metrics, ended, ended);
    expect(await total(metrics.runsFinished)).to.equal(1);
    expect(await total(metrics.rowsCompared)).to.equal(7);
  });

  it('counts bytes as they arrive', async () => {
    const metrics = createMetrics();
    countRun(metrics, run('False'), run('False', 10));
    countRun(metrics, run('False', 10), run('False', 25));
    expect(await total(metrics.bytesCopied)).to.equal(25);
  });
});

function run(finished: 'True' | 'False', bytes = 0): RunObject {
  const at = '2026-01-01T00:00:00Z';
  return {
    apiVersion: 'pipelineparity.io/v1alpha1',
    kind: 'PipelineParityRun',
    metadata: { name: 'orders', uid: 'u', resourceVersion: '1', creationTimestamp: at },
    spec: {},
    status: {
      conditions: [
        {
          type: 'Finished',
          status: finished,
          reason: 'Passed',
          message: '',
          lastTransitionTime: at,
          observedGeneration: 1,
        },
      ],
      snapshot: { tables: { bytes } },
      result: { verdict: 'Passed', tables: { matched: 1, differing: 0, rows: 7 } },
    },
  };
}

async function total(counter: { get(): Promise<{ values: readonly { value: number }[] }> }): Promise<number> {
  return (await counter.get()).values.reduce((sum, { value }) => sum + value, 0);
}
