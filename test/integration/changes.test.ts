import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Engine } from '../../src/engine/engine.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { type Bench, openBench } from '../../src/pipelines/reference.fixture.ts';
import { computeChanges } from '../../src/sources/changes.ts';
import { snapshotDifference, snapshotPath, snapshotRelation } from '../../src/tasks/relations.ts';
import { contextOf } from '../../src/tasks/sides.fixture.ts';
import type { Resolution, TaskContext } from '../../src/tasks/task.ts';
import { pythonPath } from '../support/python.ts';

const WRITER = resolve(import.meta.dirname, '../support/change_feed.py');

interface Feed {
  readonly base: number;
  readonly target: number;
  readonly deletes: readonly (readonly [number, string])[];
  readonly inserts: readonly (readonly [number, string])[];
}

describe('The changes between two versions of a table with a change data feed, written by delta-rs', function () {
  this.timeout(120_000);
  let bench: Bench;
  let feed: Feed;
  before(async () => {
    bench = await openBench();
    const table = `${bench.store.url(snapshotPath('t')).replace('file://', '')}`;
    const { stdout } = await promisify(execFile)(await pythonPath(), [WRITER, table]);
    feed = JSON.parse(stdout);
  });
  after(() => bench.close());

  const contextAt = (baseVersion: number, version: number): TaskContext => {
    const input = { kind: 'advance', step: 'a', source: 'shop', tables: ['t'] } as const;
    const context = contextOf(bench, input, { tables: [{ name: 't' }] });
    const sizes = { rows: 0, sizeBytes: 0, copyBytes: 0, files: 0 };
    const resolution: Resolution = { tables: [{ name: 't', version, baseVersion, ...sizes }] };
    return { ...context, detailOf: async <Detail>() => structuredClone(resolution) as Detail };
  };

  it('are what the feed says, net for each key', async () => {
    const { base, target } = await snapshotDifference(contextAt(feed.base, feed.target), bench.engine, 't');
    const { deletes, inserts } = await computeChanges(bench.engine, base, target);
    expect(await rowsOf(bench.engine, deletes)).to.deep.equal(feed.deletes);
    expect(await rowsOf(bench.engine, inserts)).to.deep.equal(feed.inserts);
  });

  it('are found without reading the files that both versions have', async () => {
    const context = contextAt(feed.base, feed.target);
    const [whole, part] = [
      await snapshotRelation(context, bench.engine, 't', 'Base'),
      await snapshotDifference(context, bench.engine, 't'),
    ];
    // Three files of 1,000 rows: nothing has touched the second.
    expect(whole.rows).to.equal(3000);
    expect(part.base.rows).to.equal(1000);
  });

  it('are none where one version follows another that says the same', async () => {
    const { base, target } = await snapshotDifference(contextAt(feed.base, feed.base), bench.engine, 't');
    const { deletes, inserts } = await computeChanges(bench.engine, base, target);
    expect([base.rows, target.rows, deletes.rows, inserts.rows]).to.deep.equal([0, 0, 0, 0]);
  });
});

async function rowsOf(engine: Engine, relation: Relation): Promise<readonly (readonly [number, string])[]> {
  const rows = await engine.rows<{ id: number | string; value: string }>(
    `SELECT id, value FROM (${relation.sql}) ORDER BY id`,
  );
  return rows.map(({ id, value }) => [Number(id), value]);
}
