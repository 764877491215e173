import { assert } from 'chai';
import type { ResolvedQuery } from '../api/resolved.ts';
import { type Bench, openBench } from '../pipelines/reference.fixture.ts';
import { ParityError } from '../support/error.ts';
import { isLeftOut, runQuery } from './query.ts';
import { contextOf, sideOf, writeTable } from './sides.fixture.ts';

describe('the query task', () => {
  let bench: Bench;
  const days = (from: string): string => `toDate32('${from}')`;
  before(async () => {
    bench = await openBench();
    const flights =
      "SELECT toInt32(number) AS id, ['AA', 'UA', 'DL'][1 + number % 3] AS carrier, toDate32('2013-01-01') + number AS day";
    await writeTable(bench, 'one', 'flights', `${flights}, 1 AS only_here FROM numbers(12)`);
    await writeTable(bench, 'two', 'flights', `${flights} FROM numbers(13) WHERE number != 3`);
    for (const side of ['one', 'two'])
      await writeTable(
        bench,
        side,
        'airlines',
        "SELECT 'AA' AS carrier, 'American' AS name UNION ALL SELECT 'UA', 'United'",
      );
    for (const side of ['one', 'two'])
      await writeTable(
        bench,
        side,
        'old',
        `SELECT 1 AS id, CAST(-50000, 'Int32') AS raw, ${days('1900-01-01')} AS day`,
      );
    // The same rows in another order, of other integers, and with a column that is not compared.
    const tied = (type: string): string =>
      `SELECT to${type}(number) AS id, ['AA', 'UA'][1 + number % 2] AS carrier, [1e16, 1, -1e16, 0.1][1 + number % 4] AS amount FROM numbers(1000)`;
    await writeTable(bench, 'one', 'tied', `${tied('Int32')} ORDER BY number`);
    await writeTable(bench, 'two', 'tied', `SELECT *, 1 AS more FROM (${tied('Int64')}) ORDER BY sipHash64(id)`);
    await writeTable(bench, 'one', 'reordered', tied('Int32'));
    await writeTable(bench, 'two', 'reordered', `SELECT amount, carrier, id FROM (${tied('Int32')})`);
    await writeTable(bench, 'one', 'nearly_tied', `${tied('Int32')} ORDER BY number`);
    await writeTable(
      bench,
      'two',
      'nearly_tied',
      `SELECT if(id = 7, 8, id) AS id, carrier, if(id = 7, 2, amount) AS amount FROM (${tied('Int32')}) ORDER BY sipHash64(id)`,
    );
  });
  after(() => bench.close());

  const tables = ['flights', 'airlines', 'old', 'tied', 'reordered', 'nearly_tied'].map((name) => ({ name }));
  const run = async (
    query: Partial<ResolvedQuery> & { sql: string },
    values: 'Masked' | 'Shown' = 'Shown',
    candidate = 'two',
  ) => {
    const full = { name: 'q', expect: { sameAs: 'Baseline' }, timeoutSeconds: 60, ...query } as const;
    const input = {
      kind: 'query',
      step: 's',
      queries: ['q'],
      baseline: sideOf(bench, 'one'),
      candidate: sideOf(bench, candidate),
    } as const;
    const { summary, detail } = await runQuery(
      contextOf(bench, input, { tables, comparison: { values }, queries: [full] }),
    );
    const [result] = detail.queries;
    if (result === undefined) throw new Error('no result');
    return { summary, result, notes: detail.notes };
  };
  const failure = (query: Partial<ResolvedQuery> & { sql: string }): Promise<unknown> =>
    run(query).catch((e: unknown) => e);

  it('compares multisets where the query does not order', async () => {
    const { result } = await run({ sql: 'SELECT carrier, count() AS n FROM {{airlines}} GROUP BY carrier' });
    assert.include(result, { name: 'q', outcome: 'Equal', message: '', baselineRows: 2, candidateRows: 2 });
    assert.equal(result.baselineDigest, result.candidateDigest);
  });

  it('says of a result without a row on either side that it shows little', async () => {
    const { result, notes } = await run({ sql: "SELECT name FROM {{airlines}} WHERE carrier = 'nobody'" });
    assert.equal(result.outcome, 'Equal');
    assert.deepEqual(notes, ['query q: its result has no row on either side, so it shows little']);
    assert.deepEqual((await run({ sql: 'SELECT name FROM {{airlines}}' })).notes, []);
  });

  it('joins tables and shows the rows that differ', async () => {
    const sql = `SELECT a.name, max(f.id) AS last FROM {{flights}} AS f JOIN {{ airlines }} AS a ON a.carrier = f.carrier GROUP BY a.name -- by name`;
    const { result, summary } = await run({ sql });
    assert.equal(result.message, '1 of 2 rows differs');
    assert.sameDeepMembers(
      [...result.samples],
      [
        { baseline: '["American","9"]', candidate: null },
        { baseline: null, candidate: '["American","12"]' },
      ],
    );
    assert.deepInclude(summary, { differences: 1, differing: 1, headline: 'query q: 1 of 2 rows differs' });
  });

  it('compares in order where the outermost SELECT orders', async () => {
    const { result } = await run({ sql: 'SELECT id FROM {{flights}} ORDER BY id LIMIT 5' });
    assert.equal(result.message, '2 of 5 rows differ');
    assert.deepEqual(result.samples, [
      { baseline: '["3"]', candidate: '["4"]' },
      { baseline: '["4"]', candidate: '["5"]' },
    ]);
    const inner = await run({ sql: 'SELECT count() FROM (SELECT id FROM {{flights}} ORDER BY id)' });
    assert.equal(inner.result.outcome, 'Equal');
  });

  it('says when only the order differs', async () => {
    const { result } = await run({
      sql: 'SELECT carrier FROM {{airlines}} ORDER BY carrier = (SELECT argMin(carrier, id > 11 ? 0 : 1) FROM {{flights}} WHERE id IN (1, 12))',
    });
    assert.match(result.message, /same rows in another order/);
  });

  const unordered = [
    'SELECT sum(amount) FROM {{tied}}',
    'SELECT id FROM {{tied}} ORDER BY carrier',
    'SELECT id FROM {{tied}} ORDER BY carrier LIMIT 3',
    'SELECT id FROM {{tied}} LIMIT 3',
    'SELECT any(id), groupArray(id) FROM {{tied}}',
    'SELECT * FROM {{reordered}} ORDER BY id LIMIT 1',
  ];
  for (const sql of unordered)
    it(`does not depend on the order of a table's rows: ${sql}`, async () => {
      const { result } = await run({ sql });
      assert.include(result, { outcome: 'Equal', message: '', baselineDigest: result.candidateDigest });
      assert.equal(
        result.baselineDigest,
        (await run({ sql }, 'Shown', 'one')).result.baselineDigest,
        'whatever the candidate',
      );
    });

  it('finds one row of a table in another order', async () => {
    const { result } = await run({ sql: 'SELECT id FROM {{nearly_tied}} ORDER BY carrier' });
    assert.equal(result.outcome, 'Different');
    assert.equal((await run({ sql: 'SELECT sum(amount) FROM {{nearly_tied}}' })).result.outcome, 'Different');
  });

  it('masks samples', async () => {
    const { result } = await run({ sql: 'SELECT sum(id) FROM {{flights}}' }, 'Masked');
    assert.equal(result.outcome, 'Different');
    assert.deepEqual(result.samples[0], { baseline: null, candidate: null });
  });

  const instant = "toDateTime64('2024-01-01 10:00:00.5', 6, 'UTC')";
  const expectations: [string, string, string[], 'Equal' | 'Different'][] = [
    [
      'numbers and text',
      "SELECT carrier, toInt64(2), 1.5, NULL, true FROM {{airlines}} WHERE carrier = 'AA'",
      ['["AA", 2, 1.50, null, true]'],
      'Equal',
    ],
    ['a date as text', 'SELECT min(day) FROM {{flights}}', ['["2013-01-01"]'], 'Equal'],
    ['another number', 'SELECT count() FROM {{airlines}}', ['[3]'], 'Different'],
    ['0 for NULL', "SELECT CAST(NULL, 'Nullable(Int32)')", ['[0]'], 'Different'],
    ['a word for a number', 'SELECT 1', ['["one"]'], 'Different'],
    ['too many values', 'SELECT 1', ['[1, 1]'], 'Different'],
    ['rows in any order', 'SELECT carrier FROM {{airlines}}', ['["UA"]', '["AA"]'], 'Equal'],
    ['rows in a wrong order', 'SELECT carrier FROM {{airlines}} ORDER BY carrier', ['["UA"]', '["AA"]'], 'Different'],
    ['no rows', 'SELECT 1 FROM {{airlines}} WHERE 0', [], 'Equal'],
    ['more digits than the decimal has', "SELECT toDecimal64('1.50', 2)", ['[1.505]'], 'Different'],
    ['zeros more than the decimal has', "SELECT toDecimal64('1.50', 2)", ['[1.500]'], 'Equal'],
    ['an exponent', "SELECT toDecimal64('100', 2), toInt64(10)", ['[1e2, 1e1]'], 'Equal'],
    [
      'a whole number that is none as a double',
      'SELECT toInt64(9007199254740992)',
      ['[9007199254740993.0]'],
      'Different',
    ],
    [
      'more digits than a number of JSON',
      "SELECT -toInt256('12345678901234567890123')",
      ['[-12345678901234567890123]'],
      'Equal',
    ],
    ['a time on a day', 'SELECT min(day) FROM {{flights}}', ['["2013-01-01 10:00:00"]'], 'Different'],
    ['a day that is not', "SELECT toDate32('2024-03-01')", ['["2024-02-30"]'], 'Different'],
    ['a day after the last that the type has', "SELECT toDate('2149-06-06')", ['["2200-01-01"]'], 'Different'],
    ['an instant', `SELECT ${instant}`, ['["2024-01-01T10:00:00.5+00:00"]'], 'Equal'],
    ['an instant in words of another zone', `SELECT ${instant}`, ['["2024-01-01 12:00:00.500+02:00"]'], 'Equal'],
    ['less than a microsecond', `SELECT ${instant}`, ['["2024-01-01 10:00:00.5000001"]'], 'Different'],
    ['a minute that is not', `SELECT ${instant}`, ['["2024-01-01 09:60:00.5"]'], 'Different'],
    [
      'less than a second',
      "SELECT toDateTime('2024-01-01 10:00:00', 'UTC')",
      ['["2024-01-01 10:00:00.5"]'],
      'Different',
    ],
    ['brackets, quotes and commas', "SELECT ']\",', [1, 2]", ['["]\\",", [1, 2]]'], 'Equal'],
  ];
  for (const [title, sql, rows, outcome] of expectations)
    it(`holds the result against rows of the manifest: ${title}`, async () => {
      assert.equal((await run({ sql, expect: { rows } })).result.outcome, outcome);
    });

  const refused: [string, string, RegExp][] = [
    ['two statements', 'SELECT 1; DROP TABLE x', /more than one statement/],
    ['a statement behind a bracket', 'SELECT 1) FORMAT Null; SELECT (2', /more than one statement/],
    ['an INSERT', 'INSERT INTO x SELECT 1', /not a plain SELECT/],
    ['a file written', "SELECT 1 INTO OUTFILE '/tmp/never'", /not a plain SELECT/],
    ['a file read', "SELECT * FROM file('/etc/hostname', LineAsString)", /reads from file\(\)/],
    [
      'a file read in a subquery',
      "SELECT 1 WHERE 1 IN (SELECT 1 FROM url('http://127.0.0.1:1/x', CSV, 'a Int8'))",
      /reads from url\(\)/,
    ],
    ['a file read by a function', "SELECT file('/etc/hostname')", /calls file\(\)/],
    ['a system table', 'SELECT * FROM system.tables', /reads system.tables/],
    ['what is no SQL', 'SELEC 1', /is not understood/],
    ['a query that fails on both sides', 'SELECT nope FROM {{airlines}}', /Query q on the baseline: /],
  ];
  for (const [title, sql, message] of refused)
    it(`refuses ${title}`, async () => {
      const error = await failure({ sql });
      assert.deepInclude(error, { code: 'QueryFailed', subject: 'q' });
      assert.match(String(error), message);
    });

  it('takes a semicolon in a text, and one at the end', async () => {
    assert.equal((await run({ sql: "SELECT ';' AS `a;b` -- ; \n;" })).result.outcome, 'Equal');
  });

  it('counts a query that fails on the candidate alone as a difference', async () => {
    const { result } = await run({ sql: 'SELECT sum(only_here) FROM {{flights}}' });
    assert.equal(result.outcome, 'Different');
    assert.match(result.message, /^it fails on the candidate only: .*only_here/);
  });

  it('names a query that takes too long', async () => {
    const error = await failure({
      sql: 'SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1',
      timeoutSeconds: 0.3,
    });
    assert.deepInclude(error, { code: 'Timeout', subject: 'q' });
    assert.match(String(error), /Query q on the baseline: it did not end within 0.3 s/);
  });

  it('passes over an inherited query only where its baseline cannot run', () => {
    const inherited = { isInherited: true, hasBaseline: false };
    const failed = new ParityError('QueryFailed', 'it uses a function that is not here');
    assert.isTrue(isLeftOut(failed, inherited));
    assert.isFalse(isLeftOut(failed, { ...inherited, hasBaseline: true }), 'the candidate has lost a column');
    assert.isFalse(isLeftOut(failed, { ...inherited, isInherited: false }));
    assert.isFalse(isLeftOut(new ParityError('Unreachable', 'the server is gone'), inherited));
  });

  it('refuses a table that the run does not have', async () => {
    assert.deepInclude(await failure({ sql: 'SELECT 1 FROM {{nope}}' }), { code: 'InvalidSpec', subject: 'q' });
  });
});
