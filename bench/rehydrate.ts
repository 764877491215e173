/**
 * Loading a table into Postgres and MySQL against their own clients loading a ready file.
 *   node bench/rehydrate.ts [ROWS] [RUNS]      default 10,000,000 rows, 3 runs
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bench, folderFor, node, print } from './support/bench.ts';
import { inTurn, measure, median, megabytes, ratio, wall } from './support/measure.ts';
import { createTable, withServer } from './support/servers.ts';

const rows = Number(process.argv[2] ?? 10_000_000);
const runs = Number(process.argv[3] ?? 3);
const folder = folderFor(`compare-${rows}`);
await bench(`rehydrate-${rows}`, async () => {
  if (!existsSync(join(folder, '.complete'))) {
    await measure([node, 'bench/support/generate.ts', String(rows), folder]);
    await measure(['touch', join(folder, '.complete')]);
  }
  for (const kind of ['Postgres', 'MySQL'] as const) {
    const ready = join(folder, `${kind}.tsv`);
    if (!existsSync(ready)) await measure([node, 'bench/support/tsv.ts', kind, join(folder, 'baseline'), ready]);
    await withServer(kind, async (server) => {
      const copy =
        kind === 'Postgres'
          ? `\\copy floor from '${ready}'`
          : `LOAD DATA LOCAL INFILE '${ready}' INTO TABLE floor CHARACTER SET utf8mb4`;
      const load = (...more: string[]) =>
        measure([node, 'bench/support/load.ts', kind, server.connectionFile, join(folder, 'baseline'), ...more]);
      const results = await inTurn(runs, {
        floor: () => server.client(`${createTable[kind]('floor')}\n${copy}\n`),
        load: () => load(),
        proved: () => load('prove'),
      });
      const proof = results.proved.map(
        (proved, index) => (wall(proved) - wall(results.load[index] ?? proved)) / wall(results.floor[index] ?? proved),
      );
      print(`rehydrate ${kind}, ${rows.toLocaleString('en')} rows`, [
        [
          'load, against the client loading a ready file',
          ratio(results.load, results.floor, wall),
          kind === 'Postgres' ? '≤ 1.1' : '≤ 1.15',
          megabytes(results.load),
        ],
        ['the proof adds', median(proof).toFixed(2), '≤ 0.5', megabytes(results.proved)],
      ]);
    });
  }
});
