import type { QueryCase, ResolvedQuery } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { adapted, type FoundQuery, touchable } from './adapted.ts';
import { queriesInFiles } from './inherited-files.ts';
import { queriesInPostHog } from './inherited-posthog.ts';

/** Queries that somebody uses already, as the run has found them at its start. */
export interface InheritedCases {
  /** Named `<query>/<name>`; what is run, whatever becomes of its origin. */
  readonly cases: readonly QueryCase[];
  readonly leftOut: readonly LeftOutQuery[];
  /** By the query that asks for them: those that touch none of its tables. */
  readonly untouched: Readonly<Record<string, number>>;
}

/** A query that touches a table of the run and cannot be run, and why. */
export interface LeftOutQuery {
  readonly name: string;
  readonly why: string;
}

type InheritedQuery = Extract<ResolvedQuery, { readonly inherited: unknown }>;

/** More than these say that a filter is missing. */
const mostCases = 500;

/**
 * Reads the queries that the manifest inherits, once, so that every later task runs the same. Throws `InvalidSpec` where one brings no case at all, or too many; and what
 * the store or PostHog throws.
 */
export async function readInherited(context: TaskContext): Promise<InheritedCases> {
  const cases: QueryCase[] = [];
  const leftOut: LeftOutQuery[] = [];
  const untouched: Record<string, number> = {};
  for (const query of context.file.spec.queries) {
    if (!('inherited' in query)) continue;
    context.progress({ note: `reading the queries of ${query.name}` });
    const found = await queriesOf(query, context);
    const sorted = sort(query, found, context);
    if (sorted.cases.length === 0) throw nothingToRun(query, found.length, sorted.leftOut);
    cases.push(...sorted.cases);
    leftOut.push(...sorted.leftOut);
    untouched[query.name] = sorted.untouched;
  }
  if (cases.length > mostCases)
    throw new ParityError('InvalidSpec', `The run inherits ${cases.length} queries; at most ${mostCases} are run.`, {
      advice: 'Name the tables that they must touch in inherited.tables, or fewer files.',
    });
  return { cases, leftOut, untouched };
}

async function queriesOf(query: InheritedQuery, context: TaskContext): Promise<readonly FoundQuery[]> {
  const { from } = query.inherited;
  if ('files' in from) {
    const { secretRef } = from.files;
    const keys = secretRef === undefined ? undefined : await context.secret(secretRef.name);
    return await queriesInFiles(from.files, keys);
  }
  const name = secretNameOf(query, context);
  return await queriesInPostHog(await context.secret(name), name, from.posthog.kinds, context.signal);
}

function sort(query: InheritedQuery, found: readonly FoundQuery[], context: TaskContext) {
  const { spec } = context.file;
  const tables = touchable(query.inherited, spec);
  const names = new Set<string>();
  const cases: QueryCase[] = [];
  const leftOut: LeftOutQuery[] = [];
  let untouched = 0;
  for (const one of [...found].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = unusedName(`${query.name}/${slugOf(one.name)}`, names);
    const result = adapted(one, tables, query.inherited.window);
    switch (result.kind) {
      case 'Untouched':
        untouched++;
        break;
      case 'LeftOut':
        leftOut.push({ name, why: result.why });
        break;
      case 'Case':
        // Known now, not when it is to run.
        if (one.language === 'HogQL') secretNameOf(query, context);
        cases.push(caseOf(query, name, one.language, result.text));
        break;
    }
  }
  return { cases, leftOut, untouched };
}

function caseOf(query: InheritedQuery, name: string, language: 'SQL' | 'HogQL', text: string): QueryCase {
  const { timeoutSeconds, inherited, clickhouse } = query;
  const common = { name, timeoutSeconds, expect: { sameAs: 'Baseline' } } as const;
  if (language === 'SQL') return { ...common, sql: text, ...(clickhouse === undefined ? {} : { clickhouse }) };
  const { secretRef } = inherited;
  return { ...common, hogql: { query: text, pageBy: [], ...(secretRef === undefined ? {} : { secretRef }) } };
}

function secretNameOf({ name: query, inherited }: InheritedQuery, { file }: TaskContext): string {
  const own = file.spec.pipelines.flatMap((pipeline) =>
    'posthog' in pipeline ? [pipeline.posthog.secretRef.name] : [],
  );
  const name = inherited.secretRef?.name ?? own[0];
  if (name !== undefined) return name;
  throw new ParityError('InvalidSpec', `Query ${query} inherits HogQL, and the run names no secret of a PostHog.`, {
    subject: query,
    advice: 'Name one with host, project and key in inherited.secretRef.',
  });
}

function nothingToRun({ name }: InheritedQuery, found: number, leftOut: readonly LeftOutQuery[]): ParityError {
  const why = leftOut.slice(0, 3).map((one) => `${one.name} ${one.why}`);
  const said =
    found === 0
      ? 'there is none where it looks'
      : why.length === 0
        ? `none of the ${found} that there are touches a table of the run`
        : `of the ${found} that there are, none can run: ${why.join('; ')}`;
  return new ParityError('InvalidSpec', `Query ${name} inherits nothing: ${said}`, {
    subject: name,
    advice: 'See its place, and what its queries call the tables: inherited.tables[].as.',
  });
}

function slugOf(name: string): string {
  const slug = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 80)
    .replaceAll(/^-+|-+$/g, '');
  return slug === '' ? 'query' : slug;
}

function unusedName(name: string, names: Set<string>): string {
  let unused = name;
  for (let again = 2; names.has(unused); again++) unused = `${name}-${again}`;
  names.add(unused);
  return unused;
}
