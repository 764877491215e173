import { createHmac } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { expect } from 'chai';
import type { ResolvedTable } from '../../src/api/resolved.ts';
import { addAction, initialCommit, removeAction } from '../../src/lake/delta/commit.ts';
import { readDeltaSnapshot } from '../../src/lake/delta/log.ts';
import { openReader } from '../../src/lake/open.ts';
import { readCopiedTable, snapshotPath } from '../../src/lake/snapshot-layout.ts';
import type { StructType } from '../../src/lake/types.ts';
import { commitName, writeLog } from '../support/delta-table.ts';
import { errorOf, tableSpec, takeSnapshot } from '../support/snapshot-run.ts';

const EXAMPLES = `file://${resolve(import.meta.dirname, '../../examples/lake')}`;
const secrets = { mask: { key: 'a key for tests' } };

describe('A snapshot that is sampled or masked', function () {
  this.timeout(120_000);
  let dir: string;
  let duck: DuckDBConnection;
  let instance: DuckDBInstance;
  before(async () => {
    instance = await DuckDBInstance.create(':memory:', { threads: '2' });
    duck = await instance.connect();
    await duck.run("SET TimeZone = 'UTC'");
  });
  after(() => {
    duck.closeSync();
    instance.closeSync();
  });
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'parity-rewrite-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function take(tables: readonly ResolvedTable[], location = EXAMPLES, masks = secrets) {
    const run = { lake: { location }, workspace: { location: `file://${dir}/workspace` }, tables, secrets: masks };
    return (await takeSnapshot(run)).tables;
  }

  /** The rows of one version as JSON text, sorted; `where` and `select` in DuckDB's SQL. */
  async function rows(
    location: string,
    path: string,
    version: number,
    select = '*',
    where = 'true',
  ): Promise<unknown[][]> {
    const snapshot = await readDeltaSnapshot(await openReader({ location }), path, version);
    if (snapshot.files.length === 0) return [];
    const files = snapshot.files.map((file) => `'${location.slice('file://'.length)}/${path}/${file.path}'`);
    const from = `read_parquet([${files.join(',')}], union_by_name = true, hive_partitioning = ${snapshot.partitionColumns.length > 0})`;
    return (await duck.runAndReadAll(`SELECT ${select} FROM ${from} WHERE ${where} ORDER BY ALL`)).getRowsJson();
  }

  async function copyOf(table: string, version: number, select?: string, where?: string) {
    const location = `file://${dir}/workspace`;
    const copied = await readCopiedTable(await openReader({ location }), snapshotPath(table));
    const own = copied?.versions[version];
    if (own === undefined) throw new Error(`no copy of ${table} at ${version}`);
    return rows(location, snapshotPath(table), own, select, where);
  }

  it('holds the chosen rows as they were, every type and NULL of it', async () => {
    await take([
      tableSpec('types', { version: '3', baseVersion: '1', key: ['id'], sample: { percent: 50, by: 'id' } }),
    ]);
    for (const version of [1, 3]) {
      const sampled = await copyOf('types', version);
      const all = (await rows(EXAMPLES, 'types', version)).map((row) => JSON.stringify(row));
      expect(sampled.length).to.be.within(5, all.length - 5);
      for (const row of sampled) expect(all).to.include(JSON.stringify(row));
    }
  });

  it('keeps the schema of each version, and nothing else of the old log', async () => {
    await take([tableSpec('weather', { version: '9', baseVersion: '5', sample: { percent: 50, by: 'time_hour' } })]);
    const location = `file://${dir}/workspace`;
    const copy = await readDeltaSnapshot(await openReader({ location }), 'snapshot/weather', 1);
    const source = await readDeltaSnapshot(await openReader({ location: EXAMPLES }), 'weather', 9);
    expect(copy.schema).to.deep.equal(source.schema);
    expect(copy.files.some(({ deletionVector }) => deletionVector !== undefined)).to.equal(false);
    expect(copy.protocol.readerFeatures).to.deep.equal([]);
    for (const name of await readdir(`${dir}/workspace/snapshot/weather/_delta_log`)) {
      const log = await readFile(`${dir}/workspace/snapshot/weather/_delta_log/${name}`, 'utf8');
      expect(log).to.not.match(/minValues|maxValues|"cdc"/);
    }
  });

  it('is the same every time, whatever the task was asked before', async () => {
    const table = tableSpec('airports', {
      version: '5',
      key: ['faa'],
      sample: { percent: 20, by: 'faa' },
      mask: [{ column: 'faa', with: 'Hmac' }],
    });
    const [first] = await take([table]);
    const rowsOfFirst = await copyOf('airports', 5);
    const [again] = await take([table]);
    expect(again?.digest).to.equal(first?.digest);
    expect(await copyOf('airports', 5)).to.deep.equal(rowsOfFirst);
    const [other] = await take([table], EXAMPLES, { mask: { key: 'another' } });
    expect(other?.digest).to.not.equal(first?.digest);
  });

  it('keeps the joins of tables that are sampled and masked by one column', async () => {
    const sample = { percent: 30, by: 'tailnum' };
    const mask = [{ column: 'tailnum', with: 'Hmac' as const }];
    await take([
      tableSpec('planes', { version: '9', key: ['tailnum'], sample, mask }),
      tableSpec('flights', { version: '15', key: ['id'], cursor: 'updated_at', sample, mask }),
    ]);
    const flying = new Set((await copyOf('flights', 15, 'DISTINCT tailnum', 'tailnum IS NOT NULL')).flat());
    const snapshot = await readDeltaSnapshot(await openReader({ location: EXAMPLES }), 'planes', 9);
    const physical = snapshot.schema.fields.find(({ name }) => name === 'tailnum')?.physicalName;
    const planes = (await copyOf('planes', 9, `"${physical}"`)).flat();
    const known = (await rows(EXAMPLES, 'planes', 9, `"${physical}"`)).flat();
    expect(planes.length).to.be.within(known.length * 0.25, known.length * 0.35);
    // A plane whose flights are in the lake has them in the sample as well.
    const flown = new Set((await rows(EXAMPLES, 'flights', 15, 'DISTINCT tailnum', 'tailnum IS NOT NULL')).flat());
    const share = planes.filter((plane) => flying.has(plane)).length / planes.length;
    const expected = known.filter((plane) => flown.has(plane)).length / known.length;
    expect(share).to.be.closeTo(expected, 0.1);
    for (const plane of planes) expect(known).to.not.include(plane);
  });

  it('keeps type, length and NULLs of what it masks, and says nothing of it in clear', async () => {
    const column = (name: string) => ({ column: name, with: 'Hmac' as const });
    const snapshot = await readDeltaSnapshot(await openReader({ location: EXAMPLES }), 'types', 3);
    const text = snapshot.schema.fields.find(({ type }) => type.kind === 'string')?.name ?? '';
    const number = snapshot.schema.fields.find(({ type, name }) => type.kind === 'long' && name !== 'id')?.name ?? '';
    const binary = snapshot.schema.fields.find(({ type }) => type.kind === 'binary')?.name ?? '';
    await take([tableSpec('types', { version: '3', mask: [column(text), column(number), column(binary)] })]);
    const shape = `id, length("${text}"), "${number}" IS NULL, octet_length("${binary}")`;
    expect(await copyOf('types', 3, shape)).to.deep.equal(await rows(EXAMPLES, 'types', 3, shape));
    const long = await rows(EXAMPLES, 'types', 3, `"${text}"`, `length("${text}") > 5`);
    const masked = (await copyOf('types', 3, `"${text}"`)).flat();
    for (const [value] of long) expect(masked).to.not.include(value);
    expect(await copyOf('types', 3, `count(DISTINCT "${number}")`)).to.deep.equal(
      await rows(EXAMPLES, 'types', 3, `count(DISTINCT "${number}")`),
    );
  });

  it('refuses a mask under which two keys would become one, naming the column', async () => {
    await writeTable('chr(CAST(65 + i AS INTEGER))', '1', 26);
    const spec = tableSpec('t', { key: ['k'], mask: [{ column: 'k', with: 'Hmac' }] });
    // 26 letters masked to one character of 64 each: some collide.
    const error = await errorOf(take([spec], `file://${dir}/lake`));
    expect(error.code).to.equal('UnrepresentableValue');
    expect(error.message).to.match(/^Masking the key column 'k' of t would give \d+ of its values the mask of another/);
  });

  it('keeps a key that is in the sample of one version in both', async () => {
    // Between the versions every row's group changes, so by group alone the two samples would have other keys.
    await writeTable('CAST(i AS VARCHAR)', 'i * 7', 1000);
    await writeTable('CAST(i AS VARCHAR)', 'i * 13 + 1', 1000, 1);
    const spec = tableSpec('t', { version: '1', baseVersion: '0', key: ['k'], sample: { percent: 10, by: 'g' } });
    await take([spec], `file://${dir}/lake`);
    const keys = await copyOf('t', 0, 'k');
    expect(keys).to.deep.equal(await copyOf('t', 1, 'k'));
    expect(keys.length).to.be.within(130, 250);
  });

  it('keeps rows whose sample column is NULL', async () => {
    await writeTable('CAST(i AS VARCHAR)', 'CASE WHEN i < 40 THEN NULL ELSE i END', 1000);
    await take([tableSpec('t', { key: ['k'], sample: { percent: 1, by: 'g' } })], `file://${dir}/lake`);
    expect((await copyOf('t', 0, 'k', 'g IS NULL')).length).to.equal(40);
  });

  it('that chooses no row at all is refused: nothing compared would pass', async () => {
    await writeTable('CAST(i AS VARCHAR)', '4', 100);
    const error = await errorOf(take([tableSpec('t', { sample: { percent: 1, by: 'g' } })], `file://${dir}/lake`));
    expect(error.code).to.equal('InvalidSpec');
    expect(error.message).to.equal('The sample of t, 1 percent by g, holds none of its 100 rows');
  });

  it('without a key for its masks fails, and says where to put one', async () => {
    const table = tableSpec('airports', { mask: [{ column: 'name', with: 'Hmac' }] });
    const error = await errorOf(take([table], EXAMPLES, { mask: { key: '' } }));
    expect(error.message).to.equal("The secret for masks has no key 'key'");
  });

  it('masks text with HMAC-SHA-256', async () => {
    await writeTable("'some text of forty-three characters or more'", '1', 1);
    await take([tableSpec('t', { mask: [{ column: 'k', with: 'Hmac' }] })], `file://${dir}/lake`);
    const key = createHmac('sha256', 'pipeline-parity mask').update(secrets.mask.key).digest();
    const expected = createHmac('sha256', key)
      .update('some text of forty-three characters or more')
      .digest('base64url');
    expect(await copyOf('t', 0, 'k')).to.deep.equal([[expected]]);
  });

  /** A version of the table `t` with a text column `k` and a number `g`, of one file; it replaces the version before. */
  async function writeTable(k: string, g: string, count: number, version = 0): Promise<void> {
    const path = `v${version}.parquet`;
    const file = `${dir}/lake/t/${path}`;
    await mkdir(`${dir}/lake/t`, { recursive: true });
    const select = `SELECT ${k} AS k, CAST(${g} AS BIGINT) AS g FROM range(${count}) AS r(i)`;
    await duck.run(`COPY (${select}) TO '${file}' (FORMAT parquet)`);
    const add = addAction({ path, sizeBytes: (await stat(file)).size, numRecords: count });
    const before =
      version === 0 ? initialCommit({ schema: KEY_AND_GROUP }) : [removeAction({ path: `v${version - 1}.parquet` })];
    await writeLog(`${dir}/lake/t`, { [commitName(version)]: [...before, add] });
  }
});

const KEY_AND_GROUP: StructType = {
  kind: 'struct',
  fields: [
    { name: 'k', type: { kind: 'string' }, nullable: true, physicalName: 'k' },
    { name: 'g', type: { kind: 'long' }, nullable: true, physicalName: 'g' },
  ],
};
