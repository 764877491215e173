import { expect } from 'chai';
import { painter } from '../../report/terminal.ts';
import type { Io } from './io.ts';
import { keepProgress } from './keep-progress.ts';

describe('the progress of keeping a snapshot', () => {
  it('is one line on a terminal, drawn anew, and wiped at the end', () => {
    const { io, written, at } = screen(true);
    const progress = keepProgress(io, at);
    progress.update({ table: 'flights', bytes: 1_000_000, totalBytes: 4_000_000 });
    at.ms += 50;
    progress.update({ table: 'flights', bytes: 1_500_000, totalBytes: 4_000_000 });
    at.ms += 200;
    progress.update({ table: 'planes', bytes: 10, totalBytes: 10 });
    progress.stop();
    expect(written).to.have.length(3);
    expect(written[0]).to.include('\rcopying: 1 table begun, 0 of them whole');
    expect(written[1]).to.match(/^\rcopying: 2 tables begun, 1 of them whole/);
    expect(written[2]).to.equal('\r\u001b[K');
  });

  it('is a line now and then in a log, and nothing for a short copy', () => {
    const { io, written, at } = screen(false);
    const progress = keepProgress(io, at);
    progress.update({ table: 'flights', bytes: 1, totalBytes: 4 });
    at.ms += 20_000;
    progress.update({ table: 'flights', bytes: 4, totalBytes: 4 });
    progress.stop();
    expect(written).to.have.length(1);
    expect(written[0]).to.match(/^copying: 1 table begun, 1 of them whole.*\n$/);
  });
});

function screen(isTerminal: boolean): { io: Io; written: string[]; at: (() => number) & { ms: number } } {
  const written: string[] = [];
  const at = Object.assign(() => at.ms, { ms: 1_000_000 });
  const io: Io = {
    out: () => undefined,
    err: (text) => void written.push(text),
    isTerminal,
    columns: () => 80,
    paint: painter(false),
    isColored: false,
    cwd: '/',
  };
  return { io, written, at };
}
