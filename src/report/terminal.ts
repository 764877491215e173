import type { Verdict } from '../run/types.ts';
import type { Report, ReportComparison } from './model.ts';
import {
  classes,
  columnSentence,
  count,
  nameOf,
  notComparedName,
  number,
  ranElsewhere,
  sampleSentence,
  schemaSentence,
  tableCauseSentence,
  unseenSentence,
} from './words.ts';

export interface TerminalOptions {
  readonly color: boolean;
  /** Where the written reports lie, for people to open. */
  readonly written: readonly string[];
}

/** More comparisons than this and equal ones are only counted. */
const mostRows = 40;
const mostDetails = 10;
const mostLines = 8;
const mostSamples = 3;
const mostColumns = 4;

/** The report for a terminal: verdict, an aligned table, the first differences with their causes, where the report lies. */
export function toTerminal(report: Report, options: TerminalOptions): string {
  const paint = painter(options.color);
  return [
    '',
    ...table(report, paint),
    ...differences(report, paint),
    ...queries(report, paint),
    ...leftOut(report),
    ...errors(report, paint),
    ...notCompared(report),
    ...footer(report, options, paint),
    `${paint(verdictColor[report.verdict], report.verdict)}  ${clean(report.run.name)}: ${clean(report.headline)}`,
    '',
  ].join('\n');
}

export type Color = 'green' | 'red' | 'yellow' | 'dim' | 'bold';
export type Paint = (color: Color, text: string) => string;

/** Colours by the terminal's own palette, or text as it is. */
export function painter(isColored: boolean): Paint {
  const codes: Record<Color, number> = { green: 32, red: 31, yellow: 33, dim: 2, bold: 1 };
  return (color, text) => (isColored ? `\u001b[${codes[color]}m${text}\u001b[0m` : text);
}

export const verdictColor: Readonly<Record<Verdict, Color>> = {
  Passed: 'green',
  Failed: 'red',
  Errored: 'red',
  Cancelled: 'yellow',
};

/** Text of the data or the manifest without control characters: it must not be able to steer the terminal. */
export function clean(text: string): string {
  return text.toWellFormed().replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD');
}

/** Rows of cells as lines with aligned columns, numbers to the right. `right` names the columns that are numbers. */
export function align(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, [...cell].length);
    });
  }
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const gap = ' '.repeat((widths[column] ?? 0) - [...cell].length);
        return right.has(column) ? gap + cell : cell + gap;
      })
      .join('  ')
      .trimEnd(),
  );
}

function table(report: Report, paint: Paint): string[] {
  if (report.comparisons.length === 0) return [];
  const isLong = report.comparisons.length > mostRows;
  const notable = report.comparisons.filter((c) => !isLong || c.outcome !== 'Equal');
  const shown = notable.slice(0, mostRows);
  const header = ['', 'STEP', 'TABLE', 'BASELINE', 'CANDIDATE', 'MISSING', 'EXTRA', 'CHANGED', 'DUPLICATED', 'UNSEEN'];
  const rows = shown.map((c) => {
    const { baseline, candidate, missing, extra, changed, duplicated } = c.rows;
    const numbers = [baseline, candidate, missing, extra, changed, duplicated, c.unseen?.total ?? 0].map(number);
    return [outcomeMark[c.outcome], clean(c.step), clean(nameOf(c)), ...numbers];
  });
  const lines = align([header, ...rows], new Set([3, 4, 5, 6, 7, 8, 9]));
  const painted = lines.map((line, index) => {
    const comparison = shown[index - 1];
    if (comparison === undefined) return paint('dim', line);
    return paint(comparison.outcome === 'Different' ? 'red' : 'green', line.slice(0, 1)) + line.slice(1);
  });
  const equal = report.comparisons.length - notable.length;
  return [
    ...painted.map((line) => `  ${line}`),
    ...(notable.length > shown.length
      ? [`  … and ${number(notable.length - shown.length)} more with differences`]
      : []),
    ...(equal > 0 ? [`  ✓ ${number(equal)} more are equal`] : []),
    '',
  ];
}

const outcomeMark = { Equal: '✓', Tolerated: '~', Different: '✗' } as const;

/** Only what counts is told in full here; what does not is one line, and lies in the report. */
function differences(report: Report, paint: Paint): string[] {
  const counted = report.comparisons.filter(({ differences }) => differences > 0);
  const sorted = [...counted].sort((a, b) => Number(b.outcome === 'Different') - Number(a.outcome === 'Different'));
  const shown = sorted
    .slice(0, mostDetails)
    .flatMap((comparison) => [
      `${paint('bold', clean(nameOf(comparison)))} in ${clean(comparison.step)}: ${count(comparison.differences, 'difference')} (rows: ${classes(comparison)})`,
      ...findings(comparison, report.run.values).map((line) => `  ${clean(line)}`),
      '',
    ]);
  const rest = sorted.length - mostDetails;
  const more = rest > 0 ? [`… and ${count(rest, 'more comparison')} with differences: see the report`, ''] : [];
  return [...shown, ...more, ...expected(report)];
}

function expected({ comparisons }: Report): string[] {
  const unseen = comparisons.filter(({ unseen }) => unseen !== undefined && unseen.total > 0 && !unseen.counted);
  const rows = unseen.reduce((sum, comparison) => sum + (comparison.unseen?.total ?? 0), 0);
  const schema = comparisons.flatMap((comparison) => comparison.schema.filter(({ counts }) => !counts)).length;
  const lines = [
    ...(rows === 0
      ? []
      : [`${count(rows, 'row')} that cursors could not see, in ${count(unseen.length, 'comparison')}`]),
    ...(schema === 0 ? [] : [count(schema, 'difference of schemas', 'differences of schemas')]),
  ];
  return lines.length === 0 ? [] : [`Shown in the report and not counted: ${lines.join('; ')}.`, ''];
}

function findings(comparison: ReportComparison, values: 'Masked' | 'Shown'): string[] {
  const unseen = unseenSentence(comparison);
  const lines = [
    ...comparison.schema.filter(({ counts }) => counts).map(schemaSentence),
    ...comparison.causes.map(tableCauseSentence),
    ...comparison.columns.filter(({ changed }) => changed > 0).map((c) => `${c.name}: ${columnSentence(c)}`),
  ];
  const cut = lines.length > mostLines ? [`… and ${number(lines.length - mostLines)} more findings`] : [];
  const first = comparison.samples.filter((sample) => sample.unseen === undefined).slice(0, mostSamples);
  return [
    ...lines.slice(0, mostLines),
    ...cut,
    ...(unseen === undefined ? [] : [unseen]),
    ...first.map((sample) => `e.g. ${sampleSentence(sample, values, mostColumns)}`),
  ];
}

function queries(report: Report, paint: Paint): string[] {
  if (report.queries.length === 0) return [];
  const lines = report.queries
    .slice(0, mostRows)
    .map((query) =>
      query.outcome === 'Equal'
        ? `  ${paint('green', '✓')} query ${clean(query.name)}: equal, ${count(query.baselineRows, 'row')}${clean(ranElsewhere(query))}`
        : `  ${paint('red', '✗')} query ${clean(query.name)}: ${clean(query.message)}${clean(ranElsewhere(query))}`,
    );
  return [...lines, ''];
}

function leftOut(report: Report): string[] {
  if (report.leftOut.length === 0) return [];
  const lines = report.leftOut.slice(0, mostLines).map(({ name, why }) => `  – ${clean(name)}: ${clean(why)}`);
  const more = report.leftOut.length - lines.length;
  return [
    `${count(report.leftOut.length, 'inherited query', 'inherited queries')} could not run:`,
    ...lines,
    ...(more > 0 ? [`  … and ${number(more)} more, in the report`] : []),
    '',
  ];
}

function errors(report: Report, paint: Paint): string[] {
  return report.errors.slice(0, mostRows).flatMap((error) => {
    const about = error.table === null ? error.task : `${error.table} in ${error.task}`;
    return [
      `${paint('red', `${error.code}:`)} ${clean(about)}: ${clean(error.message)}`,
      ...(error.advice === undefined ? [] : [`  ${clean(error.advice)}`]),
      '',
    ];
  });
}

function notCompared(report: Report): string[] {
  if (report.notCompared.length === 0) return [];
  const names = report.notCompared.slice(0, mostSamples).map((item) => clean(notComparedName(item)));
  const rest = report.notCompared.length - names.length;
  return [`Not compared: ${names.join(', ')}${rest > 0 ? ` and ${number(rest)} more` : ''}`, ''];
}

function footer(report: Report, options: TerminalOptions, paint: Paint): string[] {
  return [
    ...places(options.written).map((place) => `${paint('dim', 'Report:')}      ${clean(place)}`),
    ...(report.fingerprint === null ? [] : [`${paint('dim', 'Fingerprint:')} ${report.fingerprint}`]),
  ];
}

/** The page that people open first; the other formats lie beside it. */
function places(written: readonly string[]): string[] {
  const [first, ...others] = [...written].sort((a, b) => Number(b.endsWith('.html')) - Number(a.endsWith('.html')));
  if (first === undefined) return [];
  const extensions = others.map((url) => url.slice(url.lastIndexOf('.') + 1));
  return [others.length === 0 ? first : `${first} (and ${extensions.join(', ')} beside it)`];
}
