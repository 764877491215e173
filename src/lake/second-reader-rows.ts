import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  type ParquetParsers,
  parquetReadObjects,
} from 'hyparquet';
import type { Positions } from './relation-nested.ts';
import type { DataType, Field } from './types.ts';

/** Whether the second reader keeps what the type holds: it makes maps into objects, whose keys are text. */
export function isReadable(type: DataType): boolean {
  switch (type.kind) {
    case 'struct':
      return type.fields.every((field) => isReadable(field.type));
    case 'array':
      return isReadable(type.element);
    case 'map':
      return type.key.kind === 'string' && isReadable(type.value);
    default:
      return true;
  }
}

/**
 * The canonical text (bytes, for binary) of the columns' values, row by row; null for NULL and for columns that the file is older than.
 * Scalars are spelled as in canonical JSON, but dates and times as the engine counts them, and strings and binary as they are.
 */
export async function* readTexts(
  file: AsyncBuffer,
  metadata: FileMetaData,
  fields: readonly Field[],
  { first, last }: Positions,
): AsyncGenerator<readonly (string | Uint8Array | null)[]> {
  const there = new Set(
    metadata.row_groups.flatMap((group) => group.columns.map((column) => column.meta_data?.path_in_schema[0])),
  );
  const columns = fields.flatMap(({ physicalName }) => (there.has(physicalName) ? [physicalName] : []));
  const options = { file, metadata: withoutDecimals(metadata), compressors, parsers, utf8: false, columns };
  const count = last - first + 1;
  // At once: each call decodes its row group from the start.
  const rows =
    columns.length === 0
      ? Array.from({ length: count }, () => ({}))
      : await parquetReadObjects({ ...options, rowStart: first, rowEnd: last + 1 });
  for (const row of rows) {
    const values = new Map<string, unknown>(Object.entries(row));
    yield fields.map((field) => topLevelText(values.get(field.physicalName), field.type));
  }
}

/** hyparquet makes decimals into doubles; without their annotation it hands out the integers that they are. */
function withoutDecimals(metadata: FileMetaData): FileMetaData {
  const schema = metadata.schema.map((element) => {
    if (element.converted_type !== 'DECIMAL' && element.logical_type?.type !== 'DECIMAL') return element;
    const { converted_type: _, logical_type: __, ...bare } = element;
    return bare;
  });
  return { ...metadata, schema };
}

/** Times and days as the integers that they are stored as, text as it is. */
const parsers: Partial<ParquetParsers> = {
  timestampFromMilliseconds: (millis: bigint) => millis * 1000n,
  timestampFromMicroseconds: (micros: bigint) => micros,
  timestampFromNanoseconds: (nanos: bigint) => nanos / 1000n - (nanos % 1000n < 0n ? 1n : 0n),
  dateFromDays: (days: number) => days,
  // Its own decoder drops a byte order mark.
  stringFromBytes: (bytes: Uint8Array) => bytes && Buffer.from(bytes).toString('utf8'),
  jsonFromBytes: (bytes: Uint8Array) => bytes && Buffer.from(bytes).toString('utf8'),
};

const compressors: Compressors = {
  GZIP: (input) => bytesOf(gunzipSync(input)),
  BROTLI: (input) => bytesOf(brotliDecompressSync(input)),
  ZSTD: (input) => bytesOf(zstdDecompressSync(input)),
};

function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function topLevelText(value: unknown, type: DataType): string | Uint8Array | null {
  if (value === null || value === undefined) return null;
  switch (type.kind) {
    case 'string':
      return value instanceof Uint8Array ? value : String(value);
    case 'binary':
      return bytesOfValue(value);
    case 'decimal':
      return decimalText(value, type.scale);
    case 'date':
    case 'timestamp':
    case 'timestamp_ntz':
      return String(value);
    default:
      return jsonText(value, type);
  }
}

/** Canonical JSON text of a value: the rules of nested.ts, written a second time on purpose. */
function jsonText(value: unknown, type: DataType): string {
  if (value === null || value === undefined) return 'null';
  switch (type.kind) {
    case 'struct': {
      const entries = new Map<string, unknown>(Object.entries(value));
      const parts = type.fields.map(
        (field) => `${jsonString(field.name)}:${jsonText(entries.get(field.physicalName), field.type)}`,
      );
      return `{${parts.join(',')}}`;
    }
    case 'array':
      return `[${(Array.isArray(value) ? value : []).map((element) => jsonText(element, type.element)).join(',')}]`;
    case 'map': {
      const entries = Object.entries(value).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      return `{${entries.map(([key, item]) => `${jsonString(key)}:${jsonText(item, type.value)}`).join(',')}}`;
    }
    case 'float':
      return floatText(Number(value), shortestFloat);
    case 'double':
      return floatText(Number(value), String);
    case 'decimal':
      return `"${decimalText(value, type.scale)}"`;
    case 'string':
      return jsonString(value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value));
    case 'binary':
      return `"${Buffer.from(bytesOfValue(value)).toString('hex')}"`;
    case 'date':
      return `"${isoTime(BigInt(Number(value)) * 86_400_000_000n).slice(0, -16)}"`;
    case 'timestamp':
      return `"${isoTime(BigInt(String(value)))}Z"`;
    case 'timestamp_ntz':
      return `"${isoTime(BigInt(String(value)))}"`;
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'boolean':
      return String(value);
  }
}

function jsonString(text: string): string {
  return JSON.stringify(text)
    .replace(/\\u([0-9a-f]{4})/g, (_, hex: string) => `\\u${hex.toUpperCase()}`)
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
}

function floatText(value: number, digits: (value: number) => string): string {
  if (Number.isNaN(value)) return '"NaN"';
  if (!Number.isFinite(value)) return value > 0 ? '"Infinity"' : '"-Infinity"';
  if (value === 0) return Object.is(value, -0) ? '"-0.0"' : '0';
  const [, sign = '', text = ''] = /^(-?)(.*)$/.exec(digits(value)) ?? [];
  const plain = text.replace('e+', 'e');
  if (Math.abs(value) < 1e16 || plain.includes('e')) return sign + plain;
  const mantissa = plain.replace(/0+$/, '').replace(/^(.)(.+)$/, '$1.$2');
  return `${sign}${mantissa}e${plain.length - 1}`;
}

/** The fewest digits that give the same 32-bit float. */
function shortestFloat(value: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = rounded(value, digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(rounded(value, 9)));
}

/** Rounded to a number of digits; a tie goes to the even digit, as in other languages (JavaScript rounds it up). */
function rounded(value: number, digits: number): string {
  const text = value.toExponential(digits - 1);
  const [mantissa = '', exponent = ''] = text.split('e');
  const [all = ''] = value.toExponential(100).split('e');
  const isTie = /^50*$/.test(all.replace(/[-.]/g, '').slice(digits));
  const last = Number(mantissa.at(-1));
  return isTie && last % 2 === 1 ? `${mantissa.slice(0, -1)}${last - 1}e${exponent}` : text;
}

/** An unscaled integer: a number, a bigint, or big-endian bytes in two's complement. */
function decimalText(value: unknown, scale: number): string {
  const unscaled = value instanceof Uint8Array ? signedInteger(value) : BigInt(String(value));
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const sign = unscaled < 0n ? '-' : '';
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function signedInteger(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
}

function bytesOfValue(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : Buffer.from(String(value));
}

/** `YYYY-MM-DDThh:mm:ss.ffffff` of microseconds since 1970. */
function isoTime(micros: bigint): string {
  const day = 1_000_000n;
  const seconds = micros / day - (micros % day < 0n ? 1n : 0n);
  const iso = new Date(Number(seconds) * 1000).toISOString();
  return `${iso.slice(0, -5)}.${(micros - seconds * day).toString().padStart(6, '0')}`;
}
