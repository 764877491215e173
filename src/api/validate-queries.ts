import { growingTable, outlineOf, restlessFunction } from './hogql.ts';
import { isObject } from './json.ts';
import { locationProblem } from './locations.ts';
import { placeholdersOf } from './placeholders.ts';
import { type Finding, type Path, shown } from './problem.ts';
import type { HogQlCase, InheritedQueries, ResolvedQuery, ResolvedSpec, TimeWindow } from './resolved.ts';
import { suggestion, unknownTable } from './suggest.ts';

/** Tables that queries name, rows that they are to give, and what a query of PostHog's has to be to give the same tomorrow. */
export function validateQueries(spec: ResolvedSpec): Finding[] {
  return spec.queries.flatMap((query, index) => {
    const path: Path = ['spec', 'queries', index];
    if ('inherited' in query) return validateInherited(query.inherited, spec, [...path, 'inherited']);
    const findings =
      'sql' in query
        ? [...placeholderFindings(query.sql, spec, [...path, 'sql']), ...sqlFindings(query.sql, [...path, 'sql'])]
        : validateHogQl(query.hogql, spec, [...path, 'hogql']);
    return [...findings, ...validateRows(query, path)];
  });
}

function placeholderFindings(text: string, spec: ResolvedSpec, path: Path): Finding[] {
  return placeholdersOf(text).flatMap(({ text: written, source, table }) => {
    const message = placeholderProblem(source, table, spec);
    return message === undefined ? [] : [{ path, message: `${written}: ${message}` }];
  });
}

/** HogQL may read PostHog's own tables; SQL has only those of the run. */
function sqlFindings(text: string, path: Path): Finding[] {
  const outline = outlineOf(text);
  const restless = restlessFunction(outline);
  const readsNothing = 'reads no table of the run, so it would pass whatever the data; write {{table}} for one';
  return [
    ...(placeholdersOf(text).length > 0 ? [] : [{ path, message: readsNothing }]),
    ...(restless === undefined ? [] : [{ path, message: `calls ${restless}(), which gives another result each time` }]),
  ];
}

function validateHogQl(hogql: HogQlCase['hogql'], spec: ResolvedSpec, path: Path): Finding[] {
  const at: Path = [...path, 'query'];
  const outline = outlineOf(hogql.query);
  const isEnd = (name: string): boolean => name === 'from' || name === 'to';
  const ends = placeholdersOf(hogql.query).filter(({ source, table }) => source === undefined && isEnd(table));
  const named = hogql.query.replaceAll(/\{\{\s*(from|to)\s*\}\}/g, "''");
  const problem = hogQlProblem(hogql.query);
  const growing = growingTable(outline);
  const hasBoth = new Set(ends.map(({ table }) => table)).size === 2;
  return [
    ...(problem === undefined ? [] : [{ path: at, message: problem }]),
    ...placeholderFindings(named, spec, at),
    ...(hogql.window === undefined && ends.length > 0
      ? [{ path: at, message: `${ends[0]?.text}: the query has no window; add hogql.from and hogql.to` }]
      : []),
    ...(growing !== undefined && !hasBoth
      ? [
          {
            path: at,
            message: `reads ${growing}, which grows all the time; bound it by {{from}} and {{to}}, and set hogql.from and hogql.to`,
          },
        ]
      : []),
    ...validateWindow(hogql.window, path),
    ...validateSecret(hogql, spec, path),
  ];
}

/** Why PostHog would not run a query, or not give the same result again; undefined where it may. */
export function hogQlProblem(query: string): string | undefined {
  const outline = outlineOf(query);
  if (!outline.isSelect || outline.hasMore) return 'is not one SELECT';
  if (outline.hasOffset) return 'has an OFFSET, which PostHog refuses for personal API keys; use LIMIT, or pageBy';
  if (typeof outline.limit === 'number' && outline.limit > mostRows)
    return `has LIMIT ${outline.limit}, and PostHog gives 50,000 rows at most; use pageBy without a LIMIT`;
  const [brace] = outline.braces;
  if (brace !== undefined) return `has ${brace}, which only PostHog's own pages fill in`;
  const restless = restlessFunction(outline);
  return restless === undefined ? undefined : `calls ${restless}(), which gives another result each time`;
}

/** https://github.com/PostHog/posthog/blob/master/posthog/hogql/constants.py */
const mostRows = 50_000;

function validateInherited(inherited: InheritedQueries, spec: ResolvedSpec, path: Path): Finding[] {
  const findings: Finding[] = (inherited.tables ?? []).flatMap(({ name }, index) => {
    const [first = '', ...rest] = name.split('.');
    const message =
      rest.length === 0 ? placeholderProblem(undefined, name, spec) : placeholderProblem(first, rest.join('.'), spec);
    return message === undefined ? [] : [{ path: [...path, 'tables', index, 'name'], message }];
  });
  const { from } = inherited;
  if ('files' in from) {
    const problem = locationProblem(from.files.location, { mayBeNewBucket: false });
    if (problem !== undefined) findings.push({ path: [...path, 'files', 'location'], message: problem });
  } else findings.push(...validateSecret(inherited, spec, path));
  return [...findings, ...validateWindow(inherited.window, path)];
}

/** Instants of one form compare as texts. */
function validateWindow(window: TimeWindow | undefined, path: Path): Finding[] {
  if (window === undefined) return [];
  for (const end of ['from', 'to'] as const)
    if (Number.isNaN(Date.parse(window[end])))
      return [{ path: [...path, end], message: `found "${window[end]}", which is no date` }];
  return window.from < window.to ? [] : [{ path: [...path, 'to'], message: 'must be later than from' }];
}

function validateSecret(
  { secretRef }: { readonly secretRef?: { readonly name: string } },
  spec: ResolvedSpec,
  path: Path,
): Finding[] {
  if (secretRef !== undefined || spec.pipelines.some((pipeline) => 'posthog' in pipeline)) return [];
  const message =
    'missing, and there is no PostHog pipeline whose secret it could be; name one with host, project and key';
  return [{ path: [...path, 'secretRef'], message }];
}

function validateRows(query: ResolvedQuery, path: Path): Finding[] {
  if ('sameAs' in query.expect) return [];
  const findings: Finding[] = [];
  const widths = new Set<number>();
  query.expect.rows.forEach((row, at) => {
    const values = rowValues(row);
    if (values !== undefined) widths.add(values.length);
    const message =
      values === undefined
        ? `found ${shown(row)}; it must be the JSON text of an array of column values, such as '["JFK", 1]'`
        : `has ${values.length} values, other rows have another number; give every row the same columns`;
    if (values === undefined || widths.size > 1) findings.push({ path: [...path, 'expect', 'rows', at], message });
  });
  return findings;
}

function placeholderProblem(source: string | undefined, table: string, spec: ResolvedSpec): string | undefined {
  const names = spec.snapshot.tables.map(({ name }) => name);
  if (source === undefined) {
    if (!names.includes(table)) return unknownTable(table, names);
    const holders = spec.sources.filter(({ tables }) => tables.includes(table)).map(({ name }) => name);
    return holders.length < 2
      ? undefined
      : `several sources hold this table; write ${holders.map((holder) => `{{${holder}.${table}}}`).join(' or ')}`;
  }
  const holder = spec.sources.find(({ name }) => name === source);
  if (holder === undefined) {
    return `there is no source "${source}"; ${suggestion(
      source,
      spec.sources.map(({ name }) => name),
    )}`;
  }
  return holder.tables.includes(table)
    ? undefined
    : `source "${source}" does not hold "${table}"; ${suggestion(table, holder.tables)}`;
}

function rowValues(row: string): readonly unknown[] | undefined {
  try {
    const values: unknown = JSON.parse(row);
    return Array.isArray(values) && !values.some((value) => isObject(value)) ? values : undefined;
  } catch {
    return undefined;
  }
}
