import { join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { filesAt } from './files-at.ts';
import { type FolderColumn, folderColumns } from './format-folders.ts';
import type { Relation } from './relation.ts';
import { type EngineSource, fileTable, openEngineSource } from './relation-source.ts';
import { engineType } from './relation-types.ts';
import type { ObjectReader } from './store.ts';
import type { Field } from './types.ts';

/**
 * CSV (with a header) or NDJSON files as one table. They are read twice: once to see which type every value of a column has, once to write
 * them with those types as Parquet into the engine's scratch folder; everything after that reads Parquet.
 *
 * A column is `long`, `double`, `boolean`, `date`, `timestamp` (every value with a zone) or `timestamp_ntz` (none with one) where all its
 * values are spelled so and lose nothing, else `string`: numbers with leading zeros, or with digits that a double does not keep, stay text
 * (JSON numbers with such digits are refused, because the engine hands them out as doubles). NULL is an empty CSV
 * field without quotes, or `\N`; JSON null or a missing key. JSON objects and arrays are `string`s of JSON text. Folders named `x=5` are a
 * column, unless the files have it.
 */
export async function textRelation(
  engine: Engine,
  reader: ObjectReader,
  path: string,
  format: 'csv' | 'ndjson',
): Promise<Relation> {
  const name = reader.url(path);
  const suffixes =
    format === 'csv' ? ['.csv', '.csv.gz', '.csv.zst'] : ['.ndjson', '.jsonl', '.json', '.ndjson.gz', '.jsonl.gz'];
  const keys = await filesAt(reader, path, suffixes);
  const source = await openEngineSource(engine, reader);
  await source.place(keys);
  try {
    const isCsv = format === 'csv';
    const table = isCsv ? await csvTable(engine, source, keys, name) : await jsonTable(engine, source, keys, name);
    return await typed(engine, withFolders(table, source, keys, folderColumns(keys, path, name)), name);
  } catch (error) {
    throw readingError(error, format, name);
  }
}

/** What folders say, as text of each row's file; typed as all text is. */
function withFolders(
  table: TextTable,
  source: EngineSource,
  keys: readonly string[],
  folders: readonly FolderColumn[],
): TextTable {
  const paths = keys.map((key) => quoteString(source.pathOf(key))).join(',');
  const added = folders
    .filter(({ name }) => !table.columns.some((column) => column.name === name))
    .map(({ name, inFolderOf }) => {
      const values = keys.map((key) => quoteString(inFolderOf(key) ?? '')).join(',');
      return { name, text: `nullIf(transform(toString(t._path), [${paths}], [${values}], ''), '')` };
    });
  return { ...table, columns: [...table.columns, ...added] };
}

/** Writes the table with its columns' types as Parquet, and returns the relation over that. */
async function typed(engine: Engine, table: TextTable, name: string): Promise<Relation> {
  const kinds = await inferredKinds(engine, table);
  const fields = table.columns.map((column, index): Field => {
    const kind = kinds[index] ?? 'string';
    return { name: column.name, physicalName: column.name, nullable: true, type: { kind } };
  });
  const file = join(engine.scratch, `text-${nextFile++}.parquet`);
  const values = table.columns.map(
    (column, index) => `${typedValue(column.text, kinds[index] ?? 'string')} AS ${quoteIdentifier(column.name)}`,
  );
  await engine.execute(
    `INSERT INTO FUNCTION ${fileTable([file], 'Parquet')} SELECT ${values.join(', ')} FROM ${table.from} SETTINGS ${SETTINGS}`,
  );
  const columns = fields.map((field) => `${quoteIdentifier(field.name)} ${engineType(field.type)}`);
  const stored = fileTable([file], 'Parquet', columns.join(', '));
  const [counted] = await engine.rows<{ n: string }>(`SELECT count() AS n FROM ${stored}`);
  const names = fields.map((field) => `t.${quoteIdentifier(field.name)} AS ${quoteIdentifier(field.name)}`);
  const sql = `SELECT ${names.join(', ')} FROM ${stored} AS t`;
  return { columns: fields, sql, rows: Number(counted?.n), name, sizeBytes: undefined };
}

/** What the engine says of text that it cannot read quotes the text: only the row's number goes further. */
function readingError(error: unknown, format: string, name: string): ParityError {
  const known = toParityError(error);
  if (known.code !== 'Internal' && !/^(While|The file) /.test(known.message)) return known;
  if (
    !/CANNOT_|INCORRECT_DATA|UNKNOWN_FIELD|Cannot parse|cannot be extracted/.test(`${known.subject} ${known.message}`)
  )
    return known;
  const row = /\(at row (\d+)\)/.exec(known.message)?.[1];
  return new ParityError(
    'CorruptTable',
    `Reading ${name} as ${format}${row === undefined ? '' : `, row ${row}`}: a row has other fields than the header, or quotes are not closed.`,
    { subject: name, cause: error },
  );
}

let nextFile = 1;

/** Nothing trimmed, nothing skipped, doubles parsed to the nearest. */
const SETTINGS =
  'input_format_csv_trim_whitespaces=0, input_format_skip_unknown_fields=0, input_format_csv_empty_as_default=1, precise_float_parsing=1, input_format_csv_use_best_effort_in_schema_inference=0';

/** Text files as the engine reads them before types are known. */
interface TextTable {
  readonly from: string;
  readonly columns: readonly {
    readonly name: string;
    /** Expression of the value's text; NULL for NULL. */
    readonly text: string;
    /** Condition that the value is of one of JSON's own types, and no string. */
    readonly isBare?: string;
  }[];
}

async function csvTable(
  engine: Engine,
  source: EngineSource,
  keys: readonly string[],
  name: string,
): Promise<TextTable> {
  const headers = new Map<string, string[]>();
  for (const key of keys) {
    headers.set(key, await headerOf(engine, source, key));
  }
  const header = headers.get(keys[0] ?? '') ?? [];
  const repeated = header.find((column, index) => header.indexOf(column) !== index);
  const odd = [...headers].find(([, other]) => [...other].sort().join('\n') !== [...header].sort().join('\n'));
  if (repeated !== undefined || odd !== undefined) {
    const found =
      odd === undefined ? `the column ${repeated} appears twice` : `${odd[0]} has another header than ${keys[0]}`;
    throw new ParityError('CorruptTable', `Reading ${name}, ${found}.`, { subject: repeated ?? odd?.[0] ?? name });
  }
  const structure = header.map((column) => `${quoteIdentifier(column)} Nullable(String)`).join(', ');
  return {
    from: `${source.table(keys, 'CSVWithNames', structure)} AS t`,
    columns: header.map((column) => ({ name: column, text: `t.${quoteIdentifier(column)}` })),
  };
}

/** The names in a file's first row. The engine finds none where that is the only row: then it is read as data. */
async function headerOf(engine: Engine, source: EngineSource, key: string): Promise<string[]> {
  const describe = async (format: string, settings: string): Promise<string[]> => {
    const rows = await engine.rows<{ name: string }>(`DESCRIBE ${source.table([key], format)} SETTINGS ${settings}`);
    return rows.map((row) => row.name);
  };
  try {
    return await describe('CSVWithNames', SETTINGS);
  } catch (error) {
    const settings = `${SETTINGS}, input_format_csv_detect_header=0`;
    const columns = await describe('CSV', settings).catch(() => []);
    if (columns.length === 0) throw error;
    const structure = columns.map((column) => `${quoteIdentifier(column)} String`).join(', ');
    const rows = await engine.rows<Record<string, string>>(
      `SELECT * FROM ${source.table([key], 'CSV', structure)} LIMIT 2 SETTINGS ${settings}`,
    );
    const [only] = rows;
    if (only === undefined || rows.length > 1) throw error;
    return columns.map((column) => only[column] ?? '');
  }
}

async function jsonTable(
  engine: Engine,
  source: EngineSource,
  keys: readonly string[],
  name: string,
): Promise<TextTable> {
  const lines = source.table(keys, 'LineAsString', 'line String');
  const [found] = await engine.rows<{ keys: string[]; unreadable: string; repeating: string; cut: string }>(`
    SELECT arraySort(groupUniqArrayArray(JSONExtractKeys(line))) AS keys,
      countIf(JSONType(line) != 'Object') AS unreadable,
      countIf(length(JSONExtractKeys(line)) != length(arrayDistinct(JSONExtractKeys(line)))) AS repeating,
      countIf(${holdsCutNumber('line')}) AS cut
    FROM ${lines} WHERE trimBoth(line) != ''`);
  if (found === undefined || Number(found.unreadable) + Number(found.repeating) > 0) {
    const problem =
      Number(found?.unreadable) > 0
        ? `${found?.unreadable} lines are no JSON objects, or have a number beyond 64 bits`
        : `${found?.repeating} lines have a key twice`;
    throw new ParityError('CorruptTable', `Reading ${name}, ${problem}.`, { subject: name });
  }
  if (Number(found.cut) > 0)
    throw new ParityError(
      'UnrepresentableValue',
      `Reading ${name}, ${found.cut} lines have a number with more digits than a double keeps.`,
      { subject: name, advice: 'Write such numbers as JSON strings, or the table as Parquet with decimals.' },
    );
  if (found.keys.length === 0 || found.keys.includes(''))
    throw new ParityError(
      'CorruptTable',
      `Reading ${name}, ${found.keys.length === 0 ? 'no line has a key' : 'a key is empty'}.`,
      {
        subject: name,
      },
    );
  const columns = found.keys.map((key) => {
    const [type, raw] = [`JSONType(t.line, ${quoteString(key)})`, `JSONExtractRaw(t.line, ${quoteString(key)})`];
    return {
      name: key,
      text: `multiIf(${type} = 'Null', NULL, ${type} = 'String', JSONExtractString(t.line, ${quoteString(key)}), ${raw})`,
      isBare: `${type} NOT IN ('Null', 'String')`,
    };
  });
  return { from: `(SELECT line, _path FROM ${lines} WHERE trimBoth(line) != '') AS t`, columns };
}

/** The type of each column: the first that all its values have. A column without any value is a string. */
async function inferredKinds(engine: Engine, table: TextTable): Promise<(Inferred | 'string')[]> {
  const counts = table.columns.flatMap(({ text, isBare }, index) => [
    `countIf(${text} IS NOT NULL) AS c${index}`,
    ...candidates.map(({ kind, isNumber }) => {
      const spelled = `ifNull(${isSpelled(text, kind)}, false)`;
      // JSON says itself what is a number; CSV does not.
      return `countIf(${isBare === undefined ? spelled : `${isNumber ? '' : 'NOT '}(${isBare}) AND ${spelled}`}) AS c${index}_${kind}`;
    }),
  ]);
  if (counts.length === 0) return [];
  const [row = {}] = await engine.rows<Record<string, string>>(
    `SELECT ${counts.join(', ')} FROM ${table.from} SETTINGS ${SETTINGS}`,
  );
  return table.columns.map((_, index) => {
    const values = Number(row[`c${index}`]);
    const fits = candidates.find(({ kind }) => values > 0 && Number(row[`c${index}_${kind}`]) === values);
    return fits?.kind ?? 'string';
  });
}

type Inferred = 'long' | 'double' | 'boolean' | 'date' | 'timestamp' | 'timestamp_ntz';

const candidates: readonly { readonly kind: Inferred; readonly isNumber: boolean }[] = [
  { kind: 'long', isNumber: true },
  { kind: 'double', isNumber: true },
  { kind: 'boolean', isNumber: true },
  { kind: 'date', isNumber: false },
  { kind: 'timestamp', isNumber: false },
  { kind: 'timestamp_ntz', isNumber: false },
];

const TIME = '[ T]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?';

function isSpelled(text: string, kind: Inferred): string {
  switch (kind) {
    case 'long':
      return `match(${text}, '^(0|-?[1-9][0-9]{0,18})$') AND isNotNull(toInt64OrNull(${text}))`;
    case 'double': {
      const pattern = '^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]{1,3})?$';
      return `match(${text}, '${pattern}') AND isFinite(toFloat64OrNull(${text})) AND ${isKeptByDouble(text)}`;
    }
    case 'boolean':
      return `${text} IN ('true', 'false')`;
    case 'date':
      return `match(${text}, '^[0-9]{4}-[0-9]{2}-[0-9]{2}$') AND ${isRealDate(text)}`;
    case 'timestamp':
      return `match(${text}, '^[0-9]{4}-[0-9]{2}-[0-9]{2}${TIME}(Z|[+-][0-9]{2}:?[0-9]{2})$') AND ${isRealDate(text)}`;
    case 'timestamp_ntz':
      return `match(${text}, '^[0-9]{4}-[0-9]{2}-[0-9]{2}${TIME}$') AND ${isRealDate(text)}`;
  }
}

/**
 * Whether the number's digits are those of the double that it becomes: 17 digits fit one double, and 16 of another number fit the same
 * (9007199254740.993 and 9007199254740.992).
 */
function isKeptByDouble(text: string): string {
  const digits = (number: string): string =>
    `trimBoth(replaceRegexpAll(replaceRegexpOne(${number}, '[eE].*$', ''), '[-.]', ''), '0')`;
  return `${digits(`ifNull(${text}, '')`)} = ${digits(`toString(toFloat64OrZero(ifNull(${text}, '')))`)}`;
}

/** Whether a line of JSON has a number, outside of strings, that a double does not keep. Integers are read as such. */
function holdsCutNumber(line: string): string {
  const strings = quoteString('"(?:[^"\\\\]|\\\\.)*"');
  const number = '-?[0-9]+(?:[.][0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)';
  const numbers = `extractAll(replaceRegexpAll(${line}, ${strings}, '""'), '${number}')`;
  const isLong = `match(${line}, '[0-9][0-9.]{15}|[eE][+-]?[0-9]{3}')`;
  return `if(${isLong}, arrayExists(n -> NOT (${isKeptByDouble('n')}), ${numbers}), false)`;
}

/** The canonical value of a text that `isSpelled` so. */
function typedValue(text: string, kind: Inferred | 'string'): string {
  switch (kind) {
    case 'long':
      return `toInt64OrNull(${text})`;
    case 'double':
      return `toFloat64OrNull(${text})`;
    case 'boolean':
      return `CAST(${text} = 'true', 'Nullable(Bool)')`;
    case 'date':
      return `CAST(${days(text)}, 'Nullable(Int32)')`;
    case 'timestamp':
    case 'timestamp_ntz':
      return `CAST(${micros(text)}, 'Nullable(Int64)')`;
    case 'string':
      return `CAST(${text}, 'Nullable(String)')`;
  }
}

function part(text: string, from: number, length: number): string {
  return `toInt64OrZero(substring(ifNull(${text}, ''), ${from}, ${length}))`;
}

function isRealDate(text: string): string {
  const [year, month, day] = [part(text, 1, 4), part(text, 6, 2), part(text, 9, 2)];
  const isLeap = `(${year} % 4 = 0 AND (${year} % 100 != 0 OR ${year} % 400 = 0))`;
  const length = `multiIf(${month} = 2, 28 + ${isLeap}, ${month} IN (4, 6, 9, 11), 30, 31)`;
  return `${year} BETWEEN 1 AND 9999 AND ${month} BETWEEN 1 AND 12 AND ${day} BETWEEN 1 AND ${length}`;
}

/** Days since 1970 in the proleptic Gregorian calendar, by arithmetic: the engine's dates begin in 1900. NULL stays NULL. */
function days(text: string): string {
  const [month, day] = [part(text, 6, 2), part(text, 9, 2)];
  const year = `(${part(text, 1, 4)} - (${month} <= 2))`;
  const ofYear = `intDiv(153 * (${month} + if(${month} > 2, -3, 9)) + 2, 5) + ${day} - 1`;
  const count = `365 * ${year} + intDiv(${year}, 4) - intDiv(${year}, 100) + intDiv(${year}, 400) + ${ofYear} - 719468`;
  return `if(${text} IS NULL, NULL, ${count})`;
}

function micros(text: string): string {
  const seconds = `3600 * ${part(text, 12, 2)} + 60 * ${part(text, 15, 2)} + ${part(text, 18, 2)}`;
  const fraction = `toInt64OrZero(rightPad(extract(ifNull(${text}, ''), '[.]([0-9]+)'), 6, '0'))`;
  const zone = `extract(ifNull(${text}, ''), '([+-][0-9]{2}:?[0-9]{2})$')`;
  const hasZone = `(length(${zone}) >= 5 AND position(${text}, ':') > 0)`;
  const offset = `if(substring(${zone}, 1, 1) = '-', -60, 60) * (60 * toInt64OrZero(substring(${zone}, 2, 2)) + toInt64OrZero(right(${zone}, 2)))`;
  return `(${days(text)}) * 86400000000 + (${seconds} - if(${hasZone}, ${offset}, 0)) * 1000000 + ${fraction}`;
}
