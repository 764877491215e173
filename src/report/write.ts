import type { ResolvedReports } from '../api/resolved.ts';
import type { ObjectStore } from '../lake/store.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { log } from '../support/log.ts';
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
  const folder = folderOf(report.run);
  const written: WrittenReport[] = [];
  for (const format of formats) {
    const key = `${folder}/report.${extensions[format]}`;
    await store.put(key, render(report, format));
    written.push({ format, url: store.url(key) });
  }
  await removeProbe(store, report.run);
  return written;
}

/**
 * Writes where the report will lie, so that a place that cannot be written to is found before the work and not after it. Throws what the store
 * throws. `writeReports` removes what a killed process left of this.
 */
export async function probeReports(store: ObjectStore, run: Pick<Report['run'], 'name' | 'uid'>): Promise<void> {
  try {
    await store.put(`${folderOf(run)}/${probe}`, '');
  } catch (error) {
    const { code, message, isRetryable } = toParityError(error);
    throw new ParityError(code, `no report could be written at the end of this run: ${message}`, {
      cause: error,
      isRetryable,
      advice: 'Check spec.reports: the location has to be there, and its credentials may write.',
    });
  }
  await removeProbe(store, run);
}

/** Who may write reports need not be allowed to delete: then an empty file stays beside them. */
async function removeProbe(store: ObjectStore, run: Pick<Report['run'], 'name' | 'uid'>): Promise<void> {
  await store.delete([`${folderOf(run)}/${probe}`]).catch((error) => log.debug('the probe stays', { error }));
}

const probe = '.probe';

function folderOf({ name, uid }: Pick<Report['run'], 'name' | 'uid'>): string {
  return `${name}-${uid.slice(0, 8)}`;
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
