import type { TableComparison } from '../compare/result.ts';
import type { ReportNote } from '../report/model.ts';
import type { Task, TaskGraph } from '../run/types.ts';
import type { SyncDetail } from './sync.ts';

interface Detailed<Detail> {
  readonly task: Task;
  readonly detail: Detail;
}

/**
 * What has landed, or gone, between the end that a pipeline told of and the comparison: such a pipeline tells of it too early, and the run may have passed because the comparison came late
 * enough. Both read the same table.
 */
export function landedLater(
  { tasks }: TaskGraph,
  synced: readonly Detailed<SyncDetail>[],
  compared: readonly Detailed<{ readonly tables: readonly Pick<TableComparison, 'table' | 'rows'>[] }>[],
): ReportNote[] {
  const places = new Map(tasks.map(({ id }, place) => [id, place]));
  const placeOf = ({ id }: Task): number => places.get(id) ?? -1;
  return compared.flatMap(({ task, detail }) => {
    const { input } = task;
    if (input.kind !== 'compare') return [];
    return (['baseline', 'candidate'] as const).flatMap((word) => {
      const side = input[word];
      if (side.kind !== 'pipeline') return [];
      const before = synced.filter(
        ({ task: sync, detail: { pipeline, source } }) =>
          pipeline === side.pipeline && source === input.source && placeOf(sync) < placeOf(task),
      );
      return detail.tables.flatMap(({ table, rows }): ReportNote[] => {
        const last = before.flatMap((sync) => sync.detail.tables.filter((one) => one.table === table)).at(-1);
        if (last === undefined || last.rows === rows[word]) return [];
        return [
          {
            about: `table ${table} (source ${input.source})`,
            note: `pipeline ${side.pipeline} had landed ${last.rows} rows when it said that it had ended, and ${rows[word]} when they were compared: it ends before its last write, or something else writes there; see successWhen`,
          },
        ];
      });
    });
  });
}
