import { appendFile } from 'node:fs/promises';
import { toMarkdown } from '../../report/markdown.ts';
import { toTerminal } from '../../report/terminal.ts';
import { env } from '../../support/env.ts';
import { ParityError } from '../../support/error.ts';
import { log } from '../../support/log.ts';
import type { ReportDetail } from '../../tasks/report.ts';
import { isReportDetail } from '../../tasks/report-detail.ts';
import { exitCodeOf, type RunEvent, type RunOutcome } from '../driver/events.ts';
import { listenForInterrupts } from '../driver/interrupts.ts';
import { resumeLocally, runLocally } from '../driver/run.ts';
import { type Display, liveDisplay, plainDisplay } from '../live.ts';
import type { Io } from './io.ts';
import { type LoadFlags, load } from './load.ts';
import { errorLine } from './problems.ts';

export interface RunFlags extends LoadFlags {
  readonly keep?: boolean;
  readonly json?: boolean;
  readonly resume?: string;
}

/** `parity run`. Returns the exit code, which is the verdict's whatever became of report and cleanup. */
export async function runCommand(manifest: string | undefined, flags: RunFlags, io: Io): Promise<number> {
  const interrupts = listenForInterrupts(() => process.exit(3));
  const display = displayFor(flags, io);
  let outcome: RunOutcome;
  try {
    const options = {
      onEvent: (event: RunEvent) => display.event(event),
      signal: interrupts.signal,
      hurry: interrupts.hurry,
      ...(flags.keep === undefined ? {} : { keep: flags.keep }),
    };
    outcome = await start(manifest, flags, io, options);
  } finally {
    display.stop();
    interrupts.dispose();
  }
  const detail = reportOf(outcome);
  if (flags.json === true) io.out(`${JSON.stringify(result(outcome, detail))}\n`);
  else io.out(ending(outcome, detail, io));
  await summarizeStep(detail);
  warn(outcome, io);
  return exitCodeOf(outcome.verdict);
}

async function start(
  manifest: string | undefined,
  flags: RunFlags,
  io: Io,
  options: Parameters<typeof runLocally>[1],
): Promise<RunOutcome> {
  if (flags.resume !== undefined) {
    if (manifest === undefined && flags.set === undefined && flags.plan === undefined && flags.reports === undefined) {
      return await resumeLocally(flags.resume, options);
    }
    throw new ParityError('BadUsage', 'a run that is resumed keeps its manifest', {
      advice: `Leave the manifest and its settings out: parity run --resume ${flags.resume}`,
    });
  }
  if (manifest === undefined) {
    throw new ParityError('BadUsage', 'parity run needs a manifest', {
      advice: 'Name its file, for example: parity run examples/flights/run.yaml',
    });
  }
  return await runLocally(await load(manifest, flags, io, { isCarriedOutHere: true }), options);
}

function displayFor(flags: RunFlags, io: Io): Display {
  if (flags.json === true) {
    return { event: (event) => io.out(`${JSON.stringify(event)}\n`), stop: () => undefined };
  }
  if (!io.isTerminal) return plainDisplay((line) => io.out(`${line}\n`));
  return liveDisplay({ write: io.out, columns: io.columns }, { color: io.isColored });
}

function reportOf({ report }: RunOutcome): ReportDetail | undefined {
  return isReportDetail(report) ? report : undefined;
}

/** The last line of `--json`: how it ended, without the report itself, which lies where it says. */
function result(outcome: RunOutcome, detail: ReportDetail | undefined) {
  const { run, verdict, message, errors, cleanup, conditions } = outcome;
  return {
    type: 'Result',
    time: new Date().toISOString(),
    run,
    verdict,
    message,
    headline: detail?.report.headline ?? null,
    counts: detail?.report.counts ?? null,
    fingerprint: detail?.report.fingerprint ?? null,
    reports: detail?.written ?? [],
    errors,
    conditions,
    cleanup,
  };
}

function ending(outcome: RunOutcome, detail: ReportDetail | undefined, io: Io): string {
  if (detail !== undefined) {
    const written = detail.written.map(({ url }) => url);
    return toTerminal(detail.report, { color: io.isColored, written });
  }
  const errors = outcome.errors.map(({ error }) => errorLine(error));
  return ['', ...errors, `${outcome.verdict}  ${outcome.run.name}: ${outcome.message}`, ''].join('\n');
}

/** The step summary of a CI job. A summary that cannot be written takes nothing from the run. */
async function summarizeStep(detail: ReportDetail | undefined): Promise<void> {
  const file = env.stepSummary();
  if (file === undefined || file === '' || detail === undefined) return;
  await appendFile(file, toMarkdown(detail.report)).catch((error) =>
    log.warn('the step summary could not be written', { file, error }),
  );
}

function warn({ cleanup, run }: RunOutcome, io: Io): void {
  switch (cleanup.kind) {
    case 'Removed':
      return;
    case 'Kept':
      io.err(
        `parity: run ${run.uid} was kept in ${cleanup.workspace} and ${cleanup.runDir}; remove it with: ${cleanup.command}\n`,
      );
      return;
    case 'Incomplete':
      for (const { what, error, command } of cleanup.leftovers) {
        io.err(`parity: ${what} could not be removed: ${error.message}; remove it with: ${command}\n`);
      }
      io.err(`parity: try the whole cleanup again with: ${cleanup.command}\n`);
      return;
  }
}
