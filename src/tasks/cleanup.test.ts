import { expect } from 'chai';
import { ParityError } from '../support/error.ts';
import { cleanUp, incomplete, type Removal } from './cleanup.ts';

describe('cleaning up', () => {
  it('goes on past what cannot be removed, and names it with the command that would', async () => {
    const removed: string[] = [];
    const leftovers = await cleanUp(
      [
        removal('a', async () => void removed.push('a')),
        removal('b', async () => {
          throw new ParityError('AccessDenied', 'refused');
        }),
        removal('c', async () => void removed.push('c')),
      ],
      { timeoutMs: 5_000 },
    );
    expect(removed).to.deep.equal(['a', 'c']);
    expect(leftovers).to.deep.equal([
      { what: 'b', command: 'rm b', error: { code: 'AccessDenied', message: 'refused', isRetryable: false } },
    ]);
    expect(incomplete(leftovers).toJSON()).to.include({ code: 'CleanupIncomplete', advice: 'rm b' });
  });

  it('tries again what may pass', async () => {
    let calls = 0;
    const flaky = removal('a', async () => {
      if (calls++ === 0) throw new ParityError('Unreachable', 'no answer', { isRetryable: true });
    });
    expect(await cleanUp([flaky], { timeoutMs: 5_000 })).to.deep.equal([]);
  });

  it('does not wait for what never ends', async () => {
    const endless = removal('a', () => new Promise(() => undefined));
    const [late] = await cleanUp([endless], { timeoutMs: 20 });
    expect(late?.error.code).to.equal('Timeout');
    const stop = new AbortController();
    const stopping = cleanUp([endless], { timeoutMs: 60_000, signal: stop.signal });
    stop.abort();
    expect((await stopping)[0]?.error.code).to.equal('Cancelled');
  });
});

function removal(what: string, remove: Removal['remove']): Removal {
  return { what, remove, command: `rm ${what}` };
}
