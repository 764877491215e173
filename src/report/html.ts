import { comparisonDetails } from './html-comparison.ts';
import { style } from './html-style.ts';
import { type Html, html, list, raw, tag } from './html-text.ts';
import type { Report, ReportComparison, ReportQuery } from './model.ts';
import { bytes, count, duration, hasFindings, nameOf, notComparedName, number, ranIn } from './words.ts';

/**
 * The report as one HTML file that needs nothing else: no script, no font, no request (its policy forbids them), readable in light
 * and dark, printable, and usable by keyboard and screen reader. Everything from data or manifest is escaped by `html`.
 */
export function toHtml(report: Report): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>${report.verdict}: ${report.run.name} – Pipeline Parity</title>
<style>${raw(style)}</style>
</head>
<body>
<a class="skip" href="#tables">Skip to the tables</a>
${banner(report)}
<main>
${numbers(report)}
${errors(report)}
${overview(report)}
${queries(report)}
${leftOut(report)}
${notCompared(report)}
${snapshot(report)}
${notes(report)}
${timings(report)}
${reproduce(report)}
</main>
${foot(report)}
</body>
</html>
`.text;
}

function banner(report: Report): Html {
  return html`<header class="${report.verdict}">
<h1>${report.run.name}</h1>
<p class="verdict" role="status">${report.verdict}</p>
<p class="headline">${report.headline}.</p>
<p>${verdictMeaning[report.verdict]}</p>
</header>`;
}

const verdictMeaning = {
  Passed: 'Everything that was compared is equal: the pipeline delivered the data it was given.',
  Failed: 'The test was carried out, and the data differ.',
  Errored: 'The test could not be carried out. This says nothing about the data that were not compared.',
  Cancelled: 'The run was stopped before its end. This says nothing about the data that were not compared.',
} as const;

function numbers(report: Report): Html {
  const { counts, snapshot } = report;
  const rows = snapshot.tables.reduce((sum, table) => sum + table.rows, 0);
  const size = snapshot.tables.reduce((sum, table) => sum + table.sizeBytes, 0);
  const items: [string, string][] = [
    ['Comparisons equal', `${number(counts.comparisons - counts.differing)} of ${number(counts.comparisons)}`],
    ['Differences', number(counts.differences)],
    ['Queries equal', `${number(counts.queries - counts.queriesDiffering)} of ${number(counts.queries)}`],
    ['Rows in the snapshot', number(rows)],
    ['Size of the snapshot', bytes(size)],
    ['Unseen by cursors', number(counts.unseen)],
  ];
  return html`<dl class="numbers">${list(items.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`))}</dl>`;
}

function errors(report: Report): Html {
  if (report.errors.length === 0) return html``;
  const items = report.errors.map(
    (error) => html`<div class="error">
<p><strong>${error.table === null ? error.task : `${error.table} in ${error.task}`}</strong> <code>${error.code}</code>
<span class="soft">after ${count(error.attempts, 'attempt')}</span></p>
<p>${error.message}</p>${error.advice === undefined ? html`` : html`<p><strong>What to do:</strong> ${error.advice}</p>`}
</div>`,
  );
  return html`<section aria-labelledby="errors"><h2 id="errors">What could not be carried out</h2>${list(items)}</section>`;
}

/** Differing tables first and in full; where there are many, equal ones are folded away. */
function overview(report: Report): Html {
  if (report.comparisons.length === 0) {
    return html`<section aria-labelledby="tables"><h2 id="tables">Tables</h2><p>Nothing was compared.</p></section>`;
  }
  const indexed = report.comparisons.map((comparison, index) => ({ comparison, id: `c${index}` }));
  const differing = indexed.filter(({ comparison }) => comparison.outcome !== 'Equal');
  const equal = indexed.filter(({ comparison }) => comparison.outcome === 'Equal');
  const isLong = equal.length > 60;
  const first = isLong ? differing : [...differing, ...equal];
  const explained = indexed.filter(({ comparison }) => hasFindings(comparison));
  explained.sort((a, b) => weight(a.comparison) - weight(b.comparison));
  return html`<section aria-labelledby="tables"><h2 id="tables">Tables</h2>
${first.length === 0 ? html`` : comparisonTable(first, 'Rows of each side and differences by class')}
${isLong ? html`<details><summary>${count(equal.length, 'equal comparison')}</summary>${comparisonTable(equal, 'Equal')}</details>` : html``}
${explained.length === 0 ? html`` : html`<h2 id="differences">What differs, and why</h2>`}
${list(explained.map(({ comparison, id }, index) => comparisonDetails(comparison, { id, values: report.run.values, isOpen: comparison.outcome === 'Different' && index < 5 })))}
</section>`;
}

interface Indexed {
  readonly comparison: ReportComparison;
  readonly id: string;
}

function comparisonTable(items: readonly Indexed[], caption: string): Html {
  const rows = items.map(({ comparison: c, id }) => {
    const name = hasFindings(c) ? html`<a href="#${id}">${nameOf(c)}</a>` : html`${nameOf(c)}`;
    return html`<tr><td>${outcome(c.outcome)}</td><th scope="row">${name}</th><td>${c.step}</td>
${plain(c.rows.baseline)}${plain(c.rows.candidate)}${list([c.rows.missing, c.rows.extra, c.rows.changed, c.rows.duplicated].map((value) => (c.outcome === 'Equal' ? plain(value) : hot(value))))}${plain(c.unseen?.total ?? 0)}</tr>`;
  });
  const heads = ['Baseline', 'Candidate', 'Missing', 'Extra', 'Changed', 'Duplicated', 'Unseen'];
  return html`<div class="scroll"><table><caption>${caption}</caption>
<thead><tr><th scope="col">Result</th><th scope="col">Table</th><th scope="col">Step</th>${list(heads.map((head) => html`<th scope="col" class="n">${head}</th>`))}</tr></thead>
<tbody>${list(rows)}</tbody></table></div>`;
}

function weight(comparison: ReportComparison): number {
  return comparison.outcome === 'Different' ? 0 : comparison.outcome === 'Tolerated' ? 1 : 2;
}

function outcome(value: ReportComparison['outcome']): Html {
  return html`<span class="tag ${value}">${value}</span>`;
}

function plain(value: number): Html {
  return html`<td class="n${value === 0 ? ' zero' : ''}">${number(value)}</td>`;
}

function hot(value: number): Html {
  return html`<td class="n ${value === 0 ? 'zero' : 'hot'}">${number(value)}</td>`;
}

function queries(report: Report): Html {
  if (report.queries.length === 0) return html``;
  const differing = report.queries.filter((query) => query.outcome === 'Different');
  const rows = report.queries.map(
    (query) => html`<tr><td>${outcome(query.outcome)}</td><th scope="row">${query.name}</th><td>${query.step}</td>
${plain(query.baselineRows)}${plain(query.candidateRows)}<td>${query.message}</td><td class="soft">${ranIn(query)}</td></tr>`,
  );
  return html`<section aria-labelledby="queries"><h2 id="queries">Queries</h2><div class="scroll"><table>
<caption>Each query ran on both sides, or against the rows that the manifest expects</caption>
<thead><tr><th scope="col">Result</th><th scope="col">Query</th><th scope="col">Step</th><th scope="col" class="n">Baseline rows</th><th scope="col" class="n">Candidate rows</th><th scope="col">Finding</th><th scope="col">Ran in</th></tr></thead>
<tbody>${list(rows)}</tbody></table></div>${list(differing.map((query) => querySamples(query, report.run.values)))}</section>`;
}

function querySamples(query: ReportQuery, values: 'Masked' | 'Shown'): Html {
  if (query.samples.length === 0) return html``;
  if (values === 'Masked') {
    return html`<p class="soft">${count(query.samples.length, 'differing row')} of <strong>${query.name}</strong> sampled; values are masked.</p>`;
  }
  const rows = query.samples.map(
    ({ baseline, candidate }) =>
      html`<tr><td class="mono">${baseline ?? '–'}</td><td class="mono">${candidate ?? '–'}</td></tr>`,
  );
  return html`<details><summary>Rows of ${query.name} that differ</summary><div class="scroll"><table><thead><tr><th scope="col">Baseline</th><th scope="col">Candidate</th></tr></thead><tbody>${list(rows)}</tbody></table></div></details>`;
}

function leftOut(report: Report): Html {
  if (report.leftOut.length === 0) return html``;
  const items = report.leftOut.map(({ name, why }) => html`<li><strong>${name}</strong>: ${why}</li>`);
  return html`<section aria-labelledby="left-out"><h2 id="left-out">Queries left out</h2>
<details><summary>${count(items.length, 'inherited query', 'inherited queries')} that could not run</summary><ul>${list(items)}</ul></details></section>`;
}

function notCompared(report: Report): Html {
  if (report.notCompared.length === 0) return html``;
  const items = report.notCompared.map((item) => html`<li>${notComparedName(item)}</li>`);
  return html`<section aria-labelledby="missing"><h2 id="missing">Not compared</h2>
<details><summary>${count(items.length, 'table or query', 'tables and queries')} that the run did not get to</summary><ul>${list(items)}</ul></details></section>`;
}

function snapshot({ snapshot }: Report): Html {
  if (snapshot.tables.length === 0) return html``;
  const rows = snapshot.tables.map(
    (table) => html`<tr><th scope="row">${table.name}</th><td class="n">${table.version}</td>
<td class="n">${table.baseVersion === null ? '–' : String(table.baseVersion)}</td>${plain(table.rows)}<td class="n">${bytes(table.sizeBytes)}</td>
<td class="mono">${table.digest === null ? 'not copied' : table.digest.slice(0, 16)}</td></tr>`,
  );
  return html`<section aria-labelledby="snapshot"><h2 id="snapshot">What was tested</h2>
<p>Tables of <code>${snapshot.location}</code>, pinned at these versions${snapshot.digest === null ? '' : html`; digest of all <code>${snapshot.digest}</code>`}.</p>
<details><summary>${count(rows.length, 'table')}</summary><div class="scroll"><table><thead><tr><th scope="col">Table</th><th scope="col" class="n">Version</th><th scope="col" class="n">Base version</th><th scope="col" class="n">Rows</th><th scope="col" class="n">Size</th><th scope="col">Digest</th></tr></thead><tbody>${list(rows)}</tbody></table></div></details></section>`;
}

function notes(report: Report): Html {
  if (report.notes.length === 0) return html``;
  const items = report.notes.map(({ about, note }) => html`<li><strong>${about}</strong>: ${note}</li>`);
  return html`<section aria-labelledby="notes"><h2 id="notes">Worth knowing</h2><details><summary>${count(items.length, 'note')}</summary><ul>${list(items)}</ul></details></section>`;
}

function timings(report: Report): Html {
  if (report.timings.tasks.length === 0) return html``;
  const rows = report.timings.tasks.map(
    ({ task, kind, attempts, seconds }) =>
      html`<tr><th scope="row">${task}</th><td>${kind}</td><td class="n">${attempts}</td><td class="n">${seconds === null ? '–' : duration(seconds)}</td></tr>`,
  );
  return html`<section aria-labelledby="timings"><h2 id="timings">How long it took</h2><details><summary>${count(rows.length, 'task')}</summary><div class="scroll"><table><thead><tr><th scope="col">Task</th><th scope="col">Kind</th><th scope="col" class="n">Attempts</th><th scope="col" class="n">Time</th></tr></thead><tbody>${list(rows)}</tbody></table></div></details></section>`;
}

function reproduce(report: Report): Html {
  const versions = report.snapshot.tables.map(
    ({ name, version, baseVersion }) =>
      `#   ${name}: version ${version}${baseVersion === null ? '' : `, from ${baseVersion}`}`,
  );
  const shown = versions.length > 20 ? [...versions.slice(0, 20), `#   … and ${versions.length - 20} more`] : versions;
  const text = [`parity run MANIFEST   # the manifest of ${report.run.name}, with these versions:`, ...shown].join(
    '\n',
  );
  return html`<section aria-labelledby="reproduce"><h2 id="reproduce">How to reproduce</h2>
<p>Two runs of the same manifest on the same code give the same fingerprint. Masked values: add <code>--set spec.comparison.values=Shown</code> to see them.</p>
${tag('pre', text)}</section>`;
}

function foot(report: Report): Html {
  const { run, timings } = report;
  const started = timings.startedAt === null ? '' : ` · started ${timings.startedAt}`;
  return html`<footer>
<p>Fingerprint: <code>${report.fingerprint ?? 'none, because not everything was compared'}</code></p>
<p>Run <code>${run.uid}</code>${started} · reported ${timings.reportedAt} · manifest digest <code>${run.specDigest.slice(0, 16)}</code> · Pipeline Parity ${run.parityVersion}</p>
</footer>`;
}
