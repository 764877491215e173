import { fieldOf, isList } from '../api/json.ts';
import { type PostHogClient, PostHogRefusal, postHogClient, textOf } from '../pipelines/posthog-client.ts';
import { ParityError } from '../support/error.ts';
import type { FoundQuery } from './adapted.ts';

/** The saved queries and insights of a project, by its API. Throws what the client throws. */
export async function queriesInPostHog(
  keys: Readonly<Record<string, string>>,
  secretName: string,
  kinds: readonly ('SavedQueries' | 'Insights')[],
  signal: AbortSignal,
): Promise<readonly FoundQuery[]> {
  const client = postHogClient(keys, secretName, signal);
  try {
    return [
      ...(kinds.includes('SavedQueries') ? await savedQueries(client) : []),
      ...(kinds.includes('Insights') ? await insights(client) : []),
    ];
  } catch (error) {
    if (!(error instanceof PostHogRefusal)) throw error;
    throw new ParityError('AccessDenied', `PostHog does not give its saved queries and insights: ${error.message}`, {
      subject: secretName,
      advice: 'The key needs the scopes warehouse_view:read and insight:read.',
    });
  }
}

/** Their list leaves the queries out: each is asked for by itself. */
async function savedQueries(client: PostHogClient): Promise<readonly FoundQuery[]> {
  const found: FoundQuery[] = [];
  for (const one of await allPages(client, 'warehouse_saved_queries/')) {
    const whole = await client.get(`warehouse_saved_queries/${encodeURIComponent(textOf(one, 'id'))}/`);
    const name = textOf(whole, 'name');
    const query = fieldOf(whole, 'query');
    const text = fieldOf(query, 'query');
    found.push(
      typeof text === 'string'
        ? { name, language: 'HogQL', text }
        : { name, language: 'HogQL', text: JSON.stringify(query ?? null), cannot: 'has no HogQL' },
    );
  }
  return found;
}

/** This list is paged by number, not by offset. */
async function allPages(client: PostHogClient, path: string): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for (let page = 1; ; page++) {
    const answer = await client.get(`${path}?page=${page}`);
    const results = fieldOf(answer, 'results');
    if (!isList(results))
      throw new ParityError('Unreachable', `PostHog at ${client.host} answers to ${path} with what is no list`);
    found.push(...results);
    if (typeof fieldOf(answer, 'next') !== 'string' || results.length === 0) return found;
  }
}

/** Those of SQL are nodes around a HogQLQuery; the others are drawn from events by PostHog itself. */
async function insights(client: PostHogClient): Promise<readonly FoundQuery[]> {
  const all = await client.list('insights/?saved=true&basic=true');
  return all.map((insight): FoundQuery => {
    const names = ['name', 'derived_name', 'short_id'].map((field) => fieldOf(insight, field));
    const name = String(names.find((one) => typeof one === 'string' && one !== '') ?? fieldOf(insight, 'id'));
    const node = fieldOf(insight, 'query');
    const source = fieldOf(node, 'source') ?? node;
    const text = fieldOf(source, 'query');
    const kind = fieldOf(source, 'kind');
    if (kind === 'HogQLQuery' && typeof text === 'string') return { name, language: 'HogQL', text };
    const what = typeof kind === 'string' ? `a ${kind}` : 'an insight of the old kind';
    const about = JSON.stringify(node ?? fieldOf(insight, 'filters') ?? null);
    return { name, language: 'HogQL', text: about, cannot: `is ${what}, which has no SQL of its own` };
  });
}
