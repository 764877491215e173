import { createHash } from 'node:crypto';
import { canonicalJson } from '../api/json.ts';
import type { Verdict } from '../run/types.ts';
import type { TableComparison } from './result.ts';

/** What of a comparison's place in the run goes in: never a path or a version. */
export type FingerprintedComparison = TableComparison & { readonly step?: string; readonly source?: string | null };

export interface FingerprintedQuery {
  readonly step?: string;
  readonly name: string;
  readonly outcome: string;
  readonly baselineRows: number;
  readonly candidateRows: number;
  readonly baselineDigest: string;
  readonly candidateDigest: string;
  readonly samples: readonly { readonly baseline: string | null; readonly candidate: string | null }[];
}

/**
 * SHA-256, hex, of all that must repeat when the same spec runs again on the same code and data: the verdict, schema differences, counts by class
 * and column with their causes, query digests, and samples (chosen by smallest key hash). Not in it: ids, times, paths, retries, durations,
 * notes, and the order in which tasks ended.
 */
export function fingerprint(
  verdict: Verdict,
  comparisons: readonly FingerprintedComparison[],
  queries: readonly FingerprintedQuery[],
): string {
  const content = {
    verdict,
    comparisons: sorted(comparisons.map(ofComparison)),
    queries: sorted(queries.map(ofQuery)),
  };
  return createHash('sha256').update(canonicalJson(content)).digest('hex');
}

function ofComparison(comparison: FingerprintedComparison) {
  const { step, source, table, verdict, rows, differences, key, columns, schema, samples, causes, unseen } = comparison;
  return {
    step: step ?? null,
    source: source ?? null,
    table,
    verdict,
    rows,
    differences,
    key,
    columns: columns.filter(({ changed }) => changed > 0),
    schema,
    samples,
    causes,
    unseen: unseen ?? null,
  };
}

function ofQuery({
  step,
  name,
  outcome,
  baselineRows,
  candidateRows,
  baselineDigest,
  candidateDigest,
  samples,
}: FingerprintedQuery) {
  return { step: step ?? null, name, outcome, baselineRows, candidateRows, baselineDigest, candidateDigest, samples };
}

function sorted<Item>(items: readonly Item[]): Item[] {
  const texts = items.map((item) => ({ item, text: canonicalJson(item) }));
  return texts.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0)).map(({ item }) => item);
}
