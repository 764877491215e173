import { expect } from 'chai';
import { taskId } from '../../src/run/task-id.ts';
import type { Attempt } from './types.ts';
import { leftMs } from './work.ts';

const now = new Date('2026-01-01T12:00:00Z');

function endedAt(seconds: number): Attempt {
  const ended = new Date(now.getTime() + seconds * 1000);
  return { taskId: taskId('resolve'), attempt: 1, endedAt: ended, state: { kind: 'Exited' }, isGone: true };
}

describe('another attempt of a task', () => {
  for (const [what, attempt, latest, ms] of [
    ['the first one is not put off', 1, undefined, 0],
    ['is put off a little', 2, endedAt(0), 500],
    ['is put off longer each time', 4, endedAt(0), 2_000],
    ['is put off from the end of the one before', 4, endedAt(-1), 1_000],
    ['is put off fifteen seconds at most', 20, endedAt(0), 15_000],
    ['does not wait for a node whose clock is an hour ahead', 2, endedAt(3_600), 0],
  ] as const)
    it(what, () => expect(leftMs(attempt, latest, now)).to.equal(ms));
});
