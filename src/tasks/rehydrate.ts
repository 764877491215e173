import type { CloneFrom } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import type { Relation } from '../lake/relation.ts';
import { crossCheck } from '../lake/second-reader.ts';
import type { SnapshotPoint } from '../run/types.ts';
import { type OpenSource, openSource } from '../sources/connect.ts';
import { checkKey } from '../sources/key-check.ts';
import { maxKeyBytes } from '../sources/mysql-types.ts';
import { proveEqual } from '../sources/prove.ts';
import { cloneOf } from '../sources/snowflake-clone.ts';
import type { LoadOptions, SourceTable } from '../sources/source.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { snapshotPath, snapshotRelation, snapshotVersion } from './relations.ts';
import type { Resolution, TaskContext, TaskHandler } from './task.ts';

/** Detail of a `rehydrate` task. */
export interface RehydrateDetail {
  readonly source: string;
  readonly tables: readonly RehydratedTable[];
  /** Types of the source's engine that pipelines often trip over and that no column of these tables has. */
  readonly typesNotExercised: readonly string[];
}

export interface RehydratedTable {
  readonly name: string;
  readonly at: SnapshotPoint;
  readonly rows: number;
  /** Row digest that the snapshot and the source share (src/compare/row-digest.ts). */
  readonly digest: string;
  readonly primaryKey: readonly string[];
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Things a reader should know: why there is no primary key, what no second reader looked at. */
  readonly notes: readonly string[];
}

/**
 * Loads tables of the snapshot into a source, or clones them where they lie there already, then proves it: the source is read back and its row digest equals the snapshot's. A table that will advance
 * is loaded at its base version. Done again, each table is made anew. Throws `UnrepresentableValue`, `UnsupportedFeature` or `ProofFailed` naming table and column.
 */
export const runRehydrate: TaskHandler<RehydrateDetail> = async (context) => {
  const { input } = context.file;
  if (input.kind !== 'rehydrate')
    throw new ParityError('Internal', `A rehydrate task was given the input of ${input.kind}.`);
  const engine = await context.engine();
  const source = await openSource(context, input.source);
  const tables: RehydratedTable[] = [];
  let bytes = 0;
  try {
    for (const name of input.tables) {
      const loaded = await rehydrateTable(context, engine, source, name).catch((error: unknown) => {
        throw naming(error, name);
      });
      tables.push(loaded.table);
      bytes += loaded.bytes;
    }
  } finally {
    await source.session.close();
  }
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  const types = new Set(tables.flatMap(({ columns }) => columns.map(({ type }) => type.toLowerCase())));
  return {
    summary: { tables: tables.length, rows, bytes },
    detail: { source: input.source, tables, typesNotExercised: notExercised(source.spec.engine, types) },
  };
};

/** What a table looks like in its source, now and after it has advanced: the key has to be one at both points. */
export async function planOf(
  context: TaskContext,
  engine: Engine,
  { spec, driver }: OpenSource,
  name: string,
  at: Relation,
  points: readonly Relation[],
): Promise<{ table: SourceTable; notes: string[] }> {
  const declared = context.file.spec.snapshot.tables.find((table) => table.name === name);
  const checked = await checkKey(engine, points, declared?.key ?? [], { signal: context.signal });
  const keyBytes = Object.values(checked.keyLengths).reduce((sum, length) => sum + 4 * length, 0);
  const isTooLong = spec.engine === 'MySQL' && keyBytes > maxKeyBytes;
  const isKeyed = checked.primaryKey.length > 0 && !isTooLong;
  const table = driver.plan(name, at.columns, {
    primaryKey: isKeyed ? checked.primaryKey : [],
    cursor: declared?.cursor,
    columns: spec.columns,
    keyLengths: checked.keyLengths,
  });
  const why = isTooLong ? `key (${checked.primaryKey.join(', ')}) is too long for an index of MySQL` : checked.note;
  return { table, notes: why === undefined ? [] : [`no primary key: ${why}`] };
}

/** The points of the snapshot that a source will hold, in order. */
export async function pointsOf(context: TaskContext, name: string): Promise<readonly SnapshotPoint[]> {
  const { tables } = await context.detailOf<Resolution>('resolve');
  const hasBase = (tables.find((table) => table.name === name)?.baseVersion ?? null) !== null;
  const advances = context.file.spec.scenario.some((step) => 'advance' in step);
  return hasBase && advances ? ['Base', 'Target'] : ['Target'];
}

async function rehydrateTable(
  context: TaskContext,
  engine: Engine,
  source: OpenSource,
  name: string,
): Promise<{ table: RehydratedTable; bytes: number }> {
  const points = await pointsOf(context, name);
  const at = points[0] ?? 'Target';
  const options = { source: source.spec.name };
  const relations: Relation[] = [];
  for (const point of points) relations.push(await snapshotRelation(context, engine, name, point, options));
  const relation = relations[0];
  if (relation === undefined) throw new ParityError('Internal', `Table ${name} has no point to be loaded at.`);
  context.progress({ table: name, ...total(relation), note: 'checking the key' });
  const { table: planned, notes } = await planOf(context, engine, source, name, relation, relations);
  let bytes = 0;
  const load = progressOf(context, name, relation, 'loading', (sent) => {
    bytes = Math.max(bytes, sent);
  });
  const { cloneFrom } = source.spec;
  const table = cloneFrom === undefined ? planned : await clone(context, source, planned, cloneFrom);
  if (cloneFrom === undefined) await source.session.load(engine, table, relation, load);
  else notes.push(`a clone of ${cloneOf(name, cloneFrom)}, with its types and keys`);
  context.progress({ table: name, ...total(relation), note: 'proving' });
  const proof = await proveEqual(engine, source.session, table, relation, {
    ...progressOf(context, name, relation, 'proving'),
    cloneOf: cloneFrom && cloneOf(name, cloneFrom),
  });
  const unread = await secondReading(context, engine, name, at, relation);
  if (unread !== undefined) notes.push(unread);
  context.progress({ table: name, rows: proof.rows, totalRows: proof.rows, bytes });
  const columns = table.columns.map(({ field, sqlType }) => ({ name: field.name, type: sqlType }));
  return { table: { name, at, ...proof, primaryKey: table.primaryKey, columns, notes }, bytes };
}

/** A table of the account as the source's own, without the columns that this run leaves out. */
async function clone(
  context: TaskContext,
  { spec, session }: OpenSource,
  table: SourceTable,
  from: CloneFrom,
): Promise<SourceTable> {
  if (session.clone === undefined)
    throw new ParityError('InvalidSpec', `Source ${spec.name} is to hold clones, which ${spec.engine} does not make.`);
  const excluded = context.file.spec.snapshot.tables.find(({ name }) => name === table.name)?.exclude ?? [];
  const omitted = spec.columns.filter((column) => column.table === table.name && column.omit === true);
  context.progress({ table: table.name, note: 'cloning' });
  return await session.clone(table, from, [...excluded, ...omitted.map(({ column }) => column)]);
}

/** The proof reads the snapshot with our own reader: another one has to see the same. Returns what it could not look at, in words. */
async function secondReading(
  context: TaskContext,
  engine: Engine,
  name: string,
  at: SnapshotPoint,
  relation: Relation,
): Promise<string | undefined> {
  const path = snapshotPath(name);
  const snapshot = await readDeltaSnapshot(context.workspace, path, await snapshotVersion(context, name, at));
  const loaded = new Set(relation.columns.map((column) => column.name));
  const omit = snapshot.schema.fields.map((field) => field.name).filter((column) => !loaded.has(column));
  return (await crossCheck(engine, context.workspace, path, snapshot, name, { omit })).note;
}

/** Options of a driver's call that tell of its progress in the table's name. */
export function progressOf(
  context: TaskContext,
  table: string,
  relation: Relation,
  note: string,
  onBytes: (bytes: number) => void = () => undefined,
): LoadOptions {
  return {
    signal: context.signal,
    onProgress: ({ rows, bytes }) => {
      onBytes(bytes);
      context.progress({
        table,
        ...(rows > 0 ? { rows } : {}),
        ...(bytes > 0 ? { bytes } : {}),
        ...total(relation),
        note,
      });
    },
  };
}

function total(relation: Relation): { totalRows?: number } {
  return relation.rows === undefined ? {} : { totalRows: relation.rows };
}

/** An error says which table it is about, whoever threw it. */
export function naming(error: unknown, table: string): ParityError {
  const known = toParityError(error);
  if (known.subject?.startsWith(table)) return known;
  if (known.message.includes(table)) return known;
  return new ParityError(known.code, `${table}: ${known.message}`, {
    subject: table,
    cause: error,
    isRetryable: known.isRetryable,
    ...(known.advice === undefined ? {} : { advice: known.advice }),
  });
}

function notExercised(engine: OpenSource['spec']['engine'], used: ReadonlySet<string>): string[] {
  const isUsed = (type: string): boolean => [...used].some((found) => new RegExp(`\\b${type}\\b`).test(found));
  return lostTypes[engine].filter((type) => !isUsed(type));
}

/** Types that a lake cannot tell from plainer ones: they come back only where the manifest names them. */
const lostTypes: Readonly<Record<OpenSource['spec']['engine'], readonly string[]>> = {
  Postgres: ['uuid', 'jsonb', 'enum', 'citext', 'interval', 'time', 'inet', 'varchar', 'char'],
  MySQL: ['unsigned', 'enum', 'json', 'timestamp', 'time', 'year', 'bit', 'varchar', 'char'],
  Snowflake: ['timestamp_tz', 'variant', 'time', 'geography', 'vector', 'char'],
};
