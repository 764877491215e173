import { assert } from 'chai';
import { fingerprint } from './fingerprint.ts';
import type { TableComparison } from './result.ts';

describe('the fingerprint of a run', () => {
  const comparison: TableComparison & { step: string; source: string } = {
    step: 'parity',
    source: 'shop',
    table: 'flights',
    verdict: 'Different',
    rows: { baseline: 2, candidate: 2, matched: 1, missing: 0, extra: 0, changed: 1, duplicated: 0 },
    differences: 1,
    key: ['id'],
    columns: [{ name: 'v', changed: 1, baselineNull: 0, candidateNull: 0, causes: [] }],
    schema: [],
    samples: [{ class: 'changed', key: { id: 'abc' }, columns: [{ name: 'v', baseline: null, candidate: null }] }],
    causes: [],
    digest: { baseline: '2-1', candidate: '2-2' },
    notes: ['a note'],
  };
  const query = {
    name: 'q',
    outcome: 'Equal',
    baselineRows: 1,
    candidateRows: 1,
    baselineDigest: 'a',
    candidateDigest: 'a',
    samples: [],
  };
  const other = { ...comparison, table: 'planes' };
  const of = fingerprint('Failed', [comparison, other], [query]);

  it('is a SHA-256 and repeats', () => {
    assert.match(of, /^[0-9a-f]{64}$/);
    assert.equal(fingerprint('Failed', [comparison, other], [query]), of);
  });

  const same: [string, () => string][] = [
    ['the order in which tasks ended', () => fingerprint('Failed', [other, comparison], [query])],
    ['notes', () => fingerprint('Failed', [{ ...comparison, notes: [] }, other], [query])],
    [
      'what a report adds',
      () => fingerprint('Failed', [Object.assign({ baseline: 's3://x@12' }, comparison), other], [query]),
    ],
  ];
  for (const [title, compute] of same) it(`does not depend on ${title}`, () => assert.equal(compute(), of));

  const different: [string, () => string][] = [
    ['the verdict', () => fingerprint('Passed', [comparison, other], [query])],
    [
      'counts of rows',
      () => fingerprint('Failed', [{ ...comparison, rows: { ...comparison.rows, changed: 2 } }, other], [query]),
    ],
    ['samples', () => fingerprint('Failed', [{ ...comparison, samples: [] }, other], [query])],
    ['the digest of a query', () => fingerprint('Failed', [comparison, other], [{ ...query, candidateDigest: 'b' }])],
    ['a table that was not compared', () => fingerprint('Failed', [comparison], [query])],
  ];
  for (const [title, compute] of different) it(`depends on ${title}`, () => assert.notEqual(compute(), of));
});
