import type { TableReference } from '../compare/query-sql.ts';
import type { ResultSet } from '../compare/result-sets.ts';
import type { Relation } from '../lake/relation.ts';
import type { ResolvedSide } from '../run/types.ts';
import type { ParityError } from '../support/error.ts';

/** Where queries run. What they give is kept in the task's engine, which compares it. */
export interface QueryPlace {
  /** In words, for the report: `the embedded engine`. */
  readonly title: string;
  /** Makes the query's tables readable there. Returns why that cannot be done, or undefined where it is. Can be done again. */
  prepare(query: PlacedQuery, side: QuerySide): Promise<string | undefined>;
  /**
   * Runs the query on one side, after `prepare`, and keeps its rows in `parity_result` of the side's database. `failed` is a failure that lies in the query and
   * the side's data; failures of the surroundings are thrown.
   */
  run(query: PlacedQuery, side: QuerySide): Promise<Ran>;
}

export interface PlacedQuery {
  readonly name: string;
  readonly language: 'SQL' | 'HogQL';
  /** With `{{table}}` and `{{source.table}}`, and nothing else to fill in. */
  readonly text: string;
  readonly timeoutSeconds: number;
  /** Columns by which a place that gives rows in pages may ask for more. */
  readonly pageBy: readonly string[];
}

/** One side of a query. */
export interface QuerySide {
  readonly word: 'baseline' | 'candidate';
  readonly side: ResolvedSide;
  /** A database of the task's engine for this side alone. */
  readonly database: string;
  /** The source whose rows a reference stands for, where there is one. */
  sourceOf(reference: TableReference): string | undefined;
  /** The rows that a reference stands for. */
  relationOf(reference: TableReference): Promise<Relation>;
}

export type Ran = { readonly result: ResultSet; readonly isOrdered: boolean } | { readonly failed: ParityError };
