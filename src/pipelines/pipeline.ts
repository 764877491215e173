import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import type { SnapshotPoint } from '../run/types.ts';
import type { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';

/** One execution of a pipeline for some tables of one source. */
export interface SyncRequest {
  readonly pipeline: string;
  readonly step: string;
  readonly source: string;
  readonly mode: 'Full' | 'Incremental';
  readonly tables: readonly string[];
  readonly at: SnapshotPoint;
}

/**
 * A pipeline under test. None of these blocks for long, all are idempotent: the same request started twice is one execution.
 * Temporal, PostHog, Jobs and commands fit behind the same four calls.
 */
export interface Pipeline {
  start(request: SyncRequest, context: TaskContext): Promise<void>;
  observe(request: SyncRequest, context: TaskContext): Promise<SyncStatus>;
  cancel(request: SyncRequest, context: TaskContext): Promise<void>;
  /**
   * Where the table landed, as the engine reads it. `source` may be left out where the task has one, or only one source holds the table.
   * Throws `PipelineFailed` naming pipeline and table where nothing has landed.
   */
  output(table: string, engine: Engine, context: TaskContext, source?: string): Promise<Relation>;
}

export type SyncStatus =
  | { readonly state: 'Running'; readonly note?: string }
  /** `tables` is what the pipeline says of each table, where it says anything. */
  | { readonly state: 'Succeeded'; readonly rows: number; readonly tables?: readonly SyncedTable[] }
  /** `error` is there where the failure is not the pipeline's own (a server gone, a full disk) or has a table and an advice. */
  | { readonly state: 'Failed'; readonly message: string; readonly error?: ParityError };

/** What one sync did to one table. */
export interface SyncedTable {
  readonly table: string;
  /** `Full` also where an incremental sync had no cursor, or nothing to go on from. */
  readonly mode: 'Full' | 'Incremental';
  /** Rows read from the source. */
  readonly read: number;
  /** Rows of the landed table after the sync. */
  readonly rows: number;
  /** From where to where the cursor moved, in canonical spelling (dates as days, instants as microseconds since 1970). */
  readonly cursor: { readonly column: string; readonly from: string | null; readonly to: string | null } | null;
}
