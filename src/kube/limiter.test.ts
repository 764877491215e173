import { expect } from 'chai';
import { ManualClock } from './clock.fixture.ts';
import { systemClock } from './clock.ts';
import { RateLimiter } from './limiter.ts';

describe('the rate limiter', () => {
  it('lets the burst pass at once and the rest at its rate, in order', async () => {
    const { limiter, clock, passed, take } = limiterOf(10, 3);
    for (let i = 0; i < 6; i++) take(i);
    await clock.advance(0);
    expect(passed).to.deep.equal([0, 1, 2]);
    await clock.advance(100);
    expect(passed).to.deep.equal([0, 1, 2, 3]);
    await clock.advance(200);
    expect(passed).to.deep.equal([0, 1, 2, 3, 4, 5]);
    expect(limiter).to.be.instanceOf(RateLimiter);
  });

  it('gathers no more than its burst, however long nothing was sent', async () => {
    const { clock, passed, take } = limiterOf(10, 2);
    await clock.advance(3_600_000);
    for (let i = 0; i < 4; i++) take(i);
    await clock.advance(0);
    expect(passed).to.deep.equal([0, 1]);
  });

  it('sends nothing while it is paused', async () => {
    const { limiter, clock, passed, take } = limiterOf(10, 5);
    limiter.pauseMs(1000);
    take(0);
    take(1);
    await clock.advance(999);
    expect(passed).to.deep.equal([]);
    await clock.advance(1);
    expect(passed).to.deep.equal([0, 1]);
  });

  it('gives the place of one that was stopped to the next', async () => {
    const { limiter, clock, passed, take } = limiterOf(1, 1);
    take(0);
    const stop = new AbortController();
    const stopped = limiter.take(stop.signal).catch((error: unknown) => error);
    take(1);
    stop.abort();
    expect(await stopped).to.have.property('code', 'Cancelled');
    await clock.advance(1000);
    expect(passed).to.deep.equal([0, 1]);
  });
});

describe('the clock', () => {
  it('waits longer than a timer can hold', async () => {
    let isOver = false;
    const cancel = systemClock.after(40 * 24 * 3600 * 1000, () => {
      isOver = true;
    });
    await new Promise<void>((resolve) => systemClock.after(20, resolve));
    expect(isOver, 'setTimeout would end such a wait at once').to.equal(false);
    cancel();
  });
});

function limiterOf(perSecond: number, burst: number) {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ perSecond, burst, clock });
  const passed: number[] = [];
  const take = (i: number) => void limiter.take().then(() => passed.push(i));
  return { limiter, clock, passed, take };
}
