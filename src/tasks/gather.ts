import { fieldOf, isList, isObject } from '../api/json.ts';
import { mapBounded } from '../lake/pool.ts';
import type { ObjectReader } from '../lake/store.ts';
import type { Findings } from '../report/build.ts';
import type { ReportNote, ReportTimings } from '../report/model.ts';
import type { Task, TaskKind } from '../run/types.ts';
import { ParityError } from '../support/error.ts';
import type { CompareDetail } from './compare.ts';
import { landedLater } from './landed-later.ts';
import type { QueryDetail } from './query.ts';
import { type RunRecord, readOutput, tableOf } from './records.ts';
import type { RehydrateDetail } from './rehydrate.ts';
import type { SyncDetail } from './sync.ts';
import type { Resolution, SnapshotDetail } from './task.ts';

/** What the tasks' own records add to the run's. */
export type Gathered = Pick<
  Findings,
  'resolution' | 'snapshots' | 'compared' | 'queried' | 'leftOut' | 'failedTables' | 'notes' | 'timings'
>;

/** Many small reads from an object store that may be far away. */
const readsAtOnce = 16;

/**
 * Reads the results of the run's tasks. Only a task that succeeded has to have one; what others left is not needed.
 * Throws `Internal` where a result that the run counts on is gone.
 */
export async function gather(
  workspace: ObjectReader,
  record: RunRecord,
  options: { readonly now: Date; readonly signal: AbortSignal },
): Promise<Gathered> {
  const read = <Detail>(kind: TaskKind) => detailsOf<Detail>(workspace, record, kind, options.signal);
  const [resolution] = await read<Resolution>('resolve');
  const snapshots = await read<SnapshotDetail>('snapshot');
  const compared = await read<CompareDetail>('compare');
  const queried = await read<QueryDetail>('query');
  const rehydrated = await read<RehydrateDetail>('rehydrate');
  const synced = await read<SyncDetail>('sync');
  const noted: readonly Detailed<unknown>[] = [
    ...snapshots,
    ...rehydrated,
    ...(await read<unknown>('advance')),
    ...synced,
    ...queried,
  ];
  return {
    resolution: resolution?.detail,
    snapshots: snapshots.map(({ detail }) => detail),
    compared: compared.map(({ task, detail }) => ({ input: task.input, items: detail.tables })),
    queried: queried.map(({ task, detail }) => ({ input: task.input, items: detail.queries })),
    leftOut: [
      ...(resolution?.detail.inherited?.leftOut ?? []).map((one) => ({ ...one, step: null })),
      ...queried.flatMap(({ task: { input }, detail }) =>
        detail.leftOut.map((one) => ({ ...one, step: 'step' in input ? input.step : null })),
      ),
    ],
    failedTables: await failedTables(workspace, record),
    notes: [
      ...distinct(noted.flatMap(notesOf)),
      ...distinct(landedLater(record.graph, synced, compared)),
      ...untouched(resolution?.detail),
      ...typesNotExercised(rehydrated),
    ],
    timings: timingsOf(record, options.now),
  };
}

interface Detailed<Detail> {
  readonly task: Task;
  readonly detail: Detail;
}

/** The details of the tasks of one kind that succeeded, in the graph's order. */
async function detailsOf<Detail>(
  workspace: ObjectReader,
  { graph, state }: RunRecord,
  kind: TaskKind,
  signal: AbortSignal,
): Promise<readonly Detailed<Detail>[]> {
  const succeeded = graph.tasks.filter(
    ({ id, input }) => input.kind === kind && state.tasks[id]?.phase === 'Succeeded',
  );
  return await mapBounded(
    succeeded,
    readsAtOnce,
    async (task) => {
      const output = await readOutput<Detail>(workspace, task.id);
      if (output?.outcome === 'Succeeded') return { task, detail: output.detail };
      throw new ParityError('Internal', `task ${task.id} succeeded, but its result is not in the workspace`, {
        subject: task.id,
        advice: 'Run again; if the workspace lies in a bucket, see whether a lifecycle rule removes objects from it.',
      });
    },
    signal,
  );
}

/** The tables that failures are about. A task that was killed may have recorded nothing. */
async function failedTables(
  workspace: ObjectReader,
  { graph, state }: RunRecord,
): Promise<Readonly<Record<string, string>>> {
  const tables: Record<string, string> = {};
  for (const { id, input } of graph.tasks) {
    const { phase, error } = state.tasks[id] ?? {};
    if (phase !== 'Failed' || error === undefined) continue;
    const output = await readOutput(workspace, id).catch(() => undefined);
    const table = (output?.outcome === 'Failed' ? output.table : undefined) ?? tableOf(input, error);
    if (table !== undefined) tables[id] = table;
  }
  return tables;
}

/** Notes that a task's detail carries, on the whole or by table. Those of a comparison stand beside the comparison. */
function notesOf({ task, detail }: Detailed<unknown>): ReportNote[] {
  const source = 'source' in task.input && task.input.source !== undefined ? ` (source ${task.input.source})` : '';
  const tables = fieldOf(detail, 'tables');
  const ofTables = isList(tables)
    ? tables.filter(isObject).flatMap((table) => {
        const name = table.name ?? table.table;
        const about = typeof name === 'string' ? `table ${name}${source}` : `task ${task.id}`;
        return texts(table.notes).map((note) => ({ about, note }));
      })
    : [];
  const about = source === '' ? `task ${task.id}` : source.slice(2, -1);
  return [...texts(fieldOf(detail, 'notes')).map((note) => ({ about, note })), ...ofTables];
}

/** How many inherited queries have nothing to do with the run: a filter that is wrong shows itself. */
function untouched(resolution: Resolution | undefined): ReportNote[] {
  return Object.entries(resolution?.inherited?.untouched ?? {})
    .filter(([, count]) => count > 0)
    .map(([name, count]) => ({
      about: `query ${name}`,
      note: `${count} of the queries that it looked at touch none of its tables`,
    }));
}

/** The types of each source that none of its tables has: what a pipeline does with them, this run does not say. */
function typesNotExercised(rehydrated: readonly Detailed<RehydrateDetail>[]): ReportNote[] {
  const bySource = new Map<string, readonly string[]>();
  for (const { detail } of rehydrated) {
    const types = bySource.get(detail.source) ?? detail.typesNotExercised;
    bySource.set(
      detail.source,
      types.filter((type) => detail.typesNotExercised.includes(type)),
    );
  }
  return [...bySource].flatMap(([source, types]) =>
    types.length === 0
      ? []
      : [{ about: `source ${source}`, note: `no column of this run has the types ${types.join(', ')}` }],
  );
}

function texts(value: unknown): readonly string[] {
  return isList(value) ? value.filter((item) => typeof item === 'string') : [];
}

/** The same note from several steps is one note. */
function distinct(notes: readonly ReportNote[]): readonly ReportNote[] {
  return [...new Map(notes.map((note) => [JSON.stringify(note), note])).values()];
}

function timingsOf({ graph, state, timings, startedAt }: RunRecord, now: Date): ReportTimings {
  return {
    startedAt,
    reportedAt: now.toISOString(),
    tasks: graph.tasks.flatMap(({ id, input }) => {
      const { attempts } = state.tasks[id] ?? { attempts: 0 };
      const durationMs = timings[id]?.durationMs;
      if (attempts === 0 || input.kind === 'report') return [];
      return [{ task: id, kind: input.kind, attempts, seconds: durationMs === undefined ? null : durationMs / 1000 }];
    }),
  };
}
