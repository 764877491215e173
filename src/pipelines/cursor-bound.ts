import type { ResolvedPipeline } from '../api/resolved.ts';
import type { Relation } from '../lake/relation.ts';

/**
 * How a pipeline compares the column with the last value it saw. PostHog reads `>`, but `>=` where the cursor is a date
 * (`incremental_type_to_operator` in its pipelines/helpers.py).
 */
export function cursorBoundOf(
  pipeline: ResolvedPipeline,
  cursor: string,
  { columns }: Relation,
): 'Inclusive' | 'Exclusive' {
  const isDate = columns.find(({ name }) => name === cursor)?.type.kind === 'date';
  return 'posthog' in pipeline && isDate ? 'Inclusive' : pipeline.cursorBound;
}
