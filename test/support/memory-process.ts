/**
 * Loads rows into a Snowflake source whose connection comes on stdin and reads them back, and prints the process's memory in bytes before that and at its peak, as JSON. The
 * engine is given `memory` bytes.
 */
import { json } from 'node:stream/consumers';
import { rowDigest } from '../../src/compare/row-digest.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import type { Connection } from '../../src/sources/source.ts';

const [scratch = '', memory = '0', rows = '0'] = process.argv.slice(2);
const connection: Connection = await json(process.stdin).then((value) => JSON.parse(JSON.stringify(value)));
process.chdir('/');
const engine = await openEngine({ scratch, memoryBytes: Number(memory), threads: 2 });
const options = { signal: new AbortController().signal, onProgress: () => undefined };
const driver = sourceDriver('Snowflake');
const session = await driver.connect(connection, options);
const before = peak();
const relation = made(Number(rows));
const table = driver.plan('rows', relation.columns, { primaryKey: ['id'], cursor: undefined, columns: [] });
await session.load(engine, table, relation, options);
const back = await session.scan(engine, table, options, (read) => rowDigest(engine, read));
const wanted = await rowDigest(engine, relation);
if (back.digest !== wanted.digest) throw new Error(`${back.digest} is not ${wanted.digest}`);
const after = peak();
await session.close();
await engine.close();
process.stdout.write(JSON.stringify({ before, after }));

function peak(): number {
  return process.resourceUsage().maxRSS * 1024;
}

/** Text that does not compress, about 200 bytes a row. */
function made(count: number) {
  const text = [0, 1, 2, 3, 4, 5].map((salt) => `hex(sipHash128(number, ${salt}))`).join(', ');
  return {
    columns: [
      { name: 'id', physicalName: 'id', nullable: true, type: { kind: 'long' } },
      { name: 'text', physicalName: 'text', nullable: true, type: { kind: 'string' } },
    ] as const,
    sql: `SELECT number::Nullable(Int64) AS id, concat(${text})::Nullable(String) AS text FROM numbers(${count})`,
    rows: count,
    sizeBytes: undefined,
    name: 'made for a test',
  };
}
