import { placeholdersOf, replacePlaceholders } from '../api/placeholders.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';

/** A table that a query names: `{{table}}` or `{{source.table}}`. */
export interface TableReference {
  readonly source: string | undefined;
  readonly table: string;
}

/** The tables that a query names, each once, in the order of their names. */
export function referencesOf(sql: string): TableReference[] {
  const found = new Map(
    placeholdersOf(sql).map(({ source, table }) => [viewName({ source, table }), { source, table }]),
  );
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, reference]) => reference);
}

/** The query with its tables' names replaced by views of `database`. */
export function withViews(sql: string, database: string): string {
  return replacePlaceholders(sql, (named) => `${quoteIdentifier(database)}.${quoteIdentifier(viewName(named))}`);
}

/** The name that a reference has as a view. */
export function viewName({ source, table }: TableReference): string {
  return source === undefined ? table : `${source}.${table}`;
}

/**
 * A SELECT over the relation with types that people query: dates as Date32, times as DateTime64(6, 'UTC'), nested values as JSON text. A
 * date or time before 1900 or after 2299, which these types cannot hold, ends a query that uses the column (`unrepresentableColumn` tells
 * which), instead of being cut to the nearest that they can.
 */
export function friendlySql(relation: Pick<Relation, 'columns' | 'sql'>): string {
  const columns = relation.columns.map((field) => `${friendly(field)} AS ${quoteIdentifier(field.name)}`);
  return `SELECT ${columns.join(', ')} FROM (${relation.sql}) AS side`;
}

function friendly({ name, type }: Field): string {
  const column = `side.${quoteIdentifier(name)}`;
  const guarded = (first: string, last: string): string =>
    `if(throwIf(ifNull(${column} < ${first} OR ${column} > ${last}, 0), ${quoteString(`${guardMark}${name}${guardMark}`)}) = 0, ${column}, NULL)`;
  switch (type.kind) {
    case 'date':
      return `addDays(toDate32('1970-01-01'), ${guarded('-25567', '120529')})`;
    case 'timestamp':
    case 'timestamp_ntz':
      return `fromUnixTimestamp64Micro(${guarded('-2208988800000000', '10413791999999999')}, 'UTC')`;
    default:
      return column;
  }
}
const guardMark = '⟦parity⟧';

/** The column whose value a query could not be given, where that is what the engine's error says. */
export function unrepresentableColumn(message: string): string | undefined {
  return message.split(guardMark)[1];
}

/** What a query may do was checked: one SELECT, over its own tables. */
export interface CheckedQuery {
  /** Whether its outermost SELECT has an ORDER BY, so that the order of the rows is part of the result. */
  readonly isOrdered: boolean;
}

/**
 * Checks a query (its tables already replaced by views of `database`) by the engine's own parser. Throws `QueryFailed` naming the query where it is
 * not one SELECT statement, or reads anything else: another database, a file, a URL, a bucket.
 */
export async function checkQuery(
  engine: Engine,
  query: { name: string; sql: string },
  database: string,
  options: QueryOptions,
): Promise<CheckedQuery> {
  const sql = query.sql.trim().replace(/;\s*$/, '');
  // Before the parser sees it: a second statement would be carried out.
  if (hasSeparator(sql)) throw refused(query.name, 'holds more than one statement');
  let lines: string[];
  try {
    lines = (await engine.rows<{ explain: string }>(`EXPLAIN AST ${sql}`, options)).map((row) => row.explain);
  } catch (error) {
    if (error instanceof ParityError && error.code !== 'Internal') throw error;
    throw new ParityError(
      'QueryFailed',
      `Query ${query.name} is not understood: ${error instanceof Error ? error.message : String(error)}`,
      {
        subject: query.name,
        advice: "Write one SELECT in ClickHouse's SQL, with tables as {{table}} or {{source.table}}.",
        cause: error,
      },
    );
  }
  if (lines[0] !== 'SelectWithUnionQuery (children 1)') throw refused(query.name, 'is not a plain SELECT');
  for (const [i, line] of lines.entries()) {
    const [, node = '', name = ''] = /^\s*(\S+)\s*(\S*)/.exec(line) ?? [];
    const isOwn = name.replaceAll('`', '').startsWith(`${database}.`);
    if (node === 'TableIdentifier' && name.includes('.') && !isOwn) throw refused(query.name, `reads ${name}`);
    const above = lines[i - 1]?.trim() ?? '';
    if (node === 'Function' && above.startsWith('TableExpression') && !harmlessTables.has(name))
      throw refused(query.name, `reads from ${name}()`);
    if (node === 'Function' && outsideFunctions.test(name)) throw refused(query.name, `calls ${name}()`);
  }
  return { isOrdered: hasOuterOrder(lines) };
}

const harmlessTables: ReadonlySet<string> = new Set(['numbers', 'values', 'generateSeries', 'generate_series', 'null']);
/** Functions whose result comes from outside the query's tables. */
const outsideFunctions =
  /^(file|dictGet.*|dictHas|dictIsIn|joinGet.*|getSetting|getServerSetting|getMacro|hostName|catboostEvaluate)$/i;

function refused(name: string, found: string): ParityError {
  return new ParityError('QueryFailed', `Query ${name} ${found}, which a query of a run must not.`, {
    subject: name,
    advice: 'Write one SELECT that reads only tables of the run, as {{table}} or {{source.table}}.',
  });
}

/** Whether a `;` stands outside of texts, quoted names and comments. Heredocs count as one: nothing of ours needs them. */
function hasSeparator(sql: string): boolean {
  const rest = sql.replaceAll(
    /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`(?:[^`\\]|\\[\s\S]|``)*`|--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?\*\//g,
    ' ',
  );
  return /;|\$\w*\$/.test(rest);
}

/** The root's only SELECT has, among its own children, a list of OrderByElements. */
function hasOuterOrder(lines: readonly string[]): boolean {
  const depth = (line: string): number => line.length - line.trimStart().length;
  const selects = lines.filter((line) => depth(line) === 2 && line.trim().startsWith('SelectQuery'));
  if (selects.length !== 1) return false;
  return lines.some((line) => depth(line) === 4 && line.trim().startsWith('OrderByElement'));
}
