import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { columnDigests, rowDigest } from '../compare/row-digest.ts';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import type { Field } from '../lake/types.ts';
import { readBytes, readBytesSettings } from './byte-server.ts';
import { computeChanges, withColumns } from './changes.ts';
import { checkKey } from './key-check.ts';

const id: Field = { name: 'id', physicalName: 'id', nullable: true, type: { kind: 'long' } };
const text: Field = { name: 't', physicalName: 't', nullable: true, type: { kind: 'string' } };
const float: Field = { name: 'f', physicalName: 'f', nullable: true, type: { kind: 'double' } };

/** Rows given as tuples of SQL. */
function rows(columns: readonly Field[], ...tuples: string[]): Relation {
  const types = columns.map(
    ({ name, type }) =>
      `${name} Nullable(${type.kind === 'long' ? 'Int64' : type.kind === 'double' ? 'Float64' : 'String'})`,
  );
  return {
    columns,
    sql: `SELECT * FROM values('${types.join(', ')}', ${tuples.map((tuple) => `(${tuple})`).join(', ')})`,
    rows: tuples.length,
    sizeBytes: undefined,
    name: 'rows',
  };
}

describe('what the engine does for sources', () => {
  let engine: Engine;
  let scratch: string;
  const cwd = process.cwd();

  before(async () => {
    process.chdir('/');
    scratch = await mkdtemp(join(tmpdir(), 'parity-engine-side-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true, force: true });
    process.chdir(cwd);
  });

  describe('a row digest', () => {
    const base = rows([id, text], "1, 'a'", "2, 'b'", '3, NULL');
    it('does not depend on the order of rows', async () => {
      const other = rows([id, text], '3, NULL', "2, 'b'", "1, 'a'");
      assert.deepEqual(await rowDigest(engine, other), await rowDigest(engine, base));
    });
    const different: readonly [string, Relation, Relation][] = [
      ['a value', base, rows([id, text], "1, 'a'", "2, 'B'", '3, NULL')],
      ["NULL and ''", base, rows([id, text], "1, 'a'", "2, 'b'", "3, ''")],
      ['NULL and 0', rows([id], 'NULL'), rows([id], '0')],
      ['values swapped between rows', base, rows([id, text], "1, 'b'", "2, 'a'", '3, NULL')],
      ['a pair of duplicates', base, rows([id, text], "1, 'a'", "2, 'b'", '3, NULL', "9, 'x'", "9, 'x'")],
      ['which row is the duplicate', rows([id], '1', '1', '2'), rows([id], '1', '2', '2')],
      [
        'where one text ends',
        rows([text, { ...text, name: 'u' }], "'ab', 'c'"),
        rows([text, { ...text, name: 'u' }], "'a', 'bc'"),
      ],
      [
        'which column is NULL',
        rows([text, { ...text, name: 'u' }], "'a', NULL"),
        rows([text, { ...text, name: 'u' }], "NULL, 'a'"),
      ],
      ['-0.0 and 0.0', rows([float], '-0.0'), rows([float], '0.0')],
    ];
    for (const [what, a, b] of different) {
      it(`tells apart ${what}`, async () => {
        assert.notEqual((await rowDigest(engine, a)).digest, (await rowDigest(engine, b)).digest);
      });
    }
    it('takes every NaN for the same', async () => {
      const nan = rows([float], 'nan');
      const other = { ...nan, sql: "SELECT reinterpretAsFloat64(unhex('010000000000f8ff'))::Nullable(Float64) AS f" };
      assert.deepEqual(await rowDigest(engine, other), await rowDigest(engine, nan));
    });
    it('fails where the relation knows another number of rows', async () => {
      const error = await rowDigest(engine, { ...base, rows: 4 }).catch((thrown: unknown) => thrown);
      assert.match(String(error), /gave 3 rows where its own metadata counts 4/);
    });
    it('of each column names the one that differs', async () => {
      const [a, b] = [
        await columnDigests(engine, base),
        await columnDigests(engine, rows([id, text], "1, 'a'", "2, 'x'", '3, NULL')),
      ];
      assert.equal(a.get('id'), b.get('id'));
      assert.notEqual(a.get('t'), b.get('t'));
    });
  });

  describe('the changes between two versions', () => {
    const cases: readonly [string, Relation, Relation, number, number][] = [
      ['nothing', rows([id, text], "1, 'a'"), rows([id, text], "1, 'a'"), 0, 0],
      ['an update', rows([id, text], "1, 'a'", "2, 'b'"), rows([id, text], "1, 'a'", "2, 'c'"), 1, 1],
      ['inserts and deletes', rows([id], '1', '2', '3'), rows([id], '3', '4'), 2, 1],
      ['copies more', rows([id, text], '1, NULL'), rows([id, text], '1, NULL', '1, NULL', '1, NULL'), 0, 2],
      ['copies less', rows([id], '1', '1', '1', '2'), rows([id], '1', '2'), 2, 0],
      ['NULL become empty', rows([id, text], '1, NULL'), rows([id, text], "1, ''"), 1, 1],
    ];
    for (const [what, base, target, deleted, inserted] of cases) {
      it(`are computed as multisets: ${what}`, async () => {
        const { deletes, inserts } = await computeChanges(engine, base, target);
        assert.deepEqual([deletes.rows, inserts.rows], [deleted, inserted]);
        const after = `(${base.sql}) UNION ALL (${inserts.sql})`;
        const undone = await rowDigest(engine, {
          ...base,
          rows: undefined,
          sql: `SELECT * FROM (${target.sql}) UNION ALL (${deletes.sql})`,
        });
        assert.deepEqual(
          await rowDigest(engine, { ...base, rows: undefined, sql: `SELECT * FROM (${after})` }),
          undone,
        );
      });
    }
    it('are right when every row changes', async () => {
      const base = {
        ...rows([id], '0'),
        rows: 50_000,
        sql: 'SELECT number::Nullable(Int64) AS id FROM numbers(50000)',
      };
      const target = { ...base, sql: 'SELECT (number + 50000)::Nullable(Int64) AS id FROM numbers(50000)' };
      const { deletes, inserts } = await computeChanges(engine, base, target);
      assert.deepEqual(await rowDigest(engine, deletes), await rowDigest(engine, base));
      assert.deepEqual(await rowDigest(engine, inserts), await rowDigest(engine, target));
    });
    it('are right for columns with the names which queries like to use themselves', async () => {
      const columns = ['n', 'h', 'c', 'i', 'bucket', 'c0'].map((name) => ({ ...id, name }));
      const [base, target] = [
        rows(columns, '1, 2, 3, 4, 5, 6', '2, 3, 4, 5, 6, 7'),
        rows(columns, '1, 2, 3, 4, 5, 6', '2, 3, 4, 5, 6, 8'),
      ];
      const { deletes, inserts } = await computeChanges(engine, base, target);
      assert.deepEqual(await rowDigest(engine, deletes), await rowDigest(engine, rows(columns, '2, 3, 4, 5, 6, 7')));
      assert.deepEqual(await rowDigest(engine, inserts), await rowDigest(engine, rows(columns, '2, 3, 4, 5, 6, 8')));
      assert.deepEqual((await checkKey(engine, [base], ['n', 'h'])).primaryKey, ['n', 'h']);
      assert.equal((await columnDigests(engine, base)).size, 6);
    });
    it('see a column that came later as NULL', async () => {
      const padded = withColumns(rows([id], '1'), [id, text]);
      assert.deepEqual(await rowDigest(engine, padded), await rowDigest(engine, rows([id, text], '1, NULL')));
    });
  });

  describe('a key', () => {
    const cases: readonly [string, Relation, readonly string[], readonly string[], string | undefined][] = [
      ['is a primary key when each row has its own', rows([id, text], "1, 'a'", "2, 'a'"), ['id'], ['id'], undefined],
      ['may have several columns', rows([id, text], "1, 'a'", "1, 'b'"), ['id', 't'], ['id', 't'], undefined],
      ['is none with duplicates', rows([id], '1', '1', '1'), ['id'], [], 'key (id) has 2 duplicates in rows'],
      ['is none with NULL', rows([id], '1', 'NULL'), ['id'], [], 'key (id) has 1 NULLs in rows'],
      [
        'is none with both',
        rows([id, text], '1, NULL', '1, NULL'),
        ['id', 't'],
        [],
        'key (id, t) has 1 duplicates and 2 NULLs in rows',
      ],
      [
        'is none where a column is missing',
        rows([id], '1'),
        ['other'],
        [],
        'key (other) has a column other that rows lacks',
      ],
      ['is none of floating point', rows([float], '1.0'), ['f'], [], 'key (f) has a column f of type double'],
      ['is none where none is named', rows([id], '1'), [], [], 'no key was named'],
    ];
    for (const [what, relation, key, primaryKey, note] of cases) {
      it(what, async () => {
        const found = await checkKey(engine, [relation], key);
        assert.deepEqual([found.primaryKey, found.note], [primaryKey, note]);
      });
    }
    it('has to be one in both versions, and tells the longest of its texts', async () => {
      const [a, b] = [rows([text], "'é'", "'abc'"), rows([text], "'longer'")];
      assert.deepEqual((await checkKey(engine, [a, b], ['t'])).keyLengths, { t: 6 });
      assert.deepEqual((await checkKey(engine, [a, rows([text], "'x'", "'x'")], ['t'])).primaryKey, []);
    });
  });

  describe('bytes of this process', () => {
    const input = { format: 'TabSeparated', structure: 'n UInt64' };
    const countOf = (table: string): Promise<{ rows: number }> =>
      engine
        .rows<{ n: string }>(`SELECT count() AS n FROM ${table} SETTINGS ${readBytesSettings}`)
        .then(([row]) => ({ rows: Number(row?.n) }));

    it('are read as a table', async () => {
      const produce = async (sink: { write(text: string): unknown }): Promise<number> => {
        sink.write('1\n2\n3\n');
        return 3;
      };
      assert.deepEqual(await readBytes({ ...input, produce }, countOf), { rows: 3 });
    });
    it('fail with the producer’s error when it fails half-way, never as a shorter table', async () => {
      const produce = async (sink: { write(text: string): unknown }): Promise<number> => {
        sink.write('1\n'.repeat(100_000));
        throw new Error('the database is gone');
      };
      assert.match(
        String(await readBytes({ ...input, produce }, countOf).catch((error: unknown) => error)),
        /the database is gone/,
      );
    });
    it('fail when fewer rows were seen than sent', async () => {
      const produce = async (sink: { write(text: string): unknown }): Promise<number> => {
        sink.write('1\n');
        return 2;
      };
      assert.match(
        String(await readBytes({ ...input, produce }, countOf).catch((error: unknown) => error)),
        /sent 2 rows and the engine saw 1/,
      );
    });
    it('fail with the engine’s error when it cannot read them, and do not hang', async () => {
      const produce = async (sink: {
        write(text: string): unknown;
        once(event: 'close', then: () => void): unknown;
      }): Promise<number> => {
        sink.write('not a number\n'.repeat(2_000_000));
        await new Promise<void>((resolve) => sink.once('close', resolve));
        return 1;
      };
      assert.match(
        String(await readBytes({ ...input, produce }, countOf).catch((error: unknown) => error)),
        /parse|Cannot/,
      );
    });
    it('are served to nobody who does not know the path', async () => {
      const produce = async (sink: { write(text: string): unknown }): Promise<number> => {
        sink.write('1\n');
        return 1;
      };
      await readBytes({ ...input, produce }, async (table) => {
        const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(table)?.[0] ?? '';
        assert.equal((await fetch(`${origin}/`)).status, 404);
        return await countOf(table);
      });
    });
  });
});
