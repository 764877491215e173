import { growingTable, outlineOf, restlessFunction, withWindow } from '../api/hogql.ts';
import type { InheritedQueries, ResolvedSpec, TimeWindow } from '../api/resolved.ts';
import { hogQlProblem } from '../api/validate-queries.ts';

/** A query as it stands in its place. */
export interface FoundQuery {
  /** As people know it. */
  readonly name: string;
  readonly language: 'SQL' | 'HogQL';
  readonly text: string;
  /** Why it is no query that could be run, where that is known. Then `text` only says what it touches. */
  readonly cannot?: string;
}

/** By what queries call a table, in lower case: the run's reference to it, or why it has none. */
export type Touchable = ReadonlyMap<string, { readonly reference: string } | { readonly cannot: string }>;

export type Adapted =
  | { readonly kind: 'Untouched' }
  | { readonly kind: 'LeftOut'; readonly why: string }
  /** With placeholders for the run's tables. */
  | { readonly kind: 'Case'; readonly text: string };

/** The tables that an inherited query may touch, by the names that it uses. */
export function touchable({ tables }: InheritedQueries, { snapshot, sources }: ResolvedSpec): Touchable {
  if (tables !== undefined)
    return new Map(tables.flatMap(({ name, as }) => as.map((one) => [one.toLowerCase(), { reference: name }])));
  return new Map(
    snapshot.tables.map(({ name }) => {
      const holders = sources.filter((source) => source.tables.includes(name));
      const cannot = `reads ${name}, which several sources hold; say in inherited.tables which one is meant`;
      return [name.toLowerCase(), holders.length > 1 ? { cannot } : { reference: name }];
    }),
  );
}

/**
 * The query as a case of the run: its tables replaced, `events` bounded by the window. What could not give the same again, or reads what is not the run's, is left
 * out with why.
 */
export function adapted(found: FoundQuery, tables: Touchable, window: TimeWindow | undefined): Adapted {
  if (found.cannot !== undefined) {
    const isTouching = [...tables.keys()].some((name) => hasWord(found.text.toLowerCase(), name));
    return isTouching ? { kind: 'LeftOut', why: found.cannot } : { kind: 'Untouched' };
  }
  const text = withWindow(found.text.trim().replace(/;\s*$/, ''), window);
  const outline = outlineOf(text);
  if (!outline.tables.some(({ name }) => tables.has(name.toLowerCase()))) return { kind: 'Untouched' };
  const problem = found.language === 'HogQL' ? hogQlProblem(text) : sqlProblem(text);
  if (problem !== undefined) return { kind: 'LeftOut', why: problem };
  let result = text;
  for (const { name, start, end, hasAlias } of outline.tables.toReversed()) {
    const table = tables.get(name.toLowerCase());
    const put =
      table === undefined
        ? ownTable(name, found.language, window)
        : 'reference' in table
          ? { text: `{{${table.reference}}}` }
          : table;
    if ('cannot' in put) return { kind: 'LeftOut', why: put.cannot };
    const alias = hasAlias ? '' : ` AS \`${name.split('.').at(-1) ?? name}\``;
    result = result.slice(0, start) + put.text + alias + result.slice(end);
  }
  return { kind: 'Case', text: result };
}

/** A table that is not the run's: `events` within the window is the same on both sides, anything else may change while they run. */
function ownTable(
  name: string,
  language: FoundQuery['language'],
  window: TimeWindow | undefined,
): { readonly text: string } | { readonly cannot: string } {
  if (language === 'SQL' || growingTable(outlineOf(`SELECT 1 FROM \`${name}\``)) === undefined)
    return { cannot: `reads ${name}, which is no table of the run` };
  if (name.toLowerCase() !== 'events') return { cannot: `reads ${name}, which grows all the time and has no window` };
  if (window === undefined)
    return { cannot: 'reads events without a fixed window; set inherited.from and inherited.to' };
  return { text: withWindow('(SELECT * FROM events WHERE timestamp >= {{from}} AND timestamp < {{to}})', window) };
}

function sqlProblem(text: string): string | undefined {
  const outline = outlineOf(text);
  if (!outline.isSelect || outline.hasMore) return 'is not one SELECT';
  const [brace] = outline.braces;
  if (brace !== undefined) return `has ${brace}, which nobody fills in`;
  const restless = restlessFunction(outline);
  return restless === undefined ? undefined : `calls ${restless}(), which gives another result each time`;
}

function hasWord(text: string, word: string): boolean {
  const at = text.indexOf(word);
  if (at === -1) return false;
  const isPart = (character: string | undefined): boolean => character !== undefined && /\w/.test(character);
  return (!isPart(text[at - 1]) && !isPart(text[at + word.length])) || hasWord(text.slice(at + 1), word);
}
