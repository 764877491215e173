import { expect } from 'chai';
import fc from 'fast-check';
import { ManualClock } from '../../src/kube/clock.fixture.ts';
import type { Clock } from '../../src/kube/clock.ts';
import { KubeError } from '../../src/kube/error.ts';
import { type LeaseRecord, type LeaseStore, leadOnce } from './lease.ts';

/** Elections in simulated time, where hours of bad luck take a second; test/faults has them on a real API server. */
describe('leader election', () => {
  it('never has two leaders, and has one once the network is well again, whatever it does', async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(
        fc.array(weather, { minLength: 1, maxLength: 200 }),
        fc.array(
          fc.record({ driftPercent: fc.integer({ min: -10, max: 10 }), pauses: fc.array(pause, { maxLength: 3 }) }),
          {
            minLength: 2,
            maxLength: 3,
          },
        ),
        async (conditions, candidates) => {
          const world = new World(conditions);
          const stop = new AbortController();
          const runs = candidates.map(async ({ driftPercent, pauses }, index) => {
            const own = new OwnClock(world.clock, 1 + driftPercent / 100, pauses);
            while (!stop.signal.aborted) {
              await leadOnce({ store: world.store(`c${index}`, own), clock: own }, stop.signal, async (leadership) => {
                world.leaders.set(index, leadership.check);
                await new Promise<void>((resolve) => {
                  leadership.signal.addEventListener('abort', () => resolve(), { once: true });
                  stop.signal.addEventListener('abort', () => resolve(), { once: true });
                });
                world.leaders.delete(index);
              });
            }
          });
          for (let second = 0; second < 300; second += 0.5) {
            await world.clock.advance(500);
            expect(world.leading().length, `leaders after ${second} s`).to.be.at.most(1);
          }
          world.isWell = true;
          await world.clock.advance(120_000);
          expect(world.leading(), 'leaders once the network is well').to.have.length(1);
          stop.abort();
          await world.clock.advance(60_000);
          await Promise.all(runs);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('stops before another can lead when no reply comes any more', async () => {
    const world = new World([]);
    const stop = new AbortController();
    const a = start(world, 'a', stop.signal);
    await world.clock.advance(1000);
    expect(a.check).to.not.throw();
    world.isCut.add('a');
    const b = start(world, 'b', stop.signal);
    await world.clock.advance(9_000);
    expect(a.check).to.not.throw();
    await world.clock.advance(2_000);
    expect(a.check).to.throw(/does not lead any more/);
    expect(a.signal()?.aborted).to.equal(true);
    expect(b.signal(), 'the other waits on').to.equal(undefined);
    await world.clock.advance(10_000);
    expect(b.check).to.not.throw();
    stop.abort();
  });

  it('knows after a pause that it leads no more, before any timer has fired', async () => {
    const world = new World([]);
    const stop = new AbortController();
    const own = new OwnClock(world.clock, 1, [{ fromMs: 5_000, forMs: 60_000 }]);
    const a = start(world, 'a', stop.signal, own);
    await world.clock.advance(30_000);
    expect(a.signal()?.aborted, 'no timer fires in the pause').to.equal(false);
    expect(a.check).to.throw(/does not lead any more/);
    stop.abort();
  });

  it('frees the lease for the next one when its work has ended', async () => {
    const world = new World([]);
    const first = new AbortController();
    const a = start(world, 'a', first.signal);
    await world.clock.advance(1000);
    const stop = new AbortController();
    const b = start(world, 'b', stop.signal);
    await world.clock.advance(5000);
    expect(b.signal()).to.equal(undefined);
    first.abort();
    await world.clock.advance(3000);
    expect(await a.outcome).to.equal('Stopped');
    expect(b.check).to.not.throw();
    stop.abort();
  });

  it('who saw a leader waits for its time although the lease was deleted', async () => {
    const world = new World([]);
    const stop = new AbortController();
    const a = start(world, 'a', stop.signal);
    await world.clock.advance(1000);
    const b = start(world, 'b', stop.signal);
    await world.clock.advance(3000);
    world.isCut.add('a');
    world.record = undefined;
    await world.clock.advance(6000);
    expect(a.check).to.not.throw();
    expect(b.signal()).to.equal(undefined);
    await world.clock.advance(12_000);
    expect(a.check).to.throw();
    expect(b.check).to.not.throw();
    stop.abort();
  });

  it('stops at once when the lease was given to another by hand', async () => {
    const world = new World([]);
    const stop = new AbortController();
    const a = start(world, 'a', stop.signal);
    await world.clock.advance(1000);
    world.record = { version: 'by hand', holder: 'b', leaseMs: 15_000, transitions: 1 };
    await world.clock.advance(2500);
    expect(a.signal()?.aborted).to.equal(true);
    expect(world.record.holder).to.equal('b');
    expect(await a.outcome).to.equal('Lost');
    stop.abort();
  });

  it('hands on what the work throws, with the lease freed', async () => {
    const world = new World([]);
    const led = leadOnce(
      { store: world.store('a', world.clock), clock: world.clock },
      new AbortController().signal,
      () => Promise.reject(new Error('a bug')),
    );
    const thrown = led.catch((error: unknown) => String(error));
    await world.clock.advance(1000);
    expect(await thrown).to.equal('Error: a bug');
    expect(world.record?.holder).to.equal('');
  });
});

/** What happens to one request: how long it takes to the server and back, and whether it or its reply gets lost. */
const weather = fc.record({
  thereMs: fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 50 }) },
    { weight: 1, arbitrary: fc.nat(25_000) },
  ),
  backMs: fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 50 }) }, { weight: 1, arbitrary: fc.nat(25_000) }),
  isLost: fc.boolean(),
  isReplyLost: fc.boolean(),
});
const pause = fc.record({ fromMs: fc.nat(300_000), forMs: fc.nat(60_000) });

type Weather = typeof weather extends fc.Arbitrary<infer T> ? T : never;

/** One server with a record that is changed as the API server changes a Lease, and the network to it. */
class World {
  readonly clock = new ManualClock();
  readonly leaders = new Map<number, () => void>();
  readonly isCut = new Set<string>();
  isWell = false;
  record: LeaseRecord | undefined;
  readonly #conditions: readonly Weather[];
  #requests = 0;
  #version = 0;

  constructor(conditions: readonly Weather[]) {
    this.#conditions = conditions;
  }

  leading(): readonly number[] {
    return [...this.leaders].filter(([, check]) => passes(check)).map(([index]) => index);
  }

  store(identity: string, clock: Clock): LeaseStore {
    const { send } = this;
    return {
      identity,
      read: () => send(identity, clock, () => this.record),
      create: ({ holder, leaseMs }) =>
        send(identity, clock, () => {
          if (this.record !== undefined) throw new KubeError('AlreadyExists', 'it exists');
          return this.#stored({ holder, leaseMs, transitions: 0 });
        }),
      update: (record, { holder, leaseMs }) =>
        send(identity, clock, () => {
          if (this.record === undefined) throw new KubeError('NotFound', 'it is gone');
          if (this.record.version !== record.version) throw new KubeError('Conflict', 'it has changed');
          return this.#stored({ holder, leaseMs, transitions: record.transitions + 1 });
        }),
    };
  }

  #stored(record: Omit<LeaseRecord, 'version'>): LeaseRecord {
    this.record = { ...record, version: String(++this.#version) };
    return this.record;
  }

  /** The request's result; a `Timeout` after 3 s by the candidate's clock, although the request may still arrive. */
  readonly send = <T>(from: string, clock: Clock, execute: () => T): Promise<T> =>
    new Promise((resolve, reject) => {
      clock.after(3000, () => reject(new KubeError('Timeout', 'no answer')));
      const luck = this.isWell ? undefined : this.#conditions[this.#requests++ % Math.max(1, this.#conditions.length)];
      // Half of what could be lost is: else nobody would ever lead.
      if (this.isCut.has(from) || (luck?.isLost === true && luck.isReplyLost)) return;
      this.clock.after(luck?.thereMs ?? 1, () => {
        const reply = attempted(execute);
        if (luck?.isReplyLost === true || this.isCut.has(from)) return;
        // A reply is read by the candidate's own program, which may be paused.
        this.clock.after(luck?.backMs ?? 1, () =>
          clock.after(0, () => (reply.isDone ? resolve(reply.value) : reject(reply.error))),
        );
      });
    });
}

/** A candidate's clock: faster or slower than the world's, and without timers while its process is paused. */
class OwnClock implements Clock {
  readonly #world: ManualClock;
  readonly #rate: number;
  readonly #pauses: readonly { readonly fromMs: number; readonly forMs: number }[];

  constructor(
    world: ManualClock,
    rate: number,
    pauses: readonly { readonly fromMs: number; readonly forMs: number }[],
  ) {
    this.#world = world;
    this.#rate = rate;
    this.#pauses = pauses;
  }

  now(): number {
    return this.#world.now() * this.#rate;
  }

  after(ms: number, call: () => void): () => void {
    let cancel = () => {};
    const whenAwake = () => {
      const now = this.#world.now();
      const asleep = this.#pauses.find(({ fromMs, forMs }) => now >= fromMs && now < fromMs + forMs);
      if (asleep === undefined) call();
      else cancel = this.#world.after(asleep.fromMs + asleep.forMs - now, whenAwake);
    };
    cancel = this.#world.after(ms / this.#rate, whenAwake);
    return () => cancel();
  }
}

/** One candidate that works until its signal aborts. */
function start(world: World, identity: string, signal: AbortSignal, clock: Clock = world.clock) {
  let leads: { readonly signal: AbortSignal; readonly check: () => void } | undefined;
  const outcome = leadOnce({ store: world.store(identity, clock), clock }, signal, (leadership) => {
    leads = leadership;
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      leadership.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  });
  return {
    outcome,
    signal: () => leads?.signal,
    check: () => {
      if (leads === undefined) throw new Error('it was never elected');
      leads.check();
    },
  };
}

function attempted<T>(
  execute: () => T,
): { readonly isDone: true; readonly value: T } | { readonly isDone: false; readonly error: unknown } {
  try {
    return { isDone: true, value: execute() };
  } catch (error) {
    return { isDone: false, error };
  }
}

function passes(check: () => void): boolean {
  return attempted(check).isDone;
}
