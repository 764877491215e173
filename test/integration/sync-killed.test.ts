import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { deltaRelation } from '../../src/lake/relation-delta.ts';
import { readLanded } from '../../src/pipelines/landed.ts';
import { openBench } from '../../src/pipelines/reference.fixture.ts';

const script = join(import.meta.dirname, '../support/sync-process.ts');
const path = 'landed/candidate/shop/t';

describe('a sync that is killed and started again', function () {
  this.timeout(120_000);
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-killed-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const start = (mode: 'Full' | 'Incremental', from: number, rows: number): ChildProcess =>
    spawn(process.execPath, [script, folder, mode, String(from), String(rows)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });

  const finish = async (mode: 'Full' | 'Incremental', from: number, rows: number): Promise<void> => {
    const child = start(mode, from, rows);
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await once(child, 'close');
    expect(said).to.contain('"state":"Succeeded"');
  };

  /** Kills the process at the first moment at which the condition holds; it may have ended by then. */
  const killWhen = async (child: ChildProcess, isReached: () => Promise<boolean>): Promise<void> => {
    const exit = once(child, 'exit');
    while (child.exitCode === null && !(await isReached())) await new Promise((resolve) => setImmediate(resolve));
    child.kill('SIGKILL');
    await exit;
  };

  const files = async (below: string): Promise<string[]> =>
    await readdir(join(folder, below), { recursive: true }).catch(() => []);

  const moments: readonly (readonly [string, () => Promise<boolean>])[] = [
    ['before it has done anything', async () => true],
    ['while it writes', async () => (await files('scratch')).some((name) => name.endsWith('.parquet'))],
    ['while it uploads', async () => (await files(`workspace/${path}`)).some((name) => name.includes('.parquet'))],
    ['when it has committed', async () => (await commits()).length > 0],
  ];

  const commits = async (): Promise<string[]> =>
    (await files(`workspace/${path}/_delta_log`)).filter((name) => /^\d{20}\.json$/.test(name)).sort();

  const content = async (): Promise<{ rows: string; first: string; last: string; ids: string }[]> => {
    const bench = await openBench(folder);
    try {
      const { snapshot } = await readLanded(bench.store, path);
      if (snapshot === undefined) return [];
      const { sql } = await deltaRelation(bench.engine, bench.store, path, snapshot);
      return await bench.engine.rows(
        `SELECT count() AS rows, min(id) AS first, max(id) AS last, uniqExact(id) AS ids FROM (${sql})`,
      );
    } finally {
      await bench.close();
    }
  };

  for (const [moment, isReached] of moments) {
    it(`${moment}: a full sync lands the table once`, async () => {
      await killWhen(start('Full', 0, 200_000), isReached);
      await finish('Full', 0, 200_000);
      expect(await content()).to.deep.equal([{ rows: '200000', first: '0', last: '199999', ids: '200000' }]);
      expect(await commits()).to.have.length(1);
    });
  }

  it('two attempts at once: one of them lands the table, both succeed', async () => {
    await Promise.all([finish('Full', 0, 100_000), finish('Full', 0, 100_000)]);
    expect(await content()).to.deep.equal([{ rows: '100000', first: '0', last: '99999', ids: '100000' }]);
    expect(await commits()).to.have.length(1);
    const data = (await files(`workspace/${path}`)).filter((name) => name.endsWith('.parquet'));
    expect(data, 'the slower one takes its files away').to.have.length(1);
  });

  it('while it merges: readers see the table before or after, and then after', async () => {
    await finish('Full', 0, 200_000);
    const uploaded = (await files(`workspace/${path}`)).filter((name) => name.endsWith('.parquet')).length;
    const child = start('Incremental', 100_000, 200_000);
    await killWhen(
      child,
      async () => (await files(`workspace/${path}`)).filter((name) => name.includes('.parquet')).length > uploaded,
    );
    const [seen] = await content();
    expect(seen?.rows).to.be.oneOf(['200000', '300000']);
    await finish('Incremental', 100_000, 200_000);
    expect(await content()).to.deep.equal([{ rows: '300000', first: '0', last: '299999', ids: '300000' }]);
    expect(await commits()).to.have.length(2);
  });
});
