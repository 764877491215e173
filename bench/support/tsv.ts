/**
 * Writes a folder of Parquet as the ready file that the floor loads: tab separated, as COPY and LOAD DATA read it.
 *   node bench/support/tsv.ts Postgres|MySQL FOLDER FILE
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openEngine } from '../../src/engine/chdb.ts';
import { quoteString } from '../../src/engine/sql.ts';

const [kind, folder = '', file = ''] = process.argv.slice(2);
const [from, to] = [resolve(folder), resolve(file)];
process.chdir('/');
const scratch = await mkdtemp(join(tmpdir(), 'parity-bench-tsv-'));
const engine = await openEngine({ scratch, memoryBytes: 1e9, threads: 2 });
// MySQL has no boolean of its own.
const columns = kind === 'MySQL' ? '* REPLACE (toUInt8(flag) AS flag)' : '*';
await engine.execute(
  `INSERT INTO FUNCTION file(${quoteString(to)}, TabSeparated) SELECT ${columns} FROM file(${quoteString(join(from, '*.parquet'))}, Parquet)`,
);
await engine.close();
await rm(scratch, { recursive: true });
