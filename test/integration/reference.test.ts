import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { expect } from 'chai';
import type { ResolvedSource, ResolvedSpec } from '../../src/api/resolved.ts';
import { rowDigest } from '../../src/compare/row-digest.ts';
import type { Relation } from '../../src/lake/relation.ts';
import { type Bench, contextFor, openBench } from '../../src/pipelines/reference.fixture.ts';
import { databaseAccess } from '../../src/pipelines/reference-source.ts';
import type { SnapshotPoint } from '../../src/run/types.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { sourceDriver } from '../../src/sources/registry.ts';
import { ParityError } from '../../src/support/error.ts';
import { sideRelation, snapshotRelation, withoutColumns } from '../../src/tasks/relations.ts';
import { runSync } from '../../src/tasks/sync.ts';
import type { Resolution, TaskContext } from '../../src/tasks/task.ts';
import { sharedServer } from '../support/databases.ts';
import { ownSchema, sharedSnowflake } from '../support/snowflake.ts';

const lake = join(import.meta.dirname, '../../examples/lake');
const signal = new AbortController().signal;

/** Two tables of the example for each engine; `types` without what the engine cannot hold. */
const cases: readonly {
  engine: ResolvedSource['engine'];
  omit: readonly string[];
  table: string;
  base: number;
  target: number;
  key: string[];
}[] = [
  { engine: 'Postgres', omit: ['text_nul'], table: 'types', base: 1, target: 3, key: ['id'] },
  { engine: 'Postgres', omit: [], table: 'airports', base: 2, target: 5, key: ['faa'] },
  { engine: 'MySQL', omit: ['float_special', 'double_special'], table: 'types', base: 1, target: 3, key: ['id'] },
  { engine: 'MySQL', omit: [], table: 'planes', base: 4, target: 9, key: ['tailnum'] },
  { engine: 'Snowflake', omit: [], table: 'types', base: 1, target: 3, key: ['id'] },
  { engine: 'Snowflake', omit: [], table: 'airports', base: 2, target: 5, key: ['faa'] },
];

describe('the sync task with a real source', () => {
  let bench: Bench;
  let schema: Awaited<ReturnType<typeof ownSchema>>;

  before(async function () {
    this.timeout(120_000);
    bench = await openBench();
    schema = await ownSchema(await sharedSnowflake());
    for (const table of ['types', 'airports', 'planes'])
      await cp(join(lake, table), join(bench.folder, 'workspace/snapshot', table), { recursive: true });
  });
  after(async () => {
    await schema?.close();
    await bench.close();
  });

  for (const { engine, omit, table, base, target, key } of cases) {
    const pipeline = { name: 'candidate', cursorBound: 'Inclusive', reference: { bug: 'None' } } as const;
    const source = `${engine.toLowerCase()}-${table}`;

    const contextOf = async (step: string, mode: 'Full' | 'Incremental', at: SnapshotPoint): Promise<TaskContext> => {
      const { connection } = engine === 'Snowflake' ? schema : await sharedServer(engine);
      const request = { pipeline: pipeline.name, step, source, mode, tables: [table], at };
      const context = contextFor(bench, request, { pipeline, keys: { [table]: key } });
      const spec: ResolvedSpec = {
        ...context.file.spec,
        snapshot: {
          ...context.file.spec.snapshot,
          tables: [{ name: table, path: table, key, cursor: 'updated_at', exclude: [], mask: [] }],
        },
        sources: [
          {
            name: source,
            engine,
            tables: [table],
            columns: omit.map((column) => ({ table, column, omit: true })),
            provider: engine === 'Snowflake' ? { kind: 'external', secretRef: { name: source } } : { kind: 'embedded' },
          },
        ],
      };
      const resolution: Resolution = {
        tables: [{ name: table, version: target, baseVersion: base, rows: 0, sizeBytes: 0, copyBytes: 0, files: 0 }],
      };
      return {
        ...context,
        file: { ...context.file, spec },
        secret: async () => formatConnection(connection),
        // The caller says what it expects: the contract leaves the type to whoever asks.
        detailOf: async <Detail>(): Promise<Detail> => JSON.parse(JSON.stringify(resolution)),
      };
    };

    const load = async (context: TaskContext, at: SnapshotPoint): Promise<void> => {
      const declared = context.file.spec.sources[0];
      if (declared === undefined) throw new ParityError('Internal', 'the spec has no source');
      const rows = await snapshotRelation(context, bench.engine, table, at, { source });
      const plan = sourceDriver(engine).plan(table, rows.columns, { primaryKey: [], cursor: undefined, columns: [] });
      const session = await databaseAccess.connect(context, declared);
      await session.load(bench.engine, plan, rows, { signal, onProgress: () => undefined });
      await session.close();
    };

    const digestOf = async (relation: Relation): Promise<unknown> => await rowDigest(bench.engine, relation);

    it(`lands ${table} out of ${engine} exactly as it was in the lake`, async function () {
      this.timeout(120_000);
      const context = await contextOf('first', 'Full', 'Base');
      await load(context, 'Base');
      const { detail, summary } = await runSync(context);
      const snapshot = await snapshotRelation(context, bench.engine, table, 'Base', { source });
      const landed = await sideRelation(
        context,
        bench.engine,
        { kind: 'pipeline', pipeline: 'candidate' },
        table,
        source,
      );
      expect(landed.columns.map(({ name }) => name)).to.deep.equal(snapshot.columns.map(({ name }) => name));
      expect(await digestOf(landed)).to.deep.equal(await digestOf(snapshot));
      expect(summary.rows).to.equal(landed.rows);
      expect(detail.tables).to.have.length(1);
    });

    it(`merges into ${table} what the cursor sees in ${engine}, and nothing else`, async function () {
      this.timeout(120_000);
      const context = await contextOf('second', 'Incremental', 'Target');
      await load(context, 'Target');
      const { detail } = await runSync(context);
      expect(detail.tables[0]).to.deep.include({ table, mode: 'Incremental' });
      const at = async (point: SnapshotPoint): Promise<Relation> =>
        await snapshotRelation(context, bench.engine, table, point, { source });
      const [old, now] = [await at('Base'), await at('Target')];
      const columns = now.columns.map(({ name }) =>
        old.columns.some((o) => o.name === name) ? `\`${name}\`` : `NULL AS \`${name}\``,
      );
      const keys = key.join(', ');
      const deleted = `SELECT ${columns.join(', ')} FROM (${old.sql}) WHERE (${keys}) NOT IN (SELECT ${keys} FROM (${now.sql}))`;
      // These tables have only deletes that a cursor does not see: the landed table still has those rows.
      const expected: Relation = { ...now, sql: `SELECT * FROM (${now.sql}) UNION ALL ${deleted}`, rows: undefined };
      const landed = await sideRelation(
        context,
        bench.engine,
        { kind: 'pipeline', pipeline: 'candidate' },
        table,
        source,
      );
      expect(await digestOf(landed)).to.deep.equal(await digestOf(expected));
    });

    it(`lands ${table} out of ${engine} as DuckDB reads it too`, async () => {
      const context = await contextOf('second', 'Incremental', 'Target');
      const landed = await sideRelation(
        context,
        bench.engine,
        { kind: 'pipeline', pipeline: 'candidate' },
        table,
        source,
      );
      const { sql } = withoutColumns(
        landed,
        landed.columns.map(({ name }) => name).filter((name) => !isTime(landed, name)),
      );
      const times = landed.columns.filter(({ name }) => isTime(landed, name));
      const ours = await bench.engine.rows<Record<string, string | null>>(
        `SELECT ${times.map(({ name }) => `toString(min(\`${name}\`)) AS \`min ${name}\`, toString(max(\`${name}\`)) AS \`max ${name}\``).join(', ')} FROM (${sql})`,
      );
      const theirs = await duckdbExtremes(
        context,
        times.map(({ name, type }) => ({ name, isDate: type.kind === 'date' })),
      );
      expect(theirs).to.deep.equal(ours[0]);
    });

    const duckdbExtremes = async (
      context: TaskContext,
      times: readonly { name: string; isDate: boolean }[],
    ): Promise<Record<string, string | null>> => {
      const { readLanded } = await import('../../src/pipelines/landed.ts');
      const path = `landed/candidate/${source}/${table}`;
      const { snapshot } = await readLanded(context.workspace, path);
      const files = (snapshot?.files ?? []).map((file) => `'${join(bench.folder, 'workspace', path, file.path)}'`);
      const connection = await (await DuckDBInstance.create(':memory:')).connect();
      const value = ({ name, isDate }: { name: string; isDate: boolean }): string =>
        isDate ? `date_diff('day', DATE '1970-01-01', "${name}")` : `epoch_us("${name}")`;
      const list = times.flatMap((time) =>
        ['min', 'max'].map((f) => `CAST(${f}(${value(time)}) AS VARCHAR) AS "${f} ${time.name}"`),
      );
      const reader = await connection.runAndReadAll(
        `SELECT ${list.join(', ')} FROM read_parquet([${files.join(', ')}])`,
      );
      const [row] = reader.getRowObjectsJson();
      connection.closeSync();
      return Object.fromEntries(
        Object.entries(row ?? {}).map(([name, text]) => [name, text === null ? null : String(text)]),
      );
    };
  }
});

function isTime(relation: Relation, name: string): boolean {
  const kind = relation.columns.find((column) => column.name === name)?.type.kind;
  return kind === 'date' || kind === 'timestamp' || kind === 'timestamp_ntz';
}
