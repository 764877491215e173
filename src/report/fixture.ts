import type { TableComparison } from '../compare/result.ts';
import type { Report, ReportComparison } from './model.ts';
import { headline } from './words.ts';

/** Reports for tests: an equal table, one that differs in every class, unseen rows, a query, an error. Not used outside of tests. */

export function equalComparison(overrides: Partial<ReportComparison> = {}): ReportComparison {
  return {
    table: 'airlines',
    verdict: 'Equal',
    rows: { baseline: 16, candidate: 16, matched: 16, missing: 0, extra: 0, changed: 0, duplicated: 0 },
    differences: 0,
    key: ['carrier'],
    columns: [{ name: 'name', changed: 0, baselineNull: 0, candidateNull: 0, causes: [] }],
    schema: [],
    samples: [],
    causes: [],
    digest: { baseline: '10:ab', candidate: '10:ab' },
    notes: [],
    step: 'parity',
    source: 'ops',
    baseline: 'snapshot at version 4',
    candidate: 'pipeline candidate',
    outcome: 'Equal',
    ...overrides,
  };
}

export function differentComparison(overrides: Partial<ReportComparison> = {}): ReportComparison {
  const comparison: TableComparison = {
    table: 'flights',
    verdict: 'Different',
    rows: {
      baseline: 336_776,
      candidate: 356_770,
      matched: 333_313,
      missing: 10,
      extra: 4,
      changed: 3_453,
      duplicated: 20_000,
    },
    differences: 23_468,
    key: ['id'],
    columns: [
      {
        name: 'updated_at',
        changed: 3_453,
        baselineNull: 0,
        candidateNull: 0,
        largestDifference: '18000000000',
        causes: [{ rule: 'ShiftedByHours', detail: '+5 h', explains: 3_453 }],
      },
      { name: 'dep_delay', changed: 40, baselineNull: 3, candidateNull: 9, causes: [] },
      { name: 'carrier', changed: 0, baselineNull: 0, candidateNull: 0, causes: [] },
    ],
    schema: [
      { column: 'gate', difference: 'Missing', baseline: 'string', candidate: null, counts: true },
      { column: 'dest', difference: 'Nullability', baseline: 'not null', candidate: 'nullable', counts: false },
    ],
    samples: [
      {
        class: 'changed',
        key: { id: '42' },
        columns: [
          { name: 'updated_at', baseline: '2013-11-01 05:00:00.000001', candidate: '2013-11-01 10:00:00.000001' },
          { name: 'dep_delay', baseline: null, candidate: '' },
        ],
      },
      { class: 'missing', key: { id: '7' }, columns: [{ name: 'carrier', baseline: 'UA', candidate: null }] },
      { class: 'extra', key: { id: null }, columns: [{ name: 'carrier', baseline: null, candidate: 'AA' }] },
      { class: 'duplicate', key: { id: '9' }, columns: [] },
      { class: 'missing', key: { id: '11' }, columns: [], unseen: 'nullCursor' },
    ],
    causes: [{ rule: 'DuplicatedBatch', detail: 'rows 60000 to 80000', explains: 20_000 }],
    unseen: {
      deleted: 10,
      nullCursor: 2,
      tiedCursor: 0,
      lateRow: 0,
      unmovedCursor: 0,
      total: 12,
      counted: false,
    },
    digest: { baseline: '52388:ab', candidate: '571a2:cd' },
    notes: ['the key has 2 duplicates in the baseline'],
  };
  return {
    ...comparison,
    step: 'parity',
    source: 'ops',
    baseline: 'snapshot at version 15',
    candidate: 'pipeline candidate',
    outcome: 'Different',
    ...overrides,
  };
}

/** A report of the given parts, its counts in step with them. */
export function report(overrides: Partial<Report> = {}): Report {
  const verdict = overrides.verdict ?? 'Failed';
  const comparisons = overrides.comparisons ?? [equalComparison(), differentComparison()];
  const queries = overrides.queries ?? [
    {
      step: 'queries',
      name: 'delays',
      outcome: 'Different',
      message: '1 of 16 rows differs',
      baselineRows: 16,
      candidateRows: 16,
      baselineDigest: 'aa',
      candidateDigest: 'bb',
      ranIn: { baseline: 'the manifest', candidate: 'PostHog at us.posthog.com' },
      samples: [{ baseline: '["UA",3.5]', candidate: '["UA",3.6]' }],
    },
    {
      step: 'queries',
      name: 'carriers',
      outcome: 'Equal',
      message: '',
      baselineRows: 1,
      candidateRows: 1,
      baselineDigest: 'cc',
      candidateDigest: 'cc',
      ranIn: { baseline: 'the embedded engine', candidate: 'the embedded engine' },
      samples: [],
    },
  ];
  const counts = {
    comparisons: comparisons.length,
    differing: comparisons.filter(({ outcome }) => outcome === 'Different').length,
    differences: comparisons.reduce((sum, { differences }) => sum + differences, 0),
    unseen: comparisons.reduce((sum, { unseen }) => sum + (unseen?.total ?? 0), 0),
    queries: queries.length,
    queriesDiffering: queries.filter(({ outcome }) => outcome === 'Different').length,
    errors: overrides.errors?.length ?? 0,
    notCompared: overrides.notCompared?.length ?? 0,
  };
  return {
    apiVersion: 'pipelineparity.io/v1alpha1',
    kind: 'PipelineParityReport',
    run: {
      name: 'flights-round-trip',
      uid: '3a0f6f1c-0000-4000-8000-000000000001',
      specDigest: 'd'.repeat(64),
      parityVersion: '0.1.0',
      values: 'Shown',
      maxDifferences: 0,
    },
    verdict,
    headline: headline(counts, verdict),
    counts,
    snapshot: {
      location: 'file:///lake',
      digest: 'e'.repeat(64),
      tables: [
        { name: 'flights', version: 15, baseVersion: 6, rows: 336_776, sizeBytes: 5_200_000, digest: 'f'.repeat(64) },
        { name: 'airlines', version: 4, baseVersion: null, rows: 16, sizeBytes: 1_200, digest: null },
      ],
    },
    comparisons,
    notCompared: [],
    queries,
    leftOut:
      verdict !== 'Failed'
        ? []
        : [{ step: null, name: 'production/weekly', why: 'calls now(), which gives another result each time' }],
    errors: [],
    notes: [{ about: 'table flights', note: 'no PRIMARY KEY was made: its key has 2 duplicates' }],
    timings: {
      startedAt: '2026-01-02T03:04:05.000Z',
      reportedAt: '2026-01-02T03:05:05.000Z',
      tasks: [{ task: 'resolve', kind: 'resolve', attempts: 1, seconds: 0.4 }],
    },
    fingerprint: '0123456789abcdef'.repeat(4),
    ...overrides,
  };
}
