import { ownName } from '../compare/row-digest.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType, isNested } from '../lake/relation-types.ts';
import type { DataType, Field } from '../lake/types.ts';
import { castNested } from './nested-read.ts';
import { type Limits, planTable } from './plan.ts';
import { dateText } from './postgres-types.ts';
import { guarded, type RefusalReason, rangeRefusal } from './refusals.ts';
import { sfIdentifier } from './snowflake-client.ts';
import type { SourceDriver, SourceTable, SourceTableColumn } from './source.ts';

/** https://docs.snowflake.com/en/sql-reference/identifiers-syntax; no number of columns is documented. */
const limits: Limits = {
  engine: 'Snowflake',
  columns: Number.POSITIVE_INFINITY,
  identifier: { max: 255, unit: 'characters' },
  reserved: [],
};

/** The table in docs/reference/types.md. */
export const planSnowflake: SourceDriver['plan'] = (table, columns, options) =>
  planTable(table, columns, options, limits, ({ type }) => snowflakeType(type));

function snowflakeType(type: DataType): string | undefined {
  switch (type.kind) {
    case 'byte':
      return 'number(3,0)';
    case 'short':
      return 'number(5,0)';
    case 'integer':
      return 'number(10,0)';
    case 'long':
      return 'number(19,0)';
    // There is one floating-point type, of 64 bits; a float is held by it exactly.
    case 'float':
    case 'double':
      return 'float';
    case 'boolean':
      return 'boolean';
    case 'string':
      return 'varchar';
    case 'binary':
      return 'binary';
    case 'date':
      return 'date';
    case 'timestamp':
      return 'timestamp_ltz(6)';
    case 'timestamp_ntz':
      return 'timestamp_ntz(6)';
    // The point moves at most 37 digits.
    case 'decimal':
      return type.scale > 37 ? undefined : `number(${type.precision},${type.scale})`;
    case 'struct':
      return 'object';
    case 'array':
      return 'array';
    // An object's keys are strings; other maps are arrays of pairs in canonical JSON.
    case 'map':
      return type.key.kind === 'string' ? 'object' : 'array';
  }
}

/** Rows travel in Parquet files whose columns are named by position and hold text, or doubles as they are: no type of Parquet is left to be understood. */
export function travelling(table: SourceTable): readonly Field[] {
  return table.columns.map(({ field }, index) => ({
    name: travellingName(index),
    physicalName: travellingName(index),
    nullable: true,
    type: { kind: isFloat(field.type) ? 'double' : 'string' },
  }));
}

/** A query of the columns of `travelling`. It fails at the first value that Snowflake cannot hold (see refusals.ts). */
export function travelQuery(table: SourceTable, rows: Relation): string {
  const values = table.columns.map(
    (column, index) =>
      `${guarded(travelValue(column.field), index, refusalsOf(column))} AS ${quoteIdentifier(travellingName(index))}`,
  );
  return `SELECT ${values.join(', ')} FROM (${rows.sql})`;
}

/** Columns of a table that takes such rows in Snowflake. */
export function arrivalColumns(table: SourceTable): string {
  return table.columns
    .map(({ field }, index) => `${arrived(index)} ${isFloat(field.type) ? 'DOUBLE' : 'VARCHAR'}`)
    .join(', ');
}

/** What a row that has arrived holds for a column, in a type that the column's own takes exactly. */
export function arrivedValue({ field, sqlType }: SourceTableColumn, index: number): string {
  const text = arrived(index);
  switch (field.type.kind) {
    case 'binary':
      return `TO_BINARY(${text}, 'HEX')`;
    case 'date':
      return `TO_DATE(${text}, 'YYYY-MM-DD')`;
    // The session is in UTC, so a wall clock of UTC becomes the instant where the column holds instants.
    case 'timestamp':
    case 'timestamp_ntz':
      return `TO_TIMESTAMP_NTZ(${text}, 'YYYY-MM-DD HH24:MI:SS.FF6')`;
    default:
      // A cast would cut text that is too long for its column without a word.
      if (isText(sqlType)) return text;
      return isSemiStructured(sqlType) ? semiStructured(text, sqlType) : `CAST(${text} AS ${sqlType})`;
  }
}

/** How a column comes back: as text of its exact value, floats as doubles. */
export function unloadValue({ field, sqlType }: SourceTableColumn): string {
  const column = sfIdentifier(field.name);
  switch (field.type.kind) {
    case 'float':
    case 'double':
      return `CAST(${column} AS DOUBLE)`;
    case 'binary':
      return `HEX_ENCODE(${column})`;
    case 'date':
      return `TO_VARCHAR(DATEDIFF('day', CAST('1970-01-01' AS DATE), ${column}))`;
    case 'timestamp':
    case 'timestamp_ntz':
      return `TO_VARCHAR(DATE_PART('epoch_microsecond', ${column}))`;
    default:
      return isSemiStructured(sqlType) ? `TO_JSON(${column})` : `TO_VARCHAR(${column})`;
  }
}

/** The canonical value of what `unloadValue` gave, as SQL of the engine over columns of the project's own names. */
export function readValue(column: SourceTableColumn, index: number): string {
  const { field } = column;
  const text = ownName(index);
  switch (field.type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long': {
      const [number, end] = [`CAST(${text} AS Nullable(Int128))`, 1n << (bits[field.type.kind] - 1n)];
      return held(column, `${number} < -${end} OR ${number} >= ${end}`, `CAST(${number} AS ${engineType(field.type)})`);
    }
    case 'float':
      return held(column, `toFloat32(${text}) != ${text} AND NOT isNaN(${text})`, `toFloat32(${text})`);
    case 'binary':
      return `unhex(${text})`;
    case 'boolean':
      return `CAST(${text} = 'true' AS ${engineType(field.type)})`;
    case 'string':
      return text;
    default:
      return isNested(field.type) ? castNested(column, text) : `CAST(${text} AS ${engineType(field.type)})`;
  }
}

const bits = { byte: 8n, short: 16n, integer: 32n, long: 64n } as const;

/** The value, unless a condition says that the column's type does not hold it: its digits or its end would be cut off, and another value be seen. */
function held({ field }: SourceTableColumn, unless: string, value: string): string {
  const message = `column ${field.name} in Snowflake holds a number that no ${field.type.kind} is`;
  return `if(throwIf(ifNull(${unless}, false), '${message.replace(/[^ -~]|['\\]/g, '?')}') = 1, NULL, ${value})`;
}

export function travellingName(index: number): string {
  return `C${index}`;
}

function arrived(index: number): string {
  return sfIdentifier(travellingName(index));
}

function travelValue({ name, type }: Field): string {
  const column = quoteIdentifier(name);
  switch (type.kind) {
    case 'float':
    case 'double':
      return `toFloat64(${column})`;
    case 'binary':
      return `hex(${column})`;
    case 'date':
      return dateText(column);
    case 'timestamp':
    case 'timestamp_ntz':
      return `toString(fromUnixTimestamp64Micro(${column}, 'UTC'))`;
    case 'string':
    case 'struct':
    case 'array':
    case 'map':
      return column;
    default:
      return `toString(${column})`;
  }
}

/** https://docs.snowflake.com/en/sql-reference/data-types-text: the length that a column has unless it is given another one. */
const maxTextBytes = 16 * 1024 ** 2;
const maxBinaryBytes = 8 * 1024 ** 2;

function refusalsOf({ field }: SourceTableColumn): readonly { when: string; reason: RefusalReason }[] {
  const column = quoteIdentifier(field.name);
  if (field.type.kind === 'binary') return [{ when: `length(${column}) > ${maxBinaryBytes}`, reason: 'longBinary' }];
  if (field.type.kind !== 'string' && !isNested(field.type)) return rangeRefusal(field);
  return [
    { when: `NOT isValidUTF8(${column})`, reason: 'notUtf8' },
    { when: `length(${column}) > ${maxTextBytes}`, reason: 'longText' },
  ];
}

function isFloat(type: DataType): boolean {
  return type.kind === 'float' || type.kind === 'double';
}

function isText(sqlType: string): boolean {
  return /^(n?varchar|n?char|character|string|text)\b/i.test(sqlType);
}

function isSemiStructured(sqlType: string): boolean {
  return /^(variant|object|array)$/i.test(sqlType);
}

function semiStructured(text: string, sqlType: string): string {
  return /^variant$/i.test(sqlType) ? `PARSE_JSON(${text})` : `CAST(PARSE_JSON(${text}) AS ${sqlType})`;
}
