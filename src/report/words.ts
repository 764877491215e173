import type { Cause, CauseRule, ColumnComparison, Sample, SchemaDifference, UnseenCounts } from '../compare/result.ts';
import type { NotCompared, ReportComparison, ReportCounts, ReportQuery } from './model.ts';

/** The words of all formats: each sentence is made once, here, without markup. Escaping is the format's own matter. */

/** `336,776` */
export function number(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 row`, `2 rows` */
export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${number(value)} ${value === 1 ? noun : plural}`;
}

/** `675.2 MB`: decimal units, as storage is sold. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? scaled : scaled.toFixed(1)} ${units[unit] ?? 'B'}`;
}

/** `850 ms`, `12.3 s`, `4 min 05 s` */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

/** The classes that a comparison found, in words: `2 missing, 1 changed`; `none` where there are none. */
export function classes(comparison: Pick<ReportComparison, 'rows'>): string {
  const { missing, extra, changed, duplicated } = comparison.rows;
  const found = [
    [missing, 'missing'],
    [extra, 'extra'],
    [changed, 'changed'],
    [duplicated, 'duplicated'],
  ] as const;
  const parts = found.filter(([value]) => value > 0).map(([value, word]) => `${number(value)} ${word}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

/** What happened to one column: `3,453 rows changed; all explained by ShiftedByHours +5 h (moved by hours, …)`. */
export function columnSentence(column: ColumnComparison): string {
  return `${count(column.changed, 'row')} changed${causesClause(column.causes, column.changed)}`;
}

/** What explains missing, extra or duplicated rows as a whole. */
export function tableCauseSentence(cause: Cause): string {
  return `${count(cause.explains, 'row')} explained by ${causeName(cause)} (${meaning[cause.rule]})`;
}

/** `; all explained by TRIMMED …`, `; 12 of 40 explained by …`, or that nothing explains it. */
export function causesClause(causes: readonly Cause[], total: number): string {
  if (total === 0) return '';
  const parts = causes.map((cause) => {
    const share = cause.explains >= total ? 'all' : `${number(cause.explains)} of ${number(total)}`;
    return `${share} explained by ${causeName(cause)} (${meaning[cause.rule]})`;
  });
  return parts.length === 0 ? '; no one rule explains them' : `; ${parts.join('; ')}`;
}

export function causeName(cause: Cause): string {
  return cause.detail === '' ? cause.rule : `${cause.rule} ${cause.detail}`;
}

/** `column seats: integer in the baseline, long in the candidate`. */
export function schemaSentence(difference: SchemaDifference): string {
  const weight = difference.counts ? '' : ' (does not count against the run)';
  return `column ${difference.column} ${schemaFinding(difference)}${weight}`;
}

function schemaFinding({ difference, baseline, candidate }: SchemaDifference): string {
  switch (difference) {
    case 'Missing':
      return `is missing in the candidate${baseline === null ? '' : ` (${baseline} in the baseline)`}`;
    case 'Extra':
      return `is only in the candidate${candidate === null ? '' : ` (${candidate})`}`;
    case 'Type':
      return `is ${baseline ?? 'unknown'} in the baseline and ${candidate ?? 'unknown'} in the candidate`;
    case 'Nullability':
      return `is ${baseline ?? 'unknown'} in the baseline and ${candidate ?? 'unknown'} in the candidate`;
  }
}

/** `12 rows that the cursor could not see (10 deleted, 2 with a NULL cursor): shown, not counted`; undefined where none. */
export function unseenSentence(comparison: Pick<ReportComparison, 'unseen'>): string | undefined {
  const { unseen } = comparison;
  if (unseen === undefined || unseen.total === 0) return undefined;
  const reasons = (Object.keys(unseenReason) as (keyof UnseenCounts)[])
    .filter((reason) => unseen[reason] > 0)
    .map((reason) => `${number(unseen[reason])} ${unseenReason[reason]}`);
  const weight = unseen.counted ? 'counted, as the manifest says' : 'expected of an incremental sync, not counted';
  return `${count(unseen.total, 'row')} that the cursor could not see (${reasons.join(', ')}): ${weight}`;
}

export const unseenReason: Readonly<Record<keyof UnseenCounts, string>> = {
  deleted: 'deleted',
  nullCursor: 'with a NULL cursor',
  tiedCursor: 'tied with the last cursor value',
  lateRow: 'that came late',
  unmovedCursor: 'updated without moving the cursor',
};

/** `id=42, origin=EWR`: the key of a sample; a whole row where the table has no key. */
export function sampleKey(sample: Sample): string {
  const parts = Object.entries(sample.key).map(([name, value]) => `${name}=${value ?? 'NULL'}`);
  return parts.length === 0 ? 'row' : parts.join(', ');
}

/** `changed id=42; seats: "55" -> NULL`; only the names of the columns where values are masked. At most `mostColumns` of them. */
export function sampleSentence(sample: Sample, values: 'Masked' | 'Shown', mostColumns = Infinity): string {
  const cells = sample.columns.slice(0, mostColumns).map(({ name, baseline, candidate }) => {
    if (values === 'Masked') return name;
    const sides =
      sample.class === 'missing' ? [baseline] : sample.class === 'extra' ? [candidate] : [baseline, candidate];
    return `${name}: ${sides.map(shownValue).join(' -> ')}`;
  });
  const rest = sample.columns.length - mostColumns;
  if (rest > 0) cells.push(`… and ${count(rest, 'more column')}`);
  const why = sample.unseen === undefined ? '' : ` (unseen: ${unseenReason[sample.unseen]})`;
  return `${sample.class} ${sampleKey(sample)}${why}${cells.length === 0 ? '' : `; ${cells.join('; ')}`}`;
}

/** A value as people can tell it apart: NULL from the text 'NULL', white space and emptiness seen. */
function shownValue(value: string | null): string {
  return value === null ? 'NULL' : JSON.stringify(value);
}

/** The verdict's own sentence, for the top of every format. */
export function headline(counts: ReportCounts, verdict: 'Passed' | 'Failed' | 'Errored' | 'Cancelled'): string {
  const compared = count(counts.comparisons, 'comparison');
  const queries = counts.queries === 0 ? '' : ` and ${count(counts.queries, 'query', 'queries')}`;
  switch (verdict) {
    case 'Passed':
      return counts.differences === 0
        ? `${compared}${queries} without a difference`
        : `${compared}${queries}; ${count(counts.differences, 'difference')}, within maxDifferences`;
    case 'Failed':
      return failedHeadline(counts);
    case 'Errored':
      return `${count(counts.errors, 'task')} could not be carried out; ${unfinished(counts)}`;
    case 'Cancelled':
      return `cancelled; ${unfinished(counts)}`;
  }
}

function failedHeadline(counts: ReportCounts): string {
  const parts: string[] = [];
  if (counts.differing > 0) {
    const found = count(counts.differences, 'difference');
    parts.push(`${found} in ${number(counts.differing)} of ${count(counts.comparisons, 'comparison')}`);
  }
  if (counts.queriesDiffering > 0) {
    parts.push(`${number(counts.queriesDiffering)} of ${count(counts.queries, 'query', 'queries')} differ`);
  }
  return parts.join('; ');
}

function unfinished(counts: ReportCounts): string {
  const done = `${count(counts.comparisons, 'comparison')} made`;
  const found = counts.differing === 0 ? '' : `, ${number(counts.differing)} of them with differences`;
  return `${done}${found}, ${number(counts.notCompared)} not made`;
}

/** Whether there is more to say of a comparison than its line in a table of counts. */
export function hasFindings({ differences, schema, notes, unseen }: ReportComparison): boolean {
  return differences > 0 || schema.length > 0 || notes.length > 0 || (unseen?.total ?? 0) > 0;
}

/** `flights (ops)`, `airlines`, `query delays`. */
export function nameOf(item: { readonly table: string; readonly source: string | null }): string {
  return item.source === null ? item.table : `${item.table} (${item.source})`;
}

export function notComparedName(item: NotCompared): string {
  const name = item.kind === 'Query' ? `query ${item.name}` : nameOf({ table: item.name, source: item.source });
  return `${name} in step ${item.step}`;
}

/** What each rule means to somebody who has not read its documentation. */
export const meaning: Readonly<Record<CauseRule, string>> = {
  ShiftedByHours: 'times moved by hours, as a wrong time zone does',
  OffByOneDay: 'dates moved by one day',
  TruncatedPrecision: 'digits after the point were cut off',
  RoundedToFloat32: 'the value went through a 32-bit float',
  NullBecameEmpty: 'NULL became an empty text',
  EmptyBecameNull: 'an empty text became NULL',
  BecameNull: 'the value was lost',
  NullBecameValue: 'NULL became a value',
  Trimmed: 'white space at the ends was removed',
  CaseChanged: 'only upper and lower case differ',
  WrongEncoding: 'UTF-8 bytes were read in another encoding',
  SwappedWith: 'the value is that of another column',
  StaleValue: 'the candidate still holds the value of the base version',
  DuplicatedBatch: 'a run of rows landed twice',
  MissingTail: 'the last rows in cursor or key order did not land',
  MissingBatch: 'a run of neighbouring rows did not land',
  ResurrectedDelete: 'rows that were replaced or deleted came back',
  ColumnDropped: 'the column did not land',
};

/** Where the sides of a query ran, in words. */
export function ranIn({ ranIn: { baseline, candidate } }: Pick<ReportQuery, 'ranIn'>): string {
  return baseline === candidate ? candidate : `${baseline} (baseline), ${candidate} (candidate)`;
}

/** The same behind a finding; nothing for a query of SQL, which runs where all comparing is done. */
export function ranElsewhere(query: Pick<ReportQuery, 'ranIn'>): string {
  return query.ranIn.candidate === 'the embedded engine' ? '' : ` (ran in ${ranIn(query)})`;
}
