import { expect } from 'chai';
import { forEachBounded, mapBounded } from './pool.ts';

describe('work on many items, so many at once', () => {
  it('never runs more than the limit, and does all', async () => {
    let [running, most] = [0, 0];
    const done: number[] = [];
    const work = async (item: number) => {
      running += 1;
      most = Math.max(most, running);
      await Promise.resolve();
      running -= 1;
      done.push(item);
    };
    const items = Array.from({ length: 100 }, (_, n) => n);
    await forEachBounded(items, 7, work);
    expect(most).to.equal(7);
    expect(new Set(done)).to.deep.equal(new Set(items));
  });

  it('starts nothing after a failure, waits for what runs, and lets a generator clean up', async () => {
    const { promise: slow, resolve: finish } = Promise.withResolvers<void>();
    let [closed, ended, started] = [false, false, 0];
    async function* items() {
      try {
        for (let n = 0; ; n++) yield n;
      } finally {
        closed = true;
      }
    }
    const all = forEachBounded(items(), 2, async (item) => {
      started += 1;
      if (item === 1) {
        // The other one ends only after this has failed.
        setImmediate(finish);
        throw new Error('no');
      }
      await slow;
      ended = true;
    });
    const error = await all.catch((thrown: unknown) => thrown);
    expect(error).to.have.property('message', 'no');
    expect([closed, ended, started]).to.deep.equal([true, true, 2]);
  });

  it('stops when it is asked to', async () => {
    const stop = new AbortController();
    let seen = 0;
    const error = await forEachBounded(
      [1, 2, 3],
      1,
      async () => {
        seen += 1;
        stop.abort();
      },
      stop.signal,
    ).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('code', 'Cancelled');
    expect(seen).to.equal(1);
  });

  it('gives results in the order of the items', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const results = await mapBounded(['a', 'b'], 2, async (item) => {
      if (item === 'a') await promise;
      else resolve();
      return item.toUpperCase();
    });
    expect(results).to.deep.equal(['A', 'B']);
  });
});
