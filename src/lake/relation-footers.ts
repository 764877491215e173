import type { Engine } from '../engine/engine.ts';
import { ParityError } from '../support/error.ts';
import type { EngineSource } from './relation-source.ts';
import { type Encoding, formatType, isNested } from './relation-types.ts';
import type { DataType, Field } from './types.ts';

/** Files that hold the same columns in the same way, as their Parquet footers say. */
export interface FileGroup {
  /** By physical name of a column. */
  readonly encodings: ReadonlyMap<string, Encoding>;
  /** Keys, in the order asked for. */
  readonly keys: readonly string[];
  /** Names of all columns at the files' top level. */
  readonly columns: readonly string[];
  /** Dotted paths of all leaves. */
  readonly paths: readonly string[];
}

export interface Footers {
  readonly groups: readonly FileGroup[];
  /** Rows by key, deleted ones included. */
  readonly rows: ReadonlyMap<string, number>;
}

/**
 * Reads the footers of all files and says how each column is to be read. The engine reads a 64-bit column as 32 bits, or one scale as
 * another, without an error; so what a file really holds is looked at before it is read.
 * `separate` keeps files apart whose Parquet schemas differ in any way.
 * Throws `CorruptTable` for an unreadable or missing file and `UnrepresentableValue` naming the column whose Parquet type does not fit.
 */
export async function readFooters(
  engine: Engine,
  source: EngineSource,
  keys: readonly string[],
  fields: readonly Field[],
  name: string,
  options: { readonly separate?: boolean } = {},
): Promise<Footers> {
  if (keys.length === 0) return { groups: [], rows: new Map() };
  await source.place(keys);
  const found = await queryFooters(engine, source, keys, name);
  const keyOf = new Map(keys.map((key) => [source.pathOf(key), key]));
  const rows = new Map<string, number>();
  const groups = new Map<string, FileGroup & { keys: string[] }>();
  for (const footer of found) {
    const leaves = footer.leaves.map(([path, physical, logical]) => ({ path, physical, logical }));
    const encodings = new Map(fields.map((field) => [field.physicalName, encodingOf(field, leaves, name)]));
    const signature = JSON.stringify(options.separate === true ? leaves : [...encodings]);
    const group = groups.get(signature) ?? {
      encodings,
      keys: [],
      columns: topLevel(leaves),
      paths: leaves.map(({ path }) => path),
    };
    groups.set(signature, group);
    for (const [path, count] of footer.files) {
      const key = keyOf.get(path);
      if (key === undefined)
        throw new ParityError('Internal', `Reading ${name}, the engine named an unknown file ${path}.`);
      rows.set(key, Number(count));
      group.keys.push(key);
    }
  }
  const missing = keys.find((key) => !rows.has(key));
  if (missing !== undefined) {
    throw new ParityError('CorruptTable', `Reading ${name}, the data file ${missing} was not found.`, {
      subject: missing,
      advice: 'The log names a file that is gone, as after a VACUUM: use a version that is still there.',
    });
  }
  return { groups: [...groups.values()], rows };
}

interface Leaf {
  readonly path: string;
  readonly physical: string;
  readonly logical: string;
}

interface FooterRow {
  readonly leaves: readonly (readonly [string, string, string])[];
  readonly files: readonly (readonly [string, string])[];
}

async function queryFooters(
  engine: Engine,
  source: EngineSource,
  keys: readonly string[],
  name: string,
): Promise<FooterRow[]> {
  const sql = `SELECT arrayMap((p, f, l) -> [p, f, l], columns.path, columns.physical_type, columns.logical_type) AS leaves,
    groupArray([toString(_path), toString(num_rows)]) AS files
    FROM ${source.table(keys, 'ParquetMetadata')} GROUP BY leaves`;
  try {
    return await engine.rows<FooterRow>(sql);
  } catch (error) {
    if (!(error instanceof ParityError) || (error.code !== 'CorruptTable' && error.code !== 'NotFound')) throw error;
    throw new ParityError('CorruptTable', `Reading the Parquet footers of ${name}: ${error.message}`, {
      cause: error,
      advice: 'A file is truncated, not Parquet, or gone. Restore it, or test a version that does not use it.',
    });
  }
}

function topLevel(leaves: readonly Leaf[]): string[] {
  return [...new Set(leaves.map((leaf) => leaf.path.split('.')[0] ?? leaf.path))];
}

function encodingOf(field: Field, leaves: readonly Leaf[], name: string): Encoding {
  if (isNested(field.type)) {
    const inner = leaves.filter((leaf) => leaf.path.startsWith(`${field.physicalName}.`));
    const lossy = inner.find(isCutWhereNested);
    if (lossy !== undefined) throw misfit(field, `${lossy.physical} (${lossy.logical}) at ${lossy.path}`, name);
    return inner.length > 0 ? 'Plain' : 'Absent';
  }
  const leaf = leaves.find((candidate) => candidate.path === field.physicalName);
  if (leaf === undefined) {
    if (leaves.some((candidate) => candidate.path.startsWith(`${field.physicalName}.`)))
      throw misfit(field, 'a nested column', name);
    return 'Absent';
  }
  const encoding = encodingFor(field.type, leaf);
  if (encoding === undefined) throw misfit(field, `${leaf.physical} (${leaf.logical})`, name);
  return encoding;
}

/** Leaves that the reader of nested columns takes for less than they are, without an error: nanoseconds with a zone, decimals beyond 38 digits. */
function isCutWhereNested({ logical }: Leaf): boolean {
  return /timeUnit=nanoseconds/.test(logical) || Number(/^Decimal\(precision=(\d+)/.exec(logical)?.[1] ?? 0) > 38;
}

/** How a Parquet leaf gives the type exactly; undefined where it cannot. Narrower integers and floats are exact in wider ones. */
function encodingFor(type: DataType, { physical, logical }: Leaf): Encoding | undefined {
  const when = (fits: boolean): Encoding | undefined => (fits ? 'Plain' : undefined);
  switch (type.kind) {
    case 'byte':
      return when(physical === 'INT32' && integerBits(physical, logical) <= 8);
    case 'short':
      return when(physical === 'INT32' && integerBits(physical, logical) <= 16);
    case 'integer':
      return when(physical === 'INT32' && integerBits(physical, logical) <= 32);
    case 'long':
      return when(integerBits(physical, logical) <= 64);
    case 'float':
      return when(physical === 'FLOAT');
    case 'double':
      return when(physical === 'DOUBLE' || physical === 'FLOAT');
    case 'boolean':
      return when(physical === 'BOOLEAN');
    case 'date':
      return when(physical === 'INT32' && logical === 'Date');
    case 'string':
    case 'binary':
      return when(physical === 'BYTE_ARRAY' && /^(None|String|JSON|Enum|BSON)$/i.test(logical));
    case 'decimal': {
      const [, precision, scale] = /^Decimal\(precision=(\d+), scale=(\d+)\)$/.exec(logical) ?? [];
      return when(Number(scale) === type.scale && Number(precision) <= type.precision);
    }
    case 'timestamp':
    case 'timestamp_ntz':
      return timestampEncoding(physical, logical);
    case 'struct':
    case 'array':
    case 'map':
      return undefined;
  }
}

function integerBits(physical: string, logical: string): number {
  const [, annotated, sign] = /^Int\(bitWidth=(\d+), isSigned=(true|false)\)$/.exec(logical) ?? [];
  if (annotated !== undefined) return sign === 'true' ? Number(annotated) : Number(annotated) + 1;
  if (logical !== 'None') return Number.POSITIVE_INFINITY;
  return physical === 'INT32' ? 32 : physical === 'INT64' ? 64 : Number.POSITIVE_INFINITY;
}

function timestampEncoding(physical: string, logical: string): Encoding | undefined {
  if (physical === 'INT96') return 'Int96';
  if (physical !== 'INT64') return undefined;
  if (/^Timestamp\(.*timeUnit=(micro|milli)seconds/.test(logical)) return 'Micros';
  return /^Timestamp\(.*timeUnit=nanoseconds/.test(logical) ? 'Nanos' : undefined;
}

function misfit(field: Field, found: string, name: string): ParityError {
  return new ParityError(
    'UnrepresentableValue',
    `Reading ${name}, the column ${field.name} is ${formatType(field.type)} in the schema but ${found} in a data file, which cannot be read exactly.`,
    { subject: field.name, advice: `Leave the column out with exclude: [${field.name}], or rewrite the table.` },
  );
}
