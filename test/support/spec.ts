import type { ResolvedSpec, ResolvedStep, ResolvedTable } from '../../src/api/resolved.ts';
import type { Resolution } from '../../src/tasks/task.ts';

/** A table of a spec with nothing special. */
export function table(name: string, more: Partial<ResolvedTable> = {}): ResolvedTable {
  return { name, path: name, key: ['id'], exclude: [], mask: [], ...more };
}

/** A spec that syncs and compares once; `more` replaces parts of it. */
export function spec(more: Partial<ResolvedSpec> = {}): ResolvedSpec {
  return {
    snapshot: { location: 'file:///nowhere', limits: {}, tables: [table('flights'), table('planes')] },
    workspace: { location: 'file:///nowhere/else' },
    sources: [
      { name: 'shop', engine: 'Postgres', tables: ['flights', 'planes'], columns: [], provider: { kind: 'embedded' } },
    ],
    pipelines: [{ name: 'candidate', cursorBound: 'Inclusive', reference: { bug: 'None' } }],
    scenario: scenario.fullOnly,
    comparison: { profile: 'Exact', columns: [], unseen: 'Expected', maxDifferences: 0, samples: 20, values: 'Masked' },
    queries: [],
    execution: { parallelism: 2, retries: 1, timeoutSeconds: 60, memoryBytes: 2 ** 29, threads: 1 },
    cleanup: { policy: 'Always' },
    reports: { location: 'file:///nowhere/reports', formats: ['JSON'] },
    ...more,
  };
}

const parity = { baseline: { snapshot: {} }, candidate: { pipeline: 'candidate' } } as const;

/** Scenarios as the API's defaults spell them. */
export const scenario = {
  fullOnly: [
    { name: 'first', sync: { mode: 'Full', pipelines: ['candidate'] } },
    { name: 'parity', compare: parity },
  ],
  incremental: [
    { name: 'first', sync: { mode: 'Full', pipelines: ['candidate'] } },
    { name: 'parity-at-base', compare: parity },
    { name: 'to-version', advance: {} },
    { name: 'second', sync: { mode: 'Incremental', pipelines: ['candidate'] } },
    { name: 'parity', compare: parity },
    { name: 'queries', query: { names: [] } },
  ],
} as const satisfies Record<string, readonly ResolvedStep[]>;

/** What `resolve` would say of the tables: each of the given size, or 1 MiB. */
export function resolution(of: ResolvedSpec, sizeBytes: Readonly<Record<string, number>> = {}): Resolution {
  return {
    tables: of.snapshot.tables.map(({ name, baseVersion }) => ({
      name,
      version: 1,
      baseVersion: baseVersion === undefined ? null : Number(baseVersion),
      rows: 1,
      sizeBytes: sizeBytes[name] ?? 2 ** 20,
      copyBytes: 1,
      files: 1,
    })),
  };
}
