/** The result of comparing one table: what `parity compare --json` prints and reports keep. Counts are exact; samples are bounded. */
export interface TableComparison {
  readonly table: string;
  readonly verdict: 'Equal' | 'Different';
  readonly rows: {
    readonly baseline: number;
    readonly candidate: number;
    readonly matched: number;
    /** In the baseline, not in the candidate. */
    readonly missing: number;
    /** In the candidate, not in the baseline. */
    readonly extra: number;
    /** Same key on both sides, another content. */
    readonly changed: number;
    /** Surplus copies of a key beyond the baseline's number of it. */
    readonly duplicated: number;
  };
  /** Differences that count against the run: missing + extra + changed + duplicated, less `unseen.total` where expected, plus schema differences. */
  readonly differences: number;
  readonly key: readonly string[];
  readonly columns: readonly ColumnComparison[];
  readonly schema: readonly SchemaDifference[];
  readonly samples: readonly Sample[];
  readonly causes: readonly Cause[];
  /** Rows that an incremental cursor could not see, by reason; present after an incremental sync. */
  readonly unseen?: UnseenCounts & { readonly total: number; readonly counted: boolean };
  /** Row digest of each side, hex: count and sum of row hashes. Equal if and only if the rows are (up to hash collisions). */
  readonly digest: { readonly baseline: string; readonly candidate: string };
  /** Things a reader should know: `key has 2 duplicates in the baseline, compared as a multiset`. */
  readonly notes: readonly string[];
}

export interface UnseenCounts {
  readonly deleted: number;
  readonly nullCursor: number;
  readonly tiedCursor: number;
  readonly lateRow: number;
  readonly unmovedCursor: number;
}

export interface ColumnComparison {
  readonly name: string;
  readonly changed: number;
  readonly baselineNull: number;
  readonly candidateNull: number;
  /** Largest absolute difference, as text, for numbers and times (microseconds). */
  readonly largestDifference?: string;
  readonly causes: readonly Cause[];
}

export interface SchemaDifference {
  readonly column: string;
  readonly difference: 'Missing' | 'Extra' | 'Type' | 'Nullability';
  readonly baseline: string | null;
  readonly candidate: string | null;
  /** Whether it counts against the run. A wider nullability does not. */
  readonly counts: boolean;
}

export type DifferenceClass = 'missing' | 'extra' | 'changed' | 'duplicate';

/** Values are null where `comparison.values` is Masked; keys are then replaced by a short hash. */
export interface Sample {
  readonly class: DifferenceClass;
  readonly key: Readonly<Record<string, string | null>>;
  readonly columns: readonly {
    readonly name: string;
    readonly baseline: string | null;
    readonly candidate: string | null;
  }[];
  readonly unseen?: keyof UnseenCounts;
}

/** One rule that explains differences, e.g. `ShiftedByHours` with detail `+5 h`. */
export interface Cause {
  readonly rule: CauseRule;
  readonly detail: string;
  readonly explains: number;
}

export type CauseRule =
  | 'ShiftedByHours'
  | 'OffByOneDay'
  | 'TruncatedPrecision'
  | 'RoundedToFloat32'
  | 'NullBecameEmpty'
  | 'EmptyBecameNull'
  | 'BecameNull'
  | 'NullBecameValue'
  | 'Trimmed'
  | 'CaseChanged'
  | 'WrongEncoding'
  | 'SwappedWith'
  | 'StaleValue' // the candidate holds the base version's value
  | 'DuplicatedBatch'
  | 'MissingTail'
  | 'MissingBatch'
  | 'ResurrectedDelete'
  | 'ColumnDropped';

/**
 * Whether `comparison.maxDifferences` lets the table pass: it speaks of rows. A column that is missing, or whose values could not be compared,
 * is one difference whatever the number of rows, and never passes.
 */
export function isLetPass(
  { differences, schema }: Pick<TableComparison, 'differences' | 'schema'>,
  maxDifferences: number,
): boolean {
  return differences <= maxDifferences && !schema.some(({ counts }) => counts);
}
