import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { ParityError } from '../support/error.ts';
import { openEngine } from './chdb.ts';
import type { Engine } from './engine.ts';
import { quoteIdentifier, quoteString } from './sql.ts';

describe('the embedded engine', () => {
  let engine: Engine;
  let scratch: string;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-engine-'));
    engine = await openEngine({ scratch, memoryBytes: 256 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  it('returns 64-bit integers, decimals and special floats exactly, as text', async () => {
    const rows = await engine.rows(
      "SELECT toInt64('9223372036854775807') AS i, toDecimal128('1.0000000001', 10) AS d, nan AS f, NULL AS n, 'a\\nb' AS s",
    );
    assert.deepEqual(rows, [{ i: '9223372036854775807', d: '1.0000000001', f: 'nan', n: null, s: 'a\nb' }]);
  });

  it('quotes any identifier and any string', async () => {
    const name = 'we`ird \\ "na\'me';
    const text = "it's\\ \0 \n\t `x` 😀";
    const rows = await engine.rows(`SELECT hex(${quoteString(text)}) AS ${quoteIdentifier(name)}`);
    assert.deepEqual(rows, [{ [name]: Buffer.from(text).toString('hex').toUpperCase() }]);
  });

  it('runs statements asked for at the same time one after another', async () => {
    const answers = await Promise.all([1, 2, 3, 4].map((n) => engine.rows(`SELECT ${n} AS n`)));
    assert.deepEqual(answers.flat(), [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
  });

  it('streams a result in chunks and goes on after a stream was left early', async () => {
    let bytes = 0;
    for await (const chunk of engine.stream('SELECT number FROM numbers(1000000)', 'TabSeparated'))
      bytes += chunk.length;
    assert.equal(bytes, 6888890);
    for await (const chunk of engine.stream('SELECT number FROM numbers(100000000)', 'TabSeparated')) {
      assert.isAbove(chunk.length, 0);
      break;
    }
    assert.deepEqual(await engine.rows('SELECT 1 AS n'), [{ n: 1 }]);
  });

  it('reports an error of a stream as a named error', async () => {
    const error = await caught(async () => {
      for await (const _ of engine.stream(
        "SELECT throwIf(number = 500000, 'found it') FROM numbers(1000000)",
        'TabSeparated',
      ));
    });
    assert.match(error.message, /found it/);
  });

  it('ends a query inside the engine when its time is up', async () => {
    const started = Date.now();
    const error = await caught(() =>
      engine.rows('SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1', { timeoutMs: 300 }),
    );
    assert.equal(error.code, 'Timeout');
    assert.isBelow(Date.now() - started, 10_000);
    assert.deepEqual(await engine.rows('SELECT 1 AS n'), [{ n: 1 }]);
  });

  it('ends a query when its signal is aborted', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 200);
    const error = await caught(() =>
      engine.execute('SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1', {
        signal: controller.signal,
      }),
    );
    assert.equal(error.code, 'Cancelled');
  });

  it('leaves the next statement alone when one was cancelled before it began', async () => {
    for (let round = 0; round < 20; round++) {
      const error = await caught(() => engine.rows('SELECT 1', { signal: AbortSignal.abort() }));
      assert.equal(error.code, 'Cancelled');
      assert.deepEqual(await engine.rows('SELECT count() AS n FROM numbers(100000)'), [{ n: '100000' }]);
    }
  });

  for (const [title, fail] of [
    ['failed half-way', () => engine.rows(HALF)],
    ['failed half-way as a stream', () => drain(engine.stream(HALF, 'JSONEachRow'))],
    ['was stopped half-way', () => engine.rows(SLOW, { timeoutMs: 300 })],
    ['was left half-way as a stream', () => leave(engine.stream(SLOW, 'JSONEachRow'))],
  ] as const)
    it(`gives the next statement its own result alone when one ${title}`, async () => {
      await fail().catch(() => undefined);
      assert.deepEqual(await engine.rows('SELECT 1 AS own'), [{ own: 1 }]);
      assert.equal(await text(engine.stream('SELECT 2 AS own', 'TabSeparated')), '2\n');
      await fail().catch(() => undefined);
      assert.equal(await text(engine.stream('SELECT 3 AS own', 'TabSeparated')), '3\n');
    });

  it('tells of progress', async () => {
    const seen: number[] = [];
    await engine
      .rows('SELECT count() FROM numbers(1000000000) WHERE sipHash64(number) = 1 SETTINGS max_threads = 1', {
        timeoutMs: 2500,
        onProgress: (progress) => seen.push(progress.readRows),
      })
      .catch(() => undefined);
    assert.isAbove(seen.length, 0);
    assert.isAbove(seen.at(-1) ?? 0, 0);
  });

  it('names running out of memory, with advice', async () => {
    const error = await caught(() =>
      engine.rows('SELECT length(groupArray(repeat(toString(number), 100))) FROM numbers(10000000)'),
    );
    assert.equal(error.code, 'OutOfMemory');
    assert.match(error.advice ?? '', /spec\.execution\.memory/);
  });

  for (const [what, content, code, message] of [
    ['is gone', undefined, 'NotFound', /^The file .*gone\.parquet cannot be read: it is not there$/],
    ['is empty', '', 'CorruptTable', /^The file .*empty\.parquet cannot be read: the file is empty$/],
    ['is cut', 'PAR1 and no more', 'CorruptTable', /^The file .*cut\.parquet cannot be read: Not a Parquet file /],
  ] as const) {
    it(`names a file that ${what}, in one sentence`, async () => {
      const file = join(scratch, `${what.slice(3)}.parquet`);
      if (content !== undefined) await writeFile(file, content);
      const error = await caught(() => engine.rows(`SELECT * FROM file(${quoteString(file)}, Parquet)`));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
    });
  }

  it('refuses a second engine in the same process', async () => {
    const error = await caught(() => openEngine({ scratch, memoryBytes: 1, threads: 1 }));
    assert.equal(error.code, 'Internal');
  });
});

const HALF = "SELECT number, throwIf(number = 95, 'half-way') FROM numbers(100) SETTINGS max_block_size = 10";
const SLOW = 'SELECT number, sleepEachRow(0.01) FROM numbers(1000) SETTINGS max_block_size = 5, max_threads = 1';

async function drain(stream: AsyncIterable<Uint8Array>): Promise<void> {
  await text(stream);
}

async function leave(stream: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of stream) return;
}

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let found = '';
  for await (const chunk of stream) found += Buffer.from(chunk).toString();
  return found;
}

async function caught(action: () => Promise<unknown>): Promise<ParityError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof ParityError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
