import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { ParityError } from '../support/error.ts';
import type { DeltaFile, DeltaSnapshot } from './delta/types.ts';
import type { Relation } from './relation.ts';
import { type Deletions, loadDeletions } from './relation-deletions.ts';
import { type FileGroup, type Footers, readFooters } from './relation-footers.ts';
import { type Positions, ROW_COLUMN, rewriteNested } from './relation-nested.ts';
import { partitionColumns } from './relation-partitions.ts';
import { type EngineSource, fileTable, openEngineSource } from './relation-source.ts';
import { engineType, isNested, readExpression, readType } from './relation-types.ts';
import type { ObjectReader } from './store.ts';
import type { Field } from './types.ts';

export interface DeltaRelationOptions {
  /** Logical names of columns that are left out; not even read. */
  readonly omit?: readonly string[];
  /** IANA zone of zone-less `timestamp` partition values. */
  readonly partitionTimeZone?: string | undefined;
  /** Only rows at these positions in their files, for a look at a part of a large file. */
  readonly positions?: Positions | undefined;
}

/**
 * One version of a Delta table as a relation: its data files read as plain Parquet by physical names, partition values from the log,
 * deleted rows left out, columns that a file is older than as NULL. `path` is the table's key in `reader`.
 *
 * Nothing is read beyond footers, deletion vectors and files with nested columns (those are rewritten, see relation-nested.ts).
 * Throws `CorruptTable` where files and log disagree, `UnrepresentableValue` naming a column that cannot be read exactly.
 */
export async function deltaRelation(
  engine: Engine,
  reader: ObjectReader,
  path: string,
  snapshot: DeltaSnapshot,
  options: DeltaRelationOptions = {},
): Promise<Relation> {
  const name = `${reader.url(path)}@${snapshot.version}`;
  const columns = snapshot.schema.fields.filter((field) => !(options.omit ?? []).includes(field.name));
  const isPartition = new Set(snapshot.partitionColumns);
  const table: Table = {
    engine,
    reader,
    path,
    name,
    columns,
    stored: columns.filter((field) => !isPartition.has(field.name)),
    partitions: columns.filter((field) => isPartition.has(field.name)),
    timeZone: options.partitionTimeZone,
    positions: options.positions,
    keyOf: (file) => (path === '' ? file.path : `${path}/${file.path}`),
  };
  const source = await openEngineSource(engine, reader);
  const footers = await readFooters(engine, source, snapshot.files.map(table.keyOf), table.stored, name);
  checkColumns(table, snapshot, footers);
  const rows = checkedRows(table, snapshot, footers);
  const deletions = snapshot.files.some((file) => file.deletionVector !== undefined)
    ? await loadDeletions(
        engine,
        reader,
        path,
        snapshot.files,
        (file) => footers.rows.get(table.keyOf(file)) ?? 0,
        name,
      )
    : undefined;
  const branches = await selects(table, snapshot.files, source, footers, deletions);
  return {
    columns,
    sql: await shortened(engine, branches.length === 0 ? emptySelect(columns) : branches.join(' UNION ALL ')),
    rows: options.positions === undefined ? rows : undefined,
    name,
    sizeBytes: snapshot.files.reduce((sum, file) => sum + file.sizeBytes, 0),
  };
}

interface Table {
  readonly engine: Engine;
  readonly reader: ObjectReader;
  readonly path: string;
  readonly name: string;
  readonly columns: readonly Field[];
  /** Columns that lie in the data files. */
  readonly stored: readonly Field[];
  readonly partitions: readonly Field[];
  readonly timeZone: string | undefined;
  readonly positions: Positions | undefined;
  readonly keyOf: (file: DeltaFile) => string;
}

/** One SELECT for each group of files that are read the same way. */
async function selects(
  table: Table,
  files: readonly DeltaFile[],
  source: EngineSource,
  footers: Footers,
  deletions: Deletions | undefined,
): Promise<string[]> {
  const fileOf = new Map(files.map((file) => [table.keyOf(file), file]));
  const branches: string[] = [];
  for (const group of footers.groups) {
    const members = group.keys.flatMap((key) => fileOf.get(key) ?? []);
    for (const hasDeletions of [false, true]) {
      const some = members.filter((file) => (file.deletionVector !== undefined) === hasDeletions);
      if (some.length > 0)
        branches.push(await select(table, group, some, source, hasDeletions ? deletions : undefined));
    }
  }
  return branches;
}

async function select(
  table: Table,
  group: FileGroup,
  files: readonly DeltaFile[],
  source: EngineSource,
  deletions: Deletions | undefined,
): Promise<string> {
  const there = table.stored.filter((field) => group.encodings.get(field.physicalName) !== 'Absent');
  const place = there.some((field) => isNested(field.type))
    ? await rewritten(table, group, files, source, there)
    : plain(table, group, files, source, there);
  const partitions = partitionColumns(table.partitions, files, place.pathOf, table);
  const values = table.columns.map((field) => {
    const encoding = place.group.encodings.get(field.physicalName) ?? 'Absent';
    const value =
      partitions.expressions.get(field.physicalName) ??
      readExpression(field.type, encoding, field.physicalName, field.name);
    return `${value} AS ${quoteIdentifier(field.name)}`;
  });
  const conditions = [
    ...(deletions === undefined ? [] : [deletions.liveRows(files, place.pathOf, place.row)]),
    ...(table.positions === undefined
      ? []
      : [`${place.row} BETWEEN ${table.positions.first} AND ${table.positions.last}`]),
  ];
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
  return `${partitions.with}SELECT ${values.join(', ')} FROM ${place.table} AS t${where}`;
}

/** Where the rows of some files are, and what the position of a row in its file is called there. */
interface Place {
  readonly table: string;
  readonly pathOf: (file: DeltaFile) => string;
  readonly row: string;
  readonly group: FileGroup;
}

function plain(
  table: Table,
  group: FileGroup,
  files: readonly DeltaFile[],
  source: EngineSource,
  fields: readonly Field[],
): Place {
  return {
    table: source.table(files.map(table.keyOf), 'Parquet', structure(group, fields)),
    pathOf: (file) => source.pathOf(table.keyOf(file)),
    row: 't._row_number',
    group,
  };
}

async function rewritten(
  table: Table,
  group: FileGroup,
  files: readonly DeltaFile[],
  source: EngineSource,
  fields: readonly Field[],
): Promise<Place> {
  await checkInt96(table, group, files, source, fields);
  const paths = await rewriteNested(table.engine, table.reader, files.map(table.keyOf), fields, table);
  const pathOf = (file: DeltaFile): string => paths.get(table.keyOf(file)) ?? '';
  // DuckDB writes what was INT96 as microseconds.
  const encodings = new Map(
    [...group.encodings].map(([column, encoding]) => [column, encoding === 'Int96' ? 'Micros' : encoding] as const),
  );
  const written: FileGroup = { ...group, encodings };
  return {
    table: fileTable(files.map(pathOf), 'Parquet', `${structure(written, fields)}, ${ROW_COLUMN} Nullable(Int64)`),
    pathOf,
    row: `t.${ROW_COLUMN}`,
    group: written,
  };
}

/** DuckDB cuts INT96 to microseconds without a word: before it does, the engine looks whether there is more. */
async function checkInt96(
  table: Table,
  group: FileGroup,
  files: readonly DeltaFile[],
  source: EngineSource,
  fields: readonly Field[],
): Promise<void> {
  const cut = fields.filter((field) => group.encodings.get(field.physicalName) === 'Int96');
  if (cut.length === 0) return;
  const read = cut.map((field) => readExpression(field.type, 'Int96', field.physicalName, field.name));
  const from = source.table(files.map(table.keyOf), 'Parquet', structure(group, cut));
  await table.engine.rows(`SELECT ${read.map((value) => `max(${value})`).join(', ')} FROM ${from} AS t`);
}

function structure(group: FileGroup, fields: readonly Field[]): string {
  const columns = fields.flatMap((field) => {
    const type = readType(field.type, group.encodings.get(field.physicalName) ?? 'Absent');
    return type === undefined ? [] : [`${quoteIdentifier(field.physicalName)} ${type}`];
  });
  // A file may hold none of the columns asked for (only partition columns, or columns added later): its rows still count.
  return columns.length === 0 ? 'parity_nothing Nullable(Int8)' : columns.join(', ');
}

/** The engine's own names for a file's path and a row's position must not be shadowed by columns of the data. */
function checkColumns(table: Table, snapshot: DeltaSnapshot, footers: Footers): void {
  const reserved = table.stored.find((field) => /^(_path|_row_number|parity_\w+)$/.test(field.physicalName));
  if (reserved !== undefined) {
    throw new ParityError(
      'UnsupportedFeature',
      `Reading ${table.name}, the column ${reserved.physicalName} has a name that the engine needs for itself.`,
      { subject: reserved.name, advice: `Leave the column out with exclude: [${reserved.name}].` },
    );
  }
  if (snapshot.columnMapping === 'id') checkNamesOfIds(table, snapshot, footers);
}

/**
 * Files of a table mapped by id are meant to be read by their field ids, and ours are read by physical names, which writers write as well.
 * A file that lacks one of our names and has another that is not ours may hold that column under the other name.
 */
function checkNamesOfIds(table: Table, snapshot: DeltaSnapshot, footers: Footers): void {
  const known = new Set(snapshot.schema.fields.map((field) => field.physicalName));
  for (const group of footers.groups) {
    const absent = table.stored.find((field) => group.encodings.get(field.physicalName) === 'Absent');
    const unknown = group.columns.find((column) => !known.has(column));
    if (absent === undefined || unknown === undefined) continue;
    throw new ParityError(
      'UnsupportedFeature',
      `Reading ${table.name}, the column ${absent.name} is not in the data file ${group.keys[0]} by its physical name, while the file's ${unknown} is in no schema: the table is mapped by ids that its names do not follow.`,
      { subject: absent.name, advice: 'Rewrite the table (REORG or OPTIMIZE), or exclude the column.' },
    );
  }
}

/** Live rows by the footers; the log's own counts, where it has them, must say the same. */
function checkedRows(table: Table, snapshot: DeltaSnapshot, footers: Footers): number {
  let live = 0;
  for (const file of snapshot.files) {
    const rows = footers.rows.get(table.keyOf(file)) ?? 0;
    if (file.numRecords !== undefined && file.numRecords !== rows) {
      throw new ParityError(
        'CorruptTable',
        `Reading ${table.name}, the data file ${file.path} holds ${rows} rows where the log says ${file.numRecords}.`,
        { subject: file.path },
      );
    }
    live += rows - (file.deletionVector?.cardinality ?? 0);
  }
  return live;
}

function emptySelect(columns: readonly Field[]): string {
  const values = columns.map((field) => `CAST(NULL, '${engineType(field.type)}') AS ${quoteIdentifier(field.name)}`);
  return `SELECT ${values.join(', ')} WHERE 0`;
}

/** Statements name a relation several times; one over thousands of files is kept in the engine under a name. */
async function shortened(engine: Engine, sql: string): Promise<string> {
  if (sql.length < 20_000) return sql;
  const view = `parity_view_${nextView++}`;
  await engine.execute(`CREATE VIEW ${view} AS ${sql}`);
  return `SELECT * FROM ${view}`;
}

let nextView = 1;
