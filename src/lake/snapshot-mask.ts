import { createHash, createHmac } from 'node:crypto';
import type { DuckDBConnection } from '@duckdb/node-api';
import { blobValue } from '@duckdb/node-api';
import { ParityError } from '../support/error.ts';
import type { DataType } from './types.ts';

const BLOCK_BYTES = 64;

/**
 * Makes the mask's functions known to a connection. The key travels as bound values, never as SQL text: HMAC-SHA-256 is two
 * hashes with the key mixed into each (RFC 2104).
 */
export async function installMask(connection: DuckDBConnection, secret: string): Promise<void> {
  const key = createHmac('sha256', 'pipeline-parity mask').update(secret).digest();
  const padded = Buffer.concat([key, Buffer.alloc(BLOCK_BYTES - key.length)]);
  await connection.run('CREATE OR REPLACE TEMP TABLE parity_key (inner_pad BLOB, outer_pad BLOB)');
  await connection.run('INSERT INTO parity_key VALUES ($1, $2)', [
    blobValue(padded.map((byte) => byte ^ 0x36)),
    blobValue(padded.map((byte) => byte ^ 0x5c)),
  ]);
  await connection.run('SET VARIABLE parity_inner = (SELECT inner_pad FROM parity_key)');
  await connection.run('SET VARIABLE parity_outer = (SELECT outer_pad FROM parity_key)');
  for (const macro of MACROS) await connection.run(`CREATE OR REPLACE TEMP MACRO ${macro}`);
}

/** Tells keys apart without telling them: part of a masked table's digest. */
export function maskFingerprint(secret: string): string {
  return createHash('sha256').update('pipeline-parity mask fingerprint').update(secret).digest('hex').slice(0, 16);
}

/**
 * The expression that masks a value: of the same type and, for text and bytes, the same length; NULL stays NULL; equal values stay
 * equal in every column of the type, so that joins hold. Whole numbers are permuted (four Feistel rounds over all bits of the
 * type), so different ones stay different; other types can collide, which the caller checks for keys.
 */
export function maskExpression(value: string, type: DataType, column: string): string {
  switch (type.kind) {
    case 'byte':
      return `CAST(parity_permute(CAST(${value} AS HUGEINT) + 128, 4) - 128 AS TINYINT)`;
    case 'short':
      return `CAST(parity_permute(CAST(${value} AS HUGEINT) + 32768, 8) - 32768 AS SMALLINT)`;
    case 'integer':
      return `CAST(parity_permute(CAST(${value} AS HUGEINT) + 2147483648, 16) - 2147483648 AS INTEGER)`;
    case 'long':
      return `CAST(parity_permute(CAST(${value} AS HUGEINT) + 9223372036854775808, 32) - 9223372036854775808 AS BIGINT)`;
    case 'string':
      return `parity_text(${value}, length(${value}))`;
    case 'binary':
      return `unhex(left(repeat(parity_hmac(${value}), octet_length(${value}) // 32 + 1), 2 * octet_length(${value})))`;
    case 'decimal':
      return decimalMask(value, type.precision, type.scale);
    case 'float':
      return `CAST(md5_number_lower(${hmacOf(value, type)}) % 16777216 AS FLOAT) / 256`;
    case 'double':
      return `CAST(md5_number_lower(${hmacOf(value, type)}) % 9007199254740992 AS DOUBLE) / 4096`;
    case 'boolean':
      return `md5_number_lower(${hmacOf(value, type)}) % 2 = 0`;
    case 'date':
      return `DATE '1900-01-01' + CAST(md5_number_lower(${hmacOf(value, type)}) % 73049 AS INTEGER)`;
    case 'timestamp':
    case 'timestamp_ntz': {
      const wall = `make_timestamp(CAST(md5_number_lower(${hmacOf(value, type)}) % 4102444800000000 AS BIGINT))`;
      return type.kind === 'timestamp' ? `CAST(${wall} AS TIMESTAMPTZ)` : wall;
    }
    case 'struct':
    case 'array':
    case 'map':
      throw new ParityError('UnsupportedFeature', `The column '${column}' is a ${type.kind}, which cannot be masked`, {
        subject: column,
        advice: 'Leave the column out by exclude, or test a copy of the table without it',
      });
  }
}

/**
 * The text of a value by which rows are chosen: the same for equal values of different types (a whole number as INTEGER, as BIGINT
 * or as text; a decimal whatever its scale), so that tables sampled by one column keep their joins.
 */
export function canonicalText(value: string, type: DataType): string {
  switch (type.kind) {
    case 'decimal':
      return type.scale === 0 ? `CAST(${value} AS VARCHAR)` : `rtrim(rtrim(CAST(${value} AS VARCHAR), '0'), '.')`;
    case 'timestamp':
    case 'timestamp_ntz':
      return `CAST(epoch_us(${value}) AS VARCHAR)`;
    case 'binary':
      return `lower(hex(${value}))`;
    default:
      return `CAST(${value} AS VARCHAR)`;
  }
}

const MACROS = [
  "parity_hmac(m) AS sha256(getvariable('parity_outer') || unhex(sha256(getvariable('parity_inner') || m)))",
  // 43 characters of an alphabet of 64 letters, digits and two more, repeated to the length.
  "parity_text(v, n) AS left(repeat(translate(left(to_base64(unhex(parity_hmac(encode(v)))), 43), '+/', '-_'), CAST(n // 43 + 1 AS BIGINT)), CAST(n AS BIGINT))",
  // The round function of the Feistel network: some bits of an HMAC over round and half.
  "parity_round(r, half, bits) AS CAST(md5_number_lower(parity_hmac(encode(r || ':' || bits || ':' || CAST(half AS VARCHAR)))) % (1::UBIGINT << bits) AS UBIGINT)",
  `parity_permute(v, bits) AS (
    SELECT CAST(d AS HUGEINT) * (1::HUGEINT << bits) + CAST(e AS HUGEINT)
    FROM (SELECT d, xor(c, parity_round('4', d, bits)) AS e
    FROM (SELECT c, xor(b, parity_round('3', c, bits)) AS d
    FROM (SELECT b, xor(a, parity_round('2', b, bits)) AS c
    FROM (SELECT a, xor(z, parity_round('1', a, bits)) AS b
    FROM (SELECT CAST(v // (1::HUGEINT << bits) AS UBIGINT) AS z, CAST(v % (1::HUGEINT << bits) AS UBIGINT) AS a))))))`,
];

function hmacOf(value: string, type: DataType): string {
  return `parity_hmac(encode(${canonicalText(value, type)}))`;
}

/** As many random digits as the type has, cut at its point. */
function decimalMask(value: string, precision: number, scale: number): string {
  const limit = 10n ** BigInt(precision);
  const hmac = `parity_hmac(encode(CAST(${value} AS VARCHAR)))`;
  const digits = `lpad(CAST(CAST(md5_number(${hmac}) AS UHUGEINT) % ${limit}::UHUGEINT AS VARCHAR), ${precision}, '0')`;
  const cut = precision - scale;
  return `CAST(left(${digits}, ${cut}) || '.' || substr(${digits}, ${cut + 1}) AS DECIMAL(${precision},${scale}))`;
}
