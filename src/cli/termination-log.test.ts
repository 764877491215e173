import { expect } from 'chai';
import { registerSecret } from '../support/log.ts';
import { formatTerminationMessage, parseTerminationMessage } from './termination-log.ts';

describe("a task's termination message", () => {
  const error = { code: 'CorruptTable', message: 'its log is cut', isRetryable: false } as const;

  it('is read as it was written', () => {
    const messages = [
      { outcome: 'Succeeded', summary: { rows: 3, headline: 'all' } },
      { outcome: 'Failed', error, table: 'flights' },
    ] as const;
    for (const message of messages)
      expect(parseTerminationMessage(formatTerminationMessage(message))).to.deep.equal(message);
  });

  it('has at most 4 KiB, whatever is in it, and still says what failed', () => {
    const long = { ...error, message: '\u{1F6A8}"'.repeat(9_000), advice: 'x'.repeat(9_000) };
    const text = formatTerminationMessage({ outcome: 'Failed', error: long });
    expect(Buffer.byteLength(text)).to.be.at.most(4096);
    expect(parseTerminationMessage(text)).to.have.nested.property('error.code', 'CorruptTable');
  });

  it('has no secret in it', () => {
    registerSecret('hidden words of a test');
    const said = { ...error, message: 'denied for hidden words of a test' };
    expect(formatTerminationMessage({ outcome: 'Failed', error: said })).to.not.contain('hidden words');
  });

  it('is nothing where something else stands there', () => {
    for (const text of ['', 'panic', '{}', '{"outcome":"Failed"}', '{"outcome":"Succeeded"}'])
      expect(parseTerminationMessage(text)).to.equal(undefined);
  });
});
