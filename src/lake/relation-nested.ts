import { createWriteStream } from 'node:fs';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  type DuckDBConnection,
  DuckDBDecimalType,
  DuckDBListType,
  DuckDBMapType,
  DuckDBStructType,
  type DuckDBType,
} from '@duckdb/node-api';
import type { Engine } from '../engine/engine.ts';
import { ParityError } from '../support/error.ts';
import { pathOfKey } from './file-reader.ts';
import { duckIdentifier, duckString, withDuckDb } from './relation-duckdb.ts';
import { formatType, isNested } from './relation-types.ts';
import type { ObjectReader } from './store.ts';
import type { DataType, Field } from './types.ts';

/** Name of the column that keeps a row's position in its original file, so that deletion vectors still apply. */
export const ROW_COLUMN = 'parity_row';

/** A range of rows of a file, counted from 0, both ends included. */
export interface Positions {
  readonly first: number;
  readonly last: number;
}

/**
 * Writes Parquet files anew into the engine's scratch folder, one by one, with nested columns as canonical JSON text (nested.ts) and the
 * others as they are. The engine reads NULL arrays, maps and structs as empty ones and structs inside arrays under column mapping as
 * nothing, both without an error; DuckDB reads them right.
 * Returns the new file's path by key. Throws `UnrepresentableValue` naming a column whose Parquet type does not fit the schema.
 */
export async function rewriteNested(
  engine: Engine,
  reader: ObjectReader,
  keys: readonly string[],
  fields: readonly Field[],
  { name, positions }: { readonly name: string; readonly positions: Positions | undefined },
): Promise<ReadonlyMap<string, string>> {
  const folder = join(engine.scratch, `nested-${nextFolder++}`);
  await mkdir(folder, { recursive: true });
  const written = new Map<string, string>();
  await withDuckDb(engine.scratch, async (connection) => {
    for (const macro of MACROS) await connection.run(macro);
    for (const [index, key] of keys.entries()) {
      const output = join(folder, `${index}.parquet`);
      await withLocalCopy(reader, key, join(folder, 'input'), (input) =>
        rewriteFile(connection, input, output, fields, { name, positions }).catch((error: unknown) => {
          throw readingError(error, `${name} (${key})`);
        }),
      );
      written.set(key, output);
    }
  });
  return written;
}

let nextFolder = 1;

/** Runs `work` with a plain path of the object: a link where it is local, else a copy that is removed afterwards. */
export async function withLocalCopy<Result>(
  reader: ObjectReader,
  key: string,
  path: string,
  work: (path: string) => Promise<Result>,
): Promise<Result> {
  await rm(path, { force: true });
  try {
    if (reader.location.scheme === 'file') await symlink(pathOfKey(reader.location, key), path);
    else await pipeline(await reader.stream(key), createWriteStream(path));
    return await work(path);
  } finally {
    await rm(path, { force: true });
  }
}

/** The named error for what DuckDB said about a file. */
export function readingError(error: unknown, name: string): ParityError {
  if (error instanceof ParityError) return error;
  const said = (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
  const code = /out of memory/i.test(said)
    ? 'OutOfMemory'
    : /no space left|disk/i.test(said)
      ? 'DiskFull'
      : /utf-?8|unicode/i.test(said)
        ? 'UnrepresentableValue'
        : 'CorruptTable';
  return new ParityError(code, `Reading ${name} with nested columns: ${said}`, { cause: error });
}

async function rewriteFile(
  connection: DuckDBConnection,
  input: string,
  output: string,
  fields: readonly Field[],
  { name, positions }: { readonly name: string; readonly positions: Positions | undefined },
): Promise<void> {
  const source = `read_parquet(${duckString(input)}, file_row_number = true, hive_partitioning = false)`;
  const types = await columnTypes(connection, source);
  const columns = fields.flatMap((field) => {
    const type = types.get(field.physicalName);
    if (type === undefined) return [];
    const column = duckIdentifier(field.physicalName);
    return isNested(field.type)
      ? [`${duckCanonical(column, field.type, type, { column: field.name, name })} AS ${column}`]
      : [column];
  });
  const range =
    positions === undefined ? '' : ` WHERE file_row_number BETWEEN ${positions.first} AND ${positions.last}`;
  const select = `SELECT ${[...columns, `file_row_number AS ${ROW_COLUMN}`].join(', ')} FROM ${source}${range}`;
  // Without dictionaries: DuckDB's take -0.0 and 0.0 for one value when they are written.
  await connection.run(
    `COPY (${select}) TO ${duckString(output)} (FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 0)`,
  );
}

/** Types of the columns that DuckDB finds in a file, by name. */
export async function columnTypes(connection: DuckDBConnection, source: string): Promise<Map<string, DuckDBType>> {
  const result = await connection.run(`SELECT * FROM ${source} LIMIT 0`);
  return new Map(
    Array.from({ length: result.columnCount }, (_, index) => [result.columnName(index), result.columnType(index)]),
  );
}

interface Where {
  readonly column: string;
  readonly name: string;
}

/** DuckDB's expression of a value's canonical JSON text; NULL for NULL. Rules: nested.ts. */
function duckCanonical(value: string, type: DataType, found: DuckDBType, where: Where, depth = 0): string {
  const orNull = (inner: string, innerType: DataType, innerFound: DuckDBType): string =>
    `coalesce(${duckCanonical(inner, innerType, innerFound, where, depth + 1)}, 'null')`;
  switch (type.kind) {
    case 'struct': {
      if (!(found instanceof DuckDBStructType)) throw misfit(type, found, where);
      const parts = type.fields.map((field, index) => {
        const at = found.entryNames.indexOf(field.physicalName);
        const entry = found.entryTypes[at];
        const inner = `struct_extract(${value}, ${duckString(field.physicalName)})`;
        const text = entry === undefined ? `'null'` : orNull(inner, field.type, entry);
        return `${duckString(`${index === 0 ? '' : ','}${JSON.stringify(field.name)}:`)} || ${text}`;
      });
      return whole(value, ["'{'", ...parts, "'}'"].join(' || '));
    }
    case 'array': {
      if (!(found instanceof DuckDBListType)) throw misfit(type, found, where);
      const element = `e${depth}`;
      const list = `list_transform(${value}, lambda ${element}: ${orNull(element, type.element, found.valueType)})`;
      return whole(value, `'[' || array_to_string(${list}, ',') || ']'`);
    }
    case 'map': {
      if (!(found instanceof DuckDBMapType)) throw misfit(type, found, where);
      const entry = `e${depth}`;
      const key = duckCanonical(`${entry}.key`, type.key, found.keyType, where, depth + 1);
      const item = orNull(`${entry}.value`, type.value, found.valueType);
      const isObject = type.key.kind === 'string';
      const text = isObject ? `${key} || ':' || ${item}` : `'[' || ${key} || ',' || ${item} || ']'`;
      const sortKey = isObject ? `${entry}.key::VARCHAR` : key;
      const pairs = `list_transform(map_entries(${value}), lambda ${entry}: {'k': ${sortKey}, 't': ${text}})`;
      const list = `list_transform(list_sort(${pairs}), lambda s${depth}: s${depth}.t)`;
      return whole(value, `'${isObject ? '{' : '['}' || array_to_string(${list}, ',') || '${isObject ? '}' : ']'}'`);
    }
    default:
      if (!isExact(type, found)) throw misfit(type, found, where);
      return scalarText(value, type);
  }
}

/** NULL for a NULL container: without it, the text of its parts would stand for it. */
function whole(value: string, text: string): string {
  return `CASE WHEN ${value} IS NOT NULL THEN ${text} END`;
}

/** Whether what DuckDB finds in the file holds the schema's type, and nothing wider. */
function isExact(type: DataType, found: DuckDBType): boolean {
  const name = found.toString();
  switch (type.kind) {
    case 'byte':
      return name === 'TINYINT';
    case 'short':
      return name === 'TINYINT' || name === 'SMALLINT';
    case 'integer':
      return name === 'TINYINT' || name === 'SMALLINT' || name === 'INTEGER';
    case 'long':
      return name === 'TINYINT' || name === 'SMALLINT' || name === 'INTEGER' || name === 'BIGINT';
    case 'float':
      return name === 'FLOAT';
    case 'double':
      return name === 'FLOAT' || name === 'DOUBLE';
    case 'boolean':
      return name === 'BOOLEAN';
    case 'decimal':
      return found instanceof DuckDBDecimalType && found.scale === type.scale && found.width <= type.precision;
    case 'string':
      return name === 'VARCHAR' || name === 'JSON' || name === 'BLOB';
    case 'binary':
      return name === 'BLOB' || name === 'VARCHAR';
    case 'date':
      return name === 'DATE';
    case 'timestamp':
    case 'timestamp_ntz':
      return name === 'TIMESTAMP WITH TIME ZONE' || name === 'TIMESTAMP';
    case 'struct':
    case 'array':
    case 'map':
      return false;
  }
}

function scalarText(value: string, type: Exclude<DataType, { kind: 'struct' | 'array' | 'map' }>): string {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'boolean':
      return `${value}::VARCHAR`;
    case 'float':
      return `parity_float(parity_single(${value}))`;
    case 'double':
      return `parity_float(${value}::DOUBLE::VARCHAR)`;
    case 'decimal':
    case 'date':
      return `'"' || ${value}::VARCHAR || '"'`;
    case 'string':
      return `parity_string(${value})`;
    case 'binary':
      return `'"' || lower(hex(${value}::BLOB)) || '"'`;
    case 'timestamp':
      return `parity_time(${value}, 'Z')`;
    case 'timestamp_ntz':
      return `parity_time(${value}, '')`;
  }
}

/**
 * The scalars' spelling (nested.ts). DuckDB writes doubles as `1e+21`, `1e-05`, `1.0`; a timestamp's microseconds are taken first, so that no zone
 * of a session gets in between.
 */
const MACROS = [
  // DuckDB writes more digits of a float than it needs: the fewest that read as the same float are looked for.
  `CREATE MACRO parity_single(f) AS CASE WHEN NOT isfinite(f) OR f = 0 THEN f::VARCHAR ELSE (CASE
    ${Array.from({ length: 9 }, (_, digits) => `WHEN printf('%.${digits}e', f::DOUBLE)::FLOAT = f THEN printf('%.${digits}e', f::DOUBLE)`).join('\n    ')}
    END)::DOUBLE::VARCHAR END`,
  `CREATE MACRO parity_string(s) AS
    replace(replace(to_json(s::VARCHAR)::VARCHAR, chr(8232), '\\u2028'), chr(8233), '\\u2029')`,
  `CREATE MACRO parity_time(t, zone) AS '"' || strftime(make_timestamp(epoch_us(t)), '%Y-%m-%dT%H:%M:%S.%f') || zone || '"'`,
  `CREATE MACRO parity_digits(s) AS replace(regexp_extract(s, '^-?([0-9.]+)', 1), '.', '')`,
  `CREATE MACRO parity_float(s) AS CASE
    WHEN s = 'nan' THEN '"NaN"'
    WHEN s = 'inf' THEN '"Infinity"'
    WHEN s = '-inf' THEN '"-Infinity"'
    WHEN s = '-0.0' THEN '"-0.0"'
    WHEN s LIKE '%e-05' THEN CASE WHEN s LIKE '-%' THEN '-' ELSE '' END || '0.0000' || parity_digits(s)
    WHEN s LIKE '%e-06' THEN CASE WHEN s LIKE '-%' THEN '-' ELSE '' END || '0.00000' || parity_digits(s)
    WHEN s LIKE '%e%' THEN regexp_replace(regexp_replace(s, 'e[+]0*', 'e'), 'e-0*', 'e-')
    ELSE regexp_replace(s, '[.]0$', '') END`,
];

function misfit(type: DataType, found: DuckDBType, { column, name }: Where): ParityError {
  return new ParityError(
    'UnrepresentableValue',
    `Reading ${name}, the column ${column} has a ${formatType(type)} in the schema but ${found.toString()} in a data file, which cannot be read exactly.`,
    { subject: column, advice: `Leave the column out with exclude: [${column}], or rewrite the table.` },
  );
}
