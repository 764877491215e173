import {
  checkQuery,
  friendlySql,
  referencesOf,
  type TableReference,
  viewName,
  withViews,
} from '../compare/query-sql.ts';
import { keepResult } from '../compare/result-sets.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { inEngine } from './errors.ts';
import type { PlacedQuery, QueryPlace } from './place.ts';

export interface EnginePlaceOptions {
  readonly signal: AbortSignal;
  /** Values as the engine writes them, or as PostHog does, to be compared with what it gave. */
  readonly writing: 'Engine' | 'PostHog';
  /** Columns in whose order, and by whose values in order, the query reads a table; left out: it reads what lies in the files as it lies. */
  readonly orderOf?: (reference: TableReference) => Promise<readonly string[]>;
}

/** The task's own engine. */
export function enginePlace(engine: Engine, { signal, writing, orderOf }: EnginePlaceOptions): QueryPlace {
  const optionsOf = (query: PlacedQuery): QueryOptions => ({ signal, timeoutMs: query.timeoutSeconds * 1000 });
  return {
    title: 'the embedded engine',
    async prepare(query, { database, relationOf }) {
      for (const reference of referencesOf(query.text)) {
        const relation = ordered(await relationOf(reference), (await orderOf?.(reference)) ?? []);
        const name = `${quoteIdentifier(database)}.${quoteIdentifier(viewName(reference))}`;
        await engine.execute(`CREATE OR REPLACE VIEW ${name} AS ${friendlySql(relation)}`, { signal });
      }
      return undefined;
    },
    async run(query, side) {
      const { database, word } = side;
      const options = optionsOf(query);
      const sql = withViews(query.text, database).trim().replace(/;\s*$/, '');
      const { isOrdered } = await checkQuery(engine, { name: query.name, sql }, database, { signal });
      try {
        return { result: await keepResult(engine, sql, `${database}.parity_result`, options, writing), isOrdered };
      } catch (thrown) {
        const error = inEngine(toParityError(thrown), query, side);
        if (error.code !== 'QueryFailed') throw error;
        return { failed: withAdvice(error, writing, word) };
      }
    },
  };
}

/**
 * The relation with these columns first, for a `SELECT *`, and its rows by a hash of their values as text: the same order for the same rows, also where a
 * column is wider on one side.
 */
function ordered(relation: Relation, names: readonly string[]): Relation {
  if (names.length === 0) return relation;
  const texts = names.toSorted().map((name) => `toString(side.${quoteIdentifier(name)})`);
  const first = names.flatMap((name) => relation.columns.filter((column) => column.name === name));
  return {
    ...relation,
    columns: [...first, ...relation.columns.filter(({ name }) => !names.includes(name))],
    sql: `SELECT side.* FROM (${relation.sql}) AS side ORDER BY xxh3_128(tuple(${texts.join(', ')}))`,
  };
}

/** HogQL that is no plain SQL runs in PostHog only. */
function withAdvice(error: ParityError, writing: 'Engine' | 'PostHog', word: string): ParityError {
  if (writing === 'Engine') return error;
  const advice = `The ${word} ran in the embedded engine, which knows neither PostHog's own tables nor what HogQL adds to SQL: give the secret accessKeyId and secretAccessKey, so that it is linked in PostHog, or the rows that you expect.`;
  return new ParityError(error.code, error.message, { subject: error.subject ?? '', advice, cause: error });
}
