import { DEFAULTS } from './defaults.ts';
import type { QuerySpec } from './generated/types.ts';
import type { InheritedQueries, ResolvedQuery, TimeWindow } from './resolved.ts';

/** A query with its defaults; the schema sees to it that exactly one kind and one expectation are there. */
export function resolveQuery(query: QuerySpec): ResolvedQuery {
  const { rows } = query.expect;
  const common = {
    name: query.name,
    expect: rows === undefined ? ({ sameAs: 'Baseline' } as const) : { rows },
    timeoutSeconds: query.timeoutSeconds ?? DEFAULTS.queryTimeoutSeconds,
  };
  const { clickhouse } = query;
  const server = clickhouse === undefined ? {} : { clickhouse };
  if (query.inherited !== undefined) return { ...common, ...server, inherited: resolveInherited(query.inherited) };
  if (query.hogql === undefined) return { ...common, ...server, sql: query.sql ?? '' };
  const { query: text, secretRef, pageBy } = query.hogql;
  return {
    ...common,
    hogql: {
      query: text,
      ...(secretRef === undefined ? {} : { secretRef }),
      ...windowOf(query.hogql),
      pageBy: pageBy ?? [],
    },
  };
}

function resolveInherited(spec: NonNullable<QuerySpec['inherited']>): InheritedQueries {
  const { files, posthog, secretRef, tables } = spec;
  return {
    from:
      files === undefined
        ? { posthog: { kinds: posthog?.kinds ?? DEFAULTS.inheritedKinds } }
        : {
            files: {
              location: files.location,
              ...(files.endpoint === undefined ? {} : { endpoint: files.endpoint }),
              ...(files.region === undefined ? {} : { region: files.region }),
              ...(files.secretRef === undefined ? {} : { secretRef: files.secretRef }),
            },
          },
    ...(secretRef === undefined ? {} : { secretRef }),
    ...(tables === undefined
      ? {}
      : { tables: tables.map(({ name, as }) => ({ name, as: as ?? [name.split('.').at(-1) ?? name] })) }),
    ...windowOf(spec),
  };
}

function windowOf({ from, to }: { readonly from?: string; readonly to?: string }): { readonly window?: TimeWindow } {
  return from === undefined || to === undefined ? {} : { window: { from, to } };
}
