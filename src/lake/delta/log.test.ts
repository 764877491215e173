import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { commitName, ID_ONLY, writeLog } from '../../../test/support/delta-table.ts';
import { errorOf } from '../../../test/support/snapshot-run.ts';
import { openReader } from '../open.ts';
import type { ObjectReader } from '../store.ts';
import { addAction, type DeltaAction, initialCommit, removeAction } from './commit.ts';
import { listVersions, readDeltaSnapshot } from './log.ts';

const EXAMPLES = resolve(import.meta.dirname, '../../../examples/lake');
const initial = initialCommit({ schema: ID_ONLY });
const add = (path: string, numRecords = 1) => addAction({ path, sizeBytes: 10, numRecords, modificationTimeMs: 0 });

describe('a Delta log', () => {
  let root: string;
  let reader: ObjectReader;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'parity-log-'));
    reader = await openReader({ location: `file://${root}` });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const log = (entries: Readonly<Record<string, string | readonly DeltaAction[]>>) =>
    writeLog(join(root, 't'), entries);
  const read = (version?: number) => readDeltaSnapshot(reader, 't', version);
  const paths = async (version?: number) => (await read(version)).files.map(({ path }) => path);

  it('yields the live files of each version', async () => {
    await log({
      [commitName(0)]: [...initial, add('a'), add('b')],
      [commitName(1)]: [removeAction({ path: 'a' }), add('c', 5)],
    });
    expect(await paths(0)).to.deep.equal(['a', 'b']);
    expect(await paths(1)).to.deep.equal(['b', 'c']);
    expect(await paths()).to.deep.equal(['b', 'c']);
    expect((await read()).rows).to.equal(6);
    expect(await listVersions(reader, 't')).to.deep.equal([0, 1]);
  });

  it('knows no number of rows where one file lacks it', async () => {
    const { stats: _, ...bare } = { path: 'b', partitionValues: {}, size: 1, modificationTime: 0, stats: '' };
    await log({ [commitName(0)]: [...initial, add('a'), { add: bare }] });
    expect((await read()).rows).to.equal(undefined);
  });

  it('takes malformed statistics as none', async () => {
    const malformed = { path: 'b', partitionValues: {}, size: 1, modificationTime: 0, stats: '{"numRecords":' };
    await log({ [commitName(0)]: [...initial, { add: malformed }] });
    expect((await read()).files[0]?.numRecords).to.equal(undefined);
  });

  it('decodes paths as URIs, and takes an empty partition value as NULL', async () => {
    const encoded = {
      path: 'day=2013-01-01%2010%253A00/a%20b%C3%A4',
      partitionValues: { day: '' },
      size: 1,
      modificationTime: 0,
    };
    await log({ [commitName(0)]: [...initial, { add: encoded }] });
    const [file] = (await read()).files;
    expect(file?.path).to.equal('day=2013-01-01 10%3A00/a bä');
    expect(file?.partitionValues).to.deep.equal({ day: null });
  });

  it('tells two deletion vectors of one file apart', async () => {
    const vector = (pathOrInlineDv: string) => ({ storageType: 'i', pathOrInlineDv, sizeInBytes: 40, cardinality: 1 });
    const file = { path: 'a', partitionValues: {}, size: 1, modificationTime: 0, stats: '{"numRecords":9}' };
    await log({
      [commitName(0)]: [...initial, { add: file }],
      [commitName(1)]: [{ add: { ...file, deletionVector: vector('11111') } }, { remove: { path: 'a' } }],
      [commitName(2)]: [
        { remove: { path: 'a', deletionVector: vector('11111') } },
        { add: { ...file, deletionVector: vector('22222') } },
      ],
    });
    expect((await read(0)).rows).to.equal(9);
    for (const [version, id] of [
      [1, 'i11111'],
      [2, 'i22222'],
    ] as const) {
      const { files, rows } = await read(version);
      expect(files.map(({ deletionVector }) => deletionVector?.uniqueId)).to.deep.equal([id]);
      expect(rows).to.equal(8);
    }
  });

  it('makes absolute paths inside the table relative, and refuses those outside', async () => {
    await log({
      [commitName(0)]: [...initial, { add: { path: `file://${root}/t/a%20b`, partitionValues: {}, size: 1 } }],
    });
    expect(await paths()).to.deep.equal(['a b']);
    await log({ [commitName(1)]: [{ add: { path: 's3://elsewhere/t/a', partitionValues: {}, size: 1 } }] });
    const error = await errorOf(read());
    expect(error.code).to.equal('UnsupportedFeature');
    expect(error.message).to.contain("'s3://elsewhere/t/a' outside the table");
  });

  it('takes a file out by any spelling of its path', async () => {
    await log({
      [commitName(0)]: [...initial, add('a b'), add('c'), add('d')],
      [commitName(1)]: [{ remove: { path: `file://${root}/t/a%20b` } }, { remove: { path: 'c' } }],
      [commitName(2)]: [{ remove: { path: '%64' } }, add('e')],
    });
    expect(await paths()).to.deep.equal(['e']);
  });

  it('bridges missing commits by compacted ones', async () => {
    await log({
      [commitName(0)]: [...initial, add('a')],
      [`${'0'.repeat(19)}1.${'0'.repeat(19)}2.compacted.json`]: [add('b'), { remove: { path: 'a' } }],
      [commitName(3)]: [add('c')],
    });
    expect(await paths(3)).to.deep.equal(['b', 'c']);
  });

  it('reads a checkpoint of version 2 in JSON', async () => {
    const name = `${'0'.repeat(19)}4.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json`;
    await log({ [name]: [{ checkpointMetadata: { version: 4 } }, ...initial, add('a')], [commitName(5)]: [add('b')] });
    expect(await paths()).to.deep.equal(['a', 'b']);
    expect(await listVersions(reader, 't')).to.deep.equal([4, 5]);
  });

  it('passes over a checkpoint that lacks a part', async () => {
    await log({
      [commitName(0)]: [...initial, add('a')],
      [commitName(1)]: [add('b')],
      [`${'0'.repeat(19)}1.checkpoint.0000000001.0000000002.parquet`]: 'half of it',
    });
    expect(await paths()).to.deep.equal(['a', 'b']);
  });

  const failures: {
    readonly title: string;
    readonly entries: Readonly<Record<string, string | readonly DeltaAction[]>>;
    readonly version?: number;
    readonly code: string;
    readonly says: string;
  }[] = [
    { title: 'no log', entries: {}, code: 'NotFound', says: '/t is not a Delta table: it has no log in _delta_log/' },
    {
      title: 'a version that does not exist yet',
      entries: { [commitName(0)]: [...initial], [commitName(1)]: [add('a')] },
      version: 7,
      code: 'VersionGone',
      says: 'does not exist: versions 0 to 1 can be read',
    },
    {
      title: 'a version whose commits were cleaned up',
      entries: {
        [`${'0'.repeat(19)}4.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json`]: [...initial, add('a')],
        [commitName(5)]: [add('b')],
      },
      version: 3,
      code: 'VersionGone',
      says: 'is gone from the log: versions 4 to 5 can be read',
    },
    {
      title: 'a missing commit',
      entries: { [commitName(0)]: [...initial], [commitName(2)]: [add('a')] },
      code: 'CorruptTable',
      says: `cannot rebuild version 2: ${commitName(1)} is missing`,
    },
    {
      title: 'a line that is not JSON',
      entries: { [commitName(0)]: [...initial], [commitName(1)]: '{"commitInfo":{}}\n{"add":{"path":"a"' },
      code: 'CorruptTable',
      says: `${commitName(1)} line 2 cannot be read: it is not JSON`,
    },
    {
      title: 'an empty commit',
      entries: { [commitName(0)]: [...initial], [commitName(1)]: '' },
      code: 'CorruptTable',
      says: `${commitName(1)} cannot be read: it is empty`,
    },
    {
      title: 'an action without what it needs',
      entries: { [commitName(0)]: [...initial, { add: { path: 'a' } }] },
      code: 'CorruptTable',
      says: "its action 'add' has no whole number size",
    },
    {
      title: 'a log without metadata',
      entries: { [commitName(0)]: [add('a')] },
      code: 'CorruptTable',
      says: 'has no protocol action',
    },
    {
      title: 'a path that climbs out of the table',
      entries: { [commitName(0)]: [...initial, add('../../etc/passwd')] },
      code: 'CorruptTable',
      says: 'outside it',
    },
    {
      title: 'a checkpoint that is not Parquet',
      entries: { [`${'0'.repeat(19)}1.checkpoint.parquet`]: 'not Parquet at all' },
      code: 'CorruptTable',
      says: 'is not a readable Parquet file',
    },
    ...['typeWidening', 'typeWidening-preview', 'variantType', 'catalogManaged', 'somethingNew'].map((feature) => ({
      title: `the reader feature ${feature}`,
      entries: { [commitName(0)]: [protocol([feature]), metaData('long')] },
      code: 'UnsupportedFeature',
      says: `needs the Delta reader feature ${feature},`,
    })),
    ...['variant', 'void', 'interval day'].map((type) => ({
      title: `a column of the type ${type}`,
      entries: { [commitName(0)]: [protocol([]), metaData(type)] },
      code: 'UnsupportedFeature',
      says: `The column 'id' of file://`,
    })),
    {
      title: 'a reader version of the future',
      entries: { [commitName(0)]: [{ protocol: { minReaderVersion: 4, minWriterVersion: 7 } }, metaData('long')] },
      code: 'UnsupportedFeature',
      says: 'needs a Delta reader of version 4',
    },
  ];
  for (const { title, entries, version, code, says } of failures) {
    it(`fails for ${title}, naming it`, async () => {
      await log(entries);
      const error = await errorOf(read(version));
      expect(error.message).to.contain(says);
      expect(error.code).to.equal(code);
    });
  }

  for (const feature of ['deletionVectors', 'columnMapping', 'timestampNtz', 'v2Checkpoint', 'vacuumProtocolCheck']) {
    it(`accepts the reader feature ${feature}`, async () => {
      await log({ [commitName(0)]: [protocol([feature]), metaData('long')] });
      expect((await read()).protocol.readerFeatures).to.deep.equal([feature]);
    });
  }

  it('accepts features that only writers need', async () => {
    const writerFeatures = ['rowTracking', 'identityColumns', 'allowColumnDefaults', 'inCommitTimestamp'];
    const feature = { protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: [], writerFeatures } };
    await log({ [commitName(0)]: [feature, metaData('long')] });
    expect((await read()).version).to.equal(0);
  });

  const rows: Record<string, [version: number, rows: number][]> = {
    flights: [
      [0, 80789],
      [8, 330133],
      [12, 336139],
      [15, 336146],
    ],
    planes: [
      [4, 3000],
      [9, 3317],
    ],
    weather: [
      [3, 23970],
      [9, 25994],
    ],
    types: [[3, 43]],
  };
  for (const [table, versions] of Object.entries(rows)) {
    it(`of ${table} in the example lake, by delta-rs or Spark, counts its rows`, async () => {
      const lake = await openReader({ location: `file://${EXAMPLES}` });
      for (const [version, count] of versions)
        expect((await readDeltaSnapshot(lake, table, version)).rows).to.equal(count);
    });
  }
});

function protocol(readerFeatures: readonly string[]): DeltaAction {
  return { protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures, writerFeatures: readerFeatures } };
}

function metaData(type: string): DeltaAction {
  const fields = [{ name: 'id', type, nullable: true, metadata: {} }];
  const schemaString = JSON.stringify({ type: 'struct', fields });
  return {
    metaData: {
      id: 'x',
      format: { provider: 'parquet', options: {} },
      schemaString,
      partitionColumns: [],
      configuration: {},
    },
  };
}
