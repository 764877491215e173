import type { ResolvedReports } from '../api/resolved.ts';
import type { ObjectStore } from '../lake/store.ts';
import { toHtml } from './html.ts';
import { toJson } from './json.ts';
import { toJUnit } from './junit.ts';
import { toMarkdown } from './markdown.ts';
import type { Report } from './model.ts';

type Format = ResolvedReports['formats'][number];

/**
 * Writes the report in each format to `<run name>-<first 8 of the uid>/report.<ext>` of the store, and returns where they lie, in
 * the order of the formats. Written again, the same files are replaced.
 */
export async function writeReports(
  store: ObjectStore,
  report: Report,
  formats: readonly Format[],
): Promise<readonly WrittenReport[]> {
  const folder = `${report.run.name}-${report.run.uid.slice(0, 8)}`;
  const written: WrittenReport[] = [];
  for (const format of formats) {
    const key = `${folder}/report.${extensions[format]}`;
    await store.put(key, render(report, format));
    written.push({ format, url: store.url(key) });
  }
  return written;
}

export interface WrittenReport {
  readonly format: Format;
  /** `s3://…` or `file:///…` */
  readonly url: string;
}

const extensions: Readonly<Record<Format, string>> = { JSON: 'json', HTML: 'html', JUnit: 'xml', Markdown: 'md' };

function render(report: Report, format: Format): string {
  switch (format) {
    case 'JSON':
      return toJson(report);
    case 'HTML':
      return toHtml(report);
    case 'JUnit':
      return toJUnit(report);
    case 'Markdown':
      return toMarkdown(report);
  }
}
