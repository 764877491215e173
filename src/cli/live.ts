import { align, clean, type Paint, painter } from '../report/terminal.ts';
import { bytes, count, duration, number } from '../report/words.ts';
import type { Phase } from '../run/phase.ts';
import type { Task } from '../run/types.ts';
import type { Progress } from '../tasks/task.ts';
import type { RunEvent } from './driver/events.ts';

/** What shows a run while it goes. `stop` leaves the terminal as it was found. */
export interface Display {
  event(event: RunEvent): void;
  stop(): void;
}

export interface Screen {
  write(text: string): void;
  columns(): number;
}

/** Redraws: often enough to look alive, seldom enough to cost nothing. */
const redrawMs = 120;
const mostLines = 12;

/** For terminals: what is done scrolls by, what is running stays below it, by table, with rows and bytes. */
export function liveDisplay(screen: Screen, options: { color: boolean }): Display {
  const paint = painter(options.color);
  const state = new LiveState();
  let drawn = 0;
  const erase = () => {
    if (drawn > 0) screen.write(`\u001b[${drawn}A\u001b[0J`);
    drawn = 0;
  };
  const draw = () => {
    const lines = state.lines(screen.columns(), Date.now());
    erase();
    if (lines.length > 0) screen.write(`${lines.join('\n')}\n`);
    drawn = lines.length;
  };
  const timer = setInterval(draw, redrawMs);
  timer.unref();
  screen.write('\u001b[?25l');
  return {
    event: (event) => {
      state.add(event);
      const line = eventLine(event, paint);
      if (line === undefined) return;
      erase();
      screen.write(`${line}\n`);
      draw();
    },
    stop: () => {
      clearInterval(timer);
      erase();
      screen.write('\u001b[?25h');
    },
  };
}

/** For logs and pipes: a line for each thing that happens, and now and then one for a task that takes long. */
export function plainDisplay(write: (line: string) => void): Display {
  const paint = painter(false);
  const said = new Map<string, number>();
  return {
    event: (event) => {
      if (event.type === 'TaskProgress') {
        const key = `${event.taskId}/${event.progress.table ?? ''}`;
        const now = Date.parse(event.time);
        const last = said.get(key) ?? now;
        if (!said.has(key)) said.set(key, now);
        if (now - last < plainProgressMs) return;
        said.set(key, now);
        write(`  ${event.taskId}: ${progressText(event.progress)}`);
        return;
      }
      const line = eventLine(event, paint);
      if (line !== undefined) write(line);
      if (event.type === 'TaskStarted') write(`  ${title(event.task)} …`);
    },
    stop: () => undefined,
  };
}

/** How often a long task says in a log that it is alive. */
const plainProgressMs = 15_000;

/** What is running, by task and table. */
export class LiveState {
  #phase: Phase = 'Pending';
  #total = 0;
  #done = 0;
  #startedMs: number | undefined;
  readonly #running = new Map<string, { task: Task; startedMs: number; tables: Map<string, Progress> }>();

  add(event: RunEvent): void {
    this.#startedMs ??= Date.parse(event.time);
    switch (event.type) {
      case 'Planned':
        this.#total = event.tasks.length;
        return;
      case 'Phase':
        this.#phase = event.phase;
        return;
      case 'TaskStarted':
        this.#running.set(event.task.id, { task: event.task, startedMs: Date.parse(event.time), tables: new Map() });
        return;
      case 'TaskProgress':
        this.#running.get(event.taskId)?.tables.set(event.progress.table ?? '', event.progress);
        return;
      case 'TaskFinished':
        this.#done++;
        this.#running.delete(event.task.id);
        return;
      case 'TaskFailed':
        this.#running.delete(event.task.id);
        return;
      case 'RunStarted':
      case 'Cancelling':
      case 'Verdict':
      case 'CleanedUp':
        return;
    }
  }

  /** The lines for a terminal of this width. Never wider, never more than a dozen. */
  lines(columns: number, nowMs: number): string[] {
    if (this.#phase === 'Finished' || this.#startedMs === undefined) return [];
    const rows = [...this.#running.values()].flatMap(({ task, startedMs, tables }) => {
      const since = duration(Math.max(0, nowMs - startedMs) / 1000);
      const latest = [...tables.values()].slice(-3);
      if (latest.length === 0) return [[clean(title(task)), '', since]];
      return latest.map((progress) => [clean(title(task, progress.table)), progressText(progress), since]);
    });
    const shown = align(rows.slice(0, mostLines), new Set([2]));
    const rest = rows.length > mostLines ? [`… and ${number(rows.length - mostLines)} more`] : [];
    const head = `${this.#phase}: ${number(this.#done)} of ${count(this.#total, 'task')}, ${duration((nowMs - this.#startedMs) / 1000)}`;
    return [head, ...[...shown, ...rest].map((line) => `  ${line}`)].map((line) => cut(line, columns));
  }
}

/** The line that an event leaves behind; undefined for what only moves. */
export function eventLine(event: RunEvent, paint: Paint): string | undefined {
  switch (event.type) {
    case 'RunStarted':
      return `${paint('bold', clean(event.run.name))} ${event.isResumed ? 'continues' : 'starts'} as run ${event.run.uid}`;
    case 'TaskFinished':
      return `${paint('green', '✓')} ${clean(title(event.task))} ${paint('dim', finished(event))}`;
    case 'TaskFailed':
      if (event.error.code === 'Cancelled') return `- ${clean(title(event.task))} stopped`;
      return `${paint('red', '✗')} ${clean(title(event.task, event.table))}: ${clean(event.error.message)}${event.willRetry ? ' (trying again)' : ''}`;
    case 'Cancelling':
      return event.isHurried
        ? 'Stopping at once and cleaning up; press Ctrl-C again to leave the rest to parity gc.'
        : 'Stopping, reporting and cleaning up; press Ctrl-C again to hurry.';
    case 'Planned':
    case 'Phase':
    case 'TaskStarted':
    case 'TaskProgress':
    case 'Verdict':
    case 'CleanedUp':
      return undefined;
  }
}

/** What a task does, in words; of several tables the one that is meant, else the first and how many more. */
export function title(task: Task, table?: string): string {
  const { input } = task;
  const tables = table ?? ('tables' in input ? some(input.tables) : '');
  switch (input.kind) {
    case 'resolve':
      return 'read the logs of the lake';
    case 'snapshot':
      return `copy ${tables}`;
    case 'provision':
      return `start source ${input.source}`;
    case 'rehydrate':
      return `load ${tables} into ${input.source}`;
    case 'advance':
      return `${input.step}: advance ${tables} in ${input.source}`;
    case 'sync':
      return `${input.step}: ${input.pipeline} syncs ${tables} from ${input.source} (${input.mode})`;
    case 'compare':
      return `${input.step}: compare ${tables}${input.source === undefined ? '' : ` (${input.source})`}`;
    case 'query':
      return `${input.step}: run ${some(input.queries)} on both sides`;
    case 'report':
      return 'write the report';
    case 'cleanup':
      return 'clean up';
  }
}

export function progressText(progress: Progress): string {
  const { rows, totalRows, bytes: size, totalBytes, note } = progress;
  const parts = [
    ...(rows === undefined ? [] : [`${number(rows)}${totalRows === undefined ? '' : ` of ${number(totalRows)}`} rows`]),
    ...(size === undefined ? [] : [`${bytes(size)}${totalBytes === undefined ? '' : ` of ${bytes(totalBytes)}`}`]),
    ...(note === undefined ? [] : [clean(note)]),
  ];
  return parts.join(', ');
}

function finished({ summary, durationMs, attempt }: Extract<RunEvent, { type: 'TaskFinished' }>): string {
  const { rows, bytes: size, differences, headline } = summary;
  const parts = [
    ...(rows === undefined ? [] : [count(rows, 'row')]),
    ...(size === undefined ? [] : [bytes(size)]),
    ...(differences === undefined ? [] : [differences === 0 ? 'no differences' : count(differences, 'difference')]),
    ...(headline === undefined || differences === 0 ? [] : [clean(headline)]),
    duration(durationMs / 1000),
    ...(attempt > 1 ? [`attempt ${attempt}`] : []),
  ];
  return parts.join(', ');
}

function some(names: readonly string[]): string {
  const [first = '', second] = names;
  if (names.length <= 1) return first;
  return names.length === 2 ? `${first} and ${second}` : `${first} and ${number(names.length - 1)} more`;
}

function cut(line: string, columns: number): string {
  const characters = [...line];
  return characters.length < columns ? line : `${characters.slice(0, Math.max(0, columns - 2)).join('')}…`;
}
