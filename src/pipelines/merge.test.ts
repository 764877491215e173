import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { type MergeSides, mergeParts, replacedRows } from './merge.ts';
import type { MergeRule } from './mutants.ts';

type Row = readonly [key: number | null, part: string | null, value: string | null];

const values = (rows: readonly Row[]): string => {
  const text = rows
    .map(([k, p, v]) => `(${k ?? 'NULL'}, ${p === null ? 'NULL' : `'${p}'`}, ${v === null ? 'NULL' : `'${v}'`})`)
    .join(', ');
  const structure = "'k Nullable(Int64), p Nullable(String), v Nullable(String)'";
  return rows.length === 0
    ? `SELECT CAST(NULL AS Nullable(Int64)) AS k, CAST(NULL AS Nullable(String)) AS p, CAST(NULL AS Nullable(String)) AS v WHERE 0`
    : `SELECT k, p, v FROM values(${structure}, ${text})`;
};

describe('merging read rows into landed ones', () => {
  let engine: Engine;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-merge-'));
    engine = await openEngine({ scratch: folder, memoryBytes: 256 * 1024 ** 2, threads: 1 });
  });

  after(async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });

  const sidesOf = (landed: readonly Row[], read: readonly Row[], readRows = read.length): MergeSides => ({
    columns: ['k', 'p', 'v'],
    key: ['k', 'p'],
    landed: values(landed),
    read: values(read),
    readRows,
  });

  const merged = async (sides: MergeSides, rule: MergeRule): Promise<string[]> => {
    const rows: string[] = [];
    for (const part of mergeParts(sides, rule)) {
      const found = await engine.rows<{ text: string }>(
        `SELECT concat(ifNull(toString(k), '-'), ifNull(p, '-'), ifNull(v, '-')) AS text FROM (${part})`,
      );
      rows.push(...found.map(({ text }) => text));
    }
    return rows.sort();
  };

  const landed: readonly Row[] = [
    [1, 'a', 'old'],
    [2, 'a', null],
    [3, null, 'old'],
    [null, 'a', 'old'],
  ];
  const read: readonly Row[] = [
    [1, 'a', 'new'],
    [2, 'a', 'new'],
    [3, null, 'new'],
    [4, 'b', 'new'],
  ];

  for (const [title, rule, expected] of [
    [
      'replaces rows of the same key, NULL being equal to NULL',
      'Replace',
      ['-aold', '1anew', '2anew', '3-new', '4bnew'],
    ],
    ['ignores updates when only inserting', 'InsertOnly', ['-aold', '1aold', '2a-', '3-old', '4bnew']],
    [
      'keeps old rows beside new ones when nothing is deleted',
      'Append',
      ['-aold', '1anew', '1aold', '2a-', '2anew', '3-new', '3-old', '4bnew'],
    ],
    [
      'doubles rows with NULL in the key and loses updates of rows with NULL when it is not NULL-safe',
      'NullUnsafe',
      ['-aold', '1anew', '2a-', '3-new', '3-old', '4bnew'],
    ],
  ] as const) {
    it(title, async () => expect(await merged(sidesOf(landed, read), rule)).to.deep.equal(expected));
    it(`${title}, in parts`, async () =>
      expect(await merged(sidesOf(landed, read, 3_000_000), rule)).to.deep.equal(expected));
  }

  it('leaves the landed rows alone when nothing was read', async () => {
    expect(await merged(sidesOf(landed, []), 'Replace')).to.deep.equal(['-aold', '1aold', '2a-', '3-old']);
  });

  it('counts the landed rows that are replaced', async () => {
    expect(await replacedRows(engine, sidesOf(landed, read), 't', new AbortController().signal)).to.equal(3);
  });

  for (const [title, doubled] of [
    ['the source', sidesOf(landed, [...read, [4, 'b', 'again']])],
    ['the landed table', sidesOf([...landed, [3, null, 'again']], read)],
  ] as const) {
    it(`refuses a key that is twice in ${title}, naming table and key`, async () => {
      const error = await replacedRows(engine, doubled, 'flights', new AbortController().signal).catch(String);
      expect(error).to.contain('flights').and.contain('(k, p)').and.contain(title);
    });
  }
});
