import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { initialCommit, removeAction } from '../../src/lake/delta/commit.ts';
import { readDeltaSnapshot } from '../../src/lake/delta/log.ts';
import { openReader } from '../../src/lake/open.ts';
import { commitName, ID_ONLY, writeLog, writeOpaqueTable } from '../support/delta-table.ts';
import { errorOf, tableSpec, takeSnapshot } from '../support/snapshot-run.ts';

const EXAMPLES = { location: `file://${resolve(import.meta.dirname, '../../examples/lake')}` };

describe('A snapshot from folder to folder', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'parity-local-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const take = (lake: string, table: ReturnType<typeof tableSpec>) =>
    takeSnapshot({ lake: { location: lake }, workspace: { location: `file://${dir}/workspace` }, tables: [table] });

  it('ends its log at the version asked for, and points to no checkpoint beyond it', async () => {
    await take(EXAMPLES.location, tableSpec('flights', { version: '11', baseVersion: '9' }));
    const log = await readdir(`${dir}/workspace/snapshot/flights/_delta_log`);
    expect(log.sort()).to.deep.equal([
      '00000000000000000008.checkpoint.parquet',
      commitName(9),
      commitName(10),
      commitName(11),
      '_last_checkpoint',
    ]);
    const hint = JSON.parse(await readFile(`${dir}/workspace/snapshot/flights/_delta_log/_last_checkpoint`, 'utf8'));
    expect(hint).to.deep.equal({ version: 8, size: 18 });
  });

  it('copies no file that neither version needs', async () => {
    const { tables } = await take(EXAMPLES.location, tableSpec('flights', { version: '15' }));
    const reader = await openReader({ location: `file://${dir}/workspace` });
    let data = 0;
    for await (const { key } of reader.list('snapshot/flights/'))
      if (key.endsWith('.parquet') && key.includes('part-')) data += 1;
    expect(data).to.equal(tables[0]?.files);
  });

  it('frees a table from the absolute paths of its log: the copy stands alone', async () => {
    const table = `${dir}/lake/t`;
    await writeOpaqueTable(
      table,
      new Map([
        ['a.parquet', Buffer.from('aaa')],
        ['b c.parquet', Buffer.from('bbbb')],
      ]),
    );
    const absolute = (path: string, size: number) => ({
      add: {
        path: `file://${table}/${path}`,
        partitionValues: {},
        size,
        modificationTime: 0,
        stats: '{"numRecords":1}',
      },
    });
    await writeLog(table, {
      [commitName(0)]: [...initialCommit({ schema: ID_ONLY }), absolute('a.parquet', 3)],
      [commitName(1)]: [removeAction({ path: 'a.parquet' }), absolute('b%20c.parquet', 4)],
    });
    await take(`file://${dir}/lake`, tableSpec('t', { version: '1', baseVersion: '0' }));
    await rm(`${dir}/lake`, { recursive: true });
    const reader = await openReader({ location: `file://${dir}/workspace` });
    for (const [version, path] of [
      [0, 'a.parquet'],
      [1, 'b c.parquet'],
    ] as const) {
      const { files } = await readDeltaSnapshot(reader, 'snapshot/t', version);
      expect(files.map((file) => file.path)).to.deep.equal([path]);
      await reader.get(`snapshot/t/${path}`);
    }
  });

  it('copies anew what has another size than it should', async () => {
    await take(EXAMPLES.location, tableSpec('airlines'));
    const folder = `${dir}/workspace/snapshot/airlines`;
    const [name] = (await readdir(folder)).filter((file) => file.endsWith('.parquet'));
    const whole = await readFile(`${folder}/${name}`);
    await writeFile(`${folder}/${name}`, 'short');
    await rm(`${folder}/parity.json`);
    await take(EXAMPLES.location, tableSpec('airlines'));
    expect((await readFile(`${folder}/${name}`)).equals(whole)).to.equal(true);
  });

  it('of another version of the table replaces the one that lies there', async () => {
    const reader = await openReader({ location: `file://${dir}/workspace` });
    for (const version of ['2', '4', '1']) {
      const { tables } = await take(EXAMPLES.location, tableSpec('airlines', { version }));
      const newest = await readDeltaSnapshot(reader, 'snapshot/airlines', undefined);
      expect(newest).to.include({ version: Number(version), rows: tables[0]?.rows });
    }
  });

  it('refuses a shallow clone, whose files lie outside the table', async () => {
    const add = { path: 'file:///elsewhere/a.parquet', partitionValues: {}, size: 1, modificationTime: 0 };
    await writeLog(`${dir}/lake/t`, { [commitName(0)]: [...initialCommit({ schema: ID_ONLY }), { add }] });
    const error = await errorOf(take(`file://${dir}/lake`, tableSpec('t')));
    expect(error.code).to.equal('UnsupportedFeature');
    expect(error.message).to.contain("'file:///elsewhere/a.parquet' outside the table, as shallow clones do");
  });
});
