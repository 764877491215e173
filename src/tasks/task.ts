import type { ResolvedSpec } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { InheritedCases } from '../queries/inherited.ts';
import type { TaskInput, TaskSummary } from '../run/types.ts';
import { type ErrorRecord, ParityError } from '../support/error.ts';

/** What `parity task` reads from `<workspace>/tasks/<id>/input.json`. It never holds a credential. */
export interface TaskFile {
  readonly id: string;
  readonly run: RunIdentity;
  readonly spec: ResolvedSpec;
  readonly input: TaskInput;
}

/** The mark that everything a run makes carries. */
export interface RunIdentity {
  readonly name: string;
  /** A UUID, lower case. */
  readonly uid: string;
  /** Id of the installation (one laptop, one operator): whoever deletes, deletes only what carries its own. */
  readonly installation: string;
}

/** Written to `<workspace>/tasks/<id>/output.json` by create-if-absent: the first attempt that finishes is the result. */
export type TaskOutput<Detail = unknown> =
  | { readonly outcome: 'Succeeded'; readonly summary: TaskSummary; readonly detail: Detail }
  | { readonly outcome: 'Failed'; readonly error: ErrorRecord; readonly table?: string };

/** Subject of the error that a task's signal is aborted with when the process that started it is gone. */
export const orphaned = 'orphaned';

/** Whether a task is to stop because nobody follows it any more. */
export function isOrphaned({ reason }: AbortSignal): boolean {
  return reason instanceof ParityError && reason.subject === orphaned;
}

export interface TaskContext {
  readonly file: TaskFile;
  readonly attempt: number;
  /** The run's own bucket or prefix: `snapshot/`, `landed/`, `tasks/`. */
  readonly workspace: ObjectStore;
  /** Opens the engine on first use; closed by the runner. */
  engine(): Promise<Engine>;
  /** Folder of this attempt, inside which the engine may read and write; removed by the runner. */
  readonly scratch: string;
  /** Folder of the run on this machine, which outlives the attempt: undefined where each task has a machine of its own. */
  readonly runFolder?: string;
  /** Keys of a Secret in the run's scope, read from mounted files; `NotFound` naming the secret and key where absent. */
  secret(name: string): Promise<Readonly<Record<string, string>>>;
  /** One JSON line on stdout. Cheap: call it freely, the runner throttles. */
  progress(progress: Progress): void;
  /** Aborted on a timeout, Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** Output detail of another task that succeeded, e.g. the resolution or a table's unseen rows. */
  detailOf<Detail>(taskId: string): Promise<Detail>;
}

export interface Progress {
  readonly table?: string;
  readonly rows?: number;
  readonly totalRows?: number;
  readonly bytes?: number;
  readonly totalBytes?: number;
  readonly note?: string;
}

/**
 * One file per kind in src/tasks exports one of these. Idempotent and resumable: killed at any instant and started again, it ends
 * in the same state. Throws a ParityError to fail.
 */
export type TaskHandler<Detail = unknown> = (context: TaskContext) => Promise<{ summary: TaskSummary; detail: Detail }>;

/** Detail of the `resolve` task: what this run reads, pinned. */
export interface Resolution {
  readonly tables: readonly ResolvedTableVersion[];
  /** Where the run inherits queries: as they were at its start. */
  readonly inherited?: InheritedCases;
}
export interface ResolvedTableVersion {
  readonly name: string;
  readonly version: number;
  readonly baseVersion: number | null;
  /** Live rows and bytes at `version`. */
  readonly rows: number;
  readonly sizeBytes: number;
  /** Bytes to copy for both versions. */
  readonly copyBytes: number;
  readonly files: number;
}

/** Detail of a `snapshot` task, per table. Lies at `snapshot/<table>/` in the workspace as a Delta table that ends at `version`. */
export interface SnapshotDetail {
  readonly tables: readonly {
    readonly name: string;
    readonly version: number;
    readonly baseVersion: number | null;
    /** SHA-256 over schema and live files, hex; the same wherever it is copied. */
    readonly digest: string;
    readonly rows: number;
    readonly sizeBytes: number;
    readonly files: number;
    readonly copied: {
      readonly files: number;
      readonly bytes: number;
      readonly requests: number;
      readonly serverSide: boolean;
    };
  }[];
}
