import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { toParityError } from '../support/error.ts';
import { openRelation, parsePlace } from './format-files.ts';
import { formatType } from './relation-types.ts';

describe('a location as a relation', () => {
  const folder = process.cwd();
  let scratch: string;
  let engine: Engine;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-format-'));
    process.chdir('/');
    engine = await openEngine({ scratch, memoryBytes: 1_000_000_000, threads: 2 });
  });

  after(async () => {
    await engine.close();
    process.chdir(folder);
    await rm(scratch, { recursive: true });
  });

  async function read(
    format: string,
    name: string,
    ...files: readonly string[]
  ): Promise<{ types: string; rows: unknown[] }> {
    await mkdir(join(scratch, name));
    for (const [index, text] of files.entries()) await writeFile(join(scratch, name, `${index}.${format}`), text);
    const relation = await openRelation(engine, `${format}:${name}`, { folder: scratch });
    const rows = await engine.rows<Record<string, unknown>>(`SELECT * FROM (${relation.sql})`);
    expect(relation.rows).to.equal(rows.length);
    return {
      types: relation.columns.map(({ type }) => formatType(type)).join(' '),
      rows: rows.map((row) => Object.values(row)),
    };
  }

  /** Values of one CSV column, its type, and the values as they are read. */
  const columns: readonly (readonly [string, readonly string[], string, readonly unknown[]])[] = [
    ['integers', ['1', '-9223372036854775808', '0'], 'long', ['1', '-9223372036854775808', '0']],
    ['integers beyond 64 bits', ['1', '9223372036854775808'], 'string', ['1', '9223372036854775808']],
    ['digits that a double does not keep', ['9007199254740.993', '1'], 'string', ['9007199254740.993', '1']],
    ['leading zeros', ['007', '1'], 'string', ['007', '1']],
    ['a plus sign', ['+1'], 'string', ['+1']],
    ['doubles', ['1', '-2.50', '5e-324', '0.30000000000000004'], 'double', [1, -2.5, 5e-324, 0.30000000000000004]],
    ['more digits than a double has', ['0.1234567890123456789'], 'string', ['0.1234567890123456789']],
    ['a number beyond all doubles', ['1e999'], 'string', ['1e999']],
    ['booleans', ['true', 'false'], 'boolean', [true, false]],
    ['booleans in another case', ['True'], 'string', ['True']],
    ['dates', ['0001-01-01', '1970-01-01', '2000-02-29', '9999-12-31'], 'date', [-719162, 0, 11016, 2932896]],
    ['a day that is none', ['2013-02-29'], 'string', ['2013-02-29']],
    ['wall clocks', ['1969-12-31 23:59:59.999999', '1970-01-01T00:00:00'], 'timestamp_ntz', ['-1', '0']],
    [
      'instants',
      ['1970-01-01T00:00:00Z', '1970-01-01 02:00:00.5+02:00', '1969-12-31T19:00:00-0500'],
      'timestamp',
      ['0', '500000', '0'],
    ],
    [
      'instants beside wall clocks',
      ['1970-01-01T00:00:00Z', '1970-01-01T00:00:00'],
      'string',
      ['1970-01-01T00:00:00Z', '1970-01-01T00:00:00'],
    ],
    ['nanoseconds', ['1970-01-01 00:00:00.000000001'], 'string', ['1970-01-01 00:00:00.000000001']],
    ['NULL beside the empty string', ['', '""', '\\N', 'NULL'], 'string', [null, '', null, 'NULL']],
    ['NULL beside numbers', ['1', ''], 'long', ['1', null]],
    ['white space', [' 1', '"a ""b"",\nc "'], 'string', [' 1', 'a "b",\nc ']],
  ];
  for (const [title, values, type, expected] of columns) {
    it(`csv: ${title}`, async () => {
      const text = ['a,n', ...values.map((value, n) => `${value},${n}`)].join('\n');
      const { types, rows } = await read('csv', `csv-${title}`, text);
      expect(types).to.equal(`${type} long`);
      expect(rows).to.deep.equal(expected.map((value, n) => [value, String(n)]));
    });
  }

  it('csv: a header without rows is an empty table', async () => {
    const { types, rows } = await read('csv', 'header', 'a,"b c"\n');
    expect([types, rows]).to.deep.equal(['string string', []]);
  });

  it('csv: files with the same columns in another order are one table', async () => {
    const { rows } = await read('csv', 'orders', 'a,b\n1,x\n', 'b,a\ny,2\n');
    expect(rows).to.have.deep.members([
      ['1', 'x'],
      ['2', 'y'],
    ]);
  });

  it('ndjson: types, NULLs, missing keys and nested values', async () => {
    const lines = [
      '{"n": 1, "s": "1", "b": true, "d": "2013-01-01", "x": {"k": [1, null]}}',
      '',
      '{"n": -2, "s": null, "d": null, "é": 1.5}',
    ];
    const { types, rows } = await read('ndjson', 'lines', lines.join('\n'));
    expect(types).to.equal('boolean date long string string double');
    expect(rows).to.deep.equal([
      [true, 15706, '1', '1', '{"k":[1,null]}', null],
      [null, null, '-2', null, null, 1.5],
    ]);
  });

  const refused: readonly (readonly [string, string, readonly string[], RegExp])[] = [
    ['a line that is cut', 'ndjson', ['{"a":1}\n{"a":'], /1 lines are no JSON objects/],
    ['a key twice', 'ndjson', ['{"a":1,"a":2}'], /1 lines have a key twice/],
    [
      'a number with more digits than a double',
      'ndjson',
      ['{"a":"0.12345678901234567890"}\n{"a":9007199254740.993}'],
      /1 lines have a number with more digits/,
    ],
    ['a line without a key', 'ndjson', ['{}\n'], /no line has a key/],
    ['a number beyond 64 bits', 'ndjson', ['{"a":18446744073709551616}'], /number beyond 64 bits/],
    ['a row with a field less', 'csv', ['a,b\n1\n'], /a row has other fields than the header/],
    ['a later row with a field more', 'csv', [`a,b\n${'1,2\n'.repeat(3000)}1,2,3\n`], /a row has other fields/],
    ['a column twice', 'csv', ['a,a\n1,2\n'], /a row has other fields|twice/],
    ['files with other columns', 'csv', ['a,b\n1,2\n', 'a,c\n1,2\n'], /has another header/],
    ['nothing', 'csv', [], /No .csv/],
  ];
  for (const [title, format, files, message] of refused) {
    it(`${format}: ${title} is refused`, async () => {
      const error = toParityError(await read(format, `refused ${title}`, ...files).catch((thrown: unknown) => thrown));
      expect(error.code).to.be.oneOf(['CorruptTable', 'NotFound', 'UnrepresentableValue']);
      expect(error.message).to.match(message);
    });
  }

  it('delta: a version of a table, with or without its format named', async () => {
    const counts: (number | undefined)[] = [];
    for (const text of [
      'delta:examples/lake/airlines@3',
      'examples/lake/airlines',
      `file://${folder}/examples/lake/airlines`,
    ]) {
      counts.push((await openRelation(engine, text, { folder })).rows);
    }
    expect(counts).to.deep.equal([17, 16, 16]);
  });

  it('parquet: files of a folder are one table, those with a column less have NULL there', async () => {
    await mkdir(join(scratch, 'pq', 'b'), { recursive: true });
    await engine.execute(
      `INSERT INTO FUNCTION file('${scratch}/pq/a.parquet', Parquet) SELECT 1::Int64 AS id, 'x' AS s`,
    );
    await engine.execute(`INSERT INTO FUNCTION file('${scratch}/pq/b/b.parquet', Parquet) SELECT 2::Int64 AS id`);
    for (const text of ['parquet:pq', 'parquet:pq/**.parquet', join(scratch, 'pq')]) {
      const relation = await openRelation(engine, text, { folder: scratch });
      const rows = await engine.rows(`SELECT * FROM (${relation.sql}) ORDER BY id`);
      expect(rows, text).to.deep.equal([
        { id: '1', s: 'x' },
        { id: '2', s: null },
      ]);
    }
  });

  it('folders named x=5 are a column, unless the files have it', async () => {
    const values = ['__HIVE_DEFAULT_PARTITION__', '2024-02-29', '2024-03-01'];
    for (const [index, value] of values.entries()) {
      const folder = join(scratch, 'hive', `day=${value}`, 'x=a%2F*');
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'a.csv'), `id,day\n${index},2000-01-0${index + 1}\n`);
      await writeFile(join(folder, 'a.ndjson'), `{"id":${index}}\n`);
    }
    const rowsOf = async (text: string) => {
      const { sql, columns } = await openRelation(engine, text, { folder: scratch });
      const rows = await engine.rows<Record<string, unknown>>(`SELECT id, day, x FROM (${sql}) ORDER BY id`);
      return [
        columns
          .map(({ type }) => type.kind)
          .sort()
          .join(' '),
        ...rows.map((row) => Object.values(row).join(' ')),
      ];
    };
    expect(await rowsOf('ndjson:hive')).to.deep.equal(['date long string', '0  a/*', '1 19782 a/*', '2 19783 a/*']);
    await engine.execute(`INSERT INTO FUNCTION file('${scratch}/hive.parquet', Parquet) SELECT 7 AS id`);
    for (const value of values)
      await copyFile(join(scratch, 'hive.parquet'), join(scratch, 'hive', `day=${value}`, 'x=a%2F*', 'a.parquet'));
    expect((await rowsOf('parquet:hive')).sort()).to.deep.equal([
      '7  a/*',
      '7 19782 a/*',
      '7 19783 a/*',
      'date short string',
    ]);
    await writeFile(join(scratch, 'hive', 'a.csv'), 'id,day\n1,2000-01-01\n');
    expect(toParityError(await rowsOf('csv:hive').catch((thrown: unknown) => thrown)).message).to.contain(
      'different partitions',
    );
    expect(await rowsOf('csv:hive/day=*/**.csv')).to.deep.equal([
      'date long string',
      '0 10957 a/*',
      '1 10958 a/*',
      '2 10959 a/*',
    ]);
  });

  it('parquet: files in a folder _day=5 are data, those in _delta_log and .tmp are not', async () => {
    for (const part of ['_day=5', '_delta_log', '.tmp']) {
      await mkdir(join(scratch, 'hidden', part), { recursive: true });
      await engine.execute(`INSERT INTO FUNCTION file('${scratch}/hidden/${part}/a.parquet', Parquet) SELECT 1 AS id`);
    }
    expect((await openRelation(engine, 'parquet:hidden', { folder: scratch })).rows).to.equal(1);
  });

  it('parquet: what lies in a folder and may be data is read or refused, never passed over', async () => {
    const folder = join(scratch, 'mixed');
    await mkdir(folder);
    await engine.execute(`INSERT INTO FUNCTION file('${folder}/a.parquet', Parquet) SELECT 1 AS id`);
    await copyFile(join(folder, 'a.parquet'), join(folder, 'B.PARQUET'));
    for (const other of ['README.md', '_SUCCESS', '.a.parquet.crc']) await writeFile(join(folder, other), 'x');
    await symlink(join(folder, 'a.parquet'), join(folder, 'c.parquet'));
    const open = () => openRelation(engine, 'parquet:mixed', { folder: scratch });
    expect((await open()).rows).to.equal(3);
    const odd: readonly (readonly [string, () => Promise<void>])[] = [
      ['part-00001', () => writeFile(join(folder, 'part-00001'), 'x')],
      ['d.parquet.tmp', () => writeFile(join(folder, 'd.parquet.tmp'), 'x')],
      ['linked', () => symlink(tmpdir(), join(folder, 'linked'))],
      ['gone.parquet', () => symlink(join(folder, 'nowhere'), join(folder, 'gone.parquet'))],
    ];
    for (const [name, make] of odd) {
      await make();
      const error = toParityError(await open().catch((thrown: unknown) => thrown));
      expect(error, name).to.include({ code: 'UnsupportedFeature', subject: `file://${folder}/${name}` });
      await rm(join(folder, name));
    }
  });

  const cut: readonly (readonly [string, string, string, RegExp])[] = [
    ['names that are one but for case', '1 AS id, 2 AS a, 3 AS A', 'UnsupportedFeature', /another's but for case/],
    [
      'nanoseconds with a zone in an array',
      "[toDateTime64('2020-01-01 00:00:00.000000001', 9, 'UTC')] AS c",
      'UnrepresentableValue',
      /c\.list\.element/,
    ],
    ['decimals of 50 digits in an array', "[CAST('1', 'Decimal(50, 0)')] AS c", 'UnrepresentableValue', /precision=50/],
  ];
  for (const [index, [title, select, code, message]] of cut.entries()) {
    it(`parquet: ${title}, which a reader would lose, are refused`, async () => {
      await engine.execute(`INSERT INTO FUNCTION file('${scratch}/cut-${index}.parquet', Parquet) SELECT ${select}`);
      const opened = openRelation(engine, `parquet:cut-${index}.parquet`, { folder: scratch });
      const error = toParityError(await opened.catch((thrown: unknown) => thrown));
      expect(error.code).to.equal(code);
      expect(error.message).to.match(message);
    });
  }

  /** One INT96 timestamp `t` of 1 ns, in the second file beside an array; written by Arrow, because none of the engines here writes INT96. */
  const int96 = [
    'UEFSMRUAFSQVJCwVAhUAFQYVBhwAAAACAAAAAgEBAAAAAAAAAIw9JQAVBBksNQAYBnNjaGVtYRUCABUGJQIYAXQAFgIZHBkcJgAcFQYZJQYAGRgBdBUAFgIWShZKJghJHBUAFQAVAgA8KQYZJgACAAAAFkoWAiYIFkoAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRkcHAAAAHoAAABQQVIx',
    'UEFSMRUAFSQVJCwVAhUAFQYVBhwAAAACAAAAAgEBAAAAAAAAAIw9JQAVABUgFSAsFQIVABUGFQYcAAAAAgAAAAIAAgAAAAIDAQAAABUEGVw1ABgGc2NoZW1hFQQAFQYlAhgBdAA1AhgBbBUCFQZMPAAAADUEGARsaXN0FQIAFQIlAhgHZWxlbWVudAAWAhkcGSwmABwVBhklBgAZGAF0FQAWAhZKFkomCEkcFQAVABUCADwpBhkmAAIAAAAmABwVAhklBgAZOAFsBGxpc3QHZWxlbWVudBUAFgIWRhZGJlJJHBUAFQAVAgA8KSYCABlGAAAAAgAAABaQARYCJggWkAEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRksHAAAHAAAAOEAAABQQVIx',
  ];
  for (const [index, file] of int96.entries()) {
    it(`parquet: nanoseconds of INT96 are refused${index === 0 ? '' : ', beside nested columns too'}`, async () => {
      await writeFile(join(scratch, `int96-${index}.parquet`), Buffer.from(file, 'base64'));
      const read = async () => {
        const { sql } = await openRelation(engine, `parquet:int96-${index}.parquet`, { folder: scratch });
        return await engine.rows(`SELECT t FROM (${sql})`);
      };
      const error = toParityError(await read().catch((thrown: unknown) => thrown));
      expect(error.message).to.contain('column t holds nanoseconds');
    });
  }

  it('iceberg: a snapshot of a table; a nested column is refused by name, or left out', async () => {
    const at = join(scratch, 'ice');
    await engine.execute('SET allow_insert_into_iceberg = 1');
    await engine.execute(
      `CREATE TABLE ice (id Int64, d Nullable(Date32), t Nullable(DateTime64(6)), l Array(Int64)) ENGINE = IcebergLocal('${at}', 'Parquet')`,
    );
    await engine.execute(`INSERT INTO ice SELECT 1, '1969-12-31', '1969-12-31 23:59:59.999999', [1]`);
    const metadata = await readFile(join(at, 'metadata', 'v2.metadata.json'), 'utf8');
    // As text: the id is beyond the integers of JSON.parse.
    const id = /"current-snapshot-id"\s*:\s*(\d+)/.exec(metadata)?.[1];
    await engine.execute(`INSERT INTO ice SELECT 2, NULL, NULL, []`);
    const options = { folder: scratch, omit: ['l'] };
    const newest = await openRelation(engine, 'iceberg:ice', options);
    expect(await engine.rows(`SELECT * FROM (${newest.sql}) ORDER BY id`)).to.deep.equal([
      { id: '1', d: -1, t: '-1' },
      { id: '2', d: null, t: null },
    ]);
    const first = await openRelation(engine, `iceberg:ice@${id}`, options);
    expect(await engine.rows(`SELECT * FROM (${first.sql})`)).to.deep.equal([{ id: '1', d: -1, t: '-1' }]);
    const error = toParityError(await openRelation(engine, `iceberg:${at}`).catch((thrown: unknown) => thrown));
    expect(error).to.include({ code: 'UnsupportedFeature', subject: 'l' });
    const gone = toParityError(
      await openRelation(engine, `iceberg:${at}@1`, options).catch((thrown: unknown) => thrown),
    );
    expect(gone.code).to.equal('VersionGone');
  });

  it('iceberg: a time of day, which the engine gives as whole seconds, is refused by name, or left out', async () => {
    await engine.execute('SET allow_insert_into_iceberg = 1');
    await engine.execute(
      `CREATE TABLE ice_time (id Int64, t Int64) ENGINE = IcebergLocal('${scratch}/ice-time', 'Parquet')`,
    );
    await engine.execute('INSERT INTO ice_time SELECT 1, 2');
    const file = join(scratch, 'ice-time', 'metadata', 'v2.metadata.json');
    const metadata = await readFile(file, 'utf8');
    // The engine writes no such column, so the schema's word for it is put there.
    const changed = metadata.replace(/("name"\s*:\s*"t"[^{}]*"type"\s*:\s*)"long"/g, '$1"time"');
    expect(changed).to.not.equal(metadata);
    await writeFile(file, changed);
    const options = { folder: scratch };
    const error = toParityError(
      await openRelation(engine, 'iceberg:ice-time', options).catch((thrown: unknown) => thrown),
    );
    expect(error).to.include({ code: 'UnsupportedFeature', subject: 't' });
    await openRelation(engine, 'iceberg:ice-time', { ...options, omit: ['t'] });
  });

  it('iceberg: a table that is not there is an error', async () => {
    const error = toParityError(
      await openRelation(engine, 'iceberg:/nowhere/table').catch((thrown: unknown) => thrown),
    );
    expect(error.message).to.match(/nowhere/);
  });

  const places: readonly (readonly [string, string, string, string | undefined])[] = [
    ['delta:s3://bucket/lake/flights@12', 's3://bucket', 'lake/flights', '12'],
    ['parquet:s3://bucket/out/*.parquet', 's3://bucket', 'out/*.parquet', undefined],
    ['csv:file:///data/my%20rows.csv', 'file:///data', 'my rows.csv', undefined],
    ['delta:flights@3', `file://${resolve('/home/me')}`, 'flights', '3'],
    ['csv:out/*/a?.csv', `file://${resolve('/home/me')}/out`, '*/a?.csv', undefined],
    ['delta:out/*/a', `file://${resolve('/home/me')}/out/*`, 'a', undefined],
    ['parquet:at@1', `file://${resolve('/home/me')}`, 'at@1', undefined],
  ];
  for (const [text, root, path, version] of places) {
    it(`${text} is ${path} in ${root}`, () => {
      expect(parsePlace(text, '/home/me')).to.include({ root, path, version });
    });
  }

  for (const text of ['', 'delta:', 'http://host/table', 'gs://bucket/table']) {
    it(`'${text}' names no table`, () => {
      expect(() => parsePlace(text, '/'))
        .to.throw('names no table')
        .with.property('code', 'BadUsage');
    });
  }
});
