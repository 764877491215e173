import { canonicalJson } from '../api/json.ts';
import { replacePlaceholders } from '../api/placeholders.ts';
import type { ExternalPipelineSpec, ResolvedCheck } from '../api/resolved.ts';
import { expandText } from '../api/templates.ts';
import { friendlySql } from '../compare/query-sql.ts';
import { toParityError } from '../support/error.ts';
import { redact } from '../support/log.ts';
import type { TaskContext } from '../tasks/task.ts';
import { type Execution, type ExecutionSecrets, variablesOf } from './contract.ts';
import type { RunningExecution } from './external.ts';
import { landedRelation } from './outputs.ts';

/** What a check may look at. */
export interface CheckContext {
  readonly execution: Execution;
  readonly secrets: ExecutionSecrets;
  readonly context: TaskContext;
  readonly spec: ExternalPipelineSpec;
  readonly running: RunningExecution;
}

export interface Answer {
  readonly isMet: boolean;
  /** What was found, for the message of a check that never holds. */
  readonly found: string;
}

/** How long one HTTP answer may take. */
const answerMs = 15_000;

/** Asks `successWhen` once. What cannot be asked (nothing has landed yet, nobody answers) does not hold; it never throws but on an abort. */
export async function isMet(check: ResolvedCheck, about: CheckContext): Promise<Answer> {
  about.context.signal.throwIfAborted();
  try {
    if ('sql' in check) return await askSql(check.sql, about);
    if ('query' in check) return await askExecution(check.query, about);
    return await askHttp(check.http, about);
  } catch (error) {
    about.context.signal.throwIfAborted();
    return { isMet: false, found: redact(toParityError(error).message) };
  }
}

async function askSql(sql: string, { execution, context, spec }: CheckContext): Promise<Answer> {
  const engine = await context.engine();
  const source = execution.request.source.name;
  const landed = new Map<string, string>();
  for (const [, table = ''] of sql.matchAll(/\{\{\s*([^{}]*?)\s*\}\}/g)) {
    if (!landed.has(table)) landed.set(table, friendlySql(await landedRelation(spec, engine, context, table, source)));
  }
  const text = replacePlaceholders(sql, ({ table }) => `(${landed.get(table) ?? ''})`);
  const [row] = await engine.rows<Record<string, unknown>>(
    `SELECT * FROM (${text.trim().replace(/;\s*$/, '')}) LIMIT 1`,
    {
      signal: context.signal,
    },
  );
  const [value] = Object.values(row ?? {});
  const isMet =
    value === true ||
    (typeof value === 'number' && value !== 0) ||
    // Wide numbers come as text; any other text is an answer that nobody has said the meaning of.
    (typeof value === 'string' && (value === 'true' || Math.abs(Number(value)) > 0));
  return {
    isMet,
    found: row === undefined ? 'the query has no row' : `the query's first value is ${JSON.stringify(value)}`,
  };
}

async function askExecution(
  { type, equals }: { readonly type: string; readonly equals: string },
  { running }: CheckContext,
): Promise<Answer> {
  const answer = canonicalJson((await running.ask?.(type)) ?? null);
  const wanted = canonicalJson(JSON.parse(equals));
  return { isMet: answer === wanted, found: `the query ${type} answers ${answer.slice(0, 200)}, not ${wanted}` };
}

async function askHttp(
  { url, status, contains }: { readonly url: string; readonly status: number; readonly contains?: string },
  { execution, secrets, context }: CheckContext,
): Promise<Answer> {
  const value = variablesOf(execution, context.attempt, secrets);
  const address = expandText(url, value);
  const response = await fetch(address, {
    redirect: 'manual',
    signal: AbortSignal.any([context.signal, AbortSignal.timeout(answerMs)]),
  }).catch((error: unknown) => {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new Error(`${address} does not answer: ${cause}`);
  });
  const body = (await response.text()).slice(0, 1_000_000);
  if (response.status !== status)
    return { isMet: false, found: `${address} answers ${response.status}, not ${status}` };
  const wanted = contains === undefined ? undefined : expandText(contains, value);
  if (wanted === undefined || body.includes(wanted)) return { isMet: true, found: '' };
  return { isMet: false, found: `the answer of ${address} does not contain ${JSON.stringify(wanted)}` };
}
