/**
 * Loads a folder of Parquet into a database by the project's own source driver, and with `prove` reads it back and compares digests:
 *   node bench/support/load.ts Postgres|MySQL CONNECTION.json FOLDER [prove]
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openEngine } from '../../src/engine/chdb.ts';
import { openRelation } from '../../src/lake/format-files.ts';
import { proveEqual } from '../../src/sources/prove.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import type { Connection } from '../../src/sources/source.ts';

const [kind, connectionFile = '', folder = '', proof] = process.argv.slice(2);
if (kind !== 'Postgres' && kind !== 'MySQL') throw new Error('Postgres or MySQL');
const connection = JSON.parse(await readFile(connectionFile, 'utf8')) as Connection;
const from = resolve(folder);
process.chdir('/');
const scratch = await mkdtemp(join(tmpdir(), 'parity-bench-load-'));
const engine = await openEngine({ scratch, memoryBytes: 1e9, threads: 2 });
const signal = new AbortController().signal;
const relation = await openRelation(engine, `parquet:${from}`);
const driver = sourceDriver(kind);
const table = driver.plan('loaded', relation.columns, { primaryKey: [], cursor: undefined, columns: [] });
const session = await driver.connect(connection, { signal });
const options = { signal, onProgress: () => undefined };
await session.load(engine, table, relation, options);
if (proof === 'prove') await proveEqual(engine, session, table, relation, options);
await session.close();
await engine.close();
await rm(scratch, { recursive: true });
