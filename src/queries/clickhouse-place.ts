import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  checkQuery,
  friendlySql,
  referencesOf,
  type TableReference,
  viewName,
  withViews,
} from '../compare/query-sql.ts';
import { type ResultSet, resultQuery, takeResult } from '../compare/result-sets.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType, isNested } from '../lake/relation-types.ts';
import type { DataType } from '../lake/types.ts';
import { outputOf } from '../pipelines/contract.ts';
import { clickHouseSelect, refusedTime } from '../pipelines/landed-clickhouse.ts';
import { snapshotFields } from '../pipelines/landed-database.ts';
import { landingDatabase } from '../pipelines/outputs.ts';
import { type ClickHouseClient, clickHouseAccess, clickHouseClient } from '../sources/clickhouse-client.ts';
import { dropClickHouseDatabases, onCluster } from '../sources/clickhouse-database.ts';
import { parseConnection } from '../sources/connection.ts';
import { createRunDatabase, runDatabaseName } from '../sources/run-database.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError, toParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { inEngine } from './errors.ts';
import type { QueryPlace, QuerySide } from './place.ts';
import { addressOf, uploadRows } from './workspace-rows.ts';

export interface ClickHousePlace extends QueryPlace {
  /** Drops what was made there for this task. */
  close(): Promise<void>;
}

/**
 * A ClickHouse server, in databases of the run's own, one for each side: the rows that the side's tables hold for the comparison are streamed there once, and views
 * over them have the types that people query. Results come back as one file, and are compared as those of the embedded engine.
 */
export function clickHousePlace(
  context: TaskContext,
  engine: Engine,
  { keys, secretName }: { readonly keys: Readonly<Record<string, string>>; readonly secretName: string },
): ClickHousePlace {
  const { run, id } = context.file;
  const { signal, attempt, runFolder } = context;
  const server = parseConnection('ClickHouse', keys, queryOwner(secretName));
  const client = clickHouseClient(server, { signal });
  const made = new Map<QuerySide['word'], Promise<Connection>>();
  const filled = new Set<string>();
  let results = 0;

  const nameFor = (word: QuerySide['word']): string => `queries ${id} ${attempt} ${word}`;
  const databaseOf = async (word: QuerySide['word']): Promise<Connection> => {
    const intend = async (): Promise<void> => {
      if (runFolder !== undefined) await writeFile(queriesMark(runFolder, secretName), '', { mode: 0o600 });
    };
    const making = made.get(word) ?? createRunDatabase(server, 'ClickHouse', run, nameFor(word), intend);
    made.set(word, making);
    return await making;
  };

  return {
    title: `ClickHouse at ${server.host}:${server.port}`,

    async prepare(query, side) {
      const database = await databaseOf(side.word);
      for (const reference of referencesOf(query.text)) {
        const view = viewName(reference);
        const key = `${side.word} ${view}`;
        if (filled.has(key)) continue;
        const rows =
          (await landedHere(context, client, secretName, side, reference)) ??
          (await linked(context, client, engine, keys, side, reference, filled.size)) ??
          (await copied(
            client,
            engine,
            await side.relationOf(reference),
            { database, table: `parity~${filled.size}` },
            signal,
          ));
        await client.text(
          `CREATE OR REPLACE VIEW ${named({ database, table: view })}${onCluster(database)} AS ${friendlySql(rows)}`,
        );
        filled.add(key);
      }
      return undefined;
    },

    async run(query, side) {
      const { database } = await databaseOf(side.word);
      const timeoutMs = query.timeoutSeconds * 1000;
      const sql = withViews(query.text, database).trim().replace(/;\s*$/, '');
      const { isOrdered } = await checkQuery(engine, { name: query.name, sql }, database, { signal });
      try {
        const options = { signal, timeoutMs, settings: asEmbedded };
        const described = await client.rows(`DESCRIBE (${sql}\n)`, options);
        const columns = described.map(({ name, type }) => ({ name: name ?? '', type: type ?? '' }));
        const file = join(engine.scratch, `clickhouse-result-${process.pid}-${results++}.parquet`);
        await client.parquet(resultQuery(sql, columns), file, {
          ...options,
          settings: { ...asEmbedded, output_format_parquet_string_as_string: 0 },
        });
        const result: ResultSet = await takeResult(engine, file, columns, `${side.database}.parity_result`, { signal });
        return { result, isOrdered };
      } catch (thrown) {
        const doing = `Query ${query.name} on the ${side.word}: of a table that it reads`;
        const error = refusedTime(thrown, doing, query.name) ?? inEngine(toParityError(thrown), query, side);
        if (error.code !== 'QueryFailed') throw error;
        return { failed: error };
      }
    },

    async close() {
      client.close();
      for (const word of made.keys())
        await dropClickHouseDatabases(server, runDatabaseName(run.uid, nameFor(word)), run);
    },
  };
}

/** The file that is there if queries of the run may have made a database on the server of a secret. */
export function queriesMark(runFolder: string, secretName: string): string {
  return join(runFolder, `queries-${secretName}.database`);
}

/** For messages about the secret. */
export function queryOwner(secretName: string) {
  return { name: 'sql', secret: secretName, role: 'query' } as const;
}

/** A query means the same here as in the embedded engine. */
const asEmbedded = { join_use_nulls: 1 };

interface Place {
  readonly database: Connection;
  readonly table: string;
}

function named({ database, table }: Place): string {
  return `${quoteIdentifier(database.database)}.${quoteIdentifier(table)}`;
}

type Rows = Pick<Relation, 'columns' | 'sql'>;

/** What the candidate has landed on this very server is read where it is. */
async function landedHere(
  context: TaskContext,
  client: ClickHouseClient,
  secretName: string,
  { word, side, sourceOf }: QuerySide,
  reference: TableReference,
): Promise<Rows | undefined> {
  // A baseline may be another than what lies there: what the pipeline's cursor can have seen.
  if (word !== 'candidate' || side.kind !== 'pipeline') return undefined;
  const { spec } = context.file;
  const pipeline = spec.pipelines.find(({ name }) => name === side.pipeline);
  const source = sourceOf(reference);
  if (pipeline === undefined || source === undefined || !('outputs' in pipeline)) return undefined;
  const { outputs } = pipeline;
  if (outputs.kind !== 'database' || outputs.server?.engine !== 'ClickHouse') return undefined;
  if (outputs.server.secretRef.name !== secretName) return undefined;
  const { table } = reference;
  const output = outputOf(pipeline, context, source, table);
  if (output.format !== 'Table') return undefined;
  const fields = await snapshotFields(context, table);
  return await clickHouseSelect(client, await landingDatabase(pipeline, outputs.server, context), {
    name: output.table,
    table,
    expected: new Map(fields.map((field) => [field.name, field])),
    exclude: spec.snapshot.tables.find(({ name }) => name === table)?.exclude ?? [],
  });
}

/** Rows that are put into the workspace, where the server may read them: nothing is kept there but a view. */
async function linked(
  context: TaskContext,
  client: ClickHouseClient,
  engine: Engine,
  { accessKeyId, secretAccessKey }: Readonly<Record<string, string>>,
  side: QuerySide,
  reference: TableReference,
  index: number,
): Promise<Rows | undefined> {
  const { location } = context.workspace;
  if (location.scheme !== 's3' || accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  const relation = await side.relationOf(reference);
  // No type of Parquet is left to be understood: days and microseconds are numbers.
  const columns = relation.columns.map((field) => ({ ...field, type: numberFor(field.type) }));
  const folder = `queries/${context.file.id}/${context.attempt}/${side.word}-${index}`;
  await uploadRows(context, engine, folder, { ...relation, columns });
  const structure = columns.map(({ name, type }) => `${quoteIdentifier(name)} ${engineType(type)}`).join(', ');
  const from = [addressOf(location, `${folder}/*.parquet`), accessKeyId, secretAccessKey, 'Parquet', structure];
  const sql = `SELECT * FROM s3(${from.map(quoteString).join(', ')})`;
  await requireAll(client, engine, relation, `(${sql})`, context.signal);
  return { columns: relation.columns, sql };
}

function numberFor(type: DataType): DataType {
  switch (type.kind) {
    case 'date':
      return { kind: 'integer' };
    case 'timestamp':
    case 'timestamp_ntz':
      return { kind: 'long' };
    default:
      return isNested(type) ? { kind: 'string' } : type;
  }
}

/** Makes a table of the relation's columns in canonical types, and streams its rows there. Throws `CorruptTable` where not all have arrived. */
async function copied(
  client: ClickHouseClient,
  engine: Engine,
  relation: Relation,
  place: Place,
  signal: AbortSignal,
): Promise<Rows> {
  const columns = relation.columns.map(({ name, type }) => `${quoteIdentifier(name)} ${engineType(type)}`);
  const isReplicated = clickHouseAccess(place.database).cluster !== undefined;
  const target = named(place);
  await client.text(
    `CREATE TABLE ${target}${onCluster(place.database)} (${columns.join(', ')}) ENGINE = ${isReplicated ? 'ReplicatedMergeTree' : 'MergeTree'} ORDER BY tuple()`,
  );
  await client.insert(`INSERT INTO ${target} FORMAT Native`, engine.stream(relation.sql, 'Native', { signal }), {
    // Each row counts, also the same one twice, and is there for whoever asks next.
    settings: {
      async_insert: 0,
      insert_deduplicate: 0,
      ...(isReplicated ? { insert_quorum: 'auto', insert_quorum_parallel: 0 } : {}),
    },
  });
  await requireAll(client, engine, relation, target, signal);
  return { columns: relation.columns, sql: `SELECT * FROM ${target}` };
}

async function requireAll(
  client: ClickHouseClient,
  engine: Engine,
  relation: Relation,
  from: string,
  signal: AbortSignal,
): Promise<void> {
  const [arrived] = await client.rows(`SELECT count() AS n FROM ${from}`);
  const rows = relation.rows ?? (await countOf(engine, relation, signal));
  if (Number(arrived?.n) === rows) return;
  throw new ParityError(
    'CorruptTable',
    `Bringing ${relation.name} to ClickHouse, ${arrived?.n} rows arrived where it has ${rows}.`,
    { advice: 'See whether something else writes to the databases of the run there.' },
  );
}

async function countOf(engine: Engine, { sql }: Relation, signal: AbortSignal): Promise<number> {
  const [row] = await engine.rows<{ n: string }>(`SELECT count() AS n FROM (${sql})`, { signal });
  return Number(row?.n);
}
