// Generated from crds/ by scripts/generate.ts. Do not edit.
/** The values of `spec.pipelines[].reference.bug`. */
export const BUGS = [
  'None',
  'DroppedTail',
  'DuplicatedBatch',
  'CursorOffByOne',
  'TruncatedPrecision',
  'ShiftedTimestamps',
  'NullToEmpty',
  'EmptyToNull',
  'TrimmedStrings',
  'Float32Rounding',
  'SwappedColumns',
  'StaleUpdates',
  'ResurrectedDeletes',
  'LostLastChunk',
  'WrongEncoding',
  'NullUnsafeMerge',
  'DroppedNewColumn',
  'OffByOneDay',
  'LostMicroseconds',
] as const;
export type Bug = (typeof BUGS)[number];

/** The values of `spec.reports.formats[]`. */
export const REPORT_FORMATS = [
  'JSON',
  'HTML',
  'JUnit',
  'Markdown',
] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

/** The values of `spec.sources[].engine`. */
export const SOURCE_ENGINES = [
  'Postgres',
  'MySQL',
  'Snowflake',
] as const;
export type SourceEngine = (typeof SOURCE_ENGINES)[number];
