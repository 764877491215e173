/**
 * Writes two copies of a table of N rows and 10 columns as Parquet, the second with 15 seeded differences, and the second again without any:
 *   node bench/support/generate.ts ROWS FOLDER   →   FOLDER/{baseline,equal,different}/part-*.parquet
 * The same rows every time: every value is a hash of its row number.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openEngine } from '../../src/engine/chdb.ts';
import { quoteString } from '../../src/engine/sql.ts';

const [rowsText = '', folderText = ''] = process.argv.slice(2);
const rows = Number(rowsText);
const folder = resolve(folderText);
process.chdir('/');
await mkdir(join(folder, 'engine'), { recursive: true });
const engine = await openEngine({ scratch: join(folder, 'engine'), memoryBytes: 2e9, threads: 2 });
const parts = Math.max(1, Math.round(rows / 1_250_000));
const step = Math.ceil(rows / parts);
const seed = (n: number): number => Math.floor((rows / 16) * n) + 7;

await write('baseline', 'h0.1', '');
await write('equal', 'h0.1', '');
// 5 changed, 4 missing, 3 duplicated, 3 extra.
const changed = [1, 2, 3, 4, 5].map(seed).join(',');
const missing = [6, 7, 8, 9].map(seed).join(',');
const doubled = [10, 11, 12].map(seed).join(',');
await write(
  'different',
  `if(id IN (${changed}), h0.1 + 1, h0.1)`,
  `WHERE id NOT IN (${missing}) `,
  `SELECT number AS id, (sipHash64(id), sipHash64(id + 1000000007)) AS h0 FROM numbers(${rows}) WHERE id IN (${doubled})
   UNION ALL SELECT number + ${rows} AS id, (sipHash64(id), sipHash64(id + 1000000007)) AS h0 FROM numbers(3)`,
);
await engine.close();
await rm(join(folder, 'engine'), { recursive: true, force: true });

async function write(name: string, amount: string, where: string, more = ''): Promise<void> {
  await rm(join(folder, name), { recursive: true, force: true });
  await mkdir(join(folder, name), { recursive: true });
  for (let part = 0; part < parts; part++) {
    const from = part * step;
    const base = `SELECT number AS id, (sipHash64(id), sipHash64(id + 1000000007)) AS h0 FROM numbers(${from}, ${Math.min(step, rows - from)}) ${where}`;
    await engine.execute(`INSERT INTO FUNCTION file(${quoteString(join(folder, name, `part-${part}.parquet`))}, Parquet)
      SELECT CAST(id AS Int64) AS id,
        CAST(h0.1 % 100000 AS Int32) AS customer,
        CAST(toDecimal64(${amount} % 10000000, 4) / 100 AS Nullable(Decimal(18, 4))) AS amount,
        h0.2 / 1e9 AS price,
        toDateTime64('2024-01-01 00:00:00', 6, 'UTC') + toIntervalMicrosecond(id * 3000001) AS updated_at,
        toDate32('2024-01-01') + toInt32(h0.1 % 700) AS day,
        ['new', 'paid', 'packed', 'shipped', 'lost', 'back', 'closed', 'open'][1 + h0.2 % 8] AS status,
        concat('customer ', toString(h0.1 % 1000003)) AS name,
        if(h0.1 % 10 = 0, NULL, concat(hex(h0.1), ' ', hex(h0.2))) AS note,
        h0.2 % 3 = 0 AS flag
      FROM (${part === parts - 1 && more !== '' ? `${base} UNION ALL ${more}` : base})`);
  }
}
