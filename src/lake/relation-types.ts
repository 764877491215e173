import { quoteIdentifier } from '../engine/sql.ts';
import type { DataType } from './types.ts';

/** Whether the type is a struct, array or map: such columns are canonical JSON text in the engine (see nested.ts). */
export function isNested(type: DataType): boolean {
  return type.kind === 'struct' || type.kind === 'array' || type.kind === 'map';
}

/** The canonical engine type of a column: the table in relation.ts. */
export function engineType(type: DataType): string {
  switch (type.kind) {
    case 'byte':
      return 'Nullable(Int8)';
    case 'short':
      return 'Nullable(Int16)';
    case 'integer':
    case 'date':
      return 'Nullable(Int32)';
    case 'long':
    case 'timestamp':
    case 'timestamp_ntz':
      return 'Nullable(Int64)';
    case 'float':
      return 'Nullable(Float32)';
    case 'double':
      return 'Nullable(Float64)';
    case 'boolean':
      return 'Nullable(Bool)';
    case 'decimal':
      return `Nullable(Decimal(${type.precision},${type.scale}))`;
    case 'string':
    case 'binary':
    case 'struct':
    case 'array':
    case 'map':
      return 'Nullable(String)';
  }
}

/** The type as the Delta protocol writes it, for messages: `decimal(9,2)`, `array<string>`. */
export function formatType(type: DataType): string {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`;
    case 'struct':
      return `struct<${type.fields.map((field) => `${field.name}:${formatType(field.type)}`).join(',')}>`;
    case 'array':
      return `array<${formatType(type.element)}>`;
    case 'map':
      return `map<${formatType(type.key)},${formatType(type.value)}>`;
    default:
      return type.kind;
  }
}

/**
 * How a column lies in a group of files, and so how it is read:
 * - `Absent`: added to the table later; NULL.
 * - `Plain`: the reader makes the canonical type by itself, exactly.
 * - `Micros`: timestamps of milli- or microseconds.
 * - `Nanos`: timestamps of nanoseconds; refused on a value with a part below the microsecond.
 * - `Int96`: Spark's old timestamps: nanoseconds of the day and Julian day.
 */
export type Encoding = 'Absent' | 'Plain' | 'Micros' | 'Nanos' | 'Int96';

/** What to ask the Parquet reader for, so that nothing is lost on the way. Undefined for columns that are not there. */
export function readType(type: DataType, encoding: Encoding): string | undefined {
  switch (encoding) {
    case 'Absent':
      return undefined;
    case 'Plain':
      return engineType(type);
    case 'Micros':
      // As Int64 the reader would hand out seconds.
      return "Nullable(DateTime64(6, 'UTC'))";
    case 'Nanos':
      return "Nullable(DateTime64(9, 'UTC'))";
    case 'Int96':
      // The reader's own conversion ends in the year 2262.
      return 'Nullable(FixedString(12))';
  }
}

/** The canonical value of a column as SQL over the table alias `t`. `label` names the column in errors. */
export function readExpression(type: DataType, encoding: Encoding, column: string, label: string): string {
  const value = `t.${quoteIdentifier(column)}`;
  switch (encoding) {
    case 'Absent':
      return `CAST(NULL, '${engineType(type)}')`;
    case 'Plain':
      return value;
    case 'Micros':
      return `toUnixTimestamp64Micro(${value})`;
    case 'Nanos':
      return wholeMicros(`toUnixTimestamp64Nano(${value})`, label);
    case 'Int96':
      return int96Micros(value, label);
  }
}

/** Nanoseconds as microseconds; the query ends where that would lose something. */
function wholeMicros(nanos: string, label: string): string {
  const message = `column ${label} holds nanoseconds, which a Delta timestamp does not`;
  return `intDiv(${nanos} + throwIf(ifNull(${nanos} % 1000 != 0, false), '${message.replace(/[^ -~]|['\\]/g, '?')}'), 1000)`;
}

/** Microseconds since 1970: eight bytes of nanoseconds of the day, four of the Julian day, little-endian. 2,440,588 is 1970-01-01. */
function int96Micros(value: string, label: string): string {
  const nanosOfDay = `reinterpretAsInt64(substring(${value}, 1, 8))`;
  const julianDay = `reinterpretAsInt32(substring(${value}, 9, 4))`;
  return `(toInt64(${julianDay}) - 2440588) * 86400000000 + ${wholeMicros(nanosOfDay, label)}`;
}
