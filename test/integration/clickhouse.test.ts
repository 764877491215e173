import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { quoteString } from '../../src/engine/sql.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { formatType } from '../../src/lake/relation-types.ts';
import type { DataType, Field } from '../../src/lake/types.ts';
import { clickHouseRelation } from '../../src/pipelines/landed-clickhouse.ts';
import { type ClickHouseClient, clickHouseClient } from '../../src/sources/clickhouse-client.ts';
import { formatConnection, parseConnection } from '../../src/sources/connection.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import type { Connection } from '../../src/sources/source.ts';
import { makeCertificates } from '../support/certificates.ts';
import {
  type ClickHouse,
  realClickHouse,
  type ServedClickHouse,
  sharedClickHouse,
  startClickHouse,
} from '../support/clickhouse/start.ts';
import { errorOf } from '../support/snapshot-run.ts';

const signal = new AbortController().signal;
const owner = { name: 'candidate', secret: 'landing', role: 'pipeline' } as const;
const cwd = process.cwd();

let engine: Engine;
let scratch: string;

describe('what a pipeline lands in ClickHouse', () => {
  before(async () => {
    process.chdir('/');
    scratch = await mkdtemp(join(tmpdir(), 'parity-clickhouse-test-'));
    await mkdir(join(scratch, 'engine'));
    engine = await openEngine({ scratch: join(scratch, 'engine'), memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true, force: true });
    process.chdir(cwd);
  });

  const real = realClickHouse();
  suite('ClickHouse (the embedded engine behind its HTTP interface)', sharedClickHouse);
  if (real !== undefined) suite('ClickHouse (a real server)', async () => real);

  describe('by a server that goes wrong (the embedded engine behind its HTTP interface)', () => {
    let server: ServedClickHouse;
    before(async () => {
      server = await sharedClickHouse();
    });
    afterEach(() => server.answerWith([]));

    const refusals: readonly [string, (keys: Keys, readonlyKeys: Keys) => Keys, string, RegExp][] = [
      ['a wrong password', (keys) => ({ ...keys, password: 'not the one' }), 'AccessDenied', /user parity was refused/],
      ['another user', (keys) => ({ ...keys, user: 'somebody' }), 'AccessDenied', /user somebody was refused/],
      ['a user that may only read', (_, keys) => keys, 'AccessDenied', /user reader may only read/],
      ['another database', (keys) => ({ ...keys, database: 'nowhere' }), 'NotFound', /Database nowhere does not exist/],
      [
        'another cluster',
        (keys) => ({ ...keys, cluster: 'nowhere' }),
        'NotFound',
        /Requested cluster 'nowhere' not found/,
      ],
      [
        'an address where nothing answers',
        (keys) => ({ ...keys, url: 'http://127.0.0.1:9' }),
        'Unreachable',
        /nothing/,
      ],
      [
        'a port without TLS',
        (keys) => ({ ...keys, url: (keys.url ?? '').replace('http:', 'https:') }),
        'Unreachable',
        /does not speak TLS there/,
      ],
    ];
    for (const [what, keysOf, code, message] of refusals)
      it(`is refused with ${what} in one sentence`, async () => {
        const keys = keysOf(server.secret, server.readonlySecret);
        const run = { uid: crypto.randomUUID(), installation: 'test' };
        const error = await errorOf(createRunDatabase(parseConnection('ClickHouse', keys, owner), 'ClickHouse', run));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        assert.isDefined(error.advice, error.message);
        assert.notInclude(`${error.message} ${error.advice}`, keys.password ?? '');
      });

    const codes: readonly [number, string, string, boolean][] = [
      [47, 'UNKNOWN_IDENTIFIER', 'Internal', false],
      [60, 'UNKNOWN_TABLE', 'NotFound', false],
      [159, 'TIMEOUT_EXCEEDED', 'Timeout', false],
      [202, 'TOO_MANY_SIMULTANEOUS_QUERIES', 'Unreachable', true],
      [241, 'MEMORY_LIMIT_EXCEEDED', 'OutOfMemory', false],
      [243, 'NOT_ENOUGH_SPACE', 'DiskFull', false],
      [396, 'TOO_MANY_ROWS_OR_BYTES', 'LimitExceeded', false],
      [452, 'SETTING_CONSTRAINT_VIOLATION', 'AccessDenied', false],
      [497, 'ACCESS_DENIED', 'AccessDenied', false],
      [499, 'S3_ERROR', 'Unreachable', true],
      [999, 'KEEPER_EXCEPTION', 'Unreachable', true],
    ];
    for (const [number, name, code, isRetryable] of codes)
      it(`tells of ${name} as ${code}, with the server's own words`, async () => {
        const body = `Code: ${number}. DB::Exception: what it says. (${name}) (version 24.8.1.1 (official build))\n`;
        await server.answerWith([{ statement: 'SELECT 1', times: 1, answer: { status: 500, body } }]);
        const client = clickHouseClient(server.connection);
        const error = await errorOf(client.text('SELECT 1'));
        client.close();
        assert.deepEqual([error.code, error.isRetryable], [code, isRetryable]);
        assert.include(error.message, `what it says. (${name}) (${number}).`);
      });

    const answers: readonly [string, { status: number; body: string } | 'Close', RegExp][] = [
      [
        'a proxy that finds no server',
        { status: 502, body: '<html>Bad Gateway' },
        /no answer of ClickHouse \(HTTP 502\)/,
      ],
      ['a page that says OK', { status: 200, body: '<html>Welcome' }, /no answer of ClickHouse \(HTTP 200\)/],
      [
        'the port of the native protocol',
        { status: 400, body: 'Port 9000 is for clickhouse-client program\r\n' },
        /the port of the native protocol/,
      ],
      ['a server that hangs up', 'Close', /connection was (lost|closed)/],
    ];
    for (const [what, answer, message] of answers)
      it(`is unreachable by ${what}`, async () => {
        await server.answerWith([{ statement: 'SELECT 1', times: 1, answer }]);
        const client = clickHouseClient(server.connection);
        const error = await errorOf(client.text('SELECT 1'));
        client.close();
        assert.equal(error.code, 'Unreachable', error.message);
        assert.match(error.message, message);
      });
  });

  describe('by a server with TLS (the embedded engine behind its HTTP interface)', () => {
    let server: ServedClickHouse;
    let otherCa: string;
    before(async () => {
      const ca = await makeCertificates(scratch, 'own');
      otherCa = await makeCertificates(scratch, 'other');
      const [key, cert] = await Promise.all(
        ['own.key', 'own.crt'].map((name) => readFile(join(scratch, name), 'utf8')),
      );
      server = await startClickHouse({ key: key ?? '', cert: cert ?? '', ca });
    });

    const cases: readonly [string, () => Keys, RegExp | undefined][] = [
      ['is reached with its own CA', () => server.secret, undefined],
      [
        'is refused with another CA',
        () => ({ ...server.secret, ca: otherCa }),
        /certificate is not one that the given CA/,
      ],
      [
        'is not spoken to without TLS',
        () => ({ user: 'parity', url: (server.secret.url ?? '').replace('https:', 'http:') }),
        /connection was (lost|closed)|no answer of ClickHouse/,
      ],
    ];
    for (const [what, keysOf, message] of cases)
      it(what, async () => {
        const client = clickHouseClient(parseConnection('ClickHouse', keysOf(), owner));
        const asked = client.text('SELECT 1').finally(() => client.close());
        if (message === undefined) assert.equal(await asked, '1\n');
        else assert.match((await errorOf(asked)).message, message);
      });
  });

  const takes: readonly [string, Keys, RegExp][] = [
    ['no url', { user: 'u' }, /has no key "url"/],
    ['no user', { url: 'http://h:8123' }, /has no key "user"/],
    ['a path in its url', { url: 'http://h:8123/x', user: 'u' }, /has no usable url/],
    ['a login in its url', { url: 'http://a:b@h:8123', user: 'u' }, /has no usable url/],
    ['another protocol', { url: 'clickhouse://h:9000', user: 'u' }, /has no usable url/],
    ['a CA without TLS', { url: 'http://h:8123', user: 'u', ca: 'PEM' }, /has a ca, and a url that is not https/],
  ];
  for (const [what, keys, message] of takes)
    it(`takes no secret with ${what}`, () => {
      assert.throws(() => parseConnection('ClickHouse', keys, owner), message);
    });

  it('keeps its connection through a secret', () => {
    for (const url of ['http://[::1]:8123', 'https://host:8443', 'https://host'])
      for (const more of [{}, { cluster: 'all' }]) {
        const connection = parseConnection('ClickHouse', { url, user: 'u', password: 'p', ...more }, owner);
        assert.deepEqual(parseConnection('ClickHouse', formatConnection(connection), owner), connection);
      }
  });
});

type Keys = Readonly<Record<string, string>>;

function suite(name: string, open: () => Promise<ClickHouse>): void {
  describe(`is read from ${name}`, function () {
    this.timeout(60_000);
    const run = { uid: crypto.randomUUID(), installation: 'test' };
    let server: ClickHouse;
    let connection: Connection;
    let client: ClickHouseClient;

    before(async () => {
      server = await open();
      connection = await createRunDatabase(server.connection, 'ClickHouse', run, 'landed');
      client = clickHouseClient(connection);
    });
    after(async () => {
      client.close();
      await dropRunDatabase(server.connection, 'ClickHouse', run);
      const left = clickHouseClient(server.connection);
      const databases = await left.rows(`SELECT name FROM system.databases WHERE name LIKE 'parity_%'`);
      left.close();
      assert.notInclude(databases.map((row) => row.name ?? '').join(), run.uid.replaceAll('-', '_'));
    });

    const land = async (columns: string, values: string, tableEngine = 'MergeTree ORDER BY tuple()'): Promise<void> => {
      await client.text('DROP TABLE IF EXISTS landed SYNC');
      await client.text(`CREATE TABLE landed (${columns}) ENGINE = ${tableEngine}`);
      if (values !== '') await client.text(`INSERT INTO landed ${values}`);
    };
    const read = (expected: readonly Field[] = []): Promise<Relation> =>
      clickHouseRelation(
        engine,
        connection,
        { name: 'landed', table: 'orders', expected: new Map(expected.map((field) => [field.name, field])) },
        signal,
      );
    const valuesOf = async ({ sql }: Relation): Promise<unknown[]> =>
      (await engine.rows<{ v: unknown }>(`SELECT toString(v) AS v FROM (${sql}) ORDER BY v`)).map(({ v }) => v);

    const types: readonly [string, string, string, readonly (string | null)[]][] = [
      ['Int8', "toInt8('-128')", 'byte', ['-128']],
      ['UInt8', '255', 'short', ['255']],
      ['UInt16', '65535', 'integer', ['65535']],
      ['UInt32', '4294967295', 'long', ['4294967295']],
      ['Int64', "toInt64('-9223372036854775808')", 'long', ['-9223372036854775808']],
      ['UInt64', '18446744073709551615', 'decimal(20,0)', ['18446744073709551615']],
      ['Int128', "toInt128('-170141183460469231731687303715884105728')", 'string', [`-${2n ** 127n}`]],
      ['Float32', '1.1', 'float', ['1.1']],
      ['Float64', 'nan', 'double', ['nan']],
      ['Bool', 'true', 'boolean', ['true']],
      [
        'Decimal(38, 10)',
        "'1234567890123456789012345678.0123456789'",
        'decimal(38,10)',
        ['1234567890123456789012345678.0123456789'],
      ],
      [
        'Decimal(76, 2)',
        "'123456789012345678901234567890123456789012.25'",
        'string',
        ['123456789012345678901234567890123456789012.25'],
      ],
      ['Nullable(String)', 'NULL', 'string', [null]],
      ['LowCardinality(Nullable(String))', "'a\\'b\\n\\0'", 'string', ["a'b\n\0"]],
      ['FixedString(3)', "'a'", 'binary', ['a\0\0']],
      ['Date', "'2149-06-06'", 'date', ['65535']],
      ['Date32', "'1900-01-01'", 'date', ['-25567']],
      ["DateTime('Europe/Berlin')", "toDateTime('2020-07-01 12:00:00', 'UTC')", 'timestamp', ['1593604800000000']],
      ['DateTime64(3)', "'1900-01-01 00:00:00.001'", 'timestamp', ['-2208988799999000']],
      ["DateTime64(6, 'UTC')", "'2299-12-31 23:59:59.999999'", 'timestamp', ['10413791999999999']],
      ['DateTime64(9)', "'1969-12-31 23:59:59.999999000'", 'timestamp', ['-1']],
      ['UUID', "'61f0c404-5cb3-11e7-907b-a6006ad3dba0'", 'string', ['61f0c404-5cb3-11e7-907b-a6006ad3dba0']],
      ['IPv6', "'::1'", 'string', ['::1']],
      ["Enum8('on' = 1, 'off' = 0)", "'off'", 'string', ['off']],
      ['SimpleAggregateFunction(max, Int32)', '7', 'integer', ['7']],
    ];
    for (const [type, value, read_, expected] of types)
      it(`as ${type}, exactly`, async () => {
        await land(`v ${type}`, `SELECT ${value}`);
        const relation = await read();
        assert.deepEqual(
          relation.columns.map((field) => formatType(field.type)),
          [read_],
        );
        assert.deepEqual(await valuesOf(relation), [...expected]);
        assert.equal(relation.rows, 1);
      });

    const refused: readonly [string, string][] = [
      ['Array(String)', "['a']"],
      ['Map(String, Int8)', "map('a', 1)"],
      ['Tuple(a Int8, b String)', "(1, 'b')"],
      ['AggregateFunction(sum, Int32)', 'sumState(toInt32(1))'],
    ];
    for (const [type, value] of refused)
      it(`not as ${type}, which is refused with the column's name`, async () => {
        await land(`v ${type}`, `SELECT ${value}`);
        const error = await errorOf(read());
        assert.equal(error.code, 'UnsupportedFeature');
        assert.include(error.message, `Reading orders, its column v is of the type ${type}`);
      });

    it('not where a time has nanoseconds: that is an error with the name of the column, and no cut value', async () => {
      await land("`when it's` DateTime64(9)", "SELECT '2020-01-01 00:00:00.000000001'");
      const error = await errorOf(read());
      assert.equal(error.code, 'UnrepresentableValue', error.message);
      assert.include(error.message, "its column when it's holds a time with a part below the microsecond");
    });

    it('as the nested value, the bytes or the wall clock that the snapshot has', async () => {
      await land(
        'n String, b String, t DateTime64(6)',
        `SELECT '{ "b" : 1.0, "a" : [ 1, null ] }', unhex('ff00'), '2020-01-01 00:00:00'`,
      );
      const long: DataType = { kind: 'long' };
      const struct: DataType = {
        kind: 'struct',
        fields: [field('b', { kind: 'double' }), field('a', { kind: 'array', element: long, containsNull: true })],
      };
      const fields = [field('n', struct), field('b', { kind: 'binary' }), field('t', { kind: 'timestamp_ntz' })];
      const relation = await read(fields);
      assert.deepEqual(
        relation.columns.map(({ type }) => type.kind),
        ['struct', 'binary', 'timestamp_ntz'],
      );
      const [row] = await engine.rows(`SELECT n, hex(b) AS h FROM (${relation.sql})`);
      assert.deepEqual(row, { n: '{"b":1,"a":[1,null]}', h: 'FF00' });
    });

    it('under names that queries like to use themselves', async () => {
      const names = ['c0', 'c1', 'v', 'read', 'n', 'a`b', 'ü "\\'];
      await land(
        names.map((name) => `${identifier(name)} Int64`).join(', '),
        `SELECT ${names.map((_, i) => i).join(', ')}`,
      );
      const relation = await read();
      assert.deepEqual(
        relation.columns.map(({ name }) => name),
        names,
      );
      const [row] = await engine.rows<Record<string, string>>(relation.sql);
      assert.deepEqual(
        Object.values(row ?? {}),
        names.map((_, i) => String(i)),
      );
    });

    it('with the rows that a merging engine means to hold, merged or not', async () => {
      await land('id Int64, v Int64', '', 'ReplacingMergeTree(v) ORDER BY id');
      for (const v of [1, 3, 2]) await client.text(`INSERT INTO landed SELECT number, ${v} FROM numbers(2)`);
      assert.deepEqual(await valuesOf(await read()), ['3', '3']);
    });

    it('without the columns that are computed from others', async () => {
      await land('v Int64, d Int64 MATERIALIZED v * 2, e Int64 ALIAS v * 3', 'SELECT 1');
      assert.deepEqual(
        (await read()).columns.map(({ name }) => name),
        ['v'],
      );
    });

    it('where it is empty', async () => {
      await land('v Nullable(String), d Date', '');
      const relation = await read();
      assert.deepEqual([relation.rows, relation.columns.length, await valuesOf(relation)], [0, 2, []]);
    });

    it('in as many rows as there are', async () => {
      await land('v String, id UInt64', `SELECT repeat('x', number % 100), number FROM numbers(300000)`);
      const relation = await read();
      assert.equal(relation.rows, 300_000);
      const [row] = await engine.rows<{ s: string }>(`SELECT toString(sum(id)) AS s FROM (${relation.sql})`);
      assert.equal(row?.s, '44999850000');
    });

    it('not where there is no such table', async () => {
      await client.text('DROP TABLE IF EXISTS landed SYNC');
      const error = await errorOf(read());
      assert.equal(error.code, 'NotFound');
      assert.include(error.message, 'There is no table landed in the ClickHouse database');
    });

    it('not where the statement fails half-way: its file is not taken for a shorter table', async () => {
      const file = join(scratch, 'half.parquet');
      const error = await errorOf(
        client.parquet(
          `SELECT number, throwIf(number = 2900000, 'half-way') FROM numbers(3000000) SETTINGS max_block_size = 50000, max_threads = 1, output_format_parquet_row_group_size = 50000`,
          file,
        ),
      );
      assert.match(error.message, /half-way/, error.message);
    });

    it('within its time', async () => {
      const started = Date.now();
      const error = await errorOf(
        client.text('SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1', { timeoutMs: 300 }),
      );
      assert.equal(error.code, 'Timeout', error.message);
      assert.isBelow(Date.now() - started, 20_000);
    });

    it('until it is cancelled, which ends the statement there', async () => {
      const controller = new AbortController();
      const asked = client.text('SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 2', {
        signal: controller.signal,
      });
      setTimeout(() => controller.abort(), 200);
      assert.equal((await errorOf(asked)).code, 'Cancelled');
      assert.equal(await client.text('SELECT 1'), '1\n');
    });

    it('in a database that carries the mark of the run, and is dropped by nobody else', async () => {
      const [row] = await client.rows(
        `SELECT comment FROM system.databases WHERE name = ${quoteString(connection.database)}`,
      );
      assert.equal(row?.comment, `pipeline-parity run=${run.uid} installation=test`);
      const other = { ...run, installation: 'another' };
      const error = await errorOf(dropRunDatabase(server.connection, 'ClickHouse', other));
      assert.match(error.message, /does not carry the mark of run/);
      assert.equal(
        (await createRunDatabase(server.connection, 'ClickHouse', run, 'landed')).database,
        connection.database,
      );
    });
  });
}

function field(name: string, type: DataType): Field {
  return { name, physicalName: name, type, nullable: true };
}

function identifier(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}
