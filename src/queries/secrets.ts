import { isOf } from '../api/query-names.ts';
import type { ResolvedQuery, ResolvedSpec } from '../api/resolved.ts';

/** Names of the secrets of PostHog that the run's queries need, in the order of the queries, each once. Those of files that are read are not among them. */
export function querySecrets(spec: ResolvedSpec, names?: readonly string[]): readonly string[] {
  const queries = spec.queries.filter(({ name }) => names === undefined || names.some((one) => isOf(one, name)));
  return [...new Set(queries.flatMap((query) => secretsOf(query, spec)))];
}

/** Names of the secrets that the first task needs to read inherited queries. */
export function inheritedSecrets(spec: ResolvedSpec): readonly string[] {
  const inherited = spec.queries.flatMap((query) => ('inherited' in query ? [query] : []));
  const files = inherited.flatMap(({ inherited: { from } }) =>
    'files' in from && from.files.secretRef !== undefined ? [from.files.secretRef.name] : [],
  );
  return [...new Set([...files, ...inherited.flatMap((query) => secretsOf(query, spec))])];
}

function secretsOf(query: ResolvedQuery, { pipelines }: ResolvedSpec): readonly string[] {
  if ('sql' in query) return [];
  const own = 'hogql' in query ? query.hogql.secretRef : query.inherited.secretRef;
  if (own !== undefined) return [own.name];
  return pipelines.flatMap((pipeline) => ('posthog' in pipeline ? [pipeline.posthog.secretRef.name] : []));
}

/** Names of the secrets of ClickHouse servers that the run's queries need, each once. */
export function clickHouseSecrets(spec: ResolvedSpec, names?: readonly string[]): readonly string[] {
  const queries = spec.queries.filter(({ name }) => names === undefined || names.some((one) => isOf(one, name)));
  const found = queries.flatMap((query) =>
    'hogql' in query || query.clickhouse === undefined ? [] : [query.clickhouse.secretRef.name],
  );
  return [...new Set(found)];
}
