import { appendFile } from 'node:fs/promises';
import { align, clean, verdictColor } from '../../report/terminal.ts';
import { count, number } from '../../report/words.ts';
import { env } from '../../support/env.ts';
import { log } from '../../support/log.ts';
import type { Io } from '../commands/io.ts';
import { type Display, liveDisplay, plainDisplay } from '../live.ts';
import { type Cluster, durationMs } from './access.ts';
import type { Ending } from './ending.ts';
import { followRun } from './follow.ts';
import { StatusEvents } from './status-events.ts';
import { followTasks } from './task-pods.ts';

export interface AttendFlags {
  readonly timeout?: string;
  readonly pickupTimeout?: string;
  readonly json?: boolean;
}

export const defaultTimeout = '24h';
export const defaultPickupTimeout = '2m';

/**
 * Waits for the end of a run with a display of what happens, or without. Throws as `followRun` does; `whatever happens, the terminal is as it was found.
 */
export async function attend(
  cluster: Cluster,
  name: string,
  flags: AttendFlags,
  options: { readonly display?: Display; readonly uid?: string; readonly signal: AbortSignal; readonly io: Io },
): Promise<Ending> {
  const { display, uid, signal, io } = options;
  const timeoutMs = durationMs('--timeout', flags.timeout ?? defaultTimeout);
  const pickupMs = durationMs('--pickup-timeout', flags.pickupTimeout ?? defaultPickupTimeout);
  const events = display === undefined ? undefined : new StatusEvents((event) => display.event(event));
  let tasks: ReturnType<typeof followTasks> | undefined;
  let blindness: string | undefined;
  try {
    const ending = await followRun(cluster, name, {
      timeoutMs,
      pickupMs,
      signal,
      ...(uid === undefined ? {} : { uid }),
      onChange: (run) => {
        events?.see(run);
        if (display === undefined || tasks !== undefined) return;
        tasks = followTasks(
          cluster,
          run.metadata.uid,
          (event) => display.event(event),
          (error) => {
            blindness = error.message;
          },
        );
      },
    });
    // Such a run has carried out all of its tasks.
    if (ending.verdict === 'Passed' || ending.verdict === 'Failed') tasks?.finish();
    return ending;
  } finally {
    await tasks?.stop();
    display?.stop();
    if (blindness !== undefined) io.err(`parity: single tasks were not shown: ${clean(blindness)}\n`);
  }
}

export function displayOf(flags: AttendFlags, io: Io): Display {
  if (flags.json === true) return { event: (event) => io.out(`${JSON.stringify(event)}\n`), stop: () => undefined };
  if (!io.isTerminal) return plainDisplay((line) => io.out(`${line}\n`));
  return liveDisplay({ write: io.out, columns: io.columns }, { color: io.isColored });
}

/** Says how the run ended: a few lines for people, or one of JSON. */
export function sayEnding(ending: Ending, flags: AttendFlags, io: Io): void {
  io.out(flags.json === true ? `${JSON.stringify(endingJson(ending))}\n` : endingText(ending, io));
}

function endingJson({ run, verdict, message }: Ending) {
  const { name, namespace, uid } = run.metadata;
  const { result, conditions = [], startTime, completionTime } = run.status ?? {};
  return {
    type: 'Result',
    time: new Date().toISOString(),
    run: { name, namespace, uid },
    verdict,
    message,
    startTime: startTime ?? null,
    completionTime: completionTime ?? null,
    tables: result?.tables ?? null,
    differences: result?.differences ?? null,
    queries: result?.queries ?? null,
    fingerprint: result?.fingerprint ?? null,
    report: result?.report ?? null,
    errors: run.status?.tasks?.failures ?? [],
    conditions,
  };
}

function endingText({ run, verdict, message }: Ending, io: Io): string {
  const rows = resultRows(run.status?.result);
  const lines = align(rows, new Set()).map((line) => `  ${line}`);
  const failures = failureLines(run).map((line) => `${io.paint('red', '✗')} ${line}`);
  const above = [...failures, ...lines];
  const head = `${io.paint(verdictColor[verdict], verdict)}  ${clean(run.metadata.name)}: ${clean(message)}`;
  return ['', ...above, ...(above.length === 0 ? [] : ['']), head, ''].join('\n');
}

/** The tasks that failed for good, each with what to do. */
export function failureLines({ status }: Ending['run']): string[] {
  return (status?.tasks?.failures ?? []).map(
    ({ task, message, advice }) =>
      `${clean(task)}: ${clean(message.replace(/\.$/, ''))}${advice === undefined ? '' : ` — ${clean(advice)}`}`,
  );
}

/** What a run came to, as rows of a name and a text. */
export function resultRows(result: NonNullable<Ending['run']['status']>['result']): string[][] {
  if (result === undefined) return [];
  const { tables, queries, differences, fingerprint, report } = result;
  return [
    ...(tables === undefined
      ? []
      : [['tables', `${number(tables.matched ?? 0)} equal, ${number(tables.differing ?? 0)} differ`]]),
    ...(queries === undefined
      ? []
      : [['queries', `${number(queries.passed ?? 0)} passed, ${number(queries.failed ?? 0)} failed`]]),
    ...(differences === undefined ? [] : [['differences', number(differences)]]),
    ...(fingerprint === undefined ? [] : [['fingerprint', clean(fingerprint)]]),
    ...(report === undefined ? [] : [['report', clean(report)]]),
  ];
}

/** The step summary of a CI job: the run's own Markdown report, or what its status says. One that cannot be written takes nothing from the run. */
export async function summarizeStep(ending: Ending, markdown: string | undefined): Promise<void> {
  const file = env.stepSummary();
  if (file === undefined || file === '') return;
  await appendFile(file, markdown ?? statusMarkdown(ending)).catch((error) =>
    log.warn('the step summary could not be written', { file, error }),
  );
}

function statusMarkdown({ run, verdict, message }: Ending): string {
  const mark = { Passed: '✅', Failed: '❌', Errored: '💥', Cancelled: '⏹️' }[verdict];
  const plain = (text: string) => clean(text).replace(/[\\`*_{}[\]<>|]/g, '\\$&');
  const rows = resultRows(run.status?.result).map(([name = '', text = '']) => `| ${name} | ${plain(text)} |`);
  const { tables } = run.status?.snapshot ?? {};
  const size = tables?.count === undefined ? [] : [`${count(tables.count, 'table')} copied.`, ''];
  return [
    `## ${mark} ${plain(run.metadata.name)}: ${verdict}`,
    '',
    plain(message),
    '',
    ...failureLines(run).map((line) => `- ${plain(line)}`),
    ...(failureLines(run).length === 0 ? [] : ['']),
    ...size,
    ...(rows.length === 0 ? [] : ['| | |', '|---|---|', ...rows, '']),
  ].join('\n');
}
