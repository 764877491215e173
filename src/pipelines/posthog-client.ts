import { fieldOf, isList, isObject } from '../api/json.ts';
import { ParityError } from '../support/error.ts';
import { redact } from '../support/log.ts';
import { delay, retry } from '../support/retry.ts';

/** A project of PostHog, by its HTTP API. */
export interface PostHogClient {
  readonly host: string;
  /** The project's answer to `GET /api/projects/<project>/<path>`. */
  get(path: string): Promise<unknown>;
  /** `isRepeatable`: asking twice does no more than asking once, so that a lost answer is no reason to give up. */
  post(path: string, body: unknown, options?: { readonly isRepeatable?: boolean }): Promise<unknown>;
  patch(path: string, body: unknown): Promise<unknown>;
  /** What is gone already is no error. */
  delete(path: string): Promise<void>;
  /** Every item of a list, page by page. */
  list(path: string): Promise<readonly unknown[]>;
  /** The text of an answer, for what must keep its digits. */
  text(path: string, body?: unknown): Promise<{ readonly status: number; readonly text: string }>;
}

/** PostHog said no to what was asked (400): its own words, for the caller to say what of. */
export class PostHogRefusal extends Error {}

const answerMs = 120_000;
const attempts = 5;
/** A limit that lasts longer than this is not waited for. */
const longestWaitMs = 120_000;

/**
 * A client for the project that a secret names by `host`, `project` and `key`. Answers of 429 are waited for as long as `Retry-After` says. Throws `AccessDenied`
 * for a missing key and for 401 and 403, `NotFound` for 404, `PostHogRefusal` for 400, and `Unreachable` where nobody answers, or with 5xx.
 */
export function postHogClient(
  keys: Readonly<Record<string, string>>,
  secretName: string,
  signal: AbortSignal,
): PostHogClient {
  const need = (name: 'host' | 'project' | 'key'): string => {
    const value = keys[name]?.trim();
    if (value !== undefined && value !== '') return value;
    throw new ParityError('AccessDenied', `the secret "${secretName}" of PostHog has no key "${name}"`, {
      subject: secretName,
      advice:
        'It takes host (https://us.posthog.com), project (the number in its addresses) and key (a personal API key).',
    });
  };
  const host = baseOf(need('host'), secretName);
  const [project, key] = [need('project'), need('key')];
  const base = `${host}/api/projects/${encodeURIComponent(project)}/`;

  const once = async (method: string, path: string, body: unknown): Promise<Answer> => {
    const response = await fetch(path.startsWith(base) ? path : base + path, {
      method,
      // Whoever is redirected to would be given the key.
      redirect: 'manual',
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => {
      signal.throwIfAborted();
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new ParityError('Unreachable', `PostHog at ${host} does not answer: ${redact(cause)}`, {
        isRetryable: true,
        advice: 'See that the key host of the secret is right, and can be reached from here.',
      });
    });
    return { status: response.status, text: await response.text(), retryAfter: response.headers.get('retry-after') };
  };

  const ask = async (method: string, path: string, body: unknown, isRepeatable: boolean): Promise<Answer> => {
    const carriedOut = async (): Promise<Answer> => {
      for (let waitedMs = 0; ; ) {
        const answer = await once(method, path, body);
        if (answer.status !== 429) return checked(answer);
        const waitMs = retryAfterMs(answer.retryAfter);
        // What was throttled was not done: it can be asked again, whatever it is.
        if (waitedMs + waitMs > longestWaitMs)
          throw new ParityError(
            'Unreachable',
            `PostHog at ${host} answers with 429, too many requests, and wants ${Math.ceil(waitMs / 1000)} s of silence: ${said(answer.text)}`,
            {
              advice: 'Others use up the limits of this project, or of the key: try again later, or with fewer tables.',
            },
          );
        await delay(waitMs, signal);
        waitedMs += waitMs;
      }
    };
    return await retry(carriedOut, { attempts: isRepeatable ? attempts : 1, baseMs: 300, signal });
  };

  const checked = (answer: Answer): Answer => {
    const { status, text } = answer;
    if (status >= 200 && status < 300) return answer;
    const words = said(text);
    switch (status) {
      case 400:
        throw new PostHogRefusal(words);
      case 401:
        throw new ParityError(
          'AccessDenied',
          `PostHog at ${host} does not know the key of secret ${secretName} (401): ${words}`,
          {
            subject: secretName,
            advice:
              'Give it a personal API key (phx_…), made at the same host: us.posthog.com and eu.posthog.com know different ones.',
          },
        );
      case 403:
        throw new ParityError(
          'AccessDenied',
          `PostHog at ${host} does not let the key of secret ${secretName} do that (403): ${words}`,
          {
            subject: secretName,
            advice:
              'The key needs the scopes external_data_source:write, warehouse_table:write and query:read, and access to the project.',
          },
        );
      case 404:
        throw new ParityError(
          'NotFound',
          `PostHog at ${host} has no such thing in project ${project} (404): ${words}`,
          {
            subject: secretName,
            advice: 'See that the key project of the secret is the number of the project.',
          },
        );
      default:
        if (status >= 500)
          throw new ParityError('Unreachable', `PostHog at ${host} fails with ${status}: ${words}`, {
            isRetryable: true,
            advice: 'It is PostHog that fails: see its own logs, or its status page.',
          });
        throw new ParityError('Unreachable', `${host} answers with ${status}, which PostHog never does: ${words}`, {
          advice: 'See that the key host of the secret is the address of PostHog itself, without a path.',
        });
    }
  };

  const json = ({ text }: Answer): unknown => {
    if (text.trim() === '') return undefined;
    try {
      return JSON.parse(text);
    } catch {
      throw new ParityError('Unreachable', `${host} answers with what is no JSON: ${text.slice(0, 100)}`, {
        advice: 'See that the key host of the secret is the address of PostHog itself, without a path.',
      });
    }
  };

  return {
    host,
    get: async (path) => json(await ask('GET', path, undefined, true)),
    post: async (path, body, options) => json(await ask('POST', path, body, options?.isRepeatable ?? false)),
    patch: async (path, body) => json(await ask('PATCH', path, body, true)),
    async delete(path) {
      try {
        await ask('DELETE', path, undefined, true);
      } catch (error) {
        if (!(error instanceof ParityError) || error.code !== 'NotFound') throw error;
      }
    },
    async list(path) {
      const found: unknown[] = [];
      for (let offset = 0; ; ) {
        const page = json(
          await ask('GET', `${path}${path.includes('?') ? '&' : '?'}limit=100&offset=${offset}`, undefined, true),
        );
        const items = isList(page) ? page : fieldOf(page, 'results');
        if (!isList(items)) throw new ParityError('Unreachable', `${host} answers to ${path} with what is no list`);
        found.push(...items);
        offset += items.length;
        if (isList(page) || typeof fieldOf(page, 'next') !== 'string' || items.length === 0) return found;
      }
    },
    async text(path, body) {
      const { status, text } = await ask(body === undefined ? 'GET' : 'POST', path, body, true);
      return { status, text };
    },
  };
}

/** Text of a field that PostHog always gives. Throws `Unreachable` where it does not. */
export function textOf(value: unknown, field: string): string {
  const found = fieldOf(value, field);
  if (typeof found === 'string' && found !== '') return found;
  throw new ParityError('Unreachable', `PostHog's answer has no ${field}`);
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

function baseOf(text: string, secretName: string): string {
  try {
    const url = new URL(text.includes('://') ? text : `https://${text}`);
    if (url.protocol === 'https:' || url.protocol === 'http:') return url.origin;
  } catch {
    // Said below.
  }
  throw new ParityError('AccessDenied', `the key "host" of secret "${secretName}" is no address: ${text}`, {
    subject: secretName,
    advice: 'Write https://us.posthog.com, https://eu.posthog.com or the address of your own PostHog.',
  });
}

/** Seconds, or a date (RFC 9110); a second where nothing is said. */
function retryAfterMs(header: string | null): number {
  if (header === null) return 1000;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(250, ms) : 1000;
}

/** PostHog's own words: `detail` of its framework, `message` of its views, `error_message` of a query. */
function said(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return `"${redact(text.replaceAll(/\s+/g, ' ').trim().slice(0, 200))}"`;
  }
  const status = fieldOf(value, 'query_status');
  const words = [fieldOf(value, 'detail'), fieldOf(value, 'message'), fieldOf(status, 'error_message')].find(
    (found) => typeof found === 'string',
  );
  if (typeof words === 'string') return redact(words.slice(0, 1000));
  return isObject(value) && Object.keys(value).length === 0
    ? 'without a word'
    : redact(JSON.stringify(value).slice(0, 300));
}
