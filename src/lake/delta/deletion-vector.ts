import { crc32 } from 'node:zlib';
import { ParityError } from '../../support/error.ts';
import type { ObjectReader } from '../store.ts';
import type { RawDeletionVector } from './actions.ts';
import { joinKey, keyOfLogPath } from './path.ts';
import { decodeRoaring64 } from './roaring.ts';
import type { DeletionVector } from './types.ts';
import { decodeZ85 } from './z85.ts';

/** Magic number of the portable 64-bit RoaringBitmap serialization. */
const PORTABLE_MAGIC = 1681511377;
/** An encoded UUID is the last 20 characters; what stands before it is a folder. */
const ENCODED_UUID_LENGTH = 20;

/**
 * The row numbers (from 0, ascending, in the file's physical order) that the vector takes out of its file. Can be iterated more
 * than once; memory stays at the size of the serialized vector. Throws `CorruptTable` where the checksum, the format or the
 * declared cardinality is not right (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-format).
 */
export async function readDeletionVector(
  reader: ObjectReader,
  table: string,
  dv: DeletionVector,
): Promise<Iterable<number>> {
  const url = reader.url(dv.path === undefined ? table : joinKey(table, dv.path));
  const bytes = dv.path === undefined ? inlineBytes(dv, url) : await storedBytes(reader, table, dv, dv.path);
  if (bytes.length < 4 || bytes.readUInt32LE(0) !== PORTABLE_MAGIC) {
    throw corrupt(url, 'it is not a portable 64-bit RoaringBitmap');
  }
  const rows = decodeRoaring64(bytes.subarray(4), (found) => corrupt(url, found));
  if (rows.cardinality !== dv.cardinality) {
    throw corrupt(url, `it holds ${rows.cardinality} rows where the log says ${dv.cardinality}`);
  }
  return rows;
}

/** Key, relative to the table's root, of the file that holds the vector; undefined where the log itself holds it. */
export function deletionVectorKey(reader: ObjectReader, table: string, dv: RawDeletionVector): string | undefined {
  switch (dv.storageType) {
    case 'i':
      return undefined;
    case 'p':
      return keyOfLogPath(reader, table, dv.pathOrInlineDv);
    case 'u': {
      const prefix = dv.pathOrInlineDv.slice(0, -ENCODED_UUID_LENGTH);
      const name = `deletion_vector_${uuid(dv.pathOrInlineDv.slice(-ENCODED_UUID_LENGTH), reader.url(table))}.bin`;
      return prefix === '' ? name : `${prefix}/${name}`;
    }
  }
}

function inlineBytes(dv: DeletionVector, url: string): Buffer {
  const bytes = decodeZ85(dv.pathOrInlineDv);
  if (bytes === undefined || bytes.length < dv.sizeInBytes) throw corrupt(url, 'its inline text is not Z85');
  return bytes.subarray(0, dv.sizeInBytes);
}

/** At the offset: size (big-endian), the vector, its CRC-32 (big-endian). */
async function storedBytes(reader: ObjectReader, table: string, dv: DeletionVector, path: string): Promise<Buffer> {
  const key = joinKey(table, path);
  const startByte = dv.offset ?? 1;
  const chunks: Uint8Array[] = [];
  const body = await reader.stream(key, { startByte, endByteInclusive: startByte + dv.sizeInBytes + 7 });
  for await (const chunk of body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (bytes.length !== dv.sizeInBytes + 8)
    throw corrupt(reader.url(key), `it ends after ${startByte + bytes.length} bytes`);
  if (bytes.readUInt32BE(0) !== dv.sizeInBytes) {
    throw corrupt(reader.url(key), `its size is ${bytes.readUInt32BE(0)} where the log says ${dv.sizeInBytes}`);
  }
  const vector = bytes.subarray(4, 4 + dv.sizeInBytes);
  if (crc32(vector) !== bytes.readUInt32BE(4 + dv.sizeInBytes)) throw corrupt(reader.url(key), 'its checksum is wrong');
  return vector;
}

function uuid(encoded: string, url: string): string {
  const bytes = decodeZ85(encoded);
  if (bytes?.length !== 16) throw corrupt(url, `the name of its file, '${encoded}', is no encoded UUID`);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function corrupt(url: string, found: string): ParityError {
  return new ParityError('CorruptTable', `A deletion vector of ${url} cannot be read: ${found}`, { subject: url });
}
