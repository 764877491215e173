import { quoteString } from '../engine/sql.ts';
import { ParityError } from '../support/error.ts';
import type { DeltaFile } from './delta/types.ts';
import { engineType, formatType } from './relation-types.ts';
import type { Field } from './types.ts';

/** The partition values of a group of files, ready for a SELECT over the files under the alias `t`. */
export interface PartitionColumns {
  /** Goes before the SELECT; empty where all files have the same values. */
  readonly with: string;
  /** Expression of each partition column by its physical name. */
  readonly expressions: ReadonlyMap<string, string>;
}

export interface PartitionOptions {
  /** Of the table, for messages. */
  readonly name: string;
  /** IANA zone of the writer, for timestamps without one. */
  readonly timeZone: string | undefined;
}

/**
 * Partition values lie in the log, not in the files. Files that share their values get constants; otherwise the path of a row's file
 * says which values are its own: a look-up per file, not per row, because the engine keeps `_path` as a dictionary. A path that the
 * look-up does not know ends the query.
 * https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization
 */
export function partitionColumns(
  fields: readonly Field[],
  files: readonly DeltaFile[],
  pathOf: (file: DeltaFile) => string,
  options: PartitionOptions,
): PartitionColumns {
  const tuples = new Map<string, { readonly ordinal: number; readonly values: readonly (string | null)[] }>();
  const ordinals = files.map((file) => {
    const values = fields.map((field) => file.partitionValues[field.physicalName] ?? null);
    const id = JSON.stringify(values);
    const tuple = tuples.get(id) ?? { ordinal: tuples.size + 1, values };
    tuples.set(id, tuple);
    return tuple.ordinal;
  });
  const isLookedUp = tuples.size > 1;
  const expressions = fields.map((field, index): [string, string] => {
    const literals = [...tuples.values()].map(({ values }) => partitionLiteral(field, values[index] ?? null, options));
    const type = engineType(field.type);
    const expression = isLookedUp
      ? `CAST([${literals.join(',')}], 'Array(${type})')[parity_partition]`
      : `CAST(${literals[0] ?? 'NULL'}, '${type}')`;
    return [field.physicalName, expression];
  });
  if (!isLookedUp) return { with: '', expressions: new Map(expressions) };
  const paths = files.map((file) => quoteString(pathOf(file)));
  const ordinal = `toUInt32(transform(t._path, [${paths.join(',')}], [${ordinals.join(',')}], 0))`;
  const guarded = `${ordinal} + throwIf(${ordinal} = 0, 'a data file without partition values')`;
  return { with: `WITH ${guarded} AS parity_partition `, expressions: new Map(expressions) };
}

/**
 * The value as an engine literal: text that the engine casts exactly, or a number of days or microseconds.
 * Throws `UnsupportedFeature` for a zone-less timestamp without `partitionTimeZone` and `CorruptTable` for text that is no such value.
 */
export function partitionLiteral(field: Field, text: string | null, options: PartitionOptions): string {
  if (text === null || text === '') return 'NULL';
  const value = literalOf(field, text, options);
  if (value !== undefined) return quoteString(value);
  throw new ParityError(
    'CorruptTable',
    `Reading ${options.name}, the partition column ${field.name} (${formatType(field.type)}) has the value ${JSON.stringify(text)}, which is none of that type.`,
    { subject: field.name },
  );
}

function literalOf(field: Field, text: string, options: PartitionOptions): string | undefined {
  const { type } = field;
  switch (type.kind) {
    case 'byte':
      return integerIn(text, 8n);
    case 'short':
      return integerIn(text, 16n);
    case 'integer':
      return integerIn(text, 32n);
    case 'long':
      return integerIn(text, 64n);
    case 'float':
    case 'double':
      return /^([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|NaN|-?Infinity)$/.test(text) ? text : undefined;
    case 'boolean':
      return text === 'true' || text === 'false' ? text : undefined;
    case 'decimal':
      return decimalIn(text, type.precision, type.scale);
    case 'string':
      return text;
    case 'binary':
      return binaryText(field, text, options);
    case 'date': {
      const micros = wallClockMicros(`${text} 00:00:00`);
      return micros === undefined ? undefined : String(micros / 86_400_000_000n);
    }
    case 'timestamp_ntz':
      return wallClockMicros(text)?.toString();
    case 'timestamp':
      return instantMicros(field, text, options)?.toString();
    case 'struct':
    case 'array':
    case 'map':
      return undefined;
  }
}

function integerIn(text: string, bits: bigint): string | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const value = BigInt(text.replace(/^\+/, ''));
  const limit = 1n << (bits - 1n);
  return value >= -limit && value < limit ? value.toString() : undefined;
}

/** Digits beyond the scale would be cut by the engine's cast, so they are refused; zeros are none. */
function decimalIn(text: string, precision: number, scale: number): string | undefined {
  const [, whole, fraction = ''] = /^[+-]?0*(\d*)(?:\.(\d*?)0*)?$/.exec(text) ?? [];
  if (whole === undefined || fraction.length > scale || whole.length > precision - scale) return undefined;
  return text.replace(/^\+/, '');
}

/** The protocol's escaped binary is agreed on by writers for ASCII only; above it they differ. */
function binaryText(field: Field, text: string, options: PartitionOptions): string {
  if ([...text].every((character) => character < '\u0080')) return text;
  throw new ParityError(
    'UnsupportedFeature',
    `Reading ${options.name}, the binary partition column ${field.name} has bytes above 127, which writers spell in different ways.`,
    { subject: field.name, advice: `Leave the column out with exclude: [${field.name}].` },
  );
}

/** Microseconds since the epoch of `YYYY-MM-DD hh:mm:ss[.ffffff]`, read as UTC; undefined where it is no such time. */
function wallClockMicros(text: string): bigint | undefined {
  const match = /^([+-]?\d{4,6})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const isReal =
    date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  const fraction = (match[7] ?? '').padEnd(9, '0');
  if (!isReal || !fraction.endsWith('000')) return undefined;
  return BigInt(date.getTime()) * 1000n + BigInt(fraction.slice(0, 6));
}

/** `…Z` is UTC; a time without zone is the writer's, whose zone only the user knows. */
function instantMicros(field: Field, text: string, { name, timeZone }: PartitionOptions): bigint | undefined {
  const [, clock = '', zone] = /^(.*?)(Z|[+-]\d\d:?\d\d)?$/.exec(text) ?? [];
  const isZoned = zone !== undefined && clock.includes(':');
  const micros = wallClockMicros(isZoned ? clock : text);
  if (micros === undefined) return undefined;
  if (isZoned) return micros - BigInt(offsetMinutes(zone)) * 60_000_000n;
  if (timeZone !== undefined) return micros - zoneOffsetMicros(micros, timeZone);
  throw new ParityError(
    'UnsupportedFeature',
    `Reading ${name}, the partition column ${field.name} has the timestamp ${text} without a zone: it is in the zone of whoever wrote it.`,
    {
      subject: field.name,
      advice: 'Name that zone in partitionTimeZone of the table, e.g. Europe/Berlin, or exclude the column.',
    },
  );
}

function offsetMinutes(zone: string): number {
  if (zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return zone.startsWith('-') ? -minutes : minutes;
}

/** Offset of a zone at a wall clock: of the two instants in an autumn hour the earlier, in a spring gap the later, as Spark has it. */
function zoneOffsetMicros(wallMicros: bigint, timeZone: string): bigint {
  const wallMs = Number(wallMicros / 1000n);
  const before = offsetMsAt(wallMs - 86_400_000, timeZone);
  const after = offsetMsAt(wallMs + 86_400_000, timeZone);
  const isValid = (offset: number): boolean => offsetMsAt(wallMs - offset, timeZone) === offset;
  return BigInt(isValid(before) || !isValid(after) ? before : after) * 1000n;
}

function offsetMsAt(instantMs: number, timeZone: string): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  const parts = new Map(format.formatToParts(new Date(instantMs)).map((part) => [part.type, Number(part.value)]));
  const at = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
  const date = new Date(0);
  date.setUTCFullYear(at('year'), at('month') - 1, at('day'));
  date.setUTCHours(at('hour'), at('minute'), at('second'));
  return date.getTime() - Math.floor(instantMs / 1000) * 1000;
}
