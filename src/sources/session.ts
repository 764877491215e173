import type { CloneFrom } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import type { ExportOptions, SourceDriver, SourceSession, SourceTable } from './source.ts';

/** What a run can do with a source beyond what a pipeline may: change its columns, and read it without keeping a copy. */
export interface OwnedSession extends SourceSession {
  /**
   * Adds the table's columns that the database lacks (NULL in every row) and drops those that the table has no more. Called again, it
   * changes nothing.
   */
  alter(table: SourceTable): Promise<void>;
  /**
   * Hands over a relation that streams from the database and can be read once; `consume` returns, among other things, the rows it saw, which
   * must be as many as the database sent.
   */
  scan<Result extends { readonly rows: number }>(
    engine: Engine,
    table: SourceTable,
    options: ExportOptions,
    consume: (relation: Relation) => Promise<Result>,
  ): Promise<Result>;
  /**
   * Only in Snowflake: makes the table anew as a clone of the one of its name elsewhere in the account, without its columns in `unwanted`, and
   * returns it with the types that it has there. What it holds is not looked at (snowflake-clone.ts).
   */
  readonly clone?: (table: SourceTable, from: CloneFrom, unwanted: readonly string[]) => Promise<SourceTable>;
}

export interface OwnedDriver extends SourceDriver {
  connect(...args: Parameters<SourceDriver['connect']>): Promise<OwnedSession>;
}
