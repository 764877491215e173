import type { PostHogPipelineSpec, PostHogSyncType, ResolvedPipeline, ResolvedTable } from '../api/resolved.ts';
import type { Relation } from '../lake/relation.ts';

/**
 * How a pipeline compares the table's cursor with the last value it saw; undefined where it does not ask, because it reads all of the table each time. PostHog
 * reads `>`, but `>=` where the cursor is a date (`incremental_type_to_operator` in its pipelines/helpers.py).
 */
export function cursorBoundOf(
  pipeline: ResolvedPipeline,
  { name, key }: Pick<ResolvedTable, 'name' | 'key'>,
  cursor: string,
  { columns }: Relation,
): 'Inclusive' | 'Exclusive' | undefined {
  if (!('posthog' in pipeline)) return pipeline.cursorBound;
  if (syncTypeOf(pipeline, { name, key, hasCursor: true }) === 'FullRefresh') return undefined;
  const isDate = columns.find((column) => column.name === cursor)?.type.kind === 'date';
  return isDate ? 'Inclusive' : pipeline.cursorBound;
}

/** How PostHog is to sync a table: as the manifest says of it, or of all, or else by what it has. */
export function syncTypeOf(
  { posthog }: PostHogPipelineSpec,
  { name, key, hasCursor }: { readonly name: string; readonly key: readonly string[]; readonly hasCursor: boolean },
): PostHogSyncType {
  const said = posthog.tables.find((table) => table.name === name)?.syncType ?? posthog.syncType;
  return said ?? (hasCursor && key.length > 0 ? 'Incremental' : 'FullRefresh');
}
