import { join } from 'node:path';
import type { ReferencePipelineSpec, ResolvedSource } from '../api/resolved.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import { deltaRelation } from '../lake/relation-delta.ts';
import type { SourceSession, SourceTable } from '../sources/source.ts';
import { ParityError, toParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { hasLanded, readLanded } from './landed.ts';
import { mutantOf } from './mutants.ts';
import { onlySource } from './outputs.ts';
import type { Pipeline, SyncedTable, SyncRequest, SyncStatus } from './pipeline.ts';
import { syncTable } from './reference-table.ts';

/** How the pipeline reaches a source and learns what its tables look like. */
export interface SourceAccess {
  connect(context: TaskContext, source: ResolvedSource): Promise<SourceSession>;
  describe(context: TaskContext, source: ResolvedSource, table: string, request: SyncRequest): Promise<SourceTable>;
}

/**
 * The built-in pipeline: reads a source and lands Delta at `landed/<pipeline>/<source>/<table>/` in the workspace. It is the example of a pipeline under
 * test, and with a bug the proof that a run would notice it.
 *
 * - `Full` replaces the landed table. `Incremental` reads the rows from the cursor's last value on and merges them by key, NULL being equal to NULL;
 *   columns that the source has gained are added. A table without a cursor, or not landed yet, is synced in full.
 * - An incremental sync needs a key that tells rows apart; a table without one fails by name. Keys may hold NULL.
 * - Nested values arrive and land as JSON text. All else lands in the type of the source table.
 */
export function referencePipeline(pipeline: ReferencePipelineSpec, sources: SourceAccess): Pipeline {
  const mutant = mutantOf(pipeline.reference.bug);

  const execute = async (request: SyncRequest, context: TaskContext, signal: AbortSignal): Promise<SyncStatus> => {
    const source = sourceOf(context, request.source);
    const engine = await context.engine();
    const session = await sources.connect(context, source);
    const tables: SyncedTable[] = [];
    try {
      for (const [index, name] of request.tables.entries()) {
        try {
          const table = await syncTable({
            engine,
            session,
            source,
            pipeline,
            mutant,
            signal,
            store: context.workspace,
            step: request.step,
            mode: request.mode,
            table: await sources.describe(context, source, name, request),
            key: context.file.spec.snapshot.tables.find((table) => table.name === name)?.key ?? [],
            path: landedPath(request.pipeline, request.source, name),
            scratch: join(engine.scratch, `sync-${request.step}-${request.pipeline}-${request.source}-${index}`),
            onProgress: (rows, note) => context.progress({ table: name, rows, note }),
          });
          context.progress({ table: name, rows: table.rows, totalRows: table.rows });
          tables.push(table);
        } catch (error) {
          return failed(name, error);
        }
      }
    } finally {
      await session.close();
    }
    return { state: 'Succeeded', rows: tables.reduce((rows, table) => rows + table.rows, 0), tables };
  };

  return {
    async start(request, context) {
      const id = executionId(request, context);
      const running = executions.get(id);
      if (running !== undefined && running.status.state !== 'Failed') return;
      const stop = new AbortController();
      const signal = AbortSignal.any([stop.signal, context.signal]);
      const execution: Execution = { status: { state: 'Running' }, stop, end: Promise.resolve() };
      execution.end = execute(request, context, signal)
        .catch((error: unknown): SyncStatus => failed(undefined, error))
        .then((status) => {
          execution.status = status;
        });
      executions.set(id, execution);
    },

    async observe(request, context) {
      const execution = executions.get(executionId(request, context));
      if (execution !== undefined) return execution.status;
      return await recordedStatus(request, context);
    },

    async cancel(request, context) {
      const execution = executions.get(executionId(request, context));
      execution?.stop.abort();
      await execution?.end;
    },

    async output(table, engine, context, source) {
      const path = landedPath(pipeline.name, source ?? onlySource(context, table), table);
      if (!(await hasLanded(context.workspace, path)))
        throw new ParityError('PipelineFailed', `Pipeline ${pipeline.name} has landed no table ${table}.`, {
          subject: table,
        });
      const snapshot = await readDeltaSnapshot(context.workspace, path, undefined);
      return await deltaRelation(engine, context.workspace, path, snapshot);
    },
  };
}

/** Key prefix of a landed table in the workspace. */
export function landedPath(pipeline: string, source: string, table: string): string {
  return `landed/${pipeline}/${source}/${table}`;
}

interface Execution {
  status: SyncStatus;
  readonly stop: AbortController;
  end: Promise<void>;
}

/** What runs in this process. Only a cache: what has landed says of itself which step it comes from. */
const executions = new Map<string, Execution>();

function executionId(request: SyncRequest, context: TaskContext): string {
  const { pipeline, step, source, tables } = request;
  return JSON.stringify([context.file.run.uid, pipeline, step, source, tables]);
}

/** What became of a request that an earlier process carried out. */
async function recordedStatus(request: SyncRequest, { workspace }: TaskContext): Promise<SyncStatus> {
  const tables: SyncedTable[] = [];
  for (const table of request.tables) {
    const { records } = await readLanded(workspace, landedPath(request.pipeline, request.source, table));
    const record = records.find(({ step }) => step === request.step);
    if (record === undefined)
      return { state: 'Failed', message: `${table} was not synced: the sync was not started, or was killed` };
    tables.push(record);
  }
  return { state: 'Succeeded', rows: tables.reduce((rows, table) => rows + table.rows, 0), tables };
}

function failed(table: string | undefined, error: unknown): SyncStatus {
  const cause = toParityError(error);
  if (table === undefined) return { state: 'Failed', message: cause.message, error: cause };
  const { code, advice, isRetryable } = cause;
  const named = new ParityError(code, cause.message, {
    subject: table,
    cause,
    isRetryable,
    ...(advice === undefined ? {} : { advice }),
  });
  return { state: 'Failed', message: `table ${table}: ${cause.message}`, error: named };
}

function sourceOf(context: TaskContext, name: string): ResolvedSource {
  const source = context.file.spec.sources.find((source) => source.name === name);
  if (source === undefined)
    throw new ParityError('InvalidSpec', `The run has no source named ${name}.`, { subject: 'spec.sources' });
  return source;
}
