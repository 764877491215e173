import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedPipeline, ResolvedSource } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { deltaRelation } from '../lake/relation-delta.ts';
import type { ObjectStore } from '../lake/store.ts';
import type { Field } from '../lake/types.ts';
import { type ParquetFile, writeParquet } from '../lake/write-parquet.ts';
import type { ExportOptions, SourceSession, SourceTable } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';
import { canFollow, highestMark, type Mark, spellMark } from './cursor.ts';
import { commitSync, hasColumns, type Landed, readLanded } from './landed.ts';
import { alignedTo, landedColumns } from './landed-columns.ts';
import { type MergeSides, mergeParts, replacedRows } from './merge.ts';
import type { Mutant } from './mutants.ts';
import { mutatedRows } from './mutated-rows.ts';
import type { SyncedTable } from './pipeline.ts';

/** Everything that syncing one table needs. */
export interface TableSync {
  readonly engine: Engine;
  readonly store: ObjectStore;
  readonly session: SourceSession;
  readonly source: ResolvedSource;
  readonly pipeline: ResolvedPipeline;
  readonly mutant: Mutant;
  readonly step: string;
  readonly mode: 'Full' | 'Incremental';
  readonly table: SourceTable;
  /** What tells rows apart according to the manifest; empty where nothing does. */
  readonly key: readonly string[];
  /** Key prefix of the landed Delta table in the store. */
  readonly path: string;
  /** A folder of this table's own, inside the engine's reach. */
  readonly scratch: string;
  readonly signal: AbortSignal;
  readonly onProgress: (rows: number, note: string) => void;
}

/**
 * Reads the table from its source and lands it as the next version of its Delta table: the whole of it, or merged by key with the rows from the cursor's
 * mark on. One atomic commit holds the data, the schema, the new mark and the step's name, so that a sync killed at any point has landed wholly or not
 * at all, and started again does nothing twice.
 */
export async function syncTable(sync: TableSync): Promise<SyncedTable> {
  const landed = await readLanded(sync.store, sync.path);
  const done = landed.records.find(({ step }) => step === sync.step);
  if (done !== undefined) return done;

  const since = startOf(sync, landed);
  const read = await readSource(sync, since);
  const columns = targetColumns(sync, since === undefined ? undefined : landed);
  const files =
    since === undefined ? await writeFull(sync, columns, read) : await writeMerged(sync, columns, landed, read);
  const winner = await commitSync(sync.store, sync.path, {
    landed,
    columns,
    files,
    record: {
      step: sync.step,
      table: sync.table.name,
      mode: since === undefined ? 'Full' : 'Incremental',
      read: read.rows,
      cursor: await cursorMove(sync, since, read),
    },
    signal: sync.signal,
  });
  await rm(sync.scratch, { recursive: true, force: true });
  return winner;
}

/**
 * The mark that an incremental sync goes on from; undefined for a read of the whole table: in mode Full, without a cursor, and where nothing with a mark
 * has landed before.
 */
function startOf(sync: TableSync, landed: Landed): Mark | undefined {
  const cursor = cursorOf(sync);
  if (sync.mode === 'Full' || cursor === undefined) return undefined;
  if (!canFollow(cursor))
    throw new ParityError(
      'PipelineFailed',
      `The reference pipeline cannot sync ${sync.table.name} incrementally: databases order its cursor ${cursor.name}, a column of type ${cursor.type.kind}, in different ways.`,
      {
        subject: sync.table.name,
        advice: 'Name an integer, decimal, date or timestamp column as its cursor, or sync it in full.',
      },
    );
  if (sync.key.length === 0)
    throw new ParityError(
      'PipelineFailed',
      `The reference pipeline cannot sync ${sync.table.name} incrementally: it needs a key, and the table has none.`,
      { subject: sync.table.name, advice: 'Name its key in snapshot.tables[].key, or sync it in full.' },
    );
  const last = landed.records[0]?.cursor;
  return last?.column === cursor.name ? (last.to ?? undefined) : undefined;
}

/** Where the cursor is after these rows; where there are none, or none with a value, it stays. */
async function cursorMove(sync: TableSync, since: Mark | undefined, read: ReadRows): Promise<SyncedTable['cursor']> {
  const cursor = cursorOf(sync);
  if (cursor === undefined || !canFollow(cursor)) return null;
  const highest = await highestMark(sync.engine, read.sql, cursor, sync.signal);
  return { column: cursor.name, from: since ?? null, to: highest ?? since ?? null };
}

interface ReadRows extends Relation {
  readonly rows: number;
}

async function readSource(sync: TableSync, since: Mark | undefined): Promise<ReadRows> {
  const { engine, session, table, signal, onProgress } = sync;
  const cursor = cursorOf(sync);
  const isInclusive = sync.pipeline.cursorBound === 'Inclusive' && !sync.mutant.isCursorOffByOne;
  const options: ExportOptions = {
    signal,
    onProgress: ({ rows }) => onProgress(rows, 'reading'),
    ...(since === undefined || cursor === undefined
      ? {}
      : {
          since: { cursor: cursor.name, value: spellMark(since, cursor, sync.source.engine), inclusive: isInclusive },
        }),
  };
  const relation = await session.export(engine, table, options);
  return { ...relation, rows: await countRows(sync, relation) };
}

async function countRows({ engine, signal, table }: TableSync, relation: Relation): Promise<number> {
  const [count] = await engine.rows<{ rows: string }>(`SELECT count() AS rows FROM (${relation.sql})`, { signal });
  const rows = Number(count?.rows);
  if (relation.rows !== undefined && relation.rows !== rows)
    throw new ParityError(
      'Internal',
      `The reference pipeline read ${relation.rows} rows of ${table.name} from its source, but the engine sees ${rows} of them.`,
      { subject: table.name },
    );
  return rows;
}

/** The whole table anew. */
async function writeFull(sync: TableSync, columns: readonly Field[], read: ReadRows): Promise<readonly ParquetFile[]> {
  const sql = mutatedRows({ ...shapeOf(sync), sql: read.sql, rows: read.rows, columns }, sync.mutant);
  const files = await write(sync, columns, sql, 'full', read.sizeBytes ?? 0);
  requireRows(sync, files, read.rows);
  return files;
}

/** Copy on write: the landed rows that were not read again, and the rows that were. Where no row was read and no column is new, nothing is written. */
async function writeMerged(
  sync: TableSync,
  columns: readonly Field[],
  landed: Landed,
  read: ReadRows,
): Promise<readonly ParquetFile[] | 'Unchanged'> {
  const { engine, store, path, key, table, mutant, signal } = sync;
  const { snapshot } = landed;
  if (snapshot === undefined) throw new ParityError('Internal', `${table.name} has a mark but has not landed.`);
  if (read.rows === 0 && hasColumns(snapshot, columns)) return 'Unchanged';
  const old = await deltaRelation(engine, store, path, snapshot);
  const sides: MergeSides = {
    columns: columns.map(({ name }) => name),
    key,
    landed: alignedTo(columns, old, table.name),
    read: mutatedRows({ ...shapeOf(sync), sql: read.sql, rows: read.rows, columns }, mutant),
    readRows: read.rows,
  };
  // A pipeline with a bug does not look whether keys are unique: its own landed rows may not be, and it is to be caught by the comparison.
  const replaced = mutant.bug === 'None' ? await replacedRows(engine, sides, table.name, signal) : 0;
  const sizeBytes = (old.sizeBytes ?? 0) + (read.sizeBytes ?? 0);
  const files: ParquetFile[] = [];
  for (const [index, part] of mergeParts(sides, mutant.merge).entries())
    files.push(...(await write(sync, columns, part, `merged-${index}`, sizeBytes)));
  if (snapshot.rows !== undefined) requireRows(sync, files, snapshot.rows - replaced + read.rows);
  return files;
}

async function write(
  sync: TableSync,
  columns: readonly Field[],
  sql: string,
  folder: string,
  sizeBytes: number,
): Promise<ParquetFile[]> {
  return await writeParquet(sync.engine, {
    columns,
    sql,
    folder: join(sync.scratch, folder),
    sizeBytes,
    signal: sync.signal,
    onProgress: (rows) => sync.onProgress(rows, 'landing'),
  });
}

/** What a pipeline of any care checks of itself: no row was lost between reading and landing. */
function requireRows({ mutant, table }: TableSync, files: readonly ParquetFile[], expected: number): void {
  const written = files.reduce((rows, file) => rows + file.rows, 0);
  if (mutant.bug === 'None' && written !== expected)
    throw new ParityError(
      'PipelineFailed',
      `The reference pipeline wrote ${written} rows of ${table.name} where ${expected} were to be landed.`,
      { subject: table.name },
    );
}

/** The columns that land: the source's, but for those that a bug leaves out. */
function targetColumns({ table, mutant }: TableSync, landed: Landed | undefined): Field[] {
  return landedColumns(
    table.columns.map(({ field }) => field),
    {
      earlier: landed?.snapshot?.schema.fields,
      keepsNewColumns: mutant.keepsNewColumns,
      nullsAppear: mutant.bug !== 'None',
    },
  );
}

function shapeOf({ table, key }: TableSync): { fields: Field[]; key: readonly string[]; cursor: string | undefined } {
  return { fields: table.columns.map(({ field }) => field), key, cursor: table.cursor };
}

function cursorOf({ table }: TableSync): Field | undefined {
  return table.columns.find(({ field }) => field.name === table.cursor)?.field;
}
