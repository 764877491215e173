import { expect } from 'chai';
import { buildGraph } from '../../src/run/graph.ts';
import type { TaskId, TaskState } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import type { FailedOutput } from '../../src/tasks/records.ts';
import { spec } from '../../test/support/spec.ts';
import { type Records, runState, timingsOf } from './state.ts';
import type { Attempt } from './types.ts';

const graph = buildGraph(spec());
const [resolve] = graph.tasks;
const id: TaskId = resolve?.id ?? failed('there is no task');
const error = new ParityError('Unreachable', 'no answer', { isRetryable: true }).toJSON();
const failure: FailedOutput = { outcome: 'Failed', error };
const running = { kind: 'Running' } as const;
const exited = { kind: 'Exited', failure } as const;

const cases: readonly {
  what: string;
  records?: Partial<Records>;
  attempts?: readonly Attempt[];
  is: Partial<TaskState>;
}[] = [
  { what: 'nothing is known', is: { phase: 'Pending', attempts: 0 } },
  { what: 'an attempt runs', attempts: [attempt(1, running)], is: { phase: 'Running', attempts: 1 } },
  {
    what: 'success is recorded and its pod still runs',
    records: { endOf: () => ({ outcome: 'Succeeded', summary: { rows: 1 }, detail: null }) },
    attempts: [attempt(1, running)],
    is: { phase: 'Succeeded', attempts: 1, summary: { rows: 1 } },
  },
  {
    what: 'a failure is recorded as the end, whatever it says of itself',
    records: { endOf: () => failure },
    is: { phase: 'Failed', attempts: 1, error: { ...error, isRetryable: false } },
  },
  {
    what: 'an attempt has failed, and its pod may still write',
    records: { failuresOf: () => new Map([[1, failure]]) },
    attempts: [{ ...attempt(1, exited), isGone: false }],
    is: { phase: 'Running', attempts: 1 },
  },
  {
    what: 'an attempt of several steps has failed, and some of what it made is still seen',
    records: { failuresOf: () => new Map([[1, failure]]) },
    attempts: [{ ...attempt(1, running), isInSteps: true, isGone: false }],
    is: { phase: 'Failed', attempts: 1, error },
  },
  {
    what: 'an attempt has failed, and its pod is gone',
    records: { failuresOf: () => new Map([[1, failure]]) },
    attempts: [attempt(1, exited)],
    is: { phase: 'Failed', attempts: 1, error },
  },
  {
    what: 'a second attempt runs after a first that failed',
    records: { failuresOf: () => new Map([[1, failure]]) },
    attempts: [attempt(2, running), attempt(1, exited)],
    is: { phase: 'Running', attempts: 2 },
  },
  {
    what: 'the Jobs of failed attempts are gone, and only their records tell of them',
    records: {
      failuresOf: () =>
        new Map([
          [1, failure],
          [2, failure],
        ]),
    },
    is: { phase: 'Failed', attempts: 2, error },
  },
  {
    what: 'it was stopped on request',
    records: { stoppedAttempt: () => 1 },
    attempts: [attempt(1, exited)],
    is: { phase: 'Failed', attempts: 1 },
  },
  {
    what: 'a source is being brought up again after a failure',
    records: { failuresOf: () => new Map([[1, failure]]), provisioning: new Set([id]) },
    is: { phase: 'Running' },
  },
];

describe('the state of a task, by what is recorded and observed', () => {
  for (const { what, records, attempts = [], is } of cases) {
    it(`is ${is.phase} when ${what}`, () => {
      const none: Records = {
        endOf: () => undefined,
        failuresOf: () => new Map(),
        stoppedAttempt: () => undefined,
        provisioning: new Set(),
      };
      const own: Records = { ...none, ...records };
      const only: Records = {
        endOf: (task) => (task === id ? own.endOf(task) : undefined),
        failuresOf: (task) => (task === id ? own.failuresOf(task) : new Map()),
        stoppedAttempt: (task) => (task === id ? own.stoppedAttempt(task) : undefined),
        provisioning: own.provisioning,
      };
      const state = runState(graph, only, attempts, { isCancelled: false, isSuspended: false });
      expect(state.tasks[id]).to.deep.include(is);
    });
  }

  it('has the time of all attempts, and the beginning of the last', () => {
    const at = (second: number) => new Date(Date.UTC(2026, 2, 1, 12, 0, second));
    const attempts = [
      { ...attempt(1, exited), startedAt: at(0), endedAt: at(5) },
      { ...attempt(2, running), startedAt: at(10) },
    ];
    expect(timingsOf(attempts, at(13))).to.deep.equal({ [id]: { startedAt: at(10).toISOString(), durationMs: 8_000 } });
  });
});

function attempt(number: number, state: Attempt['state']): Attempt {
  return { taskId: id, attempt: number, state, isGone: state.kind === 'Exited' };
}

function failed(message: string): never {
  throw new Error(message);
}
