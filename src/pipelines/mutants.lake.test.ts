import { join } from 'node:path';
import { expect } from 'chai';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import { openReader } from '../lake/open.ts';
import { deltaRelation } from '../lake/relation-delta.ts';
import type { ObjectReader } from '../lake/store.ts';
import { type Bug, bugs } from './mutants.ts';
import type { SyncRequest } from './pipeline.ts';
import { type Bench, contextFor, type FakeTable, fakeSource, openBench, untilEnd } from './reference.fixture.ts';
import { referencePipeline } from './reference.ts';

/** Tables of the example lake: versions before and after, and the key. */
const lake = {
  flights: { base: 9, target: 15, key: ['id'] },
  planes: { base: 4, target: 9, key: ['tailnum'] },
  airlines: { base: 1, target: 4, key: ['carrier'] },
  airports: { base: 2, target: 5, key: ['faa'] },
  weather: { base: 6, target: 9, key: ['origin', 'time_hour'] },
  types: { base: 1, target: 3, key: ['id'] },
} as const;
type Name = keyof typeof lake;
const all: readonly Name[] = ['flights', 'planes', 'airlines', 'airports', 'weather', 'types'];

/** After which sync a bug shows first, and in which tables. docs/reference/bugs.md says the same in words. */
const shows: Readonly<
  Record<Exclude<Bug, 'None'>, { readonly after: 'full' | 'incremental'; readonly in: readonly Name[] }>
> = {
  DroppedTail: { after: 'full', in: all },
  DuplicatedBatch: { after: 'full', in: all },
  CursorOffByOne: { after: 'incremental', in: ['flights'] },
  TruncatedPrecision: { after: 'full', in: ['flights', 'weather', 'types'] },
  ShiftedTimestamps: { after: 'full', in: all },
  NullToEmpty: { after: 'full', in: ['flights', 'airports', 'types'] },
  EmptyToNull: { after: 'full', in: ['types'] },
  TrimmedStrings: { after: 'full', in: ['types'] },
  Float32Rounding: { after: 'full', in: ['airports', 'weather', 'types'] },
  SwappedColumns: { after: 'full', in: ['flights', 'planes', 'airports', 'weather', 'types'] },
  StaleUpdates: { after: 'incremental', in: all },
  ResurrectedDeletes: { after: 'incremental', in: all },
  LostLastChunk: { after: 'full', in: all },
  WrongEncoding: { after: 'full', in: ['airports', 'types'] },
  NullUnsafeMerge: { after: 'incremental', in: ['planes', 'airports', 'weather', 'types'] },
  DroppedNewColumn: { after: 'incremental', in: ['planes'] },
  OffByOneDay: { after: 'full', in: ['types'] },
  LostMicroseconds: { after: 'full', in: ['flights', 'weather', 'types'] },
};

describe('bugs on the example lake', () => {
  let bench: Bench;
  let reader: ObjectReader;
  let healthy: Digests;
  const sources = { full: new Map<string, FakeTable>(), incremental: new Map<string, FakeTable>() };

  before(async () => {
    bench = await openBench();
    reader = await openReader({ location: `file://${join(import.meta.dirname, '../../examples/lake')}` });
    for (const name of all)
      for (const [step, version] of [
        ['full', lake[name].base],
        ['incremental', lake[name].target],
      ] as const) {
        const snapshot = await readDeltaSnapshot(reader, name, version);
        const { columns, sql } = await deltaRelation(bench.engine, reader, name, snapshot);
        sources[step].set(name, { fields: columns, cursor: 'updated_at', sql });
      }
    healthy = await landBoth('None', all);
  });

  after(async () => {
    reader.close();
    await bench.close();
  });

  /** What is landed after each sync, by table. */
  interface Digests {
    readonly full: ReadonlyMap<string, string>;
    readonly incremental: ReadonlyMap<string, string>;
  }

  async function landBoth(bug: Bug, tables: readonly Name[]): Promise<Digests> {
    const declared = { name: bug.toLowerCase(), cursorBound: 'Inclusive', reference: { bug } } as const;
    const keys = Object.fromEntries(tables.map((name) => [name, lake[name].key]));
    const land = async (step: 'full' | 'incremental', mode: SyncRequest['mode']): Promise<Map<string, string>> => {
      const pipeline = referencePipeline(declared, fakeSource(sources[step]));
      const request: SyncRequest = { pipeline: declared.name, step, source: 'shop', mode, tables, at: 'Base' };
      const context = contextFor(bench, request, { pipeline: declared, keys });
      expect(await untilEnd(pipeline, request, context)).to.deep.include({ state: 'Succeeded' });
      const digests = new Map<string, string>();
      for (const name of tables) {
        const { columns, sql } = await pipeline.output(name, bench.engine, context);
        digests.set(
          name,
          await digest(
            columns.map((column) => column.name),
            sql,
          ),
        );
      }
      return digests;
    };
    return { full: await land('full', 'Full'), incremental: await land('incremental', 'Incremental') };
  }

  async function digest(columns: readonly string[], sql: string): Promise<string> {
    const list = columns.map((name) => `\`${name}\``).join(', ');
    const [row] = await bench.engine.rows<{ digest: string }>(
      `SELECT concat(toString(count()), ' ', toString(sum(xxh3(tuple(0, ${list}))))) AS digest FROM (${sql})`,
    );
    return `${columns.join(',')} ${row?.digest}`;
  }

  it('none: a full sync lands exactly the table, in every type', async () => {
    for (const name of all) {
      const { fields, sql } = sources.full.get(name) ?? { fields: [], sql: '' };
      expect(healthy.full.get(name), name).to.equal(
        await digest(
          fields.map((field) => field.name),
          sql,
        ),
      );
    }
  });

  it('none: an incremental sync of a table whose cursor sees all lands exactly the table', async () => {
    const { fields, sql } = sources.incremental.get('airports') ?? { fields: [], sql: '' };
    expect(healthy.incremental.get('airports')).to.equal(
      await digest(
        fields.map((field) => field.name),
        sql,
      ),
    );
  });

  it('knows of each bug where it shows', () => {
    expect(['None', ...Object.keys(shows)].sort()).to.deep.equal([...bugs].sort());
  });

  for (const bug of bugs.filter((name) => name !== 'None')) {
    const { after: step, in: tables } = shows[bug];
    // The big table only where it is the only one that shows the bug.
    const read = tables.length === 1 ? tables : tables.filter((name) => name !== 'flights');
    it(`${bug} shows after the ${step} sync in ${tables.join(', ')}`, async () => {
      const landed = await landBoth(bug, read);
      const differing = (after: 'full' | 'incremental'): string[] =>
        read.filter((name) => landed[after].get(name) !== healthy[after].get(name));
      expect(differing(step)).to.deep.equal(read);
      if (step === 'incremental') expect(differing('full')).to.deep.equal([]);
    });
  }
});
