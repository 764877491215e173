import { randomUUID } from 'node:crypto';
import { outlineOf } from '../api/hogql.ts';
import { fieldOf, isList, isObject } from '../api/json.ts';
import { type PostHogClient, PostHogRefusal, postHogClient } from '../pipelines/posthog-client.ts';
import { ParityError } from '../support/error.ts';
import { delay } from '../support/retry.ts';

/** Values as text, numbers with all their digits, nested values as JSON; NULL as null. */
export type TextRow = readonly (string | null)[];

export interface HogQlRequest {
  readonly text: string;
  readonly pageBy: readonly string[];
  readonly timeoutSeconds: number;
  readonly keys: Readonly<Record<string, string>>;
  readonly secretName: string;
  readonly signal: AbortSignal;
  /** Most rows of one answer; PostHog's own bound where left out. */
  readonly pageRows?: number;
}

export interface HogQlAnswer {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly isOrdered: boolean;
}

/** https://github.com/PostHog/posthog/blob/master/posthog/hogql/constants.py (MAX_SELECT_RETURNED_ROWS) */
export const mostRows = 50_000;

/**
 * Has PostHog run a query, as one of its asynchronous queries, and hands its rows on page by page. Every row, or an error: `LimitExceeded` where PostHog would
 * have cut the result, `Timeout`, `QueryFailed` with PostHog's own words, and what the client throws. A query that is given up is cancelled there.
 */
export async function readHogQl(
  request: HogQlRequest,
  onRows: (rows: readonly TextRow[]) => Promise<void>,
): Promise<HogQlAnswer> {
  const expired = AbortSignal.timeout(Math.ceil(request.timeoutSeconds * 1000));
  const signal = AbortSignal.any([request.signal, expired]);
  const client = postHogClient(request.keys, request.secretName, signal);
  const asked = new Set<string>();
  const ask: Ask = (text) => askPostHog(client, text, asked, signal);
  try {
    return await (request.pageBy.length === 0 ? onePage(request, ask, onRows) : pages(request, ask, onRows));
  } catch (error) {
    if (signal.aborted) await giveUp(request, asked);
    if (expired.aborted && !request.signal.aborted)
      throw new ParityError('Timeout', `PostHog did not answer within ${request.timeoutSeconds} s`);
    throw error instanceof PostHogRefusal ? refused(error) : error;
  }
}

type Ask = (text: string) => Promise<Page>;

interface Page {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly TextRow[];
  readonly hasMore: boolean;
}

async function onePage(
  request: HogQlRequest,
  ask: Ask,
  onRows: (rows: readonly TextRow[]) => Promise<void>,
): Promise<HogQlAnswer> {
  const text = request.text.trim().replace(/;\s*$/, '');
  const { limit, isOrdered, isUnion } = outlineOf(text);
  const most = request.pageRows ?? mostRows;
  // On lines of their own: the query may end in a comment.
  const bounded = isUnion ? `SELECT * FROM (${text}\n)\nLIMIT ${most}` : `${text}\nLIMIT ${most}`;
  const page = await ask(limit === undefined ? bounded : text);
  const isWhole = !page.hasMore && (page.rows.length < most || (typeof limit === 'number' && limit <= most));
  if (!isWhole && (await countOf(text, ask)) !== page.rows.length)
    throw new ParityError('LimitExceeded', `it has more than the ${page.rows.length} rows that PostHog gives at once`, {
      advice: 'Aggregate, add a LIMIT, or name the columns that tell its rows apart in pageBy.',
    });
  await onRows(page.rows);
  return { columns: page.columns, isOrdered };
}

/** PostHog refuses OFFSET: each page begins after the last key of the one before. The order of the result is then the pages'. */
async function pages(
  request: HogQlRequest,
  ask: Ask,
  onRows: (rows: readonly TextRow[]) => Promise<void>,
): Promise<HogQlAnswer> {
  const { pageBy } = request;
  const text = request.text.trim().replace(/;\s*$/, '');
  const most = request.pageRows ?? mostRows;
  const key = pageBy.map((name) => `\`${name.replaceAll('`', '``')}\``);
  const tuple = (parts: readonly string[]): string => (parts.length === 1 ? (parts[0] ?? '') : `(${parts.join(', ')})`);
  let total = 0;
  let last: readonly string[] | undefined;
  for (;;) {
    const after = last === undefined ? '' : `WHERE ${tuple(key)} > ${tuple(last)} `;
    const page = await ask(`SELECT * FROM (${text}\n) AS page ${after}ORDER BY ${key.join(', ')} LIMIT ${most}`);
    for (const row of page.rows) {
      const next = literals(row, page.columns, pageBy);
      if (last !== undefined && last.join() === next.join()) throw unpaged(pageBy, 'two rows have the same');
      last = next;
    }
    await onRows(page.rows);
    total += page.rows.length;
    if (page.rows.length < most) {
      if (total > page.rows.length && (await countOf(text, ask)) !== total)
        throw unpaged(pageBy, 'rows were left out, or came while it was read');
      return { columns: page.columns, isOrdered: false };
    }
  }
}

/** The row's key as it is written in a query. */
function literals(row: TextRow, columns: Page['columns'], pageBy: readonly string[]): readonly string[] {
  return pageBy.map((name) => {
    const at = columns.findIndex((column) => column.name === name);
    const value = row[at];
    if (at === -1) throw unpaged(pageBy, `the result has no column ${name}`);
    if (value === null || value === undefined) throw unpaged(pageBy, `${name} is NULL in a row`);
    const type = (columns[at]?.type ?? '').replace(/^(?:LowCardinality\(|Nullable\()+/, '');
    if (/^U?Int/.test(type)) return value;
    if (/^(String|FixedString|UUID|Enum)/.test(type))
      return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
    throw unpaged(pageBy, `${name} is a ${type}, and only whole numbers and texts can be continued after`);
  });
}

function unpaged(pageBy: readonly string[], found: string): ParityError {
  return new ParityError('InvalidSpec', `it cannot be read page by page by ${pageBy.join(', ')}: ${found}`, {
    advice: 'Name columns of the result, whole numbers or texts, that are never NULL and together tell its rows apart.',
  });
}

async function countOf(text: string, ask: Ask): Promise<number> {
  const { rows } = await ask(`SELECT count() AS n FROM (${text}\n)`);
  return Number(rows[0]?.[0] ?? Number.NaN);
}

const firstPauseMs = 100;
const longestPauseMs = 2_000;

async function askPostHog(client: PostHogClient, text: string, asked: Set<string>, signal: AbortSignal): Promise<Page> {
  const id = randomUUID();
  asked.add(id);
  const body = { query: { kind: 'HogQLQuery', query: text }, refresh: 'force_async', client_query_id: id };
  let answer = parsed((await client.text('query/', body)).text, client);
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 1.5)) {
    const page = pageOf(answer, client);
    if (page !== undefined) {
      asked.delete(id);
      return page;
    }
    await delay(pauseMs, signal);
    answer = parsed((await client.text(`query/${id}/`)).text, client);
  }
}

/** Undefined while it runs. An answer is the result itself or its status, which holds it once it is complete. */
function pageOf(answer: unknown, client: PostHogClient): Page | undefined {
  const status = fieldOf(answer, 'query_status');
  if (isObject(status)) {
    if (fieldOf(status, 'error') === true) {
      const words = fieldOf(status, 'error_message');
      throw new PostHogRefusal(typeof words === 'string' ? words : 'it failed, without a word');
    }
    if (fieldOf(status, 'complete') !== true) return undefined;
  }
  const result = isList(fieldOf(answer, 'results')) ? answer : fieldOf(status, 'results');
  const [names, types, rows] = ['columns', 'types', 'results'].map((field) => fieldOf(result, field));
  if (!isList(names) || !isList(rows) || !rows.every(isList))
    throw new ParityError('Unreachable', `PostHog at ${client.host} answers a query with what is no table`);
  const columns = names.map((name, i) => {
    const type = isList(types) ? types[i] : undefined;
    return { name: String(name), type: isList(type) ? String(type[1]) : '' };
  });
  if (rows.some((row) => row.length !== columns.length))
    throw new ParityError('Unreachable', `PostHog at ${client.host} gives rows with other columns than it says`);
  return { columns, rows: rows.map((row) => row.map(asText)), hasMore: fieldOf(result, 'hasMore') === true };
}

/** A number as it was written: 64-bit integers do not fit into JavaScript's. */
class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function parsed(text: string, client: PostHogClient): unknown {
  try {
    return JSON.parse(text, (_, value: unknown, context?: { source?: string }) =>
      typeof value === 'number' ? new Digits(context?.source ?? String(value)) : value,
    );
  } catch {
    throw new ParityError('Unreachable', `PostHog at ${client.host} answers a query with what is no JSON`);
  }
}

function asText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === 'string' ? value : jsonOf(value);
}

function jsonOf(value: unknown): string {
  if (value instanceof Digits) return value.text;
  if (isList(value)) return `[${value.map(jsonOf).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value ?? null);
  return `{${Object.entries(value)
    .map(([name, field]) => `${JSON.stringify(name)}:${jsonOf(field)}`)
    .join(',')}}`;
}

/** PostHog's bounds of time and memory are no fault of the data. */
function refused({ message }: PostHogRefusal): ParityError {
  if (/max(imum)? execution time|timed? ?out|too slow/i.test(message))
    return new ParityError('LimitExceeded', `PostHog gave it up: ${message}`, { advice: 'Make it read less.' });
  if (/memory limit/i.test(message)) return new ParityError('OutOfMemory', `PostHog gave it up: ${message}`);
  return new ParityError('QueryFailed', `PostHog says: ${message}`);
}

const giveUpMs = 5_000;

/** Nobody waits for what still runs there. Best effort: it ends by itself after PostHog's own bound. */
async function giveUp({ keys, secretName }: HogQlRequest, asked: ReadonlySet<string>): Promise<void> {
  if (asked.size === 0) return;
  const client = postHogClient(keys, secretName, AbortSignal.timeout(giveUpMs));
  for (const id of asked) await client.delete(`query/${id}/`).catch(() => undefined);
}
