import { expect } from 'chai';
import type { RunStatus } from '../../src/api/generated/types.ts';
import { buildGraph } from '../../src/run/graph.ts';
import type { RunState } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { resolution, spec } from '../../test/support/spec.ts';
import { statusOf } from './status.ts';

const frozen = spec();
const graph = buildGraph(frozen, resolution(frozen));
const written: RunStatus = {
  conditions: ['Finished', 'Succeeded', 'SnapshotCopied'].map((type) => ({
    ...{ type, status: 'True' as const, reason: 'Passed', message: 'by hand' },
    lastTransitionTime: '2026-01-01T00:00:00Z',
  })),
  result: { verdict: 'Passed' },
};

function statusAt(tasks: RunState['tasks']): RunStatus {
  const identity = { name: 'run', uid: 'u', installation: 'test' };
  const storage = { location: 'file:///nowhere/else/parity-u' };
  return statusOf(
    {
      run: {
        ...{ apiVersion: 'pipelineparity.io/v1alpha1', kind: 'PipelineParityRun' },
        metadata: { name: 'run', uid: 'u', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
        spec: {},
        status: written,
      },
      hold: {
        ...{ run: identity, namespace: 'default', spec: frozen, specDigest: 'd', graphVersion: 1, image: 'i' },
        ...{ workspace: { storage, ownsBucket: false }, secrets: {} },
      },
      ...{ spec: frozen, graph, state: { tasks, isCancelled: false, isSuspended: false } },
    },
    new Date('2026-01-01T00:01:00Z'),
  );
}

const conditionsOf = ({ conditions = [] }: RunStatus) =>
  Object.fromEntries(conditions.map(({ type, status }) => [type, status]));

describe('the status of a run that somebody has written a verdict into', () => {
  it('has no verdict while the run goes on; other conditions that were True stay so', () => {
    const status = statusAt({});
    expect(conditionsOf(status)).to.include({ Finished: 'False', Succeeded: 'Unknown', SnapshotCopied: 'True' });
    expect(status).to.not.have.property('result');
  });

  it("has the run's own verdict at its end", () => {
    const error = new ParityError('Internal', 'no').toJSON();
    const failed = { phase: 'Failed', attempts: 1, error } as const;
    const status = statusAt({ resolve: failed, report: failed });
    expect(conditionsOf(status)).to.include({ Finished: 'True', Succeeded: 'False' });
    expect(status.result).to.include({ verdict: 'Errored' });
  });
});
