import { expect } from 'chai';
import { ParityError } from './error.ts';
import { backoffMs, delay, retry, within } from './retry.ts';

const lost = new ParityError('Unreachable', 'no answer', { isRetryable: true });
const wrong = new ParityError('AccessDenied', 'wrong password');

describe('retrying', () => {
  const cases = [
    { what: 'gives up after its attempts', failures: [lost, lost, lost], attempts: 3, calls: 3, error: lost },
    { what: 'returns what a later attempt gives', failures: [lost, lost], attempts: 3, calls: 3, error: undefined },
    { what: 'does not repeat what cannot pass', failures: [wrong], attempts: 3, calls: 1, error: wrong },
  ] as const;
  for (const { what, failures, attempts, calls, error } of cases) {
    it(what, async () => {
      let made = 0;
      const result = await retry(
        async () => {
          const failure = failures[made++];
          if (failure !== undefined) throw failure;
          return 'fine';
        },
        { attempts, baseMs: 1 },
      ).catch((thrown: unknown) => thrown);
      expect(result).to.equal(error ?? 'fine');
      expect(made).to.equal(calls);
    });
  }

  it('stops waiting as soon as it is aborted', async () => {
    const stop = new AbortController();
    const waiting = delay(60_000, stop.signal).catch((error: unknown) => error);
    stop.abort();
    expect(await waiting).to.have.property('code', 'Cancelled');
  });

  it('waits longer each time, up to its bound, and never exactly as long as others', () => {
    for (let attempt = 1; attempt < 40; attempt++) {
      const bound = Math.min(1_000, 10 * 2 ** (attempt - 1));
      expect(backoffMs(attempt, { baseMs: 10, maxMs: 1_000 })).to.be.within(bound / 2, bound);
    }
  });

  it('bounds what would never end', async () => {
    const never = new Promise<void>(() => undefined);
    const error = await within(1, never, () => new ParityError('Timeout', 'too long')).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).to.have.property('code', 'Timeout');
  });
});
