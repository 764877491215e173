import { createHash, hash } from 'node:crypto';
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync } from 'hyparquet';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { ParityError } from '../support/error.ts';
import { readDeletionVector } from './delta/deletion-vector.ts';
import type { DeltaFile, DeltaSnapshot } from './delta/types.ts';
import { canonicalFloat } from './nested.ts';
import { deltaRelation } from './relation-delta.ts';
import type { Positions } from './relation-nested.ts';
import { isReadable, readTexts } from './second-reader-rows.ts';
import type { ObjectReader } from './store.ts';
import type { DataType, Field } from './types.ts';

/** What a second reading covered. */
export interface CrossCheck {
  /** The data file; undefined where the table has none. */
  readonly file: string | undefined;
  readonly rows: number;
  readonly columns: number;
  /** Why nothing or not all was read a second time, in words; undefined where all was. */
  readonly note: string | undefined;
}

export interface CrossCheckOptions {
  /** Columns that the run does not read. */
  readonly omit?: readonly string[];
  readonly rows?: number;
}

/** A second reading sees this many rows at most: it goes through JavaScript. */
const ROWS = 5_000;

/**
 * Reads a part of one file of the table with a second Parquet reader (hyparquet, which shares no code with the engine or with DuckDB) and
 * compares it with what the engine makes of the same rows: for each column the number of values and the sum of hashes of their canonical
 * text. A proof with the engine alone would share the engine's errors. File and row group are chosen by hash, so that a run repeats them,
 * and different tables look at different places. Partition values are not in files and are left out.
 *
 * Throws `UnrepresentableValue` naming the column where the readers differ, `CorruptTable` where they see different rows.
 */
export async function crossCheck(
  engine: Engine,
  reader: ObjectReader,
  path: string,
  snapshot: DeltaSnapshot,
  tableName: string,
  options: CrossCheckOptions = {},
): Promise<CrossCheck> {
  const file = chosen(snapshot.files, tableName);
  const left = new Set([...snapshot.partitionColumns, ...(options.omit ?? [])]);
  const fields = snapshot.schema.fields.filter((field) => !left.has(field.name) && isReadable(field.type));
  if (file === undefined || fields.length === 0)
    return { file: file?.path, rows: 0, columns: 0, note: 'nothing to read' };
  const key = path === '' ? file.path : `${path}/${file.path}`;
  const buffer = remoteBuffer(reader, key, file.sizeBytes);
  const metadata = await footer(buffer, reader.url(key));
  const codec = metadata.row_groups
    .flatMap((group) => group.columns.map((column) => column.meta_data?.codec))
    .find(isUnknownCodec);
  if (codec !== undefined) return { file: file.path, rows: 0, columns: 0, note: `compressed with ${codec}` };
  const positions = chosenRows(metadata, tableName, options.rows ?? ROWS);
  const deleted = await deletedRows(reader, path, file, positions);
  const second = await secondDigests({ buffer, metadata, fields, positions, deleted, name: reader.url(key) });
  const first = await engineDigests(
    engine,
    reader,
    path,
    { ...snapshot, files: [file], rows: undefined },
    fields,
    positions,
  );
  compare(first, second, fields, `${tableName} (${reader.url(key)})`);
  const unread = snapshot.schema.fields.filter((field) => !left.has(field.name) && !isReadable(field.type));
  const note = unread.length === 0 ? undefined : `not read a second time: ${unread.map(({ name }) => name).join(', ')}`;
  return { file: file.path, rows: second.rows, columns: fields.length, note };
}

/** Rows, and by column the number of values and the sum of the first 64 bits of their MD5, modulo 2^64. */
interface Digests {
  readonly rows: number;
  readonly columns: readonly { readonly values: number; readonly sum: bigint }[];
}

function chosen(files: readonly DeltaFile[], tableName: string): DeltaFile | undefined {
  const rank = (file: DeltaFile): string => createHash('sha256').update(`${tableName}\n${file.path}`).digest('hex');
  const ranked = files.filter((file) => file.numRecords !== 0).map((file) => ({ file, rank: rank(file) }));
  return ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1))[0]?.file;
}

/** The first rows of a row group: to skip rows inside one, a reader must decode them. */
function chosenRows(metadata: FileMetaData, tableName: string, rows: number): Positions {
  const groups = metadata.row_groups.filter((group) => group.num_rows > 0n);
  const group = groups[createHash('sha256').update(tableName).digest().readUInt32LE(0) % Math.max(groups.length, 1)];
  let first = 0;
  for (const before of metadata.row_groups) {
    if (before === group) break;
    first += Number(before.num_rows);
  }
  return { first, last: first + Math.min(rows, Number(group?.num_rows ?? 0n)) - 1 };
}

async function deletedRows(
  reader: ObjectReader,
  path: string,
  file: DeltaFile,
  { first, last }: Positions,
): Promise<ReadonlySet<number>> {
  const deleted = new Set<number>();
  if (file.deletionVector === undefined) return deleted;
  for (const row of await readDeletionVector(reader, path, file.deletionVector)) {
    if (row >= first && row <= last) deleted.add(row);
  }
  return deleted;
}

interface SecondReading {
  readonly buffer: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly fields: readonly Field[];
  readonly positions: Positions;
  readonly deleted: ReadonlySet<number>;
  readonly name: string;
}

async function secondDigests({ buffer, metadata, fields, positions, deleted, name }: SecondReading): Promise<Digests> {
  const digests = fields.map(() => ({ values: 0, sum: 0n }));
  let rows = 0;
  let position = positions.first;
  try {
    for await (const texts of readTexts(buffer, metadata, fields, positions)) {
      if (deleted.has(position++)) continue;
      rows++;
      for (const [index, digest] of digests.entries()) {
        const text = texts[index];
        if (text === undefined || text === null) continue;
        digest.values++;
        digest.sum = BigInt.asUintN(64, digest.sum + hash('md5', text, 'buffer').readBigUInt64LE(0));
      }
    }
  } catch (error) {
    if (error instanceof ParityError) throw error;
    const said = error instanceof Error ? error.message : String(error);
    throw new ParityError('CorruptTable', `Reading ${name} a second time: ${said}`, { cause: error, subject: name });
  }
  return { rows, columns: digests };
}

async function engineDigests(
  engine: Engine,
  reader: ObjectReader,
  path: string,
  snapshot: DeltaSnapshot,
  fields: readonly Field[],
  positions: Positions,
): Promise<Digests> {
  const wanted = new Set(fields.map((field) => field.name));
  const omit = snapshot.schema.fields.flatMap((field) => (wanted.has(field.name) ? [] : [field.name]));
  const relation = await deltaRelation(engine, reader, path, snapshot, { omit, positions });
  const columns = fields.flatMap((field, index) => {
    const column = `t.${quoteIdentifier(field.name)}`;
    const hash = `reinterpretAsUInt64(substring(MD5(assumeNotNull(${engineText(column, field.type)})), 1, 8))`;
    return [`toString(count(${column})) AS n${index}`, `toString(sumIf(${hash}, isNotNull(${column}))) AS h${index}`];
  });
  const [row = {}] = await engine.rows<Record<string, string>>(
    `SELECT ${['toString(count()) AS n', ...columns].join(', ')} FROM (${relation.sql}) AS t`,
  );
  return {
    rows: Number(row.n),
    columns: fields.map((_, index) => ({ values: Number(row[`n${index}`]), sum: BigInt(row[`h${index}`] ?? '0') })),
  };
}

/** Canonical text of a value of the engine, as readTexts has it. */
function engineText(column: string, type: DataType): string {
  switch (type.kind) {
    case 'boolean':
      return `if(${column}, 'true', 'false')`;
    case 'decimal':
      return `toDecimalString(${column}, ${type.scale})`;
    case 'float':
    case 'double':
      return canonicalFloat(column);
    case 'string':
    case 'binary':
    case 'struct':
    case 'array':
    case 'map':
      return column;
    default:
      return `toString(${column})`;
  }
}

function compare(first: Digests, second: Digests, fields: readonly Field[], name: string): void {
  if (first.rows !== second.rows) {
    throw new ParityError(
      'CorruptTable',
      `Reading ${name} a second time, another reader finds ${second.rows} rows where the engine finds ${first.rows}.`,
      { subject: name },
    );
  }
  for (const [index, field] of fields.entries()) {
    const [a, b] = [first.columns[index], second.columns[index]];
    if (a?.values === b?.values && a?.sum === b?.sum) continue;
    const found = a?.values === b?.values ? 'other values' : `${b?.values} values where the engine finds ${a?.values}`;
    throw new ParityError(
      'UnrepresentableValue',
      `Reading ${name} a second time, another reader finds ${found} in the column ${field.name}: one of them cannot read it exactly.`,
      {
        subject: field.name,
        advice: `Leave the column out with exclude: [${field.name}] and report the file's writer to us.`,
      },
    );
  }
}

async function footer(buffer: AsyncBuffer, name: string): Promise<FileMetaData> {
  try {
    return await parquetMetadataAsync(buffer);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new ParityError('CorruptTable', `Reading the footer of ${name} a second time: ${said}`, {
      cause: error,
      subject: name,
    });
  }
}

function isUnknownCodec(codec: string | undefined): boolean {
  return codec !== undefined && !['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'BROTLI', 'ZSTD'].includes(codec);
}

/** The object as hyparquet reads it, by ranges. */
function remoteBuffer(reader: ObjectReader, key: string, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start: number, end = byteLength): Promise<ArrayBuffer> {
      const chunks: Buffer[] = [];
      const range = { startByte: start, endByteInclusive: end - 1 };
      for await (const chunk of await reader.stream(key, range)) chunks.push(Buffer.from(chunk));
      const bytes = Buffer.concat(chunks);
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    },
  };
}
