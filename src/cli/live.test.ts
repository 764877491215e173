import { assert } from 'chai';
import { painter } from '../report/terminal.ts';
import { taskId } from '../run/task-id.ts';
import type { Task, TaskInput } from '../run/types.ts';
import type { Progress } from '../tasks/task.ts';
import { taskTitle } from '../tasks/title.ts';
import type { Happening, RunEvent } from './driver/events.ts';
import { eventLine, LiveState, plainDisplay, progressText } from './live.ts';

const start = Date.parse('2026-01-01T00:00:00Z');
const at = (seconds: number, event: Happening): RunEvent => ({
  time: new Date(start + seconds * 1000).toISOString(),
  ...event,
});
const task = (input: TaskInput): Task => ({
  id: taskId(input.kind, 0),
  input,
  dependsOn: [],
  always: false,
  timeoutSeconds: 60,
});
const copy = task({ kind: 'snapshot', tables: ['flights', 'planes', 'weather'] });

describe('the live view', () => {
  const state = () => {
    const live = new LiveState();
    live.add(at(0, { type: 'Planned', tasks: [copy] }));
    live.add(at(0, { type: 'Phase', phase: 'Copying' }));
    live.add(at(1, { type: 'TaskStarted', task: copy, attempt: 1 }));
    return live;
  };
  const progress = (value: Progress) => at(2, { type: 'TaskProgress', taskId: copy.id, progress: value });

  it('shows what runs by table, with rows and bytes', () => {
    const live = state();
    live.add(progress({ table: 'flights', rows: 1_000, totalRows: 336_776, bytes: 2_500_000 }));
    assert.deepEqual(live.lines(120, start + 3_000), [
      'Copying: 0 of 1 task, 3.0 s',
      '  copy flights  1,000 of 336,776 rows, 2.5 MB  2.0 s',
    ]);
  });

  it('is never wider than the terminal, so that it can be erased', () => {
    const live = state();
    live.add(progress({ table: 'x'.repeat(500), note: 'y'.repeat(500) }));
    for (const line of live.lines(40, start + 3_000)) assert.isBelow([...line].length, 40);
  });

  it('is never higher than a dozen lines and a word about the rest', () => {
    const live = state();
    for (let index = 0; index < 40; index++) {
      const one = { ...copy, id: taskId('snapshot', index + 1) };
      live.add(at(1, { type: 'TaskStarted', task: one, attempt: 1 }));
    }
    const lines = live.lines(80, start + 3_000);
    assert.equal(lines.length, 14);
    assert.include(lines.at(-1), 'and 29 more');
  });

  it('drops a task that ended', () => {
    const live = state();
    live.add(at(2, { type: 'TaskFinished', task: copy, attempt: 1, durationMs: 1_000, summary: {} }));
    assert.deepEqual(live.lines(80, start + 3_000), ['Copying: 1 of 1 task, 3.0 s']);
  });

  it('is empty once the run has finished', () => {
    const live = state();
    live.add(at(3, { type: 'Phase', phase: 'Finished' }));
    assert.deepEqual(live.lines(80, start + 3_000), []);
  });
});

describe('lines of a run', () => {
  const paint = painter(false);

  it('say what was done, how much, how long', () => {
    const summary = { tables: 3, rows: 20_000, bytes: 5_000_000 };
    const event = at(2, { type: 'TaskFinished', task: copy, attempt: 2, durationMs: 1_500, summary });
    assert.equal(eventLine(event, paint), '✓ copy flights and 2 more 20,000 rows, 5.0 MB, 1.5 s, attempt 2');
  });

  it('say what failed, on which table, and whether it is tried again', () => {
    const error = { code: 'Unreachable' as const, message: 'the server is gone', isRetryable: true };
    const failed = { type: 'TaskFailed' as const, task: copy, attempt: 1, durationMs: 1, error, table: 'planes' };
    assert.equal(
      eventLine(at(2, { ...failed, willRetry: true }), paint),
      '✗ copy planes: the server is gone (trying again)',
    );
  });

  it('come seldom from a task that takes long, and never with control characters', () => {
    const written: string[] = [];
    const display = plainDisplay((line) => written.push(line));
    for (let second = 0; second <= 40; second++) {
      const value = { table: 'flights', rows: second, note: '\u001b[2J' };
      display.event(at(second, { type: 'TaskProgress', taskId: copy.id, progress: value }));
    }
    assert.deepEqual(written, ['  snapshot-0: 15 rows, \uFFFD[2J', '  snapshot-0: 30 rows, \uFFFD[2J']);
  });
});

describe('titles of tasks', () => {
  const side = { kind: 'snapshot' as const, at: 'Target' as const };
  const cases: [TaskInput, string][] = [
    [{ kind: 'resolve' }, 'read the logs of the lake'],
    [{ kind: 'rehydrate', source: 'shop', tables: ['a', 'b'] }, 'load a and b into shop'],
    [
      { kind: 'sync', step: 's', pipeline: 'p', mode: 'Full', source: 'shop', tables: ['a'], at: 'Base' },
      's: p syncs a from shop (Full)',
    ],
    [
      { kind: 'compare', step: 's', baseline: side, candidate: side, tables: ['a'], afterIncremental: false },
      's: compare a',
    ],
    [{ kind: 'query', step: 's', queries: ['q'], baseline: side, candidate: side }, 's: run q on both sides'],
    [{ kind: 'cleanup' }, 'clean up'],
  ];
  for (const [input, expected] of cases)
    it(`${input.kind}: ${expected}`, () => assert.equal(taskTitle(task(input)), expected));

  it('have progress in words', () => {
    assert.equal(
      progressText({ rows: 5, bytes: 10, totalBytes: 2_000, note: 'proving' }),
      '5 rows, 10 B of 2.0 kB, proving',
    );
  });
});
