/** The values of a bitmap, ascending; safe to iterate again. */
export interface Roaring extends Iterable<number> {
  readonly cardinality: number;
}

const COOKIE_WITHOUT_RUNS = 12346;
const COOKIE_WITH_RUNS = 12347;
/** With runs, offsets are written only from this many containers on. */
const OFFSETS_FROM_CONTAINERS = 4;
const ARRAY_MAX_CARDINALITY = 4096;
const BITMAP_BYTES = 8192;

interface Container {
  /** Value of its first possible member. */
  readonly base: number;
  readonly kind: 'array' | 'bitmap' | 'runs';
  readonly cardinality: number;
  /** Where its content begins. */
  readonly at: number;
  readonly runs: number;
}

/**
 * A 64-bit RoaringBitmap in the portable serialization: a count, then 32-bit bitmaps each behind the high half of its values
 * (https://github.com/RoaringBitmap/RoaringFormatSpec). Containers are decoded while iterating, so memory stays at the size of
 * `bytes`. Throws `corrupt(found)` where the bytes are no such bitmap.
 */
export function decodeRoaring64(bytes: Buffer, corrupt: (found: string) => Error): Roaring {
  const cursor = new Cursor(bytes, corrupt);
  const bitmaps = cursor.u64();
  const containers: Container[] = [];
  for (let index = 0; index < bitmaps; index++) {
    const high = cursor.u32();
    if (high > 0x1fffff) throw corrupt('a row number is beyond 2^53');
    containers.push(...readBitmap(cursor, high * 2 ** 32, corrupt));
  }
  const cardinality = containers.reduce((sum, container) => sum + container.cardinality, 0);
  return {
    cardinality,
    *[Symbol.iterator]() {
      for (const container of containers) yield* valuesOf(bytes, container);
    },
  };
}

function readBitmap(cursor: Cursor, base: number, corrupt: (found: string) => Error): Container[] {
  const cookie = cursor.u32();
  const hasRuns = (cookie & 0xffff) === COOKIE_WITH_RUNS;
  if (!hasRuns && cookie !== COOKIE_WITHOUT_RUNS) throw corrupt(`the cookie ${cookie} is unknown`);
  const count = hasRuns ? (cookie >>> 16) + 1 : cursor.u32();
  if (count > 65536) throw corrupt(`it has ${count} containers`);
  const runFlags = hasRuns ? cursor.skip(Math.ceil(count / 8)) : undefined;
  const headers = Array.from({ length: count }, () => ({ key: cursor.u16(), cardinality: cursor.u16() + 1 }));
  if (!hasRuns || count >= OFFSETS_FROM_CONTAINERS) cursor.skip(count * 4);
  return headers.map(({ key, cardinality }, index) => {
    const isRuns = runFlags !== undefined && (cursor.byteAt(runFlags + (index >> 3)) & (1 << (index & 7))) !== 0;
    return readContainer(cursor, base + key * 65536, cardinality, isRuns);
  });
}

function readContainer(cursor: Cursor, base: number, cardinality: number, isRuns: boolean): Container {
  if (isRuns) {
    const runs = cursor.u16();
    const at = cursor.skip(runs * 4);
    let inRuns = 0;
    for (let run = 0; run < runs; run++) inRuns += cursor.u16At(at + run * 4 + 2) + 1;
    return { base, kind: 'runs', cardinality: inRuns, at, runs };
  }
  if (cardinality > ARRAY_MAX_CARDINALITY) {
    return { base, kind: 'bitmap', cardinality, at: cursor.skip(BITMAP_BYTES), runs: 0 };
  }
  return { base, kind: 'array', cardinality, at: cursor.skip(cardinality * 2), runs: 0 };
}

function* valuesOf(bytes: Buffer, container: Container): Iterable<number> {
  const { base, at } = container;
  switch (container.kind) {
    case 'array':
      for (let index = 0; index < container.cardinality; index++) yield base + bytes.readUInt16LE(at + index * 2);
      return;
    case 'bitmap':
      for (let byte = 0; byte < BITMAP_BYTES; byte++) {
        const bits = bytes.readUInt8(at + byte);
        for (let bit = 0; bit < 8; bit++) if ((bits & (1 << bit)) !== 0) yield base + byte * 8 + bit;
      }
      return;
    case 'runs':
      for (let run = 0; run < container.runs; run++) {
        const start = base + bytes.readUInt16LE(at + run * 4);
        const length = bytes.readUInt16LE(at + run * 4 + 2) + 1;
        for (let offset = 0; offset < length; offset++) yield start + offset;
      }
      return;
  }
}

/** Reads little-endian numbers one after the other, and never past the end. */
class Cursor {
  #at = 0;
  readonly #bytes: Buffer;
  readonly #corrupt: (found: string) => Error;

  constructor(bytes: Buffer, corrupt: (found: string) => Error) {
    this.#bytes = bytes;
    this.#corrupt = corrupt;
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.skip(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.skip(4));
  }

  u64(): number {
    const value = this.#bytes.readBigUInt64LE(this.skip(8));
    if (value > 0x1fffffn) throw this.#corrupt(`it claims ${value} bitmaps`);
    return Number(value);
  }

  /** Passes over some bytes and returns where they began. */
  skip(count: number): number {
    const start = this.#at;
    if (start + count > this.#bytes.length) throw this.#corrupt(`it ends after ${this.#bytes.length} bytes`);
    this.#at += count;
    return start;
  }

  byteAt(at: number): number {
    return this.#bytes.readUInt8(at);
  }

  u16At(at: number): number {
    return this.#bytes.readUInt16LE(at);
  }
}
