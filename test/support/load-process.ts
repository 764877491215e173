/** Loads a made-up table into a source whose connection comes on stdin, to be killed in the middle: says so once bytes flow. */
import { json } from 'node:stream/consumers';
import { openEngine } from '../../src/engine/chdb.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import type { Connection } from '../../src/sources/source.ts';

const [engineName, name = '', rows = '0', scratch = ''] = process.argv.slice(2);
if (engineName !== 'Postgres' && engineName !== 'MySQL' && engineName !== 'Snowflake')
  throw new Error('Postgres, MySQL or Snowflake');
const connection: Connection = await json(process.stdin).then((value) => JSON.parse(JSON.stringify(value)));
process.chdir('/');
const engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 1 });
const signal = new AbortController().signal;
const driver = sourceDriver(engineName);
const session = await driver.connect(connection, { signal });
const relation = {
  columns: [{ name: 'id', physicalName: 'id', nullable: true, type: { kind: 'long' } }] as const,
  sql: `SELECT number::Nullable(Int64) AS id FROM numbers(${Number(rows)})`,
  rows: Number(rows),
  sizeBytes: undefined,
  name: 'made for a test',
};
const table = driver.plan(name, relation.columns, { primaryKey: [], cursor: undefined, columns: [] });
await session.load(engine, table, relation, {
  signal,
  onProgress: ({ bytes }) => {
    if (bytes > 1_000_000) process.stdout.write('loading\n');
  },
});
