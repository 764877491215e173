import type { ReportQuery } from './model.ts';

/** Detail of a `query` task. */
export interface QueryDetail {
  readonly queries: readonly Omit<ReportQuery, 'step'>[];
}

export function queryFinding(query: QueryDetail['queries'][number]): Omit<ReportQuery, 'step'> {
  return query;
}
