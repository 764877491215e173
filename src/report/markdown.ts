import type { Report, ReportComparison, ReportQuery } from './model.ts';
import {
  classes,
  columnSentence,
  count,
  hasFindings,
  nameOf,
  notComparedName,
  number,
  ranElsewhere,
  schemaSentence,
  tableCauseSentence,
  unseenSentence,
} from './words.ts';

/** GitHub cuts a step summary at 1 MiB; lists end earlier, and say so. */
const longestList = 100;

/** The report as GitHub Markdown: the summary of a CI step. No values of the data are in it, whatever `comparison.values` says. */
export function toMarkdown(report: Report): string {
  return [
    `## ${mark[report.verdict]} ${text(report.run.name)}: ${report.verdict}`,
    '',
    `${text(report.headline)}.`,
    '',
    ...errors(report),
    ...overview(report),
    ...details(report),
    ...queries(report.queries),
    ...leftOut(report),
    ...notCompared(report),
    ...notes(report),
    `Fingerprint ${report.fingerprint === null ? 'none (the run did not compare everything)' : code(report.fingerprint)} · snapshot ${report.snapshot.digest === null ? 'not complete' : code(report.snapshot.digest.slice(0, 16))} · run ${code(report.run.uid)}`,
    '',
  ].join('\n');
}

const mark = { Passed: '✅', Failed: '❌', Errored: '💥', Cancelled: '⏹️' } as const;

function errors(report: Report): string[] {
  if (report.errors.length === 0) return [];
  const lines = report.errors.map((error) => {
    const about = error.table === null ? error.task : `${error.table} in ${error.task}`;
    return `- **${text(about)}** (${error.code}): ${text(error.message)}${error.advice === undefined ? '' : ` ${text(error.advice)}`}`;
  });
  return ['### Could not be carried out', '', ...capped(lines, 'error'), ''];
}

function overview(report: Report): string[] {
  if (report.comparisons.length === 0) return [];
  const sorted = [...report.comparisons].sort((a, b) => rank(a) - rank(b));
  const rows = sorted.map((c) => {
    const { baseline, candidate, missing, extra, changed, duplicated } = c.rows;
    const numbers = [baseline, candidate, missing, extra, changed, duplicated].map(number).join(' | ');
    return `| ${outcomeMark[c.outcome]} | ${text(c.step)} | ${text(nameOf(c))} | ${numbers} |`;
  });
  return [
    '| | Step | Table | Baseline | Candidate | Missing | Extra | Changed | Duplicated |',
    '|---|---|---|--:|--:|--:|--:|--:|--:|',
    ...capped(rows, 'comparison'),
    '',
  ];
}

const outcomeMark = { Equal: '✅', Tolerated: '☑️', Different: '❌' } as const;

function rank(comparison: ReportComparison): number {
  return comparison.outcome === 'Different' ? 0 : comparison.outcome === 'Tolerated' ? 1 : 2;
}

function details(report: Report): string[] {
  const worth = report.comparisons.filter(hasFindings);
  return capped(
    worth.map((c) => {
      const unseen = unseenSentence(c);
      const lines = [
        ...c.schema.map((difference) => text(schemaSentence(difference))),
        ...c.causes.map((cause) => text(tableCauseSentence(cause))),
        ...c.columns.filter(({ changed }) => changed > 0).map((x) => `${code(x.name)}: ${text(columnSentence(x))}`),
        ...(unseen === undefined ? [] : [text(unseen)]),
      ];
      const summary = `${nameOf(c)} in ${c.step}: ${count(c.differences, 'difference')} (rows: ${classes(c)})`;
      return [
        `<details><summary>${text(summary)}</summary>`,
        '',
        ...lines.map((line) => `- ${line}`),
        '',
        '</details>',
        '',
      ].join('\n');
    }),
    'comparison',
  );
}

function queries(all: readonly ReportQuery[]): string[] {
  if (all.length === 0) return [];
  const lines = all.map((query) => {
    const found = query.outcome === 'Equal' ? `equal, ${count(query.baselineRows, 'row')}` : text(query.message);
    return `- ${outcomeMark[query.outcome]} ${text(query.name)}: ${found}${text(ranElsewhere(query))}`;
  });
  return ['### Queries', '', ...capped(lines, 'query'), ''];
}

function leftOut(report: Report): string[] {
  if (report.leftOut.length === 0) return [];
  const lines = report.leftOut.map(({ name, why }) => `- ${text(name)}: ${text(why)}`);
  return ['### Inherited queries that could not run', '', ...capped(lines, 'query'), ''];
}

function notCompared(report: Report): string[] {
  if (report.notCompared.length === 0) return [];
  const lines = report.notCompared.map((item) => `- ${text(notComparedName(item))}`);
  return ['### Not compared', '', ...capped(lines, 'item'), ''];
}

function notes(report: Report): string[] {
  if (report.notes.length === 0) return [];
  const lines = report.notes.map(({ about, note }) => `- ${text(about)}: ${text(note)}`);
  return ['<details><summary>Notes</summary>', '', ...capped(lines, 'note'), '', '</details>', ''];
}

function capped(lines: readonly string[], noun: string): string[] {
  if (lines.length <= longestList) return [...lines];
  return [...lines.slice(0, longestList), '', `… and ${count(lines.length - longestList, `more ${noun}`)}`];
}

/** Text that Markdown and HTML leave as it is: every character with a meaning becomes an entity or is escaped. */
function text(value: string): string {
  return oneLine(value)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[\\`*_{}[\]#!|~@$]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function code(value: string): string {
  return `<code>${text(value)}</code>`;
}

function oneLine(value: string): string {
  return value.toWellFormed().replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}
