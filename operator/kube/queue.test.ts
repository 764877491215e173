import { expect } from 'chai';
import fc from 'fast-check';
import { ManualClock, settled } from '../../src/kube/clock.fixture.ts';
import { KubeError } from '../../src/kube/error.ts';
import { type Outcome, type QueueOptions, WorkQueue } from './queue.ts';

describe('the work queue', () => {
  it('has a key wait once, whatever number of times it was added', async () => {
    const { queue, started } = queueWith({ concurrency: 1 });
    for (const key of ['a', 'b', 'a', 'a', 'b']) queue.add(key);
    expect(queue.depth).to.equal(2);
    queue.start();
    await settled();
    expect(started).to.deep.equal(['a', 'b']);
  });

  it('never processes one key twice at a time, and processes it again when it was added meanwhile', async () => {
    const gate = Promise.withResolvers<Outcome>();
    const { queue, started } = queueWith({ concurrency: 4, process: () => gate.promise });
    queue.start();
    queue.add('a');
    queue.add('a');
    queue.add('a');
    await settled();
    expect(started).to.deep.equal(['a']);
    gate.resolve(undefined);
    await settled();
    expect(started).to.deep.equal(['a', 'a']);
  });

  it('serves the keys in the order they came, a slow one holding up nobody', async () => {
    const gate = Promise.withResolvers<Outcome>();
    const { queue, started } = queueWith({
      concurrency: 2,
      process: (key) => (key === 'slow' ? gate.promise : Promise.resolve(undefined)),
    });
    for (const key of ['slow', 'b', 'c', 'd']) queue.add(key);
    queue.start();
    await settled();
    expect(started).to.deep.equal(['slow', 'b', 'c', 'd']);
    expect(queue.running).to.deep.equal(['slow']);
  });

  it('has no more in process than its bound', async () => {
    const gate = Promise.withResolvers<Outcome>();
    const { queue } = queueWith({ concurrency: 3, process: () => gate.promise });
    queue.start();
    for (let i = 0; i < 20; i++) queue.add(`k${i}`);
    await settled();
    expect(queue.running).to.have.length(3);
    expect(queue.depth).to.equal(17);
  });

  it('lets a key that fails wait longer each time, up to a bound, and no other key', async () => {
    const { queue, started, startedAt, clock } = queueWith({
      baseMs: 1000,
      maxMs: 4000,
      process: (key) => (key === 'bad' ? Promise.reject(new Error('no')) : Promise.resolve(undefined)),
    });
    queue.start();
    queue.add('bad');
    await clock.advance(400);
    queue.add('good');
    await settled();
    expect(started).to.deep.equal(['bad', 'good']);
    await clock.advance(30_000);
    const times = startedAt.filter((_, index) => started[index] === 'bad');
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    const bounds = [1000, 2000, 4000, 4000];
    for (const [index, bound] of bounds.entries()) expect(waits[index]).to.be.within(bound / 2, bound);
  });

  it('forgets the failures of a key that succeeded', async () => {
    const outcomes = [false, false, true, false];
    const { queue, failures, clock } = queueWith({
      baseMs: 1000,
      process: () => (outcomes.shift() === false ? Promise.reject(new Error('no')) : Promise.resolve(undefined)),
    });
    queue.start();
    queue.add('a');
    await clock.advance(4000);
    queue.add('a');
    await settled();
    expect(failures).to.deep.equal([1, 2, 1]);
  });

  it('waits as long as the server asks for', async () => {
    const { queue, started, clock } = queueWith({
      baseMs: 10,
      process: () => Promise.reject(new KubeError('TooManyRequests', 'too many', { retryAfterMs: 7000 })),
    });
    queue.start();
    queue.add('a');
    await clock.advance(6999);
    expect(started).to.have.length(1);
    await clock.advance(1);
    expect(started).to.have.length(2);
  });

  it('does not spin when a key that fails changes its own object', async () => {
    const { queue, started, clock } = queueWith({
      baseMs: 1000,
      process: (key) => {
        queue.add(key);
        return Promise.reject(new Error('no'));
      },
    });
    queue.start();
    queue.add('a');
    await clock.advance(5000);
    expect(started.length).to.be.within(4, 11);
  });

  it('takes the earliest of several times for one key', async () => {
    const { queue, started, clock } = queueWith({});
    queue.start();
    queue.addAfter('a', 5000);
    queue.addAfter('a', 1000);
    queue.addAfter('a', 9000);
    await clock.advance(999);
    expect(started).to.deep.equal([]);
    await clock.advance(1);
    expect(started).to.deep.equal(['a']);
    await clock.advance(20_000);
    expect(started).to.deep.equal(['a']);
  });

  it('calls again after the time that the outcome names', async () => {
    const { queue, started, clock } = queueWith({ process: () => Promise.resolve({ againAfterMs: 60_000 }) });
    queue.start();
    queue.add('a');
    await clock.advance(59_999);
    expect(started).to.have.length(1);
    await clock.advance(1);
    expect(started).to.have.length(2);
  });

  it('aborts the signal of a call that takes too long, and holds its key until it ends', async () => {
    const aborted: string[] = [];
    const gate = Promise.withResolvers<Outcome>();
    const { queue, clock } = queueWith({
      timeoutMs: 1000,
      process: (key, signal) => {
        signal.addEventListener('abort', () => aborted.push(key));
        return gate.promise;
      },
    });
    queue.start();
    queue.add('a');
    await clock.advance(1000);
    expect(aborted).to.deep.equal(['a']);
    expect(queue.running).to.deep.equal(['a']);
  });

  it('drains: nothing new begins, what runs may end', async () => {
    const gate = Promise.withResolvers<Outcome>();
    const { queue, started } = queueWith({ concurrency: 1, process: () => gate.promise });
    queue.start();
    queue.add('a');
    queue.add('b');
    const drained = queue.drain(10_000);
    queue.add('c');
    gate.resolve(undefined);
    expect(await drained).to.deep.equal([]);
    expect(started).to.deep.equal(['a']);
  });

  it('names the keys that ignore the end of the grace time', async () => {
    const never = Promise.withResolvers<Outcome>();
    const { queue, clock } = queueWith({ process: () => never.promise });
    queue.start();
    queue.add('stuck');
    const drained = queue.drain(1000);
    await clock.advance(2000);
    expect(await drained).to.deep.equal(['stuck']);
  });

  it('processes every key after its last change, never one twice at a time, whatever happens', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c', 'd') }),
      fc.record({ kind: fc.constant('later' as const), key: fc.constantFrom('a', 'b', 'c', 'd'), ms: fc.nat(3000) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(2000) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.array(fc.record({ ms: fc.nat(1500), fails: fc.boolean() }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, calls, concurrency) => {
          const clock = new ManualClock();
          const changedAt = new Map<string, number>();
          const seenAt = new Map<string, number>();
          const inProcess = new Set<string>();
          let count = 0;
          const queue = new WorkQueue({
            clock,
            concurrency,
            baseMs: 100,
            maxMs: 1000,
            process: async (key) => {
              expect(inProcess.has(key), 'one key twice at a time').to.equal(false);
              inProcess.add(key);
              expect(inProcess.size).to.be.at.most(concurrency);
              seenAt.set(key, clock.now());
              const call = calls[count++];
              await new Promise<void>((resolve) => clock.after(call?.ms ?? 0, resolve));
              inProcess.delete(key);
              if (call?.fails === true) throw new Error('no');
              return undefined;
            },
          });
          queue.start();
          for (const step of steps) {
            if (step.kind === 'wait') await clock.advance(step.ms);
            else if (step.kind === 'later') queue.addAfter(step.key, step.ms);
            else {
              queue.add(step.key);
              changedAt.set(step.key, clock.now());
            }
          }
          await clock.advance(600_000);
          for (const [key, at] of changedAt) expect(seenAt.get(key)).to.be.at.least(at);
          expect(queue.depth + queue.running.length + clock.pending).to.equal(0);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** A queue on a clock of its own, and what it did. */
function queueWith(options: Partial<QueueOptions>) {
  const clock = new ManualClock();
  const started: string[] = [];
  const startedAt: number[] = [];
  const failures: number[] = [];
  const queue = new WorkQueue({
    process: () => Promise.resolve(undefined),
    concurrency: 2,
    clock,
    hooks: {
      onStart: (key) => {
        started.push(key);
        startedAt.push(clock.now());
      },
      onFailure: (_key, _durationMs, _error, failuresInARow) => failures.push(failuresInARow),
    },
    ...options,
  });
  return { queue, started, startedAt, failures, clock };
}
