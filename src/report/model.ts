import type { TableComparison } from '../compare/result.ts';
import type { TaskKind, Verdict } from '../run/types.ts';
import type { ErrorRecord } from '../support/error.ts';

/**
 * Everything that a run found, in one value. Every format (JSON, HTML, JUnit, Markdown, terminal) is a pure function of it. The
 * JSON format is this value as it stands: src/report/report.schema.json is its published schema, so a field that is renamed or
 * taken out is a breaking change.
 */
export interface Report {
  readonly apiVersion: 'pipelineparity.io/v1alpha1';
  readonly kind: 'PipelineParityReport';
  readonly run: ReportRun;
  readonly verdict: Verdict;
  /** The verdict in one sentence, e.g. `3,453 differences in 1 of 6 tables`. */
  readonly headline: string;
  readonly counts: ReportCounts;
  readonly snapshot: ReportSnapshot;
  /** One per step, source, candidate and table, in the order of the scenario. */
  readonly comparisons: readonly ReportComparison[];
  /** What was asked to be compared or queried and was not, because the run ended before. Empty in a run that Passed or Failed. */
  readonly notCompared: readonly NotCompared[];
  readonly queries: readonly ReportQuery[];
  /** Inherited queries that touch a table of the run and could not run. They say nothing about the data. */
  readonly leftOut: readonly ReportLeftOut[];
  /** What could not be carried out. A run with any is Errored (or Cancelled), never Passed. */
  readonly errors: readonly ReportError[];
  readonly notes: readonly ReportNote[];
  readonly timings: ReportTimings;
  /** SHA-256, hex, over all that must repeat; null where the run ended before it compared everything. */
  readonly fingerprint: string | null;
}

export interface ReportRun {
  readonly name: string;
  readonly uid: string;
  /** SHA-256 of the resolved manifest, hex. */
  readonly specDigest: string;
  /** Version of this software. */
  readonly parityVersion: string;
  /** Whether samples show values of the data or only that they differ. */
  readonly values: 'Masked' | 'Shown';
  /** `comparison.maxDifferences`: how many differences of one comparison the manifest lets pass. */
  readonly maxDifferences: number;
}

export interface ReportCounts {
  readonly comparisons: number;
  readonly differing: number;
  readonly differences: number;
  /** Rows that a cursor could not see, over all comparisons. */
  readonly unseen: number;
  readonly queries: number;
  readonly queriesDiffering: number;
  readonly errors: number;
  readonly notCompared: number;
}

export interface ReportSnapshot {
  /** Where the tables were read from. */
  readonly location: string;
  /** One SHA-256 over the digests of all tables; null until all are copied. */
  readonly digest: string | null;
  readonly tables: readonly ReportSnapshotTable[];
}

export interface ReportSnapshotTable {
  readonly name: string;
  readonly version: number;
  readonly baseVersion: number | null;
  readonly rows: number;
  readonly sizeBytes: number;
  /** SHA-256 over schema and live files; null where the table was not copied. */
  readonly digest: string | null;
}

export interface ReportComparison extends TableComparison {
  readonly step: string;
  readonly source: string | null;
  /** What the sides are, in words: `snapshot at version 12`, `pipeline candidate`. */
  readonly baseline: string;
  readonly candidate: string;
  /** `Equal`: nothing counts against the run. `Tolerated`: not more than `maxDifferences`. */
  readonly outcome: 'Equal' | 'Tolerated' | 'Different';
}

export interface NotCompared {
  readonly step: string;
  readonly source: string | null;
  /** A table, or a query by its name. */
  readonly name: string;
  readonly kind: 'Table' | 'Query';
}

export interface ReportQuery {
  readonly step: string;
  readonly name: string;
  readonly outcome: 'Equal' | 'Different';
  /** What was found, in one sentence; empty where equal. */
  readonly message: string;
  readonly baselineRows: number;
  readonly candidateRows: number;
  readonly baselineDigest: string;
  readonly candidateDigest: string;
  /** Where each side ran: `the embedded engine`, `PostHog at us.posthog.com`, or `the manifest` for rows that it expects. */
  readonly ranIn: { readonly baseline: string; readonly candidate: string };
  readonly samples: readonly ReportQuerySample[];
}

export interface ReportLeftOut {
  /** The step that tried to run it; null where the run's start has shown that it cannot. */
  readonly step: string | null;
  readonly name: string;
  readonly why: string;
}

export interface ReportQuerySample {
  /** JSON text of the row's values; null where there is no such row, or values are masked. */
  readonly baseline: string | null;
  readonly candidate: string | null;
}

export interface ReportError extends ErrorRecord {
  readonly task: string;
  readonly kind: TaskKind;
  readonly table: string | null;
  readonly attempts: number;
}

export interface ReportNote {
  /** What it is about: `table flights`, `source ops`. */
  readonly about: string;
  readonly note: string;
}

/** Never part of the fingerprint. */
export interface ReportTimings {
  /** RFC 3339, UTC; null where it was not recorded. */
  readonly startedAt: string | null;
  readonly reportedAt: string;
  readonly tasks: readonly {
    readonly task: string;
    readonly kind: TaskKind;
    readonly attempts: number;
    readonly seconds: number | null;
  }[];
}
