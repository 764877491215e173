import { checkQuery, friendlySql, referencesOf, viewName, withViews } from '../compare/query-sql.ts';
import { keepResult } from '../compare/result-sets.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { ParityError, toParityError } from '../support/error.ts';
import { inEngine } from './errors.ts';
import type { PlacedQuery, QueryPlace } from './place.ts';

/** The task's own engine. `writing`: values as the engine writes them, or as PostHog does, to be compared with what it gave. */
export function enginePlace(
  engine: Engine,
  { signal, writing }: { readonly signal: AbortSignal; readonly writing: 'Engine' | 'PostHog' },
): QueryPlace {
  const optionsOf = (query: PlacedQuery): QueryOptions => ({ signal, timeoutMs: query.timeoutSeconds * 1000 });
  return {
    title: 'the embedded engine',
    async prepare(query, { database, relationOf }) {
      for (const reference of referencesOf(query.text)) {
        const relation = await relationOf(reference);
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

/** HogQL that is no plain SQL runs in PostHog only. */
function withAdvice(error: ParityError, writing: 'Engine' | 'PostHog', word: string): ParityError {
  if (writing === 'Engine') return error;
  const advice = `The ${word} ran in the embedded engine, which knows neither PostHog's own tables nor what HogQL adds to SQL: give the secret accessKeyId and secretAccessKey, so that it is linked in PostHog, or the rows that you expect.`;
  return new ParityError(error.code, error.message, { subject: error.subject ?? '', advice, cause: error });
}
