import { expect } from 'chai';
import { toParityError } from './error.ts';

describe('toParityError', () => {
  it('takes what an abort signal throws for a cancellation', () => {
    const signal = AbortSignal.abort();
    expect(toParityError(signal.reason).code).to.equal('Cancelled');
  });

  it('takes other errors for defects, with what they say', () => {
    expect(toParityError(new TypeError('x is not a function')).toJSON()).to.deep.include({
      code: 'Internal',
      message: 'x is not a function',
    });
  });
});
