import { type Paint, painter } from '../../report/terminal.ts';

/** Where a command writes: results to `out`, everything else to `err`. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** Whether people look at `out` as it is written. */
  readonly isTerminal: boolean;
  readonly columns: () => number;
  readonly paint: Paint;
  readonly isColored: boolean;
  readonly cwd: string;
}

/** 64, of sysexits.h: the command line or the manifest is wrong. */
export const badUsageCode = 64;

/** The process's own streams. A reader that goes away (`parity … | head`) ends nothing: what runs is still cleaned up. */
export function processIo(): Io {
  const { stdout, stderr } = process;
  for (const stream of [stdout, stderr]) stream.on('error', ignoreBrokenPipe);
  // https://no-color.org
  const isColored = stdout.isTTY === true && stdout.getColorDepth() > 1;
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    isTerminal: stdout.isTTY === true,
    columns: () => stdout.columns ?? 80,
    paint: painter(isColored),
    isColored,
    cwd: process.cwd(),
  };
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
