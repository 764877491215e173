import type { ErrorRecord } from '../support/error.ts';

/** Every kind of task; one file each in src/tasks. `provision` is carried out by the driver, which owns long-lived servers. */
export type TaskKind =
  | 'resolve' // read the lake's logs: versions, sizes, rows; nothing copied yet
  | 'snapshot'
  | 'provision'
  | 'rehydrate'
  | 'advance'
  | 'sync'
  | 'compare'
  | 'query'
  | 'report'
  | 'cleanup';

export type TaskId = string & { readonly __brand: 'TaskId' };

/** What one task does. `tables` are names from spec.snapshot.tables (several small ones are packed into one task). */
export type TaskInput =
  | { readonly kind: 'resolve' }
  | { readonly kind: 'snapshot'; readonly tables: readonly string[] }
  | { readonly kind: 'provision'; readonly source: string }
  | { readonly kind: 'rehydrate'; readonly source: string; readonly tables: readonly string[] }
  | { readonly kind: 'advance'; readonly step: string; readonly source: string; readonly tables: readonly string[] }
  | {
      readonly kind: 'sync';
      readonly step: string;
      readonly pipeline: string;
      readonly mode: 'Full' | 'Incremental';
      readonly source: string;
      readonly tables: readonly string[];
      /** Which version of the snapshot the sources hold when this sync runs. */
      readonly at: SnapshotPoint;
    }
  | {
      readonly kind: 'compare';
      readonly step: string;
      readonly baseline: ResolvedSide;
      readonly candidate: ResolvedSide;
      /** The source whose landed tables are compared; undefined where no side is a pipeline. */
      readonly source?: string;
      readonly tables: readonly string[];
      /** Set where the candidate was last synced incrementally: rows that its cursor cannot see are computed against the base. */
      readonly afterIncremental: boolean;
    }
  | {
      readonly kind: 'query';
      readonly step: string;
      readonly queries: readonly string[];
      readonly baseline: ResolvedSide;
      readonly candidate: ResolvedSide;
      /** Set where the candidate was last synced incrementally: the baseline is then what its cursor can know. */
      readonly afterIncremental?: boolean;
    }
  | { readonly kind: 'report' }
  | { readonly kind: 'cleanup' };

/** `Base` is tables[].baseVersion, `Target` is tables[].version. */
export type SnapshotPoint = 'Base' | 'Target';

export type ResolvedSide =
  | { readonly kind: 'snapshot'; readonly at: SnapshotPoint }
  | { readonly kind: 'pipeline'; readonly pipeline: string }
  | { readonly kind: 'location'; readonly location: string };

export interface Task {
  readonly id: TaskId;
  readonly input: TaskInput;
  readonly dependsOn: readonly TaskId[];
  /** Runs even though others failed: `report` and `cleanup`. */
  readonly always: boolean;
  /** Seconds after which the task is stopped and counts as failed with code Timeout. */
  readonly timeoutSeconds: number;
}

export interface TaskGraph {
  /** Version of the graph's shape, recorded with a run: an operator that cannot continue another one ends the run as Errored. */
  readonly version: 1;
  /** In a deterministic order that is also a topological one. */
  readonly tasks: readonly Task[];
  /**
   * True before the `resolve` task has said what the lake holds: only `resolve`, `report` and `cleanup` are known, and once
   * `resolve` succeeded the whole graph must be built. A partial graph never leads to Passed.
   */
  readonly isPartial?: boolean;
}

export interface TaskState {
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  /** Attempts started so far; 0 before the first. */
  readonly attempts: number;
  readonly summary?: TaskSummary;
  readonly error?: ErrorRecord;
}

/** At most 4 KiB as JSON: what a Kubernetes termination message holds. Details are in the workspace. */
export interface TaskSummary {
  readonly tables?: number;
  readonly rows?: number;
  readonly bytes?: number;
  /** Compare and query: how many differences counted against the run, and how many tables or queries they were in. */
  readonly differences?: number;
  readonly differing?: number;
  readonly matched?: number;
  /** First differing table or query, in words, for status and terminals. */
  readonly headline?: string;
}

export interface RunState {
  readonly tasks: Readonly<Record<string, TaskState>>;
  readonly isCancelled: boolean;
  readonly isSuspended: boolean;
}

export type Verdict = 'Passed' | 'Failed' | 'Errored' | 'Cancelled';

export type Decision =
  | { readonly kind: 'start'; readonly tasks: readonly Task[] }
  | { readonly kind: 'wait' }
  | { readonly kind: 'finish'; readonly verdict: Verdict; readonly isCleanedUp: boolean };

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}
