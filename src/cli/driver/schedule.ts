import type { ResolvedSpec } from '../../api/resolved.ts';
import { decide, isWorkOver } from '../../run/decide.ts';
import { type Phase, phaseOf } from '../../run/phase.ts';
import { hasFailedForGood, limitsOf, stateOf } from '../../run/state.ts';
import type { RunState, Task, TaskGraph, TaskId, TaskState, TaskSummary, Verdict } from '../../run/types.ts';
import { type ErrorRecord, ParityError, toParityError } from '../../support/error.ts';
import { redactError } from '../../support/log.ts';
import { backoffMs, delay } from '../../support/retry.ts';
import type { Happening } from './events.ts';

/** How one attempt of a task ended. */
export type AttemptEnd =
  | { readonly outcome: 'Succeeded'; readonly summary: TaskSummary }
  | { readonly outcome: 'Failed'; readonly error: ErrorRecord; readonly table?: string };

export interface Schedule {
  readonly spec: ResolvedSpec;
  readonly graph: TaskGraph;
  readonly state: RunState;
  /** Carries out one attempt, bounded in time; stops soon once the signal aborts. */
  execute(task: Task, attempt: number, signal: AbortSignal, view: View): Promise<AttemptEnd>;
  /** The whole graph, once `resolve` has succeeded. */
  expand(): Promise<TaskGraph>;
  readonly onHappening: (happening: Happening) => void;
  /** Stops work, writes the report, cleans up. */
  readonly cancel: AbortSignal;
  /** Stops the report too, and goes straight to cleaning up. */
  readonly hurry: AbortSignal;
}

/** What a task may want to know of the run at its start: `report` does. */
export interface View {
  readonly graph: TaskGraph;
  readonly state: RunState;
  readonly timings: Timings;
}

/** By task: when its latest attempt began, and how long all attempts took. */
export type Timings = Readonly<Record<string, { readonly startedAt: string; readonly durationMs: number }>>;

export interface ScheduleEnd extends View {
  readonly verdict: Verdict;
  readonly isCleanedUp: boolean;
}

/**
 * Carries a graph out to its end: asks `decide`, starts what it says, waits for the next thing to happen. There is no polling, and
 * no wait without something that ends it: each attempt is bounded, and nothing running with nothing to start is an error.
 */
export async function carryOut(schedule: Schedule): Promise<ScheduleEnd> {
  const scheduler = new Scheduler(schedule);
  try {
    return await scheduler.run();
  } finally {
    scheduler.dispose();
  }
}

class Scheduler {
  readonly #schedule: Schedule;
  #graph: TaskGraph;
  #tasks: Record<string, TaskState>;
  #isCancelled: boolean;
  #phase: Phase | undefined;
  readonly #timings: Record<string, { startedAt: string; durationMs: number }> = {};
  readonly #running = new Map<TaskId, { task: Task; stop: AbortController }>();
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #onCancel = () => this.#cancel();
  readonly #onHurry = () => this.#hurry();

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
    this.#graph = schedule.graph;
    this.#tasks = { ...schedule.state.tasks };
    this.#isCancelled = schedule.state.isCancelled;
  }

  async run(): Promise<ScheduleEnd> {
    const { cancel, hurry, spec } = this.#schedule;
    cancel.addEventListener('abort', this.#onCancel);
    hurry.addEventListener('abort', this.#onHurry);
    if (cancel.aborted) this.#cancel();
    if (hurry.aborted) this.#hurry();
    const limits = limitsOf(spec);
    for (;;) {
      await this.#expandIfResolved();
      if (isWorkOver(this.#graph, this.#state(), limits)) this.#stopWork();
      const decision = decide(this.#graph, this.#state(), limits);
      switch (decision.kind) {
        case 'start':
          for (const task of decision.tasks) this.#begin(task);
          break;
        case 'wait':
          await this.#nextHappening();
          break;
        case 'finish':
          this.#sayPhase();
          return { ...this.#view(), verdict: decision.verdict, isCleanedUp: decision.isCleanedUp };
      }
      this.#sayPhase();
    }
  }

  dispose(): void {
    this.#schedule.cancel.removeEventListener('abort', this.#onCancel);
    this.#schedule.hurry.removeEventListener('abort', this.#onHurry);
    for (const { stop } of this.#running.values()) stop.abort();
  }

  /** A spec that turns out to make no graph is the failure of the task that showed it. */
  async #expandIfResolved(): Promise<void> {
    const resolve = this.#graph.tasks.find((task) => task.input.kind === 'resolve');
    if (this.#graph.isPartial !== true || resolve === undefined) return;
    if (stateOf(this.#state(), resolve).phase !== 'Succeeded') return;
    try {
      this.#graph = await this.#schedule.expand();
      this.#schedule.onHappening({ type: 'Planned', tasks: this.#graph.tasks });
    } catch (error) {
      const { attempts } = stateOf(this.#state(), resolve);
      const record = { ...toParityError(error).toJSON(), isRetryable: false };
      this.#tasks[resolve.id] = { phase: 'Failed', attempts, error: redactError(record) };
    }
  }

  #begin(task: Task): void {
    const attempt = stateOf(this.#state(), task).attempts + 1;
    const stop = new AbortController();
    this.#tasks[task.id] = { phase: 'Running', attempts: attempt };
    this.#running.set(task.id, { task, stop });
    const startedAt = new Date();
    const before = this.#timings[task.id]?.durationMs ?? 0;
    this.#schedule.onHappening({ type: 'TaskStarted', task, attempt });
    void this.#attempt(task, attempt, stop.signal).then((end) => {
      const durationMs = Math.max(0, Date.now() - startedAt.getTime());
      this.#timings[task.id] = { startedAt: startedAt.toISOString(), durationMs: before + durationMs };
      this.#running.delete(task.id);
      this.#settle(task, attempt, durationMs, end);
    });
  }

  async #attempt(task: Task, attempt: number, signal: AbortSignal): Promise<AttemptEnd> {
    try {
      if (attempt > 1) await delay(backoffMs(attempt - 1, { baseMs: 500, maxMs: 15_000 }), signal);
      return await this.#schedule.execute(task, attempt, signal, this.#view());
    } catch (error) {
      return { outcome: 'Failed', error: redactError(toParityError(error).toJSON()) };
    }
  }

  #settle(task: Task, attempt: number, durationMs: number, end: AttemptEnd): void {
    if (end.outcome === 'Succeeded') {
      this.#tasks[task.id] = { phase: 'Succeeded', attempts: attempt, summary: end.summary };
      this.#schedule.onHappening({ type: 'TaskFinished', task, attempt, durationMs, summary: end.summary });
    } else {
      const { error, table } = end;
      this.#tasks[task.id] = { phase: 'Failed', attempts: attempt, error };
      const limits = limitsOf(this.#schedule.spec);
      const isOver = !task.always && isWorkOver(this.#graph, this.#state(), limits);
      const willRetry = !hasFailedForGood(task, this.#state(), limits) && !isOver;
      const named = table === undefined ? {} : { table };
      this.#schedule.onHappening({ type: 'TaskFailed', task, attempt, durationMs, error, ...named, willRetry });
    }
    this.#wake.resolve();
  }

  #cancel(): void {
    if (!this.#isCancelled) this.#schedule.onHappening({ type: 'Cancelling', isHurried: false });
    this.#isCancelled = true;
    this.#wake.resolve();
  }

  #hurry(): void {
    this.#schedule.onHappening({ type: 'Cancelling', isHurried: true });
    this.#isCancelled = true;
    for (const { task, stop } of this.#running.values()) if (task.input.kind !== 'cleanup') stop.abort();
    const report = this.#graph.tasks.find((task) => task.input.kind === 'report');
    if (report !== undefined && stateOf(this.#state(), report).phase === 'Pending') {
      const error = new ParityError('Cancelled', 'the report was left out on request').toJSON();
      this.#tasks[report.id] = { phase: 'Failed', attempts: 0, error };
    }
    this.#wake.resolve();
  }

  /** Once nothing new will start, what runs is of no more use. */
  #stopWork(): void {
    for (const { task, stop } of this.#running.values()) if (!task.always) stop.abort();
  }

  async #nextHappening(): Promise<void> {
    if (this.#running.size === 0) {
      throw new ParityError('Internal', 'the run cannot go on: nothing runs and nothing can be started');
    }
    await this.#wake.promise;
    this.#wake = Promise.withResolvers();
  }

  #sayPhase(): void {
    const phase = phaseOf(this.#graph, this.#state(), this.#schedule.spec);
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#schedule.onHappening({ type: 'Phase', phase });
  }

  #state(): RunState {
    return { tasks: this.#tasks, isCancelled: this.#isCancelled, isSuspended: false };
  }

  #view(): View {
    return {
      graph: this.#graph,
      state: { ...this.#state(), tasks: { ...this.#tasks } },
      timings: { ...this.#timings },
    };
  }
}
