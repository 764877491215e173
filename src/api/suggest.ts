/**
 * The candidate that a misspelt word was probably meant to be, `undefined` where none is close: at most a third of its letters
 * (and at least one) differ, a swap of neighbours counts once, case does not count.
 */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.candidate;
}

/** `did you mean "x"?`, or the list of what is known. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const close = closest(word, candidates);
  if (close !== undefined) return `did you mean "${close}"?`;
  if (candidates.length === 0) return 'there are none';
  const shown = candidates.slice(0, 12).join(', ');
  return candidates.length > 12 ? `known are ${shown}, …` : `known are ${shown}`;
}

/** Damerau-Levenshtein, restricted: insertions, deletions, substitutions and swaps of neighbours. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8) return Number.POSITIVE_INFINITY;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const options = [at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + (isSame ? 0 : 1)];
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) options.push(at(beforeLast, j - 2) + 1);
      row.push(Math.min(...options));
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}

/** For a table that the run does not have. */
export function unknownTable(table: string, names: readonly string[]): string {
  return `the snapshot has no table "${table}"; ${suggestion(table, names)}`;
}
