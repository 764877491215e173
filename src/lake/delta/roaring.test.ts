import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import { openReader } from '../open.ts';
import { readDeletionVector } from './deletion-vector.ts';
import { decodeRoaring64 } from './roaring.ts';
import type { DeletionVector } from './types.ts';

/** Containers as the specification lays them out; independent of the decoder. */
function bitmap32(containers: { key: number; kind: 'array' | 'bitmap' | 'runs'; values: number[] }[]): Buffer {
  const hasRuns = containers.some(({ kind }) => kind === 'runs');
  const parts: Buffer[] = [];
  const u16 = (...values: number[]) => {
    const bytes = Buffer.alloc(values.length * 2);
    values.forEach((value, index) => void bytes.writeUInt16LE(value, index * 2));
    parts.push(bytes);
  };
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    parts.push(bytes);
  };
  if (hasRuns) {
    u16(12347, containers.length - 1);
    const flags = Buffer.alloc(Math.ceil(containers.length / 8));
    containers.forEach(({ kind }, index) => {
      if (kind === 'runs') flags[index >> 3] = (flags[index >> 3] ?? 0) | (1 << (index & 7));
    });
    parts.push(flags);
  } else {
    u32(12346);
    u32(containers.length);
  }
  for (const { key, values } of containers) u16(key, values.length - 1);
  if (!hasRuns || containers.length >= 4) for (const _ of containers) u32(0);
  for (const { kind, values } of containers) {
    if (kind === 'array') u16(...values);
    if (kind === 'bitmap') {
      const bits = Buffer.alloc(8192);
      for (const value of values) bits[value >> 3] = (bits[value >> 3] ?? 0) | (1 << (value & 7));
      parts.push(bits);
    }
    if (kind === 'runs') u16(1, values[0] ?? 0, values.length - 1);
  }
  return Buffer.concat(parts);
}

function bitmap64(bitmaps: [number, Buffer][]): Buffer {
  const count = Buffer.alloc(8);
  count.writeBigUInt64LE(BigInt(bitmaps.length));
  const parts = bitmaps.flatMap(([high, bitmap]) => {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(high);
    return [key, bitmap];
  });
  return Buffer.concat([count, ...parts]);
}

const range = (from: number, count: number, step = 1) =>
  Array.from({ length: count }, (_, index) => from + index * step);
const fail = (found: string) => new Error(found);

describe('a 64-bit RoaringBitmap', () => {
  const array = { key: 0, kind: 'array' as const, values: [0, 5, 65535] };
  const dense = { key: 1, kind: 'bitmap' as const, values: range(0, 5000, 13) };
  const runs = { key: 2, kind: 'runs' as const, values: range(100, 60000) };
  const cases: Record<string, { bytes: Buffer; rows: number[] }> = {
    'without rows': { bytes: bitmap64([]), rows: [] },
    'of an array': { bytes: bitmap64([[0, bitmap32([array])]]), rows: array.values },
    'of an array and a bitmap': {
      bytes: bitmap64([[0, bitmap32([array, dense])]]),
      rows: [...array.values, ...dense.values.map((value) => 65536 + value)],
    },
    'of runs, too few for offsets': {
      bytes: bitmap64([[0, bitmap32([array, dense, runs])]]),
      rows: [...array.values, ...dense.values.map((v) => 65536 + v), ...runs.values.map((v) => 131072 + v)],
    },
    'of runs with offsets': {
      bytes: bitmap64([[0, bitmap32([array, dense, runs, { ...array, key: 9 }])]]),
      rows: [
        ...array.values,
        ...dense.values.map((v) => 65536 + v),
        ...runs.values.map((v) => 131072 + v),
        ...array.values.map((v) => 9 * 65536 + v),
      ],
    },
    'of a full container': {
      bytes: bitmap64([[0, bitmap32([{ key: 0, kind: 'bitmap', values: range(0, 65536) }])]]),
      rows: range(0, 65536),
    },
    'beyond 32 bits': {
      bytes: bitmap64([
        [0, bitmap32([array])],
        [3, bitmap32([array])],
      ]),
      rows: [...array.values, ...array.values.map((value) => 3 * 2 ** 32 + value)],
    },
  };
  for (const [title, { bytes, rows }] of Object.entries(cases)) {
    it(`${title} is decoded, and can be iterated again`, () => {
      const decoded = decodeRoaring64(bytes, fail);
      expect(decoded.cardinality).to.equal(rows.length);
      expect([...decoded]).to.deep.equal(rows);
      expect([...decoded]).to.deep.equal(rows);
    });
    it(`${title}, cut short anywhere, is refused`, () => {
      const step = Math.max(1, Math.floor(bytes.length / 50));
      for (let length = 0; length < bytes.length; length += step) {
        expect(() => decodeRoaring64(bytes.subarray(0, length), fail), `${length} bytes`).to.throw();
      }
    });
  }
});

describe('a deletion vector', () => {
  const inline: DeletionVector = {
    // A vector that the reference implementations test with.
    storageType: 'i',
    pathOrInlineDv: '^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L',
    offset: undefined,
    sizeInBytes: 44,
    cardinality: 6,
    path: undefined,
    uniqueId: 'i',
  };
  const vector = Buffer.concat([
    Buffer.from([0xd1, 0xd3, 0x39, 0x64]),
    bitmap64([[0, bitmap32([{ key: 0, kind: 'array', values: [1, 2] }])]]),
  ]);
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'parity-vector-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function stored(change: (file: Buffer) => Buffer, cardinality = 2): Promise<number[]> {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(vector.length);
    const tail = Buffer.alloc(4);
    tail.writeUInt32BE(crc32(vector));
    await writeFile(join(root, 'dv.bin'), change(Buffer.concat([Buffer.from([1]), head, vector, tail])));
    const dv: DeletionVector = {
      storageType: 'u',
      pathOrInlineDv: '',
      offset: 1,
      sizeInBytes: vector.length,
      cardinality,
      path: 'dv.bin',
      uniqueId: 'u',
    };
    return [...(await readDeletionVector(await openReader({ location: `file://${root}` }), '', dv))];
  }

  it('inside the log is read', async () => {
    const rows = await readDeletionVector(await openReader({ location: `file://${root}` }), 't', inline);
    expect([...rows]).to.deep.equal([3, 4, 7, 11, 18, 29]);
  });

  it('in a file is read at its offset', async () => {
    expect(await stored((file) => file)).to.deep.equal([1, 2]);
  });

  const broken: Record<string, { change: (file: Buffer) => Buffer; says: string; cardinality?: number }> = {
    'with a flipped bit': {
      change: (file) => Buffer.from(file.map((byte, at) => (at === 20 ? byte ^ 1 : byte))),
      says: 'its checksum is wrong',
    },
    'that is truncated': { change: (file) => file.subarray(0, 20), says: 'it ends after 20 bytes' },
    'of another size': {
      change: (file) => Buffer.from(file.map((byte, at) => (at === 4 ? byte ^ 1 : byte))),
      says: 'where the log says',
    },
    'with another number of rows than the log says': {
      change: (file) => file,
      cardinality: 3,
      says: 'it holds 2 rows where the log says 3',
    },
  };
  for (const [title, { change, says, cardinality }] of Object.entries(broken)) {
    it(`${title} is an error that names the file`, async () => {
      const error = await stored(change, cardinality).then(
        () => expect.fail('it was read'),
        (error: unknown) => error,
      );
      expect(error).to.have.property('code', 'CorruptTable');
      expect(String(error)).to.contain('dv.bin').and.to.contain(says);
    });
  }
});
