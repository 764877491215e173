/** What the text of a query says about itself, without knowing its whole grammar: enough of ClickHouse's and of HogQL's. */
export interface QueryOutline {
  /** Whether it begins as a SELECT. */
  readonly isSelect: boolean;
  /** Whether anything but blanks and comments stands behind a `;`. */
  readonly hasMore: boolean;
  /** Whether the outermost SELECT has an ORDER BY. */
  readonly isOrdered: boolean;
  /** Whether the outermost level is a UNION, INTERSECT or EXCEPT. */
  readonly isUnion: boolean;
  /** Of the outermost level: a number, `Computed` where it is something else, undefined where there is none. */
  readonly limit: number | 'Computed' | undefined;
  readonly hasOffset: boolean;
  /** Tables that it reads, but for its own WITH names. */
  readonly tables: readonly TableName[];
  /** Names of the functions that it calls, in lower case. */
  readonly functions: ReadonlySet<string>;
  /** `{name}` as PostHog's pages fill in: filters and variables. */
  readonly braces: readonly string[];
}

/** A table as a query names it. */
export interface TableName {
  /** Without quotes, parts joined by dots. */
  readonly name: string;
  readonly start: number;
  readonly end: number;
  /** Whether an alias follows. */
  readonly hasAlias: boolean;
}

export function outlineOf(text: string): QueryOutline {
  const tokens = tokensOf(text);
  const end = tokens.findIndex(({ text: one }) => one === ';');
  const own = end === -1 ? tokens : tokens.slice(0, end);
  const top = own.filter(({ depth }) => depth === 0);
  const at = (word: string): number => top.findLastIndex((token) => isWord(token, word));
  const isUnion = ['UNION', 'INTERSECT', 'EXCEPT'].some((word) => isSetOperation(top, word));
  const isOrdered = !isUnion && top.some((token, i) => isWord(token, 'ORDER') && isWord(top[i + 1], 'BY'));
  return {
    isSelect: own.length > 0 && ['SELECT', 'WITH', '('].some((word) => isWord(own[0], word) || own[0]?.text === word),
    hasMore: end !== -1 && tokens.length > end + 1,
    isOrdered,
    isUnion,
    limit: limitOf(top, at('LIMIT')),
    hasOffset: own.some((token) => isWord(token, 'OFFSET')),
    tables: tablesOf(own),
    functions: new Set(
      own.flatMap((token, i) => (token.kind === 'word' && own[i + 1]?.text === '(' ? [token.text.toLowerCase()] : [])),
    ),
    braces: own.filter(({ kind }) => kind === 'brace').map((token) => token.text),
  };
}

interface Token {
  readonly kind: 'word' | 'quoted' | 'text' | 'number' | 'placeholder' | 'brace' | 'sign';
  /** Of a quoted name: without its quotes. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** Of brackets around it; a bracket has that of what is around the pair. */
  readonly depth: number;
}

const pattern =
  /(?<blank>\s+|--[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<text>'(?:[^'\\]|\\[\s\S]|'')*')|(?<quoted>`(?:[^`\\]|\\[\s\S]|``)*`|"(?:[^"\\]|\\[\s\S]|"")*")|(?<placeholder>\{\{[^{}]*\}\})|(?<brace>\{[^{}]*\})|(?<number>\d[\w.]*)|(?<word>[A-Za-z_$][\w$]*)|(?<sign>[\s\S])/g;

function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let depth = 0;
  for (const match of text.matchAll(pattern)) {
    const [kind, found] = Object.entries(match.groups ?? {}).find(([, value]) => value !== undefined) ?? [];
    if (kind === undefined || found === undefined || kind === 'blank') continue;
    if (found === ')' || found === ']') depth = Math.max(0, depth - 1);
    const place = { start: match.index, end: match.index + found.length, depth };
    tokens.push({ kind: kindOf(kind), text: kind === 'quoted' ? found.slice(1, -1) : found, ...place });
    if (found === '(' || found === '[') depth++;
  }
  return tokens;
}

const kinds = ['word', 'quoted', 'text', 'number', 'placeholder', 'brace'] as const;

function kindOf(name: string): Token['kind'] {
  return kinds.find((kind) => kind === name) ?? 'sign';
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text.toUpperCase() === word;
}

/** `EXCEPT` is also a list of columns: `SELECT * EXCEPT (a)`. */
function isSetOperation(top: readonly Token[], word: string): boolean {
  return top.some((token, i) => {
    const next = top[i + 1];
    const selects = ['SELECT', 'ALL', 'DISTINCT', 'WITH'].some((one) => isWord(next, one));
    return isWord(token, word) && (selects || (word !== 'EXCEPT' && next?.text === '('));
  });
}

/** `LIMIT n BY` is no limit; `LIMIT m, n` has an offset. */
function limitOf(top: readonly Token[], at: number): QueryOutline['limit'] {
  if (at === -1) return undefined;
  const [count, next] = top.slice(at + 1);
  if (isWord(next, 'BY')) return undefined;
  const isPlain = count?.kind === 'number' && /^\d+$/.test(count.text) && (next === undefined || next.kind === 'word');
  return isPlain ? Number(count.text) : 'Computed';
}

function tablesOf(tokens: readonly Token[]): readonly TableName[] {
  const named = new Set(tokens.flatMap((token, i) => (isWithName(tokens, i) ? [token.text.toLowerCase()] : [])));
  const found: TableName[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (!isBeforeTable(tokens, i)) continue;
    const table = tableAt(tokens, i + 1);
    if (table !== undefined && !named.has(table.name.toLowerCase())) found.push(table);
  }
  return found;
}

/** `WITH name AS (`, or after a comma. */
function isWithName(tokens: readonly Token[], i: number): boolean {
  const before = tokens[i - 1];
  return (
    tokens[i]?.kind === 'word' &&
    isWord(tokens[i + 1], 'AS') &&
    tokens[i + 2]?.text === '(' &&
    (isWord(before, 'WITH') || isWord(before, 'RECURSIVE') || before?.text === ',')
  );
}

/** FROM of a SELECT (not of `extract(day FROM x)`), JOIN, and the commas between tables. */
function isBeforeTable(tokens: readonly Token[], i: number): boolean {
  const token = tokens[i];
  if (token === undefined) return false;
  // ARRAY JOIN takes a column.
  if (isWord(token, 'JOIN')) return !isWord(tokens[i - 1], 'ARRAY');
  const clause = clauseBefore(tokens, i);
  if (isWord(token, 'FROM')) return clause !== undefined;
  return token.text === ',' && token.kind === 'sign' && clause === 'FROM';
}

const clauses = [
  'SELECT',
  'FROM',
  'WHERE',
  'PREWHERE',
  'GROUP',
  'HAVING',
  'ORDER',
  'LIMIT',
  'ON',
  'USING',
  'ARRAY',
  'SETTINGS',
];

/** The clause that the place is in, of the SELECT around it. */
function clauseBefore(tokens: readonly Token[], i: number): string | undefined {
  const depth = tokens[i]?.depth ?? 0;
  for (let at = i - 1; at >= 0; at--) {
    const token = tokens[at];
    if (token === undefined || token.depth < depth) return undefined;
    const clause = token.depth === depth ? clauses.find((word) => isWord(token, word)) : undefined;
    if (clause !== undefined) return clause;
  }
  return undefined;
}

const afterTable = new Set(
  'WHERE PREWHERE GROUP ORDER LIMIT HAVING JOIN LEFT RIGHT INNER FULL CROSS ANY ALL ASOF SEMI ANTI GLOBAL ON USING UNION INTERSECT EXCEPT ARRAY SAMPLE FINAL OFFSET SETTINGS WINDOW QUALIFY POSITIONAL PASTE'.split(
    ' ',
  ),
);

function tableAt(tokens: readonly Token[], first: number): TableName | undefined {
  const parts: string[] = [];
  let i = first;
  for (; ; i += 2) {
    const token = tokens[i];
    if (token === undefined || (token.kind !== 'word' && token.kind !== 'quoted')) return undefined;
    parts.push(token.text);
    if (tokens[i + 1]?.text !== '.') break;
  }
  const [start, last, next] = [tokens[first], tokens[i], tokens[i + 1]];
  // A function whose rows are read.
  if (start === undefined || last === undefined || next?.text === '(') return undefined;
  const isName = next?.kind === 'quoted' || (next?.kind === 'word' && !afterTable.has(next.text.toUpperCase()));
  return { name: parts.join('.'), start: start.start, end: last.end, hasAlias: isName };
}

/** Functions that say another thing each time, but for those that PostHog and ClickHouse spell in other ways. */
const restless =
  /^(now|now64|today|yesterday|current_?(date|timestamp|time)|rand.*|generateuuidv\d|uuid|randcanonical|fuzz.*|nowinblock)$/;

/** A function of the query that gives another result at another time. */
export function restlessFunction({ functions }: QueryOutline): string | undefined {
  return [...functions].find((name) => restless.test(name));
}

/** Tables of PostHog's own that grow by themselves. https://posthog.com/docs/data-warehouse/query */
const growing = new Set(
  'events sessions raw_sessions persons raw_persons person_distinct_ids groups cohort_people session_replay_events raw_session_replay_events log_entries app_metrics logs query_log heatmaps'.split(
    ' ',
  ),
);

/** A table of PostHog's own that the query reads. */
export function growingTable({ tables }: QueryOutline): string | undefined {
  return tables.find(({ name }) => growing.has(name.toLowerCase()))?.name;
}

/** The query with its window's ends in place of `{{from}}` and `{{to}}`: the same instants in HogQL and in ClickHouse's SQL. */
export function withWindow(query: string, window: { readonly from: string; readonly to: string } | undefined): string {
  if (window === undefined) return query;
  return query
    .replaceAll(/\{\{\s*from\s*\}\}/g, `toDateTime('${window.from}')`)
    .replaceAll(/\{\{\s*to\s*\}\}/g, `toDateTime('${window.to}')`);
}

/** The statements of a text, each without its `;`; what holds nothing but comments is none. */
export function statementsOf(text: string): readonly string[] {
  const ends = tokensOf(text).flatMap((token) => (token.text === ';' && token.kind === 'sign' ? [token.start] : []));
  const bounds = [-1, ...ends, text.length];
  return bounds
    .slice(1)
    .map((end, i) => text.slice((bounds[i] ?? -1) + 1, end).trim())
    .filter((statement) => tokensOf(statement).length > 0);
}
