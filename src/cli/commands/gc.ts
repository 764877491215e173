import { align, clean } from '../../report/terminal.ts';
import { count } from '../../report/words.ts';
import { type GcRun, gc } from '../driver/gc.ts';
import type { Io } from './io.ts';

export interface GcFlags {
  readonly dryRun?: boolean;
  readonly uid?: string;
  readonly kept?: boolean;
  readonly json?: boolean;
}

/** `parity gc`: removes what dead runs of this installation left. Returns 2 where something could not be removed. */
export async function gcCommand(flags: GcFlags, io: Io): Promise<number> {
  const { runs } = await gc({
    dryRun: flags.dryRun === true,
    ...(flags.uid === undefined ? {} : { uid: flags.uid }),
    ...(flags.kept === undefined ? {} : { kept: flags.kept }),
  });
  if (flags.json === true) io.out(`${JSON.stringify({ runs })}\n`);
  else io.out(lines(runs));
  return runs.some(({ result }) => result.kind === 'Incomplete') ? 2 : 0;
}

function lines(runs: readonly GcRun[]): string {
  if (runs.length === 0) return 'There is nothing to remove.\n';
  const rows = runs.map((run) => [run.uid, clean(run.name ?? '?'), run.createdAt ?? '', said(run)]);
  const details = runs.flatMap(({ result }) => {
    if (result.kind === 'WouldRemove') return result.things.map((thing) => `  would remove ${clean(thing)}`);
    if (result.kind !== 'Incomplete') return [];
    return result.leftovers.map(
      ({ what, error, command }) => `  ${clean(what)}: ${clean(error.message)}; remove it with: ${clean(command)}`,
    );
  });
  return `${[...align(rows, new Set()), ...details].join('\n')}\n`;
}

function said({ result, uid }: GcRun): string {
  switch (result.kind) {
    case 'Removed':
      return 'removed';
    case 'WouldRemove':
      return `${count(result.things.length, 'thing')} would be removed`;
    case 'Running':
      return `still running (process ${result.pid})`;
    case 'Kept':
      return `kept on purpose; remove it with: parity gc --uid ${uid}`;
    case 'Incomplete':
      return `${count(result.leftovers.length, 'thing')} could not be removed`;
  }
}
