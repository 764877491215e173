import type { Pipeline, SyncedTable, SyncRequest, SyncStatus } from '../pipelines/pipeline.ts';
import { pipelineFor } from '../pipelines/registry.ts';
import { type ErrorCode, ParityError } from '../support/error.ts';
import { delay } from '../support/retry.ts';
import { checkLanded } from './sync-check.ts';
import { isOrphaned, type TaskContext, type TaskHandler } from './task.ts';

/** Detail of a `sync` task: what each table is after it. */
export interface SyncDetail {
  readonly pipeline: string;
  readonly source: string;
  readonly step: string;
  readonly tables: readonly (SyncedTable | LandedTable)[];
}

/** A table of a pipeline that says nothing about single tables: only what is seen where it landed. */
export interface LandedTable {
  readonly table: string;
  readonly mode: 'Full' | 'Incremental';
  readonly rows: number;
}

/**
 * Has a pipeline sync some tables of a source, and sees to it that they have landed as readable tables. Throws `PipelineFailed` naming pipeline and
 * table; a failure that is not the pipeline's own (a server gone, a full disk) keeps its code.
 */
export const runSync: TaskHandler<SyncDetail> = async (context) => {
  const { input, spec } = context.file;
  if (input.kind !== 'sync') throw new ParityError('Internal', `A ${input.kind} task was given to sync.`);
  const { pipeline, step, source, mode, tables, at } = input;
  const declared = spec.pipelines.find(({ name }) => name === pipeline);
  if (declared === undefined)
    throw new ParityError('InvalidSpec', `The run has no pipeline named ${pipeline}.`, { subject: 'spec.pipelines' });

  const request = { pipeline, step, source, mode, tables, at };
  // What the built-in pipeline lands by a bug is for the comparison to find.
  const check = 'reference' in declared ? undefined : checkLanded;
  const detail = await syncWith(pipelineFor(declared), request, context, check);
  const rows = detail.tables.reduce((sum, table) => sum + table.rows, 0);
  return { summary: { tables: tables.length, rows }, detail };
};

/** Drives one execution of the pipeline to its end; stopped on the context's signal, it stops the pipeline too. */
export async function syncWith(
  pipeline: Pipeline,
  request: SyncRequest,
  context: TaskContext,
  check?: typeof checkLanded,
): Promise<SyncDetail> {
  const status = await untilEnd(pipeline, request, context);
  if (status.state === 'Failed') {
    // One of several executions has failed: the others are of no more use.
    await pipeline.cancel(request, context);
    throw failure(request, status);
  }
  const tables: (SyncedTable | LandedTable)[] = [];
  for (const table of request.tables) {
    const rows = await landedRows(pipeline, request, table, context, check);
    tables.push(status.tables?.find((said) => said.table === table) ?? { table, mode: request.mode, rows });
  }
  return { pipeline: request.pipeline, source: request.source, step: request.step, tables };
}

type Ended = Exclude<SyncStatus, { state: 'Running' }>;

async function untilEnd(pipeline: Pipeline, request: SyncRequest, context: TaskContext): Promise<Ended> {
  try {
    await pipeline.start(request, context);
    for (let waitMs = 5; ; waitMs = Math.min(1000, waitMs * 1.5)) {
      const status = await pipeline.observe(request, context);
      if (status.state !== 'Running') return status;
      if (status.note !== undefined) context.progress({ note: status.note });
      await delay(waitMs, context.signal);
    }
  } catch (error) {
    // What runs elsewhere goes on without a driver, for whoever continues the run to take over, or for `gc` to end.
    if (!isOrphaned(context.signal)) await pipeline.cancel(request, context);
    throw error;
  }
}

/** Codes that tell of the surroundings and not of the pipeline. */
const surroundings: readonly ErrorCode[] = [
  'AccessDenied',
  'Unreachable',
  'Timeout',
  'OutOfMemory',
  'DiskFull',
  'Cancelled',
  'InvalidSpec',
];

function failure({ pipeline, source, tables }: SyncRequest, status: Extract<Ended, { state: 'Failed' }>): ParityError {
  const { error, message } = status;
  const said = `Pipeline ${pipeline} failed on source ${source}, ${message}`;
  const subject = error?.subject ?? (tables.length === 1 ? tables[0] : undefined);
  return new ParityError(
    error !== undefined && surroundings.includes(error.code) ? error.code : 'PipelineFailed',
    said,
    {
      ...(subject === undefined ? {} : { subject }),
      ...(error === undefined ? {} : { cause: error, isRetryable: error.isRetryable }),
      ...(error?.advice === undefined ? {} : { advice: error.advice }),
    },
  );
}

/** Rows of the landed table, read and counted; a table that cannot be read has not landed. */
async function landedRows(
  pipeline: Pipeline,
  request: SyncRequest,
  table: string,
  context: TaskContext,
  check: typeof checkLanded | undefined,
): Promise<number> {
  const engine = await context.engine();
  const landed = await pipeline.output(table, engine, context, request.source);
  const [count] = await engine.rows<{ rows: string }>(`SELECT count() AS rows FROM (${landed.sql})`, {
    signal: context.signal,
  });
  const rows = Number(count?.rows);
  if (landed.rows !== undefined && landed.rows !== rows)
    throw new ParityError(
      'PipelineFailed',
      `Pipeline ${request.pipeline} landed ${table} with ${landed.rows} rows by its log, but ${rows} can be read.`,
      { subject: table },
    );
  await check?.(request, table, landed, rows, context);
  return rows;
}
