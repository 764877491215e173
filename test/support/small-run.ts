/** A run over one table, in a source that the operator deploys. */
export const smallRun = {
  snapshot: { location: 'file:///nowhere/lake', tables: [{ name: 'planes', path: 'planes', key: ['tailnum'] }] },
  sources: [{ name: 'shop', engine: 'Postgres' as const, tables: ['planes'], kubernetes: {} }],
  pipelines: [{ name: 'candidate', reference: {} }],
};

/** Reports that no played task writes. */
export const reporting = { reports: { location: 'file:///nowhere/reports', formats: ['JSON' as const] } };
