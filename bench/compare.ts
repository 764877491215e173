/**
 * Comparing two Parquet tables of 10 columns against the floor (decoding both sides) and against peers.
 *   node bench/compare.ts [ROWS] [RUNS]      default 10,000,000 rows, 3 runs
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bench, cacheDir, folderFor, node, parity, print } from './support/bench.ts';
import { cpu, inTurn, measure, megabytes, ratio, serverCpu, wall } from './support/measure.ts';
import { createTable, withServer } from './support/servers.ts';

const rows = Number(process.argv[2] ?? 10_000_000);
const runs = Number(process.argv[3] ?? 3);
await bench(`compare-${rows}`, async () => {
  const folder = folderFor(`compare-${rows}`);
  if (!existsSync(join(folder, '.complete')))
    await measure([node, 'bench/support/generate.ts', String(rows), folder]).then(() =>
      measure(['touch', join(folder, '.complete')]),
    );
  const [baseline, equal, different] = ['baseline', 'equal', 'different'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const compare = (candidate: string, exit: number) => () =>
    parity(['compare', `parquet:${baseline}`, `parquet:${candidate}`, '--key', 'id', '--json'], { expected: [exit] });

  const ours = await inTurn(runs, {
    floor: () => measure([node, 'bench/support/decode.ts', baseline, equal]),
    equal: compare(equal, 0),
    different: compare(different, 1),
  });
  const found = JSON.parse(ours.different[0]?.stdout ?? '{}') as { rows: Record<string, number> };
  const { missing = 0, extra = 0, changed = 0, duplicated = 0 } = found.rows;
  if (missing !== 4 || extra !== 3 || changed !== 5 || duplicated !== 3)
    throw new Error(`15 differences were seeded, found were ${JSON.stringify(found.rows)}`);
  print(`compare, ${rows.toLocaleString('en')} rows`, [
    [
      'equal tables, against decoding both sides',
      ratio(ours.equal, ours.floor, wall),
      '≤ 1.5, aim 1.25',
      megabytes(ours.equal),
    ],
    [
      '15 differences, against decoding both sides',
      ratio(ours.different, ours.floor, wall),
      '≤ 2.6, aim 2',
      megabytes(ours.different),
    ],
  ]);

  await withServer('Postgres', async (postgres) => {
    for (const [name, from] of [
      ['baseline', baseline],
      ['candidate', different],
    ] as const) {
      const ready = join(folder, `${name}.tsv`);
      await measure([node, 'bench/support/tsv.ts', 'Postgres', from, ready]);
      await postgres.client(
        `${createTable.Postgres(name)}\n\\copy ${name} from '${ready}'\nCREATE INDEX ON ${name} (id); ANALYZE ${name};\n`,
      );
    }
    const bin = join(cacheDir, 'peers/bin');
    const peers = await inTurn(runs, {
      ours: compare(different, 1),
      datacompy: () => measure([join(bin, 'python'), 'bench/support/datacompy_tables.py', baseline, different]),
      // It has the server do its work: what the server spends is part of it.
      reladiff: async () => {
        const before = await serverCpu(postgres.pid);
        const client = await measure(
          [join(bin, 'reladiff'), postgres.url, 'baseline', postgres.url, 'candidate', '-k', 'id', '-c', '%', '--json'],
          { expected: [0, 1] },
        );
        return { ...client, cpuSeconds: client.cpuSeconds + (await serverCpu(postgres.pid)) - before };
      },
    });
    print(`compare against peers, ${rows.toLocaleString('en')} rows`, [
      [
        'CPU of datacompy (polars) against ours',
        ratio(peers.datacompy, peers.ours, cpu),
        '≥ 4',
        megabytes(peers.datacompy),
      ],
      [
        'CPU of reladiff (tables in Postgres, loading them not counted) against ours',
        ratio(peers.reladiff, peers.ours, cpu),
        '≥ 4',
        megabytes(peers.reladiff),
      ],
    ]);
  });
});
