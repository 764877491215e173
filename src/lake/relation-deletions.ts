import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Engine } from '../engine/engine.ts';
import { quoteString } from '../engine/sql.ts';
import { ParityError } from '../support/error.ts';
import { readDeletionVector } from './delta/deletion-vector.ts';
import type { DeltaFile } from './delta/types.ts';
import { fileTable } from './relation-source.ts';
import type { ObjectReader } from './store.ts';

/** Deleted rows of a table in the engine: one 64-bit number a row, file ordinal above the position in the file. */
export interface Deletions {
  /** Condition that holds for live rows, over the alias `t` of the files' rows; `row` is the position's expression. */
  liveRows(files: readonly DeltaFile[], pathOf: (file: DeltaFile) => string, row: string): string;
}

/** Positions in a file stay below this: Parquet files of 2^40 rows do not exist. */
const POSITION_BITS = 40n;

/**
 * Loads the deletion vectors of the files into a set of the engine. The positions stream through a scratch file: a table with many
 * deleted rows makes no large object here.
 * Throws `CorruptTable` where a vector has not as many rows as the log says, or one beyond the file's end.
 */
export async function loadDeletions(
  engine: Engine,
  reader: ObjectReader,
  tablePath: string,
  files: readonly DeltaFile[],
  rowsOf: (file: DeltaFile) => number,
  name: string,
): Promise<Deletions> {
  const deleting = files.filter((file) => file.deletionVector !== undefined);
  const table = `parity_deleted_${nextTable++}`;
  const scratch = join(engine.scratch, `${table}.bin`);
  await engine.execute(`CREATE TABLE ${table} (k UInt64) ENGINE = Set SETTINGS persistent = 0`);
  try {
    const positions = deletedPositions(reader, tablePath, deleting, rowsOf, name);
    await pipeline(Readable.from(positions, { objectMode: false }), createWriteStream(scratch));
    await engine.execute(`INSERT INTO ${table} SELECT k FROM ${fileTable([scratch], 'RowBinary', 'k UInt64')}`);
  } finally {
    await rm(scratch, { force: true });
  }
  const ordinals = new Map(deleting.map((file, index) => [file.path, index]));
  return {
    liveRows: (some, pathOf, row) => {
      const paths = some.map((file) => quoteString(pathOf(file)));
      const numbers = some.map((file) => ordinals.get(file.path) ?? 0);
      // A path that is not known gets no ordinal, and then no position: the query ends rather than bring deleted rows back.
      const ordinal = `toUInt64(transform(t._path, [${paths.join(',')}], [${numbers.map((n) => n + 1).join(',')}], 0))`;
      const position = `bitShiftLeft(${ordinal} - 1 + throwIf(${ordinal} = 0, 'a data file without its deletion vector'), ${POSITION_BITS})`;
      return `${position} + assumeNotNull(${row}) NOT IN ${table}`;
    },
  };
}

let nextTable = 1;

async function* deletedPositions(
  reader: ObjectReader,
  tablePath: string,
  files: readonly DeltaFile[],
  rowsOf: (file: DeltaFile) => number,
  name: string,
): AsyncGenerator<Uint8Array> {
  for (const [ordinal, file] of files.entries()) {
    if (file.deletionVector === undefined) continue;
    const rows = rowsOf(file);
    const base = BigInt(ordinal) << POSITION_BITS;
    let chunk = new BigUint64Array(CHUNK);
    let filled = 0;
    let count = 0;
    for await (const position of await readDeletionVector(reader, tablePath, file.deletionVector)) {
      if (Number(position) >= rows) throw corrupt(name, file, `deletes row ${position} of ${rows}`);
      chunk[filled++] = base + BigInt(position);
      count++;
      if (filled === CHUNK) {
        yield new Uint8Array(chunk.buffer);
        chunk = new BigUint64Array(CHUNK);
        filled = 0;
      }
    }
    if (count !== file.deletionVector.cardinality) {
      throw corrupt(name, file, `holds ${count} rows where the log says ${file.deletionVector.cardinality}`);
    }
    yield new Uint8Array(chunk.buffer, 0, filled * 8);
  }
}

const CHUNK = 65_536;

function corrupt(name: string, file: DeltaFile, found: string): ParityError {
  return new ParityError('CorruptTable', `Reading ${name}, the deletion vector of ${file.path} ${found}.`, {
    subject: file.path,
  });
}
