import { withWindow } from '../api/hogql.ts';
import { isOf } from '../api/query-names.ts';
import type { HogQlCase, QueryCase, ResolvedSpec } from '../api/resolved.ts';
import { postHogNames } from '../compare/profile.ts';
import { type TableReference, viewName } from '../compare/query-sql.ts';
import {
  compareResults,
  keepExpected,
  type ResultSet,
  type ResultSetComparison,
  type Writing,
} from '../compare/result-sets.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { type ClickHousePlace, clickHousePlace } from '../queries/clickhouse-place.ts';
import { enginePlace } from '../queries/engine-place.ts';
import type { LeftOutQuery } from '../queries/inherited.ts';
import type { PlacedQuery, QueryPlace, QuerySide, Ran } from '../queries/place.ts';
import { postHogPlace } from '../queries/posthog-place.ts';
import type { TaskInput } from '../run/types.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { sideRelation } from './relations.ts';
import { seenBaseline } from './seen-baseline.ts';
import type { Resolution, TaskContext, TaskHandler } from './task.ts';

/** Detail of a `query` task. */
export interface QueryDetail {
  readonly queries: readonly QueryResult[];
  /** Inherited ones that could not run; never those that the manifest writes itself. */
  readonly leftOut: readonly LeftOutQuery[];
  readonly notes: readonly string[];
}

export interface QueryResult extends ResultSetComparison {
  readonly name: string;
  /** Where each side ran, in words: `the embedded engine`, `the manifest`. */
  readonly ranIn: { readonly baseline: string; readonly candidate: string };
}

type QueryInput = Extract<TaskInput, { kind: 'query' }>;

/**
 * Runs the step's queries on both sides, or against the rows that the manifest expects, and compares the results: in order where the outermost SELECT has
 * an ORDER BY, else as multisets. SQL runs in the task's engine or on a ClickHouse server, HogQL in PostHog. In the engine, the order in which the tables'
 * rows lie makes no difference.
 *
 * After an incremental sync the baseline is the snapshot as the pipeline's cursor can know it (seen-baseline.ts).
 *
 * A query that fails on the candidate alone, for a reason that lies in its data or schema, is a difference. Anything else that keeps a query from
 * its result (it fails on the baseline too, takes longer than `timeoutSeconds`, does more than read) is an error that names the query:
 * `QueryFailed`, `Timeout`, `UnrepresentableValue`, or what the engine, PostHog or the store threw.
 */
export const runQuery: TaskHandler<QueryDetail> = async (context) => {
  const { input, spec } = context.file;
  if (input.kind !== 'query') throw new ParityError('Internal', `A ${input.kind} task was given to query.`);
  const engine = await context.engine();
  const databases = { baseline: 'parity_baseline', candidate: 'parity_candidate' };
  await dropDatabases(engine, Object.values(databases));
  for (const name of Object.values(databases)) await engine.execute(`CREATE DATABASE ${name}`);
  const work = new QueryWork(context, engine, input, databases);
  try {
    const results: QueryResult[] = [];
    const leftOut: LeftOutQuery[] = [];
    for (const query of await casesOf(context, input)) {
      const { name } = query;
      context.progress({ note: `query ${name}` });
      try {
        results.push({ name, ...(await work.runOne(query)) });
      } catch (error) {
        if (!isLeftOut(error, { isInherited: isInherited(name, spec), hasBaseline: work.hasBaseline })) throw error;
        leftOut.push({ name, why: error.message });
      }
    }
    const [first] = leftOut;
    if (first !== undefined && results.length === 0)
      throw new ParityError('QueryFailed', `None of the ${leftOut.length} inherited queries can run: ${first.why}`, {
        subject: first.name,
      });
    return { summary: summaryOf(results), detail: { queries: results, leftOut, notes: work.notes } };
  } finally {
    // What could not be dropped is dropped when the run is cleaned up, or goes with the engine's folder; its error must not hide the task's.
    await work.close().catch(() => undefined);
    await dropDatabases(engine, Object.values(databases)).catch(() => undefined);
  }
};

async function casesOf(context: TaskContext, { queries }: QueryInput): Promise<readonly QueryCase[]> {
  const { spec } = context.file;
  const own = new Map(spec.queries.flatMap((query) => ('inherited' in query ? [] : [[query.name, query] as const])));
  const isWhole = queries.every((name) => own.has(name));
  const { inherited } = isWhole ? {} : await context.detailOf<Resolution>('resolve');
  const found = new Map<string, QueryCase>([
    ...own,
    ...(inherited?.cases ?? []).map((one) => [one.name, one] as const),
  ]);
  return queries.map((name) => {
    const query = found.get(name);
    if (query !== undefined) return query;
    throw new ParityError('InvalidSpec', `The run has no query ${name}.`, { subject: name });
  });
}

function isInherited(name: string, { queries }: ResolvedSpec): boolean {
  return queries.some((query) => 'inherited' in query && isOf(name, query.name));
}

/**
 * Whether a query is listed as one that cannot run, rather than ending the test: one that nobody wrote for this test, for a reason that lies in the query. One that has
 * run on the baseline can run: that the candidate has no result is no reason to pass it over.
 */
export function isLeftOut(
  error: unknown,
  { isInherited, hasBaseline }: { readonly isInherited: boolean; readonly hasBaseline: boolean },
): error is ParityError {
  const inQuery = ['QueryFailed', 'UnrepresentableValue', 'LimitExceeded'];
  return isInherited && !hasBaseline && error instanceof ParityError && inQuery.includes(error.code);
}

interface Databases {
  readonly baseline: string;
  readonly candidate: string;
}

/** The places where a query's sides run, and in which one's way of writing values they are compared. */
interface Places {
  readonly baseline: QueryPlace;
  readonly candidate: QueryPlace;
  readonly writing: Writing;
}

class QueryWork {
  readonly notes: string[] = [];
  /** Whether the query at hand has run on the baseline. */
  hasBaseline = false;
  readonly #context: TaskContext;
  readonly #engine: Engine;
  readonly #input: QueryInput;
  readonly #databases: Databases;
  readonly #postHog = new Map<string, QueryPlace>();
  readonly #clickHouse = new Map<string, ClickHousePlace>();

  constructor(context: TaskContext, engine: Engine, input: QueryInput, databases: Databases) {
    this.#context = context;
    this.#engine = engine;
    this.#input = input;
    this.#databases = databases;
  }

  /** Removes what the queries have made outside the task's engine. */
  async close(): Promise<void> {
    await Promise.all([...this.#clickHouse.values()].map((place) => place.close()));
  }

  async runOne(query: QueryCase): Promise<Omit<QueryResult, 'name'>> {
    this.hasBaseline = false;
    await this.#dropResults();
    const placed = placedOf(query);
    return 'rows' in query.expect
      ? await this.#againstRows(query, placed, query.expect.rows)
      : await this.#onBothSides(query, placed);
  }

  /** The manifest's rows stand for the baseline. */
  async #againstRows(
    query: QueryCase,
    placed: PlacedQuery,
    rows: readonly string[],
  ): Promise<Omit<QueryResult, 'name'>> {
    const { place, writing } = await this.#candidatePlace(query);
    const candidate = await this.#prepared(place, placed, 'candidate');
    if ('failed' in candidate) throw candidate.failed;
    const table = `${this.#databases.baseline}.parity_result`;
    const options = this.#optionsOf(placed);
    const expected = await keepExpected(this.#engine, rows, candidate.result, table, options, writing);
    const compared = await this.#compare(expected, candidate.result, candidate.isOrdered, options);
    return { ...compared, ranIn: { baseline: 'the manifest', candidate: place.title } };
  }

  async #onBothSides(query: QueryCase, placed: PlacedQuery): Promise<Omit<QueryResult, 'name'>> {
    const places = await this.#placesOf(query, placed);
    const ranIn = { baseline: places.baseline.title, candidate: places.candidate.title };
    const baseline = await this.#prepared(places.baseline, placed, 'baseline');
    if ('failed' in baseline) throw baseline.failed;
    this.hasBaseline = true;
    const candidate = await this.#prepared(places.candidate, placed, 'candidate');
    const options = this.#optionsOf(placed);
    if ('failed' in candidate) {
      // Two places may understand a query in two ways: then its failure says nothing about the data.
      if (places.baseline !== places.candidate) throw candidate.failed;
      return { ...(await this.#failedOnCandidate(baseline, candidate.failed, options)), ranIn };
    }
    const compared = await this.#compare(baseline.result, candidate.result, baseline.isOrdered, options);
    if (compared.outcome === 'Equal' && compared.baselineRows === 0)
      this.notes.push(`query ${query.name}: its result has no row on either side, so it shows little`);
    const isInEngine = 'sql' in query && query.clickhouse === undefined;
    const isSettled = compared.outcome === 'Equal' || !isInEngine;
    return { ...(isSettled ? compared : await this.#inOneOrder(placed, compared)), ranIn };
  }

  /**
   * A table's rows and columns have no order, but they lie in files in one, and ties, `LIMIT`, `any`, sums of floats and `SELECT *` depend on it. So a query
   * that differs is run once more, with its tables in the same order on both sides: what differs then, differs in the data.
   */
  async #inOneOrder(placed: PlacedQuery, first: ResultSetComparison): Promise<ResultSetComparison> {
    const { signal } = this.#context;
    const [mine, theirs] = [this.#sideOf('baseline', placed), this.#sideOf('candidate', placed)];
    const orderOf = async (reference: TableReference): Promise<readonly string[]> => {
      const names = (await theirs.relationOf(reference)).columns.map(({ name }) => name);
      const common = (await mine.relationOf(reference)).columns.filter(({ name }) => names.includes(name));
      return common.map(({ name }) => name);
    };
    const place = enginePlace(this.#engine, { signal, writing: 'Engine', orderOf });
    try {
      await this.#dropResults();
      const baseline = await this.#prepared(place, placed, 'baseline');
      if ('failed' in baseline) throw baseline.failed;
      const candidate = await this.#prepared(place, placed, 'candidate');
      if ('failed' in candidate) throw candidate.failed;
      const options = this.#optionsOf(placed);
      const second = await this.#compare(baseline.result, candidate.result, baseline.isOrdered, options);
      // How the candidate's rows happen to lie must not show in the fingerprint.
      const { baselineDigest } = first;
      return second.outcome === 'Equal' ? { ...second, baselineDigest, candidateDigest: baselineDigest } : second;
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      const { message } = toParityError(thrown);
      this.notes.push(
        `query ${placed.name}: whether the order of its tables' rows makes the difference is not known: ${message}`,
      );
      return first;
    }
  }

  async #dropResults(): Promise<void> {
    const tables = Object.values(this.#databases).map((database) => `${database}.parity_result`);
    await dropTables(this.#engine, tables);
  }

  async #candidatePlace(query: QueryCase): Promise<{ readonly place: QueryPlace; readonly writing: Writing }> {
    if ('hogql' in query) return { place: await this.#postHogOf(query), writing: 'PostHog' };
    if (query.clickhouse !== undefined)
      return { place: await this.#clickHouseOf(query.clickhouse.secretRef.name), writing: 'Engine' };
    const place = enginePlace(this.#engine, { signal: this.#context.signal, writing: 'Engine' });
    return { place, writing: 'Engine' };
  }

  async #clickHouseOf(secretName: string): Promise<QueryPlace> {
    const known = this.#clickHouse.get(secretName);
    if (known !== undefined) return known;
    const keys = await this.#context.secret(secretName);
    const place = clickHousePlace(this.#context, this.#engine, { keys, secretName });
    this.#clickHouse.set(secretName, place);
    return place;
  }

  /** HogQL runs in PostHog on both sides; where the baseline cannot be read there, in the engine. */
  async #placesOf(query: QueryCase, placed: PlacedQuery): Promise<Places> {
    const { place, writing } = await this.#candidatePlace(query);
    if ('sql' in query) return { baseline: place, candidate: place, writing };
    const cannot = await place.prepare(placed, this.#sideOf('baseline', placed));
    if (cannot === undefined) return { baseline: place, candidate: place, writing };
    const baseline = enginePlace(this.#engine, { signal: this.#context.signal, writing });
    this.notes.push(`query ${query.name}: its baseline ran in ${baseline.title}, because ${cannot}`);
    return { baseline, candidate: place, writing };
  }

  async #postHogOf(query: HogQlCase): Promise<QueryPlace> {
    const secretName = secretNameOf(query, this.#input, this.#context);
    const known = this.#postHog.get(secretName);
    if (known !== undefined) return known;
    const keys = await this.#context.secret(secretName);
    const place = postHogPlace(this.#context, this.#engine, { keys, secretName });
    this.#postHog.set(secretName, place);
    return place;
  }

  async #prepared(place: QueryPlace, query: PlacedQuery, word: 'baseline' | 'candidate'): Promise<Ran> {
    const side = this.#sideOf(word, query);
    const cannot = await place.prepare(query, side);
    if (cannot === undefined) return await place.run(query, side);
    throw new ParityError('InvalidSpec', `Query ${query.name} cannot run on the ${word}: ${cannot}.`, {
      subject: query.name,
      advice: 'HogQL runs on what a PostHog pipeline has landed, and on tables that can be linked in PostHog.',
    });
  }

  #sideOf(word: 'baseline' | 'candidate', query: PlacedQuery): QuerySide {
    const context = this.#context;
    const side = this.#input[word];
    const sourceOf = (reference: TableReference) => sourceOfReference(context, this.#input, word, query, reference);
    return {
      word,
      side,
      database: this.#databases[word],
      sourceOf,
      relationOf: async (reference) => {
        const source = sourceOf(reference);
        const { table } = reference;
        const whole = await sideRelation(context, this.#engine, side, table, source);
        const { candidate, afterIncremental } = this.#input;
        const about = { side, candidate, table, source };
        const rows =
          word === 'baseline' && afterIncremental === true
            ? await seenBaseline(context, this.#engine, whole, about)
            : whole;
        return query.language === 'HogQL' && side.kind !== 'pipeline' ? namedAsLanded(rows, context) : rows;
      },
    };
  }

  async #compare(
    baseline: ResultSet,
    candidate: ResultSet,
    isOrdered: boolean,
    options: QueryOptions,
  ): Promise<ResultSetComparison> {
    const { samples, values } = this.#context.file.spec.comparison;
    return await compareResults(this.#engine, baseline, candidate, { isOrdered, samples, values }, options);
  }

  async #failedOnCandidate(
    { result, isOrdered }: Exclude<Ran, { failed: ParityError }>,
    failed: ParityError,
    options: QueryOptions,
  ): Promise<ResultSetComparison> {
    const nothing = { isOrdered, samples: 0, values: 'Masked' } as const;
    return {
      ...(await compareResults(this.#engine, result, result, nothing, options)),
      outcome: 'Different',
      message: `it fails on the candidate only: ${failed.message}`,
      candidateRows: 0,
      candidateDigest: '',
    };
  }

  #optionsOf({ timeoutSeconds }: PlacedQuery): QueryOptions {
    return { signal: this.#context.signal, timeoutMs: timeoutSeconds * 1000 };
  }
}

function placedOf(query: QueryCase): PlacedQuery {
  const { name, timeoutSeconds } = query;
  if ('sql' in query) return { name, timeoutSeconds, language: 'SQL', text: query.sql, pageBy: [] };
  const { query: text, window, pageBy } = query.hogql;
  return { name, timeoutSeconds, language: 'HogQL', text: withWindow(text, window), pageBy };
}

/** With the profile the columns' names are PostHog's: a query is written for what it has landed. */
function namedAsLanded(relation: Relation, { file }: TaskContext): Relation {
  if (file.spec.comparison.profile !== 'PostHog') return relation;
  const names = postHogNames(relation.columns.map(({ name }) => name));
  const landed = ({ name }: { readonly name: string }): string => names.get(name) ?? name;
  const list = relation.columns.map((field) => `${quoteIdentifier(field.name)} AS ${quoteIdentifier(landed(field))}`);
  return {
    ...relation,
    columns: relation.columns.map((field) => ({ ...field, name: landed(field) })),
    sql: `SELECT ${list.join(', ')} FROM (${relation.sql})`,
  };
}

/** The secret that the query names, else that of the candidate's pipeline, else of the only PostHog that there is. */
function secretNameOf({ name, hogql }: HogQlCase, input: QueryInput, { file }: TaskContext): string {
  const pipelines = file.spec.pipelines.flatMap((pipeline) => ('posthog' in pipeline ? [pipeline] : []));
  const { candidate } = input;
  const own = pipelines.find((pipeline) => candidate.kind === 'pipeline' && pipeline.name === candidate.pipeline);
  const found = hogql.secretRef ?? (own ?? pipelines[0])?.posthog.secretRef;
  if (found !== undefined) return found.name;
  throw new ParityError('InvalidSpec', `Query ${name} names no secret of PostHog, and the run has no such pipeline.`, {
    subject: name,
  });
}

/** The source whose rows `{{table}}` stands for; the only one that has the table. Throws `InvalidSpec` where that is not clear. */
function sourceOfReference(
  context: TaskContext,
  input: QueryInput,
  word: 'baseline' | 'candidate',
  query: PlacedQuery,
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
  if (having.length === 0 && input[word].kind === 'pipeline')
    throw wrong('no source has the table, so no pipeline lands it', 'Add the table to a source.');
  return having[0];
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
