import type { Sample } from '../compare/result.ts';
import { type Html, html, list, tag } from './html-text.ts';
import type { ReportComparison } from './model.ts';
import {
  classes,
  columnSentence,
  count,
  nameOf,
  number,
  schemaSentence,
  tableCauseSentence,
  unseenReason,
  unseenSentence,
} from './words.ts';

export interface DetailsOptions {
  /** Anchor that the overview links to. */
  readonly id: string;
  readonly values: 'Masked' | 'Shown';
  readonly isOpen: boolean;
}

/** One table in full: schema, causes in words, columns, unseen rows, samples, notes. */
export function comparisonDetails(comparison: ReportComparison, { id, values, isOpen }: DetailsOptions): Html {
  const { rows, outcome } = comparison;
  return html`<details id="${id}"${isOpen ? html` open` : html``}><summary><span class="tag ${outcome}">${outcome}</span>
${nameOf(comparison)} <span class="soft">in ${comparison.step}: ${count(comparison.differences, 'difference')}; rows: ${classes(comparison)}</span></summary>
<p class="soft">${comparison.baseline}: ${count(rows.baseline, 'row')} · ${comparison.candidate}: ${count(rows.candidate, 'row')} · ${number(rows.matched)} equal · ${key(comparison)}</p>
${findings(comparison)}
${columns(comparison)}
${samples(comparison, values)}
${notes(comparison)}
<p class="soft">Row digests: baseline <code>${comparison.digest.baseline}</code>, candidate <code>${comparison.digest.candidate}</code></p>
</details>`;
}

function key(comparison: ReportComparison): string {
  return comparison.key.length === 0 ? 'no key: compared as a multiset' : `key ${comparison.key.join(', ')}`;
}

function findings(comparison: ReportComparison): Html {
  const unseen = unseenSentence(comparison);
  const items = [
    ...comparison.schema.map((difference) => html`<li>Schema: ${schemaSentence(difference)}</li>`),
    ...comparison.causes.map((cause) => html`<li>${tableCauseSentence(cause)}</li>`),
    ...comparison.columns
      .filter(({ changed }) => changed > 0)
      .map((column) => html`<li><code>${column.name}</code>: ${columnSentence(column)}</li>`),
    ...(unseen === undefined ? [] : [html`<li>${unseen}</li>`]),
  ];
  return items.length === 0 ? html`` : html`<h3>Findings</h3><ul>${list(items)}</ul>`;
}

function columns(comparison: ReportComparison): Html {
  const changed = comparison.columns.filter((column) => column.changed > 0);
  if (changed.length === 0) return html``;
  const rows = changed.map(
    (column) => html`<tr><th scope="row"><code>${column.name}</code></th><td class="n">${number(column.changed)}</td>
<td class="n">${number(column.baselineNull)}</td><td class="n">${number(column.candidateNull)}</td><td class="n">${column.largestDifference ?? '–'}</td></tr>`,
  );
  return html`<h3>Changed columns</h3><div class="scroll"><table><thead><tr><th scope="col">Column</th><th scope="col" class="n">Rows changed</th><th scope="col" class="n">NULL in baseline</th><th scope="col" class="n">NULL in candidate</th><th scope="col" class="n">Largest difference</th></tr></thead><tbody>${list(rows)}</tbody></table></div>`;
}

function samples(comparison: ReportComparison, values: 'Masked' | 'Shown'): Html {
  if (comparison.samples.length === 0) return html``;
  const intro =
    values === 'Masked'
      ? 'Chosen by the smallest hash of the key, so that they repeat. Values are masked and keys are hashes.'
      : 'Chosen by the smallest hash of the key, so that they repeat.';
  const rows = comparison.samples.map(
    (
      sample,
    ) => html`<tr><td>${sample.class}${sample.unseen === undefined ? '' : ` (unseen: ${unseenReason[sample.unseen]})`}</td>
<td class="mono">${sampleKey(sample)}</td><td>${list(cells(sample, values))}</td></tr>`,
  );
  return html`<h3>Samples</h3><p class="soft">${intro}</p><div class="scroll"><table><thead><tr><th scope="col">Class</th><th scope="col">Key</th><th scope="col">Columns: baseline → candidate</th></tr></thead><tbody>${list(rows)}</tbody></table></div>`;
}

function sampleKey(sample: Sample): Html {
  const parts = Object.entries(sample.key).map(([name, value]) => html`<div>${name} = ${value ?? 'NULL'}</div>`);
  return parts.length === 0 ? html`–` : list(parts);
}

function cells(sample: Sample, values: 'Masked' | 'Shown'): Html[] {
  return sample.columns.map(({ name, baseline, candidate }) => {
    if (values === 'Masked') return html`<div><code>${name}</code></div>`;
    const from = sample.class === 'extra' ? html`` : html`<span class="from">${value(baseline)}</span>`;
    const to = sample.class === 'missing' ? html`` : value(candidate);
    const arrow = sample.class === 'changed' ? ' → ' : '';
    return html`<div><code>${name}</code>: ${from}${arrow}${to}</div>`;
  });
}

/** NULL is told apart from the text 'NULL', and an empty text is seen. */
function value(text: string | null): Html {
  return text === null ? html`<em>NULL</em>` : tag('code', JSON.stringify(text));
}

function notes(comparison: ReportComparison): Html {
  if (comparison.notes.length === 0) return html``;
  return html`<h3>Notes</h3><ul>${list(comparison.notes.map((note) => html`<li>${note}</li>`))}</ul>`;
}
