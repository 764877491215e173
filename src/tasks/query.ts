import type { ResolvedQuery } from '../api/resolved.ts';
import {
  checkQuery,
  friendlySql,
  referencesOf,
  type TableReference,
  unrepresentableColumn,
  viewName,
  withViews,
} from '../compare/query-sql.ts';
import {
  compareResults,
  keepExpected,
  keepResult,
  type ResultSet,
  type ResultSetComparison,
} from '../compare/result-sets.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { ResolvedSide, TaskInput } from '../run/types.ts';
import { type ErrorCode, ParityError, toParityError } from '../support/error.ts';
import { sideRelation } from './relations.ts';
import { seenBaseline } from './seen-baseline.ts';
import type { TaskContext, TaskHandler } from './task.ts';

/** Detail of a `query` task. */
export interface QueryDetail {
  readonly queries: readonly QueryResult[];
}

export interface QueryResult extends ResultSetComparison {
  readonly name: string;
}

type QueryInput = Extract<TaskInput, { kind: 'query' }>;

/**
 * Runs the step's queries on both sides, or against the rows that the manifest expects, and compares the results: in order where the outermost SELECT has
 * an ORDER BY, else as multisets.
 *
 * After an incremental sync the baseline is the snapshot as the pipeline's cursor can know it (seen-baseline.ts).
 *
 * A query that fails on the candidate alone, for a reason that lies in its data or schema, is a difference. Anything else that keeps a query from
 * its result (it fails on the baseline too, takes longer than `timeoutSeconds`, does more than read) is an error that names the query:
 * `QueryFailed`, `Timeout`, `UnrepresentableValue`, or what the engine or the store threw.
 */
export const runQuery: TaskHandler<QueryDetail> = async (context) => {
  const { input, spec } = context.file;
  if (input.kind !== 'query') throw new ParityError('Internal', `A ${input.kind} task was given to query.`);
  const engine = await context.engine();
  const databases = { baseline: 'parity_baseline', candidate: 'parity_candidate' };
  await dropDatabases(engine, Object.values(databases));
  for (const name of Object.values(databases)) await engine.execute(`CREATE DATABASE ${name}`);
  try {
    const results: QueryResult[] = [];
    for (const name of input.queries) {
      const query = spec.queries.find((one) => one.name === name);
      if (query === undefined) throw new ParityError('InvalidSpec', `The run has no query ${name}.`, { subject: name });
      context.progress({ note: `query ${name}` });
      results.push({ name, ...(await runOne(context, engine, input, query, databases)) });
    }
    return { summary: summaryOf(results), detail: { queries: results } };
  } finally {
    // After a failure the engine's folder goes with the task; its error must not hide the task's.
    await dropDatabases(engine, Object.values(databases)).catch(() => undefined);
  }
};

interface Databases {
  readonly baseline: string;
  readonly candidate: string;
}

async function runOne(
  context: TaskContext,
  engine: Engine,
  input: QueryInput,
  query: ResolvedQuery,
  databases: Databases,
): Promise<ResultSetComparison> {
  const options: QueryOptions = { signal: context.signal, timeoutMs: query.timeoutSeconds * 1000 };
  const { samples, values } = context.file.spec.comparison;
  const run = (side: 'baseline' | 'candidate'): Promise<Ran> =>
    runSide(context, engine, input, query, { side, database: databases[side], options });
  const work = { baseline: `${databases.baseline}.parity_result`, candidate: `${databases.candidate}.parity_result` };
  await dropTables(engine, Object.values(work));

  if ('rows' in query.expect) {
    // The manifest's rows stand for the baseline.
    const candidate = await run('candidate');
    if ('failed' in candidate) throw candidate.failed;
    const expected = await keepExpected(engine, query.expect.rows, candidate.result, work.baseline, options);
    return await compareResults(
      engine,
      expected,
      candidate.result,
      { isOrdered: candidate.isOrdered, samples, values },
      options,
    );
  }
  const baseline = await run('baseline');
  if ('failed' in baseline) throw baseline.failed;
  const candidate = await run('candidate');
  if ('failed' in candidate) return failedOnCandidate(engine, baseline, candidate.failed, options);
  return await compareResults(
    engine,
    baseline.result,
    candidate.result,
    { isOrdered: baseline.isOrdered, samples, values },
    options,
  );
}

type Ran = { readonly result: ResultSet; readonly isOrdered: boolean } | { readonly failed: ParityError };

/** `failed` is a failure that lies in the query and the side's data; failures of the surroundings are thrown. */
async function runSide(
  context: TaskContext,
  engine: Engine,
  input: QueryInput,
  query: ResolvedQuery,
  { side: word, database, options }: { side: 'baseline' | 'candidate'; database: string; options: QueryOptions },
): Promise<Ran> {
  for (const reference of referencesOf(query.sql))
    await createView(context, engine, input, word, query, reference, database);
  const sql = withViews(query.sql, database).trim().replace(/;\s*$/, '');
  const { isOrdered } = await checkQuery(engine, { name: query.name, sql }, database, options);
  try {
    return { result: await keepResult(engine, sql, `${database}.parity_result`, options), isOrdered };
  } catch (thrown) {
    const error = inQuery(toParityError(thrown), query, word);
    if (error.code !== 'QueryFailed') throw error;
    return { failed: error };
  }
}

async function createView(
  context: TaskContext,
  engine: Engine,
  input: QueryInput,
  word: 'baseline' | 'candidate',
  query: ResolvedQuery,
  reference: TableReference,
  database: string,
): Promise<void> {
  const { table } = reference;
  const side = input[word];
  const source = sourceOf(context, side, query, reference);
  const whole = await sideRelation(context, engine, side, table, source);
  const relation =
    word === 'baseline' && input.afterIncremental === true
      ? await seenBaseline(context, engine, whole, { side, candidate: input.candidate, table, source })
      : whole;
  const name = `${quoteIdentifier(database)}.${quoteIdentifier(viewName(reference))}`;
  await engine.execute(`CREATE OR REPLACE VIEW ${name} AS ${friendlySql(relation)}`, { signal: context.signal });
}

/** The source whose rows `{{table}}` stands for; the only one that has the table. Throws `InvalidSpec` where that is not clear. */
function sourceOf(
  context: TaskContext,
  side: ResolvedSide,
  query: ResolvedQuery,
  { source, table }: TableReference,
): string | undefined {
  const { sources, snapshot } = context.file.spec;
  const wrong = (found: string, advice: string): ParityError =>
    new ParityError('InvalidSpec', `Query ${query.name} names {{${viewName({ source, table })}}}: ${found}.`, {
      subject: query.name,
      advice,
    });
  if (!snapshot.tables.some(({ name }) => name === table))
    throw wrong('the run has no such table', `The tables are ${snapshot.tables.map(({ name }) => name).join(', ')}.`);
  const having = sources.filter(({ tables }) => tables.includes(table)).map(({ name }) => name);
  if (source !== undefined) {
    if (having.includes(source)) return source;
    throw wrong('that source does not have the table', `Sources with ${table}: ${having.join(', ') || 'none'}.`);
  }
  if (having.length > 1)
    throw wrong(
      'several sources have the table',
      `Write ${having.map((name) => `{{${name}.${table}}}`).join(' or ')}.`,
    );
  if (having.length === 0 && side.kind === 'pipeline')
    throw wrong('no source has the table, so no pipeline lands it', 'Add the table to a source.');
  return having[0];
}

/** Codes that say nothing about the query or the data. */
const surroundings: readonly ErrorCode[] = [
  'AccessDenied',
  'Unreachable',
  'Timeout',
  'OutOfMemory',
  'DiskFull',
  'Cancelled',
  'CorruptTable',
  'NotFound',
];

function inQuery(error: ParityError, query: ResolvedQuery, side: 'baseline' | 'candidate'): ParityError {
  const column = unrepresentableColumn(error.message);
  if (column !== undefined)
    return new ParityError(
      'UnrepresentableValue',
      `Query ${query.name} on the ${side}: the column ${column} has a date or time before 1900 or after 2299, which queries cannot hold.`,
      {
        subject: query.name,
        advice: 'Leave the column out of the query; comparisons of tables hold every date.',
        cause: error,
      },
    );
  const code = surroundings.includes(error.code) ? error.code : 'QueryFailed';
  const said = error.code === 'Timeout' ? `it did not end within ${query.timeoutSeconds} s` : error.message;
  const advice = error.code === 'Timeout' ? 'Raise its timeoutSeconds, or make it read less.' : error.advice;
  return new ParityError(code, `Query ${query.name} on the ${side}: ${said}`, {
    subject: query.name,
    cause: error,
    isRetryable: error.isRetryable,
    ...(advice === undefined ? {} : { advice }),
  });
}

async function failedOnCandidate(
  engine: Engine,
  baseline: Exclude<Ran, { failed: ParityError }>,
  failed: ParityError,
  options: QueryOptions,
): Promise<ResultSetComparison> {
  const alone = await compareResults(
    engine,
    baseline.result,
    baseline.result,
    { isOrdered: baseline.isOrdered, samples: 0, values: 'Masked' },
    options,
  );
  return {
    ...alone,
    outcome: 'Different',
    message: `it fails on the candidate only: ${failed.message}`,
    candidateRows: 0,
    candidateDigest: '',
  };
}

async function dropTables(engine: Engine, tables: readonly string[]): Promise<void> {
  for (const table of tables) await engine.execute(`DROP TABLE IF EXISTS ${table} SYNC`);
}

async function dropDatabases(engine: Engine, databases: readonly string[]): Promise<void> {
  for (const name of databases) await engine.execute(`DROP DATABASE IF EXISTS ${name} SYNC`);
}

function summaryOf(results: readonly QueryResult[]) {
  const differing = results.filter(({ outcome }) => outcome === 'Different');
  const [first] = differing;
  return {
    differences: differing.length,
    differing: differing.length,
    matched: results.length - differing.length,
    ...(first === undefined ? {} : { headline: `query ${first.name}: ${first.message}`.slice(0, 500) }),
  };
}
