import type { SnapshotPoint } from '../run/types.ts';
import type { TaskContext } from '../tasks/task.ts';
import type { Relation } from '../lake/relation.ts';
import type { Engine } from '../engine/engine.ts';

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
  /** Where the table landed, as the engine reads it. */
  output(table: string, engine: Engine, context: TaskContext): Promise<Relation>;
}

export type SyncStatus =
  | { readonly state: 'Running'; readonly note?: string }
  | { readonly state: 'Succeeded'; readonly rows: number }
  | { readonly state: 'Failed'; readonly message: string };
