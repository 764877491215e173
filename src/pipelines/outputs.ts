import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExternalPipelineSpec, ResolvedOutputs } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import { openRelation } from '../lake/format-files.ts';
import type { Relation } from '../lake/relation.ts';
import { sourceConnection } from '../sources/connect.ts';
import { parseConnection } from '../sources/connection.ts';
import { createRunDatabase } from '../sources/run-database.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError, toParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { isInWorkspace, outputOf, type TableOutput } from './contract.ts';
import { databaseRelation } from './landed-database.ts';

type Files = Extract<ResolvedOutputs, { kind: 'files' }>;
export type LandingServer = NonNullable<Extract<ResolvedOutputs, { kind: 'database' }>['server']>;

/**
 * What a pipeline has landed of a table, wherever that is. Throws `PipelineFailed` naming pipeline, table and place where nothing is there, and
 * `CorruptTable` for what lies there but cannot be read.
 */
export async function landedRelation(
  spec: ExternalPipelineSpec,
  engine: Engine,
  context: TaskContext,
  table: string,
  source: string,
  output: TableOutput = outputOf(spec, context, source, table),
): Promise<Relation> {
  const { outputs } = spec;
  const place = output.format === 'Table' ? [output.schema, output.table].filter(Boolean).join('.') : output.location;
  try {
    if (output.format === 'Table' || outputs.kind === 'database') {
      if (outputs.kind !== 'database' || output.format !== 'Table') throw new ParityError('Internal', 'outputs differ');
      return await databaseRelation(
        engine,
        context,
        { outputs, output, source, table },
        await reach(spec, context, source),
      );
    }
    const { partitionTimeZone } = context.file.spec.snapshot.tables.find(({ name }) => name === table) ?? {};
    return await openRelation(engine, `${output.format.toLowerCase()}:${output.location}`, {
      ...(await storageOf(outputs, context)),
      ...(partitionTimeZone === undefined ? {} : { partitionTimeZone }),
    });
  } catch (thrown) {
    const error = toParityError(thrown);
    const isMissing = error.code === 'NotFound' && !/bucket|secret/i.test(error.message);
    const found = isMissing
      ? `it has landed no ${output.format === 'Table' ? 'table' : `${output.format} table`} at ${place}`
      : error.message;
    throw new ParityError(
      isMissing ? 'PipelineFailed' : error.code,
      `Reading what pipeline ${spec.name} landed of ${table}: ${found}`,
      {
        subject: table,
        cause: error,
        isRetryable: error.isRetryable,
        ...(error.advice === undefined || isMissing ? {} : { advice: error.advice }),
      },
    );
  }
}

/** The database where a pipeline lands its tables: the source's own, or one of the run's on another server. */
async function reach(spec: ExternalPipelineSpec, context: TaskContext, source: string): Promise<Connection> {
  const { outputs } = spec;
  if (outputs.kind === 'database' && outputs.server !== undefined)
    return await landingDatabase(spec, outputs.server, context);
  return await sourceConnection(context, source);
}

/** Makes the run's own database on the server that a pipeline lands in, unless it is there, and returns the connection to it. */
export async function landingDatabase(
  spec: ExternalPipelineSpec,
  { engine, secretRef }: LandingServer,
  context: Pick<TaskContext, 'secret' | 'runFolder'> & { readonly file: Pick<TaskContext['file'], 'run'> },
): Promise<Connection> {
  const owner = { name: spec.name, secret: secretRef.name, role: 'pipeline' } as const;
  const connection = parseConnection(engine, await context.secret(secretRef.name), owner);
  const intend = async (): Promise<void> => {
    if (context.runFolder !== undefined)
      await writeFile(landingMark(context.runFolder, spec.name), '', { mode: 0o600 });
  };
  return await createRunDatabase(connection, engine, context.file.run, `landed ${spec.name}`, intend);
}

/** The file that is there if the run may have made a database for what the pipeline lands. */
export function landingMark(runFolder: string, pipeline: string): string {
  return join(runFolder, `landed-${pipeline}.database`);
}

/** Whether there may be a database to drop; without a folder to have kept a mark in, there may be. */
export function mayHaveLandingDatabase(runFolder: string | undefined, pipeline: string): boolean {
  return runFolder === undefined || existsSync(landingMark(runFolder, pipeline));
}

/** The workspace's server and identity for what lies in it, the outputs' own elsewhere. */
async function storageOf(outputs: Files, context: TaskContext) {
  const { endpoint, region, secretRef } = isInWorkspace(outputs.location) ? context.file.spec.workspace : outputs;
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(secretRef === undefined ? {} : { secret: await context.secret(secretRef.name) }),
  };
}

/** The only source that holds the table, where none is named. Throws `InvalidSpec` where that is not one. */
export function onlySource({ file }: TaskContext, table: string): string {
  if ('source' in file.input && file.input.source !== undefined) return file.input.source;
  const [first, ...others] = file.spec.sources.filter(({ tables }) => tables.includes(table));
  if (first === undefined)
    throw new ParityError('InvalidSpec', `No source of the run holds the table ${table}.`, { subject: table });
  if (others.length > 0)
    throw new ParityError('InvalidSpec', `Several sources hold the table ${table}, and none of them is named.`, {
      subject: table,
      advice: `Write {{${first.name}.${table}}} for the one that came from ${first.name}.`,
    });
  return first.name;
}
