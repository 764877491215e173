import { align, clean, type Paint, painter } from '../report/terminal.ts';
import { bytes, count, duration, number } from '../report/words.ts';
import type { Phase } from '../run/phase.ts';
import type { Condition, Task, TaskId } from '../run/types.ts';
import type { Progress } from '../tasks/task.ts';
import { taskTitle } from '../tasks/title.ts';
import type { RunEvent } from './driver/events.ts';

/** A task of which only its name is known: what runs in a cluster says no more. */
export interface NamedTask {
  readonly id: TaskId;
  /** What it does, in words. */
  readonly title: string;
}

/** An event of this machine's driver, or what can be seen of a run in a cluster. */
export type ShownEvent = Shown<RunEvent> | ({ readonly time: string } & ClusterHappening);

type Shown<Event> = Event extends { readonly task: Task }
  ? Omit<Event, 'task'> & { readonly task: Task | NamedTask }
  : Event;

type ClusterHappening =
  | {
      readonly type: 'Following';
      readonly run: { readonly name: string; readonly namespace: string; readonly uid: string };
    }
  /** How many tasks have ended well, of how many. */
  | { readonly type: 'Counted'; readonly done: number; readonly total: number }
  /** A remark for people. */
  | { readonly type: 'Said'; readonly text: string }
  /** A condition has become what it will stay, or the run is stalled. */
  | { readonly type: 'ConditionChanged'; readonly condition: Condition };

/** What shows a run while it goes. `stop` leaves the terminal as it was found. */
export interface Display {
  event(event: ShownEvent): void;
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
  #isCounted = false;
  #startedMs: number | undefined;
  readonly #running = new Map<string, { task: Task | NamedTask; startedMs: number; tables: Map<string, Progress> }>();

  add(event: ShownEvent): void {
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
        // Whoever counts them has counted this one, or will.
        if (!this.#isCounted) this.#done++;
        this.#running.delete(event.task.id);
        return;
      case 'TaskFailed':
        this.#running.delete(event.task.id);
        return;
      case 'Counted':
        this.#isCounted = true;
        this.#total = event.total;
        this.#done = event.done;
        return;
      case 'RunStarted':
      case 'Following':
      case 'Said':
      case 'ConditionChanged':
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
export function eventLine(event: ShownEvent, paint: Paint): string | undefined {
  switch (event.type) {
    case 'RunStarted':
      return `${paint('bold', clean(event.run.name))} ${event.isResumed ? 'continues' : 'starts'} as run ${event.run.uid}`;
    case 'Following':
      return `${paint('bold', clean(event.run.name))} is run ${event.run.uid} in namespace ${event.run.namespace}`;
    case 'Said':
      return clean(event.text);
    case 'ConditionChanged': {
      const { type, status, reason, message } = event.condition;
      const isGood = status === 'True' && type !== 'Stalled' && reason !== 'Different';
      return `${isGood ? paint('green', '✓') : paint('red', '✗')} ${clean(type)} ${paint('dim', clean(message))}`;
    }
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
    case 'Counted':
    case 'Verdict':
    case 'CleanedUp':
      return undefined;
  }
}

function title(task: Task | NamedTask, table?: string): string {
  if (!('title' in task)) return taskTitle(task, table);
  return table === undefined ? task.title : `${task.title}: ${table}`;
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

function finished({ summary, durationMs, attempt }: Extract<ShownEvent, { type: 'TaskFinished' }>): string {
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

function cut(line: string, columns: number): string {
  const characters = [...line];
  return characters.length < columns ? line : `${characters.slice(0, Math.max(0, columns - 2)).join('')}…`;
}
