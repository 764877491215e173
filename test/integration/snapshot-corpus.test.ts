import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import type { ResolvedTable } from '../../src/api/resolved.ts';
import { type KeptSnapshot, keepSnapshot, listKept, verifyKept } from '../../src/lake/corpus.ts';
import { readDeltaSnapshot } from '../../src/lake/delta/log.ts';
import { openReader, openStore } from '../../src/lake/open.ts';
import { openLake } from '../../src/lake/snapshot-lake.ts';
import { errorOf, specOf, tableSpec, takeSnapshot } from '../support/snapshot-run.ts';

const EXAMPLES = { location: `file://${resolve(import.meta.dirname, '../../examples/lake')}` };
const TABLES = [
  tableSpec('weather', { version: '9', baseVersion: '5' }),
  tableSpec('planes', { version: '9', baseVersion: '4', key: ['tailnum'] }),
];
const SAMPLED = tableSpec('airports', { version: '5', key: ['faa'], sample: { percent: 30, by: 'faa' } });

describe('A corpus', function () {
  this.timeout(60_000);
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'parity-corpus-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function keep(tables: readonly ResolvedTable[], now = new Date(0)): Promise<KeptSnapshot> {
    const { snapshot } = specOf({ lake: EXAMPLES, workspace: EXAMPLES, tables });
    const corpus = await openStore({ location: `file://${dir}` });
    const maskSecret = async () => ({ key: 'k' });
    const rewrite = { scratch: tmpdir(), memoryBytes: 2 ** 30, threads: 2, maskSecret };
    const signal = new AbortController().signal;
    return keepSnapshot({
      lake: await openLake(snapshot, undefined),
      snapshot,
      corpus,
      rewrite,
      signal,
      now,
      onProgress: () => {},
    });
  }

  it('is read as production would be, and gives the same snapshot', async () => {
    const kept = await keep([...TABLES, SAMPLED]);
    const tables = kept.tables.map(({ name, version, baseVersion }) =>
      tableSpec(name, { version: `${version}`, ...(baseVersion === null ? {} : { baseVersion: `${baseVersion}` }) }),
    );
    const lake = { location: `file://${dir}/${kept.digest}` };
    const workspace = { location: `file://${dir}-workspace` };
    try {
      const taken = await takeSnapshot({ lake, workspace, tables });
      expect(taken.tables.map(({ rows }) => rows)).to.deep.equal(kept.tables.map(({ rows }) => rows));
      const direct = await takeSnapshot({
        lake: EXAMPLES,
        workspace: { location: `${workspace.location}/2` },
        tables: TABLES,
      });
      expect(taken.tables.slice(0, 2).map(({ digest }) => digest)).to.deep.equal(
        direct.tables.map(({ digest }) => digest),
      );
    } finally {
      await rm(`${dir}-workspace`, { recursive: true, force: true });
    }
  });

  it('keeps the same content once, and lists what it keeps, oldest first', async () => {
    const first = await keep(TABLES, new Date(1000));
    expect(await keep(TABLES, new Date(2000))).to.deep.equal(first);
    const second = await keep([SAMPLED], new Date(3000));
    expect(await listKept(await openReader({ location: `file://${dir}` }))).to.deep.equal([first, second]);
    expect((await readdir(dir)).sort()).to.deep.equal([first.digest, second.digest, 'manifests'].sort());
  });

  it('without anything in it keeps nothing', async () => {
    expect(await listKept(await openReader({ location: `file://${dir}/none` }))).to.deep.equal([]);
  });

  it('is whole as it was kept, by the beginning of a digest too', async () => {
    const kept = await keep([...TABLES, SAMPLED]);
    const corpus = await openReader({ location: `file://${dir}` });
    expect(await verifyKept(corpus, kept.digest)).to.deep.equal(kept);
    expect(await verifyKept(corpus, kept.digest.slice(0, 8))).to.deep.equal(kept);
    expect((await errorOf(verifyKept(corpus, 'ffff0000'))).code).to.equal('NotFound');
  });

  const damages: {
    title: string;
    says: RegExp;
    damage: (table: string, file: string, vector: string) => Promise<void>;
  }[] = [
    { title: 'a file that is gone', says: /is missing$/, damage: (_, file) => rm(file) },
    {
      title: 'a file that has grown',
      says: /has \d+ bytes instead of \d+$/,
      damage: (_, file) => appendFile(file, 'x'),
    },
    {
      title: 'a file whose footer is broken',
      says: /is not a readable Parquet file/,
      damage: async (_, file) => writeFile(file, Buffer.alloc((await readFile(file)).length)),
    },
    {
      title: 'a deletion vector with a flipped bit',
      says: /A deletion vector of .* cannot be read: its checksum is wrong$/,
      damage: async (_, __, vector) => {
        const bytes = await readFile(vector);
        bytes[bytes.length - 8] = (bytes[bytes.length - 8] ?? 0) ^ 1;
        await writeFile(vector, bytes);
      },
    },
    {
      title: 'a log that says something else',
      says: /is not what was kept: its digest differs$/,
      damage: async (table) => {
        const log = `${table}/_delta_log/00000000000000000009.json`;
        const lines = (await readFile(log, 'utf8')).split('\n').filter((line) => !line.startsWith('{"add"'));
        await writeFile(log, lines.join('\n'));
      },
    },
  ];
  for (const { title, says, damage } of damages) {
    it(`names ${title}`, async () => {
      const { digest } = await keep(TABLES);
      const table = `${dir}/${digest}/weather`;
      const corpus = await openReader({ location: `file://${dir}` });
      const { files } = await readDeltaSnapshot(corpus, `${digest}/weather`, 9);
      const [file] = files;
      const vector = files.find(({ deletionVector }) => deletionVector?.path !== undefined)?.deletionVector?.path;
      await damage(table, `${table}/${file?.path}`, `${table}/${vector}`);
      const error = await errorOf(verifyKept(corpus, digest));
      expect(error.code).to.equal('CorruptTable');
      expect(error.message).to.match(says);
    });
  }
});
