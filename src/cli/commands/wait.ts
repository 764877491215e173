import { clean } from '../../report/terminal.ts';
import { env } from '../../support/env.ts';
import { toParityError } from '../../support/error.ts';
import { type Cluster, type ClusterFlags, openCluster, runNameOf } from '../cluster/access.ts';
import { type AttendFlags, attend, displayOf, sayEnding, summarizeStep } from '../cluster/attend.ts';
import type { Ending } from '../cluster/ending.ts';
import { type ReportFile, readReports, saveReports } from '../cluster/reports.ts';
import { exitCodeOf } from '../driver/events.ts';
import { listenForInterrupts } from '../driver/interrupts.ts';
import type { Io } from './io.ts';
import { errorLine } from './problems.ts';

export interface CollectFlags {
  /** Folder that the reports are brought to. */
  readonly reports?: string;
  readonly endpoint?: string;
}

export interface WaitFlags extends ClusterFlags, AttendFlags, CollectFlags {}

/**
 * `parity wait` and `parity watch`: wait for the end of a run, the second with the live view. Returns the exit code of its verdict.
 * Ctrl-C stops the waiting (exit code 3), never the run. Throws where the run has no verdict, as `followRun` says.
 */
export async function waitCommand(run: string, flags: WaitFlags, isShown: boolean, io: Io): Promise<number> {
  const name = runNameOf(run);
  const cluster = await openCluster(flags);
  const interrupts = listenForInterrupts(() => process.exit(3));
  try {
    const shown = isShown ? { display: displayOf(flags, io) } : {};
    const ending = await attend(cluster, name, flags, { ...shown, signal: interrupts.signal, io });
    sayEnding(ending, flags, io);
    await collectReports(cluster, ending, flags, io);
    return exitCodeOf(ending.verdict);
  } finally {
    interrupts.dispose();
    cluster.client.close();
  }
}

/** Brings the reports to a folder and writes a CI step's summary. Reports that cannot be read are said; the verdict stays. */
export async function collectReports(cluster: Cluster, ending: Ending, flags: CollectFlags, io: Io): Promise<void> {
  const isWanted = flags.reports !== undefined;
  const hasSummary = (env.stepSummary() ?? '') !== '';
  if (!isWanted && !hasSummary) return;
  let files: readonly ReportFile[] = [];
  try {
    files = await readReports(cluster, ending.run, flags.endpoint === undefined ? {} : { endpoint: flags.endpoint });
    if (flags.reports !== undefined) {
      for (const path of await saveReports(files, flags.reports, io.cwd)) io.err(`parity: wrote ${clean(path)}\n`);
    }
  } catch (error) {
    if (isWanted) io.err(`parity: the reports were not brought here: ${errorLine(toParityError(error)).slice(8)}\n`);
  }
  const markdown = files.find(({ name }) => name === 'report.md')?.content.toString();
  await summarizeStep(ending, markdown);
}
