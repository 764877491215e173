import type { ResolvedStorage, ResolvedTable } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import type { DeltaFile, DeltaSnapshot } from '../lake/delta/types.ts';
import { openRelation } from '../lake/format-files.ts';
import type { Relation } from '../lake/relation.ts';
import { deltaRelation } from '../lake/relation-delta.ts';
import { readCopiedTable, snapshotPath } from '../lake/snapshot-layout.ts';
import { pipelineFor } from '../pipelines/registry.ts';
import type { ResolvedSide, SnapshotPoint } from '../run/types.ts';
import { ParityError } from '../support/error.ts';
import type { Resolution, TaskContext } from './task.ts';

export { snapshotPath };

/**
 * The workspace's copy of a table at one point, without the columns that `exclude` names and, where `source` is given, without those that
 * this source leaves out. Throws `NotFound` where the table or its version is not part of the run, `CorruptTable` where the copy is not
 * whole.
 */
export async function snapshotRelation(
  context: TaskContext,
  engine: Engine,
  table: string,
  at: SnapshotPoint,
  options: { readonly source?: string | undefined } = {},
): Promise<Relation> {
  return await relationOf(context, engine, table, await snapshotAt(context, table, at), options.source);
}

/**
 * The rows in which a table's base and its target may differ: of each, those in files that the other has not, or has with other deleted rows.
 * What lies in the files of both is the same in both, since files never change. All rows where the columns differ, which could make the same
 * file say something else.
 */
export async function snapshotDifference(
  context: TaskContext,
  engine: Engine,
  table: string,
  options: { readonly source?: string | undefined } = {},
): Promise<{ readonly base: Relation; readonly target: Relation }> {
  const base = await snapshotAt(context, table, 'Base');
  const target = await snapshotAt(context, table, 'Target');
  const relation = (one: DeltaSnapshot, other: DeltaSnapshot): Promise<Relation> =>
    relationOf(context, engine, table, layoutOf(one) === layoutOf(other) ? onlyIn(one, other) : one, options.source);
  return { base: await relation(base, target), target: await relation(target, base) };
}

/**
 * One side of a comparison: the snapshot, what a pipeline landed, or an existing table. Columns that `exclude` names are left out of each;
 * columns that a source cannot hold are left out of the snapshot and of existing tables where `source` says whose rows are compared.
 */
export async function sideRelation(
  context: TaskContext,
  engine: Engine,
  side: ResolvedSide,
  table: string,
  source?: string,
): Promise<Relation> {
  switch (side.kind) {
    case 'snapshot':
      return await snapshotRelation(context, engine, table, side.at, { source });
    case 'pipeline': {
      const pipeline = context.file.spec.pipelines.find(({ name }) => name === side.pipeline);
      if (pipeline === undefined) {
        throw new ParityError('InvalidSpec', `Reading ${table}, the run has no pipeline ${side.pipeline}.`);
      }
      const landed = await pipelineFor(pipeline).output(table, engine, context, source);
      return withoutColumns(landed, tableSpec(context, table).exclude);
    }
    case 'location': {
      const relation = await locationRelation(context, engine, side.location, table);
      return withoutColumns(relation, [
        ...tableSpec(context, table).exclude,
        ...omittedColumns(context, table, source),
      ]);
    }
  }
}

/**
 * The Delta version to read in the workspace's copy of a table. It is the lake's own version, except where the copy was rewritten
 * (sampled or masked): then `parity.json` beside the log says which of its versions stand for which.
 */
export async function snapshotVersion(context: TaskContext, table: string, at: SnapshotPoint): Promise<number> {
  const { tables } = await context.detailOf<Resolution>('resolve');
  const resolved = tables.find(({ name }) => name === table);
  if (resolved === undefined)
    throw new ParityError('NotFound', `Reading the snapshot of ${table}, it is no table of this run.`, {
      subject: table,
    });
  // A table without a base stands at its version from the start, also while others are still at theirs.
  const version = at === 'Base' ? (resolved.baseVersion ?? resolved.version) : resolved.version;
  const copied = await readCopiedTable(context.workspace, snapshotPath(table));
  if (copied === undefined) return version;
  const own = copied.versions[String(version)];
  if (own !== undefined) return own;
  throw new ParityError(
    'CorruptTable',
    `Reading the snapshot of ${table}, its copy does not hold version ${version}.`,
    { subject: table },
  );
}

/**
 * Counts the relation's rows by reading them, and holds the count against what log or footers say. Throws `CorruptTable` where they differ:
 * nothing that was read of such a table can be trusted.
 */
export async function checkedCount(engine: Engine, relation: Relation, signal?: AbortSignal): Promise<number> {
  const [row] = await engine.rows<{ n: string }>(
    `SELECT count() AS n FROM (${relation.sql})`,
    signal === undefined ? {} : { signal },
  );
  const counted = Number(row?.n);
  checkCount(relation, counted);
  return counted;
}

/** The same for a count that a caller's own pass over the relation came to. */
export function checkCount(relation: Relation, counted: number): void {
  if (relation.rows === undefined || relation.rows === counted) return;
  throw new ParityError(
    'CorruptTable',
    `Reading ${relation.name}, ${counted} rows were read where the table has ${relation.rows}.`,
    { subject: relation.name, advice: 'Data files may have gone or changed while they were read: run it again.' },
  );
}

/** The relation without some of its columns. */
export function withoutColumns(relation: Relation, names: readonly string[]): Relation {
  const columns = relation.columns.filter(({ name }) => !names.includes(name));
  if (columns.length === relation.columns.length) return relation;
  const list = columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  return { ...relation, columns, sql: `SELECT ${list === '' ? '1' : list} FROM (${relation.sql})` };
}

async function snapshotAt(context: TaskContext, table: string, at: SnapshotPoint): Promise<DeltaSnapshot> {
  return await readDeltaSnapshot(context.workspace, snapshotPath(table), await snapshotVersion(context, table, at));
}

async function relationOf(
  context: TaskContext,
  engine: Engine,
  table: string,
  snapshot: DeltaSnapshot,
  source: string | undefined,
): Promise<Relation> {
  const spec = tableSpec(context, table);
  return await deltaRelation(engine, context.workspace, snapshotPath(table), snapshot, {
    omit: [...spec.exclude, ...omittedColumns(context, table, source)],
    partitionTimeZone: spec.partitionTimeZone,
  });
}

/** All by which a data file is read as rows. */
function layoutOf({ schema, partitionColumns, columnMapping }: DeltaSnapshot): string {
  return JSON.stringify([schema, partitionColumns, columnMapping]);
}

function onlyIn(one: DeltaSnapshot, other: DeltaSnapshot): DeltaSnapshot {
  const idOf = ({ path, deletionVector }: DeltaFile): string => `${path}\n${deletionVector?.uniqueId ?? ''}`;
  const shared = new Set(other.files.map(idOf));
  return { ...one, files: one.files.filter((file) => !shared.has(idOf(file))), rows: undefined };
}

function tableSpec(context: TaskContext, table: string): ResolvedTable {
  const spec = context.file.spec.snapshot.tables.find(({ name }) => name === table);
  if (spec === undefined) throw new ParityError('NotFound', `The run has no table ${table}.`, { subject: table });
  return spec;
}

function omittedColumns(context: TaskContext, table: string, source: string | undefined): string[] {
  const spec = context.file.spec.sources.find(({ name }) => name === source);
  return (spec?.columns ?? [])
    .filter((column) => column.table === table && column.omit === true)
    .map(({ column }) => column);
}

/** An existing table lies in the location's folder of its name; it is reached with the workspace's endpoint and identity. */
async function locationRelation(
  context: TaskContext,
  engine: Engine,
  location: string,
  table: string,
): Promise<Relation> {
  const { location: _, secretRef, ...storage }: ResolvedStorage = context.file.spec.workspace;
  const secret = secretRef === undefined ? undefined : await context.secret(secretRef.name);
  const zone = tableSpec(context, table).partitionTimeZone;
  return await openRelation(engine, `${location.replace(/\/+$/, '')}/${table}`, {
    ...storage,
    ...(secret === undefined ? {} : { secret }),
    ...(zone === undefined ? {} : { partitionTimeZone: zone }),
  });
}
