import type { Phase } from '../../run/phase.ts';
import type { Condition, RunState, Task, TaskGraph, TaskId, TaskSummary, Verdict } from '../../run/types.ts';
import type { ErrorRecord } from '../../support/error.ts';
import type { Leftover } from '../../tasks/cleanup.ts';
import type { Progress, RunIdentity } from '../../tasks/task.ts';

/** What a run says of itself while it goes: for terminals, plain lines and `--json`. */
export type RunEvent = { readonly time: string } & (
  | {
      readonly type: 'RunStarted';
      readonly run: RunIdentity;
      readonly runDir: string;
      readonly workspace: string;
      readonly isResumed: boolean;
    }
  /** The tasks are known; comes again when `resolve` has said what there is. */
  | { readonly type: 'Planned'; readonly tasks: readonly Task[] }
  | { readonly type: 'Phase'; readonly phase: Phase }
  | { readonly type: 'TaskStarted'; readonly task: Task; readonly attempt: number }
  | { readonly type: 'TaskProgress'; readonly taskId: TaskId; readonly progress: Progress }
  | {
      readonly type: 'TaskFinished';
      readonly task: Task;
      readonly attempt: number;
      readonly durationMs: number;
      readonly summary: TaskSummary;
    }
  | {
      readonly type: 'TaskFailed';
      readonly task: Task;
      readonly attempt: number;
      readonly durationMs: number;
      readonly error: ErrorRecord;
      readonly table?: string;
      /** Whether it is started again. */
      readonly willRetry: boolean;
    }
  | { readonly type: 'Cancelling'; readonly isHurried: boolean }
  | { readonly type: 'Verdict'; readonly verdict: Verdict; readonly message: string }
  | { readonly type: 'CleanedUp'; readonly cleanup: CleanupOutcome }
);

/** An event without its time, as the driver's parts say it. */
export type Happening = RunEvent extends infer Event ? (Event extends RunEvent ? Omit<Event, 'time'> : never) : never;

export type CleanupOutcome =
  | { readonly kind: 'Removed' }
  /** As the policy says. `command` removes it later. */
  | { readonly kind: 'Kept'; readonly workspace: string; readonly runDir: string; readonly command: string }
  | { readonly kind: 'Incomplete'; readonly leftovers: readonly Leftover[]; readonly command: string };

/** How a run ended. The exit code is the verdict's, whatever became of the cleanup. */
export interface RunOutcome {
  readonly run: RunIdentity;
  readonly verdict: Verdict;
  /** One sentence: why. */
  readonly message: string;
  /** The errors that made the run Errored, in the graph's order. */
  readonly errors: readonly { readonly task: TaskId; readonly error: ErrorRecord }[];
  readonly conditions: readonly Condition[];
  readonly graph: TaskGraph;
  readonly state: RunState;
  /** What the `report` task returned; undefined where there is no report. */
  readonly report: unknown;
  readonly cleanup: CleanupOutcome;
}

/** 0 passed, 1 failed, 2 errored, 3 cancelled. */
export function exitCodeOf(verdict: Verdict): 0 | 1 | 2 | 3 {
  switch (verdict) {
    case 'Passed':
      return 0;
    case 'Failed':
      return 1;
    case 'Errored':
      return 2;
    case 'Cancelled':
      return 3;
  }
}
