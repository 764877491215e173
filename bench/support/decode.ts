/**
 * The floor of a comparison: the engine decodes every column of the folders given and throws the values away.
 *   node bench/support/decode.ts FOLDER…
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openEngine } from '../../src/engine/chdb.ts';
import { quoteString } from '../../src/engine/sql.ts';

const folders = process.argv.slice(2).map((folder) => resolve(folder));
process.chdir('/');
const scratch = await mkdtemp(join(tmpdir(), 'parity-bench-decode-'));
const engine = await openEngine({ scratch, memoryBytes: 1e9, threads: 2 });
for (const folder of folders)
  await engine.execute(`SELECT * FROM file(${quoteString(join(folder, '*.parquet'))}, Parquet)`);
await engine.close();
await rm(scratch, { recursive: true });
