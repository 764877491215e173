import type { Report, ReportComparison, ReportError, ReportQuery } from './model.ts';
import {
  classes,
  columnSentence,
  count,
  nameOf,
  notComparedName,
  sampleSentence,
  schemaSentence,
  tableCauseSentence,
  unseenSentence,
} from './words.ts';

/**
 * JUnit XML: a suite per step with a case per table and source and per query, and one suite `tasks` with what could not be
 * carried out. A difference is a `failure`; a task's failure is an `error`; what was not reached is `skipped`: never a pass.
 */
export function toJUnit(report: Report): string {
  const suites = [...stepSuites(report), ...taskSuite(report)];
  const total = suites.flatMap(({ cases }) => cases);
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${escapeXml(report.run.name)}" ${attributes(total)}>`,
    ...suites.flatMap(suiteLines(report)),
    '</testsuites>',
    '',
  ].join('\n');
}

interface Suite {
  readonly name: string;
  readonly cases: readonly Case[];
}

interface Case {
  readonly classname: string;
  readonly name: string;
  readonly outcome: 'passed' | 'failure' | 'error' | 'skipped';
  /** One line. */
  readonly message: string;
  readonly type: string;
  readonly text: string;
}

function stepSuites(report: Report): Suite[] {
  const steps = new Map<string, Case[]>();
  const add = (step: string, item: Case) => {
    const cases = steps.get(step) ?? [];
    cases.push(item);
    steps.set(step, cases);
  };
  for (const comparison of report.comparisons) add(comparison.step, comparisonCase(report, comparison));
  for (const query of report.queries) add(query.step, queryCase(report, query));
  for (const { step, name, why } of report.leftOut) {
    const suite = step ?? 'inherited';
    const about = { classname: className(report, suite, 'queries'), name, message: why, type: 'LeftOut', text: '' };
    add(suite, { ...about, outcome: 'skipped' });
  }
  for (const item of report.notCompared) {
    add(item.step, {
      classname: className(report, item.step, item.kind === 'Query' ? 'queries' : item.source),
      name: item.name,
      outcome: 'skipped',
      message: `${notComparedName(item)} was not compared: the run was ${report.verdict}`,
      type: 'NotCompared',
      text: '',
    });
  }
  return [...steps].map(([name, cases]) => ({ name, cases }));
}

function comparisonCase(report: Report, comparison: ReportComparison): Case {
  const differs = comparison.outcome === 'Different';
  return {
    classname: className(report, comparison.step, comparison.source),
    name: comparison.table,
    outcome: differs ? 'failure' : 'passed',
    message: `${nameOf(comparison)}: ${count(comparison.differences, 'difference')} (rows: ${classes(comparison)})`,
    type: 'Different',
    text: differs ? comparisonText(comparison, report.run.values).join('\n') : '',
  };
}

function comparisonText(comparison: ReportComparison, values: Report['run']['values']): string[] {
  const unseen = unseenSentence(comparison);
  return [
    `baseline: ${comparison.baseline}; candidate: ${comparison.candidate}`,
    ...comparison.schema.map(schemaSentence),
    ...comparison.causes.map(tableCauseSentence),
    ...comparison.columns.filter(({ changed }) => changed > 0).map((c) => `${c.name}: ${columnSentence(c)}`),
    ...(unseen === undefined ? [] : [unseen]),
    ...comparison.samples.map((sample) => sampleSentence(sample, values)),
  ];
}

function queryCase(report: Report, query: ReportQuery): Case {
  return {
    classname: className(report, query.step, 'queries'),
    name: query.name,
    outcome: query.outcome === 'Different' ? 'failure' : 'passed',
    message: query.message,
    type: 'Different',
    text: query.samples
      .map(({ baseline, candidate }) => `${baseline ?? '(none)'} -> ${candidate ?? '(none)'}`)
      .join('\n'),
  };
}

function taskSuite(report: Report): Suite[] {
  if (report.errors.length === 0) return [];
  const cases = report.errors.map(
    (error: ReportError): Case => ({
      classname: `${report.run.name}.tasks.${error.kind}`,
      name: error.table === null ? error.task : `${error.task}: ${error.table}`,
      outcome: 'error',
      message: error.message,
      type: error.code,
      text: error.advice ?? '',
    }),
  );
  return [{ name: 'tasks', cases }];
}

function className(report: Report, step: string, group: string | null): string {
  return [report.run.name, step, ...(group === null ? [] : [group])].join('.');
}

function suiteLines(report: Report): (suite: Suite) => string[] {
  return ({ name, cases }) => [
    `  <testsuite name="${escapeXml(name)}" ${attributes(cases)} timestamp="${escapeXml(report.timings.reportedAt)}">`,
    '    <properties>',
    `      <property name="verdict" value="${escapeXml(report.verdict)}"/>`,
    `      <property name="fingerprint" value="${escapeXml(report.fingerprint ?? '')}"/>`,
    '    </properties>',
    ...cases.map(caseLine),
    '  </testsuite>',
  ];
}

function caseLine({ classname, name, outcome, message, type, text }: Case): string {
  const open = `    <testcase classname="${escapeXml(classname)}" name="${escapeXml(name)}"`;
  switch (outcome) {
    case 'passed':
      return `${open}/>`;
    case 'skipped':
      return `${open}><skipped message="${escapeXml(message)}"/></testcase>`;
    case 'failure':
    case 'error':
      return `${open}><${outcome} message="${escapeXml(message)}" type="${escapeXml(type)}">${escapeXml(text)}</${outcome}></testcase>`;
  }
}

function attributes(cases: readonly Case[]): string {
  const of = (outcome: Case['outcome']) => cases.filter((item) => item.outcome === outcome).length;
  return `tests="${cases.length}" failures="${of('failure')}" errors="${of('error')}" skipped="${of('skipped')}"`;
}

/** Text for XML 1.0: markup escaped, characters that XML cannot hold at all replaced, line ends kept inside attributes. */
export function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\r', '&#13;')
    .replaceAll('\n', '&#10;')
    .replaceAll('\t', '&#9;');
}
