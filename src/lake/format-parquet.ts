import { join } from 'node:path';
import { DuckDBDecimalType, DuckDBListType, DuckDBMapType, DuckDBStructType, type DuckDBType } from '@duckdb/node-api';
import type { Engine } from '../engine/engine.ts';
import { ParityError } from '../support/error.ts';
import type { DeltaFile } from './delta/types.ts';
import { filesAt } from './files-at.ts';
import { type FolderColumn, folderColumns } from './format-folders.ts';
import type { Relation } from './relation.ts';
import { deltaRelation } from './relation-delta.ts';
import { duckString, withDuckDb } from './relation-duckdb.ts';
import { readFooters } from './relation-footers.ts';
import { columnTypes, readingError, withLocalCopy } from './relation-nested.ts';
import { openEngineSource } from './relation-source.ts';
import { formatType } from './relation-types.ts';
import type { ObjectReader } from './store.ts';
import type { DataType, Field } from './types.ts';

/**
 * Parquet files as one table: the columns of all of them, by name; a file without a column has NULL there. Folders named `x=5`
 * are a column, unless the files have it. Throws `UnsupportedFeature` naming a column of a type that has no exact canonical one, or of two types in different files.
 */
export async function parquetRelation(
  engine: Engine,
  reader: ObjectReader,
  path: string,
  omit: readonly string[] = [],
): Promise<Relation> {
  const keys = await filesAt(reader, path, ['.parquet', '.parq', '.pq']);
  const name = reader.url(path);
  const footers = await readFooters(engine, await openEngineSource(engine, reader), keys, [], name, { separate: true });
  const fields = new Map<string, Field>();
  for (const group of footers.groups) {
    const [sample] = group.keys;
    if (sample === undefined) continue;
    for (const field of await fieldsOf(engine, reader, sample, { name, omit })) {
      if (!group.paths.some((path) => path === field.name || path.startsWith(`${field.name}.`)))
        throw unnamed(field.name, sample, name);
      const known = fields.get(field.name);
      fields.set(field.name, known === undefined ? field : unified(known, field, name));
    }
  }
  const folders = folderColumns(keys, path, name).filter((column) => !fields.has(column.name));
  const sizes = new Map<string, number>();
  for (const key of keys) sizes.set(key, (await reader.head(key))?.sizeBytes ?? 0);
  // Plain files are a Delta table without a log: the same reading, with the same guards.
  const relation = await deltaRelation(engine, reader, '', {
    version: 0,
    schema: {
      kind: 'struct',
      fields: [
        ...fields.values(),
        ...folders.map(({ name, type }) => ({ name, physicalName: name, nullable: true, type })),
      ],
    },
    partitionColumns: folders.map(({ name }) => name),
    columnMapping: 'none',
    protocol: { minReaderVersion: 1, minWriterVersion: 1, readerFeatures: [], writerFeatures: [] },
    configuration: {},
    tableId: name,
    files: keys.map((key): DeltaFile => plainFile(key, sizes.get(key) ?? 0, folders)),
    rows: undefined,
  });
  return { ...relation, name };
}

/** DuckDB renames what it cannot tell apart; under that name the file has nothing, and NULL would be read. */
function unnamed(column: string, key: string, name: string): ParityError {
  return new ParityError(
    'UnsupportedFeature',
    `Reading ${name}, the file ${key} has a column whose name is empty, has a NUL character, or is another's but for case (read as ${column}).`,
    { subject: column, advice: 'Write the files with column names that differ in more than case.' },
  );
}

function plainFile(path: string, sizeBytes: number, folders: readonly FolderColumn[]): DeltaFile {
  return {
    path,
    sizeBytes,
    partitionValues: Object.fromEntries(folders.map(({ name, inFolderOf }) => [name, inFolderOf(path)])),
    numRecords: undefined,
    deletionVector: undefined,
    modificationTimeMs: 0,
    stats: undefined,
  };
}

async function fieldsOf(
  engine: Engine,
  reader: ObjectReader,
  key: string,
  { name, omit }: { readonly name: string; readonly omit: readonly string[] },
): Promise<Field[]> {
  try {
    return await withDuckDb(engine.scratch, (connection) =>
      withLocalCopy(reader, key, join(engine.scratch, 'schema-input'), async (input) => {
        const types = await columnTypes(connection, `read_parquet(${duckString(input)}, hive_partitioning = false)`);
        return [...types].flatMap(([column, type]) =>
          omit.includes(column) ? [] : [field(column, type, { name, column, path: column })],
        );
      }),
    );
  } catch (error) {
    throw readingError(error, reader.url(key));
  }
}

/** Where a type stands, for messages. */
interface Where {
  readonly name: string;
  readonly column: string;
  readonly path: string;
}

function field(name: string, type: DuckDBType, where: Where): Field {
  return { name, physicalName: name, nullable: true, type: typeOf(type, where) };
}

function typeOf(type: DuckDBType, where: Where): DataType {
  if (type instanceof DuckDBStructType) {
    const fields = type.entryNames.flatMap((name, index) => {
      const entry = type.entryTypes[index];
      return entry === undefined ? [] : [field(name, entry, { ...where, path: `${where.path}.${name}` })];
    });
    return { kind: 'struct', fields };
  }
  if (type instanceof DuckDBListType)
    return { kind: 'array', element: typeOf(type.valueType, where), containsNull: true };
  if (type instanceof DuckDBMapType) {
    const [key, value] = [typeOf(type.keyType, where), typeOf(type.valueType, where)];
    return { kind: 'map', key, value, valueContainsNull: true };
  }
  if (type instanceof DuckDBDecimalType) return { kind: 'decimal', precision: type.width, scale: type.scale };
  const kind = primitives.get(type.toString());
  if (kind !== undefined) return kind;
  throw new ParityError(
    'UnsupportedFeature',
    `The column ${where.name}: ${where.path} is of the Parquet type ${type.toString()}, which is not read.`,
    {
      subject: where.column,
      advice: `Compare without the column (--ignore ${where.column}), or write it as one of the types that Delta has.`,
    },
  );
}

/** Unsigned integers become the next wider signed type, which holds them all. */
const primitives = new Map<string, DataType>([
  ['TINYINT', { kind: 'byte' }],
  ['SMALLINT', { kind: 'short' }],
  ['UTINYINT', { kind: 'short' }],
  ['INTEGER', { kind: 'integer' }],
  ['USMALLINT', { kind: 'integer' }],
  ['BIGINT', { kind: 'long' }],
  ['UINTEGER', { kind: 'long' }],
  ['FLOAT', { kind: 'float' }],
  ['DOUBLE', { kind: 'double' }],
  ['BOOLEAN', { kind: 'boolean' }],
  ['VARCHAR', { kind: 'string' }],
  ['JSON', { kind: 'string' }],
  ['BLOB', { kind: 'binary' }],
  ['DATE', { kind: 'date' }],
  ['TIMESTAMP WITH TIME ZONE', { kind: 'timestamp' }],
  ['TIMESTAMP', { kind: 'timestamp_ntz' }],
  ['TIMESTAMP_MS', { kind: 'timestamp_ntz' }],
  ['TIMESTAMP_NS', { kind: 'timestamp_ntz' }],
]);

function unified(known: Field, other: Field, name: string): Field {
  const [a, b] = [formatType(known.type), formatType(other.type)];
  if (a === b) return known;
  throw new ParityError(
    'UnsupportedFeature',
    `Reading ${name}, the column ${known.name} is ${a} in one file and ${b} in another.`,
    {
      subject: known.name,
    },
  );
}
