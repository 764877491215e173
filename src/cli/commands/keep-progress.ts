import { bytes, count } from '../../report/words.ts';
import type { Io } from './io.ts';

/** What shows a copy while it goes. */
export interface KeepProgress {
  update(progress: { table: string; bytes: number; totalBytes: number }): void;
  /** Leaves the terminal as it was found. */
  stop(): void;
}

/** How often the line on a terminal is drawn anew, and how often a log hears that the copy is alive. */
const redrawMs = 120;
const logMs = 15_000;

/** One line that changes on a terminal; in a log, a line now and then. Written to `err`: the result alone goes to `out`. */
export function keepProgress(io: Io, now: () => number = Date.now): KeepProgress {
  const tables = new Map<string, { bytes: number; totalBytes: number }>();
  let shownAt = io.isTerminal ? 0 : now();
  let isDrawn = false;
  const text = (): string => {
    let [done, arrived, total] = [0, 0, 0];
    for (const table of tables.values()) {
      arrived += table.bytes;
      total += table.totalBytes;
      if (table.bytes >= table.totalBytes) done++;
    }
    return `copying: ${count(tables.size, 'table')} begun, ${done} of them whole, ${bytes(arrived)} of ${bytes(total)}`;
  };
  return {
    update: ({ table, ...progress }) => {
      tables.set(table, progress);
      if (now() - shownAt < (io.isTerminal ? redrawMs : logMs)) return;
      shownAt = now();
      isDrawn = io.isTerminal;
      io.err(io.isTerminal ? `\r${text().slice(0, io.columns() - 1)}\u001b[K` : `${text()}\n`);
    },
    stop: () => {
      if (isDrawn) io.err('\r\u001b[K');
      isDrawn = false;
    },
  };
}
