import { mkdir, mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect } from 'chai';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { addAction, initialCommit } from '../../src/lake/delta/commit.ts';
import { readDeltaSnapshot } from '../../src/lake/delta/log.ts';
import type { DeltaSnapshot } from '../../src/lake/delta/types.ts';
import { canonicalJsonFromText } from '../../src/lake/nested.ts';
import { openReader, openStore } from '../../src/lake/open.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { type DeltaRelationOptions, deltaRelation } from '../../src/lake/relation-delta.ts';
import { crossCheck } from '../../src/lake/second-reader.ts';
import type { ObjectReader } from '../../src/lake/store.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { checkCount, checkedCount } from '../../src/tasks/relations.ts';
import { commitName, writeLog } from '../support/delta-table.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';

const field = (name: string, type: DataType, physicalName = name): Field => ({
  name,
  type,
  physicalName,
  nullable: true,
});
const long: DataType = { kind: 'long' };
const text: DataType = { kind: 'string' };

describe('a Delta table as a relation', function () {
  this.timeout(120_000);
  const folder = process.cwd();
  let scratch: string;
  let engine: Engine;
  let reader: ObjectReader;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-relation-'));
    process.chdir('/');
    engine = await openEngine({ scratch, memoryBytes: 1_000_000_000, threads: 2 });
    reader = await openReader({ location: `file://${scratch}` });
  });

  after(async () => {
    await engine.close();
    process.chdir(folder);
    await rm(scratch, { recursive: true });
  });

  /** A table whose files are Parquet that DuckDB writes from queries, one a file. */
  async function table(name: string, schema: readonly Field[], files: readonly TestFile[]): Promise<DeltaSnapshot> {
    for (const file of files) await writeParquet(join(scratch, name, file.path), file.select);
    const adds = await Promise.all(
      files.map(async ({ path, numRecords, partition }) => {
        const { size } = await stat(join(scratch, name, path));
        return addAction({
          path,
          sizeBytes: size,
          numRecords: numRecords ?? 1,
          ...(partition === undefined ? {} : { partitionValues: partition }),
        });
      }),
    );
    const partitionColumns = Object.keys(files[0]?.partition ?? {});
    const isMapped = schema.some((column) => column.physicalName !== column.name);
    const configuration = isMapped ? { 'delta.columnMapping.mode': 'name' } : {};
    const log = [
      ...initialCommit({ schema: { kind: 'struct', fields: schema }, partitionColumns, configuration }),
      ...adds,
    ];
    await writeLog(join(scratch, name), { [commitName(0)]: log });
    return await readDeltaSnapshot(reader, name, 0);
  }

  const rows = (relation: Relation): Promise<Record<string, unknown>[]> =>
    engine.rows(`SELECT * FROM (${relation.sql}) ORDER BY ALL`);

  async function failure(snapshot: DeltaSnapshot, name: string, options?: DeltaRelationOptions): Promise<ParityError> {
    try {
      await deltaRelation(engine, reader, name, snapshot, options);
    } catch (error) {
      if (error instanceof ParityError) return error;
      throw error;
    }
    throw new Error('it was read');
  }

  describe('refuses what it would read wrong', () => {
    const cases: readonly (readonly [string, DataType, string, RegExp])[] = [
      [
        '64 bits for an integer',
        { kind: 'integer' },
        '5000000000::BIGINT',
        /column c is integer in the schema but INT64/,
      ],
      ['32 bits for a byte', { kind: 'byte' }, '300::INTEGER', /column c is byte/],
      [
        'another scale',
        { kind: 'decimal', precision: 9, scale: 1 },
        '1.25::DECIMAL(9,2)',
        /decimal\(9,1\) in the schema/,
      ],
      [
        'more digits',
        { kind: 'decimal', precision: 5, scale: 2 },
        '1.25::DECIMAL(9,2)',
        /decimal\(5,2\) in the schema/,
      ],
      ['a double for a float', { kind: 'float' }, '0.1::DOUBLE', /column c is float/],
      ['text for a number', long, "'1'", /column c is long in the schema but BYTE_ARRAY/],
      ['a struct for a number', long, '{a: 1}', /column c is long in the schema but a nested column/],
      ['an unsigned long', long, '1::UBIGINT', /column c is long/],
      ['a time for a timestamp', { kind: 'timestamp' }, "TIME '12:00:00'", /column c is timestamp/],
      [
        '64 bits for an integer in an array',
        { kind: 'array', element: { kind: 'integer' }, containsNull: true },
        '[5000000000]',
        /column c has a integer/,
      ],
    ];
    for (const [title, type, value, message] of cases) {
      it(title, async () => {
        const name = `refused-${title.replaceAll(' ', '-')}`;
        const snapshot = await table(name, [field('c', type)], [{ path: 'f.parquet', select: `SELECT ${value} AS c` }]);
        const error = await failure(snapshot, name);
        expect(error.message).to.match(message);
        expect(error).to.include({ code: 'UnrepresentableValue', subject: 'c' });
        expect(
          (await deltaRelation(engine, reader, name, snapshot, { omit: ['c'] })).rows,
          'without the column',
        ).to.equal(1);
      });
    }

    it('nanoseconds below the microsecond, when they are read', async () => {
      const select = `SELECT make_timestamp_ns(1999) AS c`;
      const snapshot = await table('nanos', [field('c', { kind: 'timestamp_ntz' })], [{ path: 'f.parquet', select }]);
      const relation = await deltaRelation(engine, reader, 'nanos', snapshot);
      const error = toParityError(await rows(relation).catch((thrown: unknown) => thrown));
      expect(error.message).to.contain('column c holds nanoseconds');
    });
  });

  it('reads narrower numbers, and timestamps of any unit, exactly', async () => {
    const schema = [
      field('n', long),
      field('d', { kind: 'double' }),
      field('ms', { kind: 'timestamp_ntz' }),
      field('ns', { kind: 'timestamp_ntz' }),
    ];
    const select = `SELECT 7::TINYINT AS n, 0.1::FLOAT AS d, make_timestamp_ms(-1) AS ms, make_timestamp_ns(-1000) AS ns`;
    const snapshot = await table('narrow', schema, [{ path: 'f.parquet', select }]);
    const relation = await deltaRelation(engine, reader, 'narrow', snapshot);
    expect(await rows(relation)).to.deep.equal([{ n: '7', d: 0.10000000149011612, ms: '-1000', ns: '-1' }]);
  });

  it('says which file is gone, truncated, or has other rows than the log says', async () => {
    const select = 'SELECT i AS id FROM range(1000) t(i)';
    const snapshot = await table(
      'broken',
      [field('id', long)],
      [
        { path: 'a.parquet', select, numRecords: 1000 },
        { path: 'b.parquet', select, numRecords: 1000 },
      ],
    );
    const relation = await deltaRelation(engine, reader, 'broken', snapshot);
    expect(await checkedCount(engine, relation)).to.equal(2000);
    const wrong = snapshot.files.map((file) => ({ ...file, numRecords: 999 }));
    expect(await failure({ ...snapshot, files: wrong }, 'broken')).to.include({
      code: 'CorruptTable',
      subject: 'a.parquet',
    });
    await truncate(join(scratch, 'broken', 'b.parquet'), 300);
    expect((await failure(snapshot, 'broken')).code).to.equal('CorruptTable');
    await rm(join(scratch, 'broken', 'b.parquet'));
    expect(await failure(snapshot, 'broken')).to.include({ code: 'CorruptTable', subject: 'broken/b.parquet' });
    expect(() => checkCount(relation, 1000)).to.throw('1000 rows were read where the table has 2000');
  });

  it('reads files whose names are patterns, quotes or escapes', async () => {
    const names = ['{a,b}*?.parquet', "it's 50%25 #1 é\\.parquet", 'x=5/a::b.parquet', 'plain.parquet'];
    const files = names.map((path, index) => ({ path, select: `SELECT ${index} AS id, 'in the file' AS x` }));
    const snapshot = await table('odd, {names}', [field('id', { kind: 'integer' }), field('x', text)], files);
    const relation = await deltaRelation(engine, reader, 'odd, {names}', snapshot);
    expect(await rows(relation)).to.deep.equal(names.map((_, id) => ({ id, x: 'in the file' })));
  });

  it('gives each of 2,000 files its own partition values', async () => {
    const schema = [field('p', text), field('day', { kind: 'date' }), field('n', { kind: 'integer' })];
    const files = Array.from({ length: 2_000 }, (_, n) => ({
      path: `p${n}.parquet`,
      select: `SELECT ${n}::INTEGER AS n`,
      partition: { p: n % 7 === 0 ? null : `'${n % 50}`, day: n % 2 === 0 ? '0001-01-01' : '9999-12-31' },
    }));
    const relation = await deltaRelation(engine, reader, 'parts', await table('parts', schema, files));
    const right = `p IS NOT DISTINCT FROM if(n % 7 = 0, NULL, concat('\\'', toString(n % 50))) AND day = if(n % 2 = 0, -719162, 2932896)`;
    const [counted] = await engine.rows(
      `SELECT count() AS all, uniqExact(n) AS u, countIf(${right}) AS ok FROM (${relation.sql})`,
    );
    expect(counted).to.deep.equal({ all: '2000', u: '2000', ok: '2000' });
    expect(relation.sql.length).to.be.lessThan(1_000);
  });

  it('reads columns by physical names, also where they are each other’s', async () => {
    const inner: DataType = { kind: 'struct', fields: [field('x', long, 'col-1'), field('y', text, 'col-2')] };
    const schema = [
      field('a', long, 'b'),
      field('b', long, 'a'),
      field('list', { kind: 'array', element: inner, containsNull: true }, 'col-3'),
      field('later', text, 'col-4'),
    ];
    const select = `SELECT 1::BIGINT AS a, 2::BIGINT AS b, [{'col-1': 3::BIGINT, 'col-2': 'y"'}, NULL, {'col-1': NULL, 'col-2': NULL}] AS "col-3"
      UNION ALL SELECT NULL, NULL, NULL UNION ALL SELECT 5, 6, []`;
    const snapshot = await table('mapped', schema, [{ path: 'f.parquet', select, numRecords: 3 }]);
    expect(snapshot.columnMapping).to.equal('name');
    expect(await rows(await deltaRelation(engine, reader, 'mapped', snapshot))).to.deep.equal([
      { a: '2', b: '1', list: '[{"x":3,"y":"y\\""},null,{"x":null,"y":null}]', later: null },
      { a: '6', b: '5', list: '[]', later: null },
      { a: null, b: null, list: null, later: null },
    ]);
    await crossCheck(engine, reader, 'mapped', snapshot, 'mapped');
  });

  it('keeps -0.0 beside 0.0 in tables with nested columns, and spells doubles as the engine does', async () => {
    const type: DataType = { kind: 'array', element: { kind: 'double' }, containsNull: true };
    const single: DataType = { kind: 'array', element: { kind: 'float' }, containsNull: true };
    const exponents = `(CASE WHEN i % 3 = 0 THEN -1 ELSE 1 END) * (1 + random()) * pow(10.0, (i % 640) - 320)`;
    const select = `SELECT setseed(0.5), i::BIGINT AS id, (CASE i % 2 WHEN 0 THEN '-0.0' ELSE '0.0' END)::DOUBLE AS z,
      [${exponents}, i::DOUBLE, i * 1e14, i / 8.0, i / 1e7] AS l, [(random() * pow(10.0, (i % 80) - 42))::FLOAT, (i / 10)::FLOAT, pow(2.0, (i % 277) - 149)::FLOAT] AS f FROM range(5000) t(i)`;
    const schema = [field('id', long), field('z', { kind: 'double' }), field('l', type), field('f', single)];
    const snapshot = await table('doubles', schema, [{ path: 'f.parquet', select, numRecords: 5000 }]);
    const relation = await deltaRelation(engine, reader, 'doubles', snapshot);
    const [counted] = await engine.rows(
      `SELECT countIf(toString(z) = '-0') AS zeros, countIf(${canonicalJsonFromText('l', type)} != l OR ${canonicalJsonFromText('f', single)} != f) AS other FROM (${relation.sql})`,
    );
    expect(counted).to.deep.equal({ zeros: '2500', other: '0' });
    expect((await crossCheck(engine, reader, 'doubles', snapshot, 'doubles')).rows).to.equal(5000);
  });

  it('finds by the second reader what one of the readers gets wrong', async () => {
    const schema = [field('id', long), field('s', text)];
    const select = `SELECT i AS id, 'v' || i AS s FROM range(100) t(i)`;
    const snapshot = await table('second', schema, [{ path: 'f.parquet', select, numRecords: 100 }]);
    expect(await crossCheck(engine, reader, 'second', snapshot, 'second')).to.include({
      rows: 100,
      columns: 2,
      note: undefined,
    });
    // An engine that reads the text of one row in another way.
    const wrong: Engine = {
      scratch: engine.scratch,
      rows: (sql) => engine.rows(sql.replaceAll('t.`s` AS `s`', "replaceOne(t.`s`, 'v77', 'v78') AS `s`")),
      execute: (sql) => engine.execute(sql),
      stream: (sql, format) => engine.stream(sql, format),
      close: () => engine.close(),
    };
    const error = toParityError(await crossCheck(wrong, reader, 'second', snapshot, 'second').catch((e: unknown) => e));
    expect(error).to.include({ code: 'UnrepresentableValue', subject: 's' });
  });

  describe('in a bucket', () => {
    let server: SeaweedFs;

    before(async () => {
      server = await startSeaweedFs();
      await server.createBucket('lake');
    });

    after(async () => {
      await server.stop();
    });

    it('reads any key, plain and nested, and never names the access keys', async () => {
      const schema = [
        field('id', { kind: 'integer' }),
        field('l', { kind: 'array', element: long, containsNull: true }),
      ];
      const names = ['p=a%2Fb/é #+?.parquet', '{a,b}*.parquet', 'plain.parquet'];
      const local = await table(
        'bucket',
        schema,
        names.map((path, id) => ({ path, select: `SELECT ${id} AS id, [${id}, NULL]::BIGINT[] AS l` })),
      );
      const storage = { location: 's3://lake/some tables', endpoint: server.endpoint };
      const store = await openStore(storage, { ...server.admin });
      for (const name of names) await store.put(`t/${name}`, await readFile(join(scratch, 'bucket', name)));
      const remote = await openReader(storage, { ...server.reader });
      for (const omit of [['l'], []]) {
        const relation = await deltaRelation(engine, remote, 't', local, { omit });
        const expected = names.map((_, id) => (omit.length === 0 ? { id, l: `[${id},null]` } : { id }));
        expect(await rows(relation)).to.deep.equal(expected);
        expect(relation.sql).to.not.contain(server.reader.secretAccessKey).and.not.contain(server.reader.accessKeyId);
      }
      const denied = await openReader(storage, { accessKeyId: 'reader', secretAccessKey: 'wrong-secret' });
      const error = toParityError(await deltaRelation(engine, denied, 't', local).catch((thrown: unknown) => thrown));
      expect(error.code).to.equal('AccessDenied');
      expect(JSON.stringify(error)).to.not.contain('wrong-secret');
    });
  });
});

interface TestFile {
  readonly path: string;
  readonly select: string;
  readonly numRecords?: number;
  readonly partition?: Readonly<Record<string, string | null>>;
}

let writer: Promise<DuckDBInstance> | undefined;

async function writeParquet(path: string, select: string): Promise<void> {
  writer ??= DuckDBInstance.create(':memory:', { threads: '1' });
  await mkdir(dirname(path), { recursive: true });
  const connection = await (await writer).connect();
  await connection.run(`COPY (${select}) TO '${path.replaceAll("'", "''")}' (FORMAT parquet, DICTIONARY_SIZE_LIMIT 0)`);
  connection.closeSync();
}
