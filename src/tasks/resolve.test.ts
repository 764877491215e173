import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { commitName, ID_ONLY, writeLog } from '../../test/support/delta-table.ts';
import { errorOf, resolveLake, type SnapshotRun, specOf, tableSpec } from '../../test/support/snapshot-run.ts';
import type { ResolvedTable } from '../api/resolved.ts';
import { addAction, initialCommit } from '../lake/delta/commit.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import { openReader } from '../lake/open.ts';
import { previewSnapshot } from './resolve.ts';

const EXAMPLES = { location: `file://${resolve(import.meta.dirname, '../../examples/lake')}` };
const ELSEWHERE = { location: 'file:///nowhere/workspace' };

describe('resolving a lake', () => {
  const resolved = (table: ResolvedTable, more: Partial<SnapshotRun> = {}) =>
    resolveLake({ lake: EXAMPLES, workspace: ELSEWHERE, tables: [table], ...more });

  it('pins the newest version where none is named', async () => {
    const { tables } = await resolved(tableSpec('flights'));
    expect(tables).to.have.length(1);
    expect(tables[0]).to.deep.include({ name: 'flights', version: 15, baseVersion: null, rows: 336146 });
  });

  it('counts what both versions need, each object once', async () => {
    const one = (await resolved(tableSpec('flights', { version: '15' }))).tables[0];
    const both = (await resolved(tableSpec('flights', { version: '15', baseVersion: '12' }))).tables[0];
    expect(both?.sizeBytes).to.equal(one?.sizeBytes);
    expect(both?.copyBytes).to.be.greaterThan(one?.copyBytes ?? 0);
    expect(both?.copyBytes).to.be.lessThan(2 * (one?.copyBytes ?? 0));
  });

  const refused: { title: string; table: ResolvedTable; code: string; says: string; advice?: string }[] = [
    {
      title: 'a key that is no column',
      table: tableSpec('airlines', { key: ['carier'] }),
      code: 'InvalidSpec',
      says: "The key of the table airlines names the column 'carier', which version 4 does not have",
      advice: "Did you mean 'carrier'?",
    },
    {
      title: 'a cursor that is no column',
      table: tableSpec('airlines', { cursor: 'nothing_like_it' }),
      code: 'InvalidSpec',
      says: "The cursor of the table airlines names the column 'nothing_like_it'",
      advice: 'Its columns are carrier',
    },
    {
      title: 'an excluded column that is none',
      table: tableSpec('airlines', { exclude: ['x'] }),
      code: 'InvalidSpec',
      says: "The exclude of the table airlines names the column 'x'",
    },
    {
      title: 'a key that is excluded',
      table: tableSpec('airlines', { key: ['carrier'], exclude: ['carrier'] }),
      code: 'InvalidSpec',
      says: 'which exclude takes out',
    },
    {
      title: 'a sample by a column that is none',
      table: tableSpec('airlines', { sample: { percent: 1, by: 'x' } }),
      code: 'InvalidSpec',
      says: "The sample.by of the table airlines names the column 'x'",
    },
    {
      title: 'a masked cursor',
      table: tableSpec('flights', { cursor: 'updated_at', mask: [{ column: 'updated_at', with: 'Hmac' }] }),
      code: 'InvalidSpec',
      says: "The mask of the table flights names the cursor 'updated_at', whose order has to stay",
    },
    {
      title: 'a base that is not before the version',
      table: tableSpec('flights', { version: '5', baseVersion: '5' }),
      code: 'InvalidSpec',
      says: 'The table flights has baseVersion 5, which is not before its version 5',
    },
    {
      title: 'a version that is not there',
      table: tableSpec('flights', { version: '99' }),
      code: 'VersionGone',
      says: 'Version 99 of file://',
      advice: 'Name one of these versions',
    },
    {
      title: 'a table that is not there',
      table: tableSpec('trains'),
      code: 'NotFound',
      says: '/examples/lake/trains is not a Delta table: it has no log in _delta_log/',
      advice: "Check the location and the table's path",
    },
  ];
  for (const { title, table, code, says, advice } of refused) {
    it(`refuses ${title}, naming it`, async () => {
      const error = await errorOf(resolved(table));
      expect(error.message).to.contain(says);
      expect(error.code).to.equal(code);
      if (advice !== undefined) expect(error.advice).to.contain(advice);
    });
  }

  it("refuses a type for a source's column that no version has", async () => {
    const spec = specOf({ lake: EXAMPLES, workspace: ELSEWHERE, tables: [tableSpec('airlines')] });
    const columns = [{ table: 'airlines', column: 'carier', type: 'uuid' }];
    const sources = [
      { name: 's', engine: 'Postgres', tables: ['airlines'], columns, provider: { kind: 'embedded' } } as const,
    ];
    const error = await errorOf(previewSnapshot({ ...spec, sources }, undefined));
    expect(error).to.include({ code: 'InvalidSpec', advice: "Did you mean 'carrier'?" });
    expect(error.message).to.contain('columns of the source s name airlines.carier');
  });

  it('refuses a nested key', async () => {
    const error = await errorOf(resolved(tableSpec('types', { key: ['id', await nestedColumn()] })));
    expect(error.message).to.match(/which is a (struct|array|map)$/);
  });

  it('stops before any copy where the limit would be passed', async () => {
    const error = await errorOf(resolved(tableSpec('flights'), { limits: { maxBytes: 1000 } }));
    expect(error.code).to.equal('LimitExceeded');
    expect(error.message).to.match(/over the limit of 1000; the largest table is flights with \d+$/);
  });

  const places: [string, string, string][] = [
    ['a workspace inside the lake', `${EXAMPLES.location}/parity`, 'workspace location'],
    ['a workspace that is the lake', EXAMPLES.location, 'workspace location'],
    [
      'a lake inside the workspace',
      resolve(EXAMPLES.location.slice('file://'.length), '..'),
      'lies inside the workspace',
    ],
  ];
  for (const [title, location, says] of places) {
    it(`refuses ${title}`, async () => {
      const workspace = { location: location.startsWith('file:') ? location : `file://${location}` };
      const error = await errorOf(resolved(tableSpec('flights'), { workspace }));
      expect(error.code).to.equal('InvalidSpec');
      expect(error.message).to.contain('Nothing may be written to the lake').and.to.contain(says);
    });
  }

  describe('with partitions by timestamp', () => {
    let root: string;
    before(async () => {
      root = await mkdtemp(join(tmpdir(), 'parity-zones-'));
      const at = { name: 'at', physicalName: 'at', type: { kind: 'timestamp' as const }, nullable: true };
      const schema = { ...ID_ONLY, fields: [...ID_ONLY.fields, at] };
      const partition = (value: string) =>
        addAction({ path: value, sizeBytes: 1, numRecords: 1, partitionValues: { at: value } });
      const initial = initialCommit({ schema, partitionColumns: ['at'] });
      await writeLog(join(root, 'utc'), { [commitName(0)]: [...initial, partition('2020-01-01T00:00:00.000000Z')] });
      await writeLog(join(root, 'local'), { [commitName(0)]: [...initial, partition('2020-01-01 00:00:00')] });
    });
    after(() => rm(root, { recursive: true, force: true }));

    it('takes those with a zone as they are', async () => {
      await resolved(tableSpec('utc'), { lake: { location: `file://${root}` } });
    });
    it('refuses those without, naming the column', async () => {
      const error = await errorOf(resolved(tableSpec('local'), { lake: { location: `file://${root}` } }));
      expect(error.code).to.equal('UnsupportedFeature');
      expect(error.message).to.contain("'at' of local has timestamps without zone, such as '2020-01-01 00:00:00'");
    });
    it('takes those without where the manifest tells the zone', async () => {
      const table = tableSpec('local', { partitionTimeZone: 'Europe/Berlin' });
      await resolved(table, { lake: { location: `file://${root}` } });
    });
  });
});

describe('a preview', () => {
  it('tells bytes, files, requests and the way of each table, and copies nothing', async () => {
    const root = await mkdtemp(join(tmpdir(), 'parity-preview-'));
    try {
      const workspace = { location: `file://${root}` };
      const sampled = tableSpec('planes', { version: '9', sample: { percent: 50, by: 'tailnum' } });
      const spec = specOf({ lake: EXAMPLES, workspace, tables: [tableSpec('flights', { version: '15' }), sampled] });
      const preview = await previewSnapshot(spec, undefined);
      expect(preview.tables.map(({ way }) => way)).to.deep.equal(['ServerSide', 'Rewritten']);
      expect(preview.bytes).to.equal(preview.tables.reduce((sum, { copyBytes }) => sum + copyBytes, 0));
      expect(preview.requests).to.be.greaterThan(preview.files);
      expect(preview.crossRegionBytes).to.equal(null);
      expect(await readdir(root)).to.deep.equal([]);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
});

async function nestedColumn(): Promise<string> {
  const { schema } = await readDeltaSnapshot(await openReader(EXAMPLES), 'types', 3);
  return schema.fields.find(({ type }) => type.kind === 'array')?.name ?? '';
}
