import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { fieldOf } from '../../src/api/json.ts';
import { type PostHogClient, PostHogRefusal, postHogClient } from '../../src/pipelines/posthog-client.ts';
import { delay } from '../../src/support/retry.ts';
import { type PostHog, startPostHog } from '../support/posthog/start.ts';

describe('queries of the PostHog that tests use, as its contract has them', function () {
  this.timeout(120_000);
  let folder: string;
  let posthog: PostHog;
  let client: PostHogClient;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'posthog-bucket-'));
    posthog = await startPostHog({ bucket: { location: pathToFileURL(folder).href } });
    client = postHogClient(posthog.secret, 'posthog', AbortSignal.timeout(100_000));
  });

  after(async () => {
    await posthog.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = async (query: string, more: object = {}): Promise<unknown> =>
    await client.post('query/', { query: { kind: 'HogQLQuery', query }, ...more }, { isRepeatable: true });
  const refusal = async (query: string): Promise<string> => {
    const thrown: unknown = await ask(query).catch((error: unknown) => error);
    return thrown instanceof PostHogRefusal ? thrown.message : `no refusal: ${String(thrown)}`;
  };
  const rows = (answer: unknown): number => {
    const results = fieldOf(answer, 'results');
    return Array.isArray(results) ? results.length : -1;
  };

  it('give 100 rows where no limit is set, and say that there are more', async () => {
    const answer = await ask('SELECT number FROM numbers(101)');
    expect([rows(answer), fieldOf(answer, 'hasMore'), fieldOf(answer, 'columns')]).to.deep.equal([
      100,
      true,
      ['number'],
    ]);
    expect(fieldOf(await ask('SELECT number FROM numbers(100)'), 'hasMore')).to.equal(false);
  });

  it('give 50,000 rows at most', async () => {
    expect(rows(await ask('SELECT number FROM numbers(60000) LIMIT 60000'))).to.equal(50_000);
  });

  it('write times in ISO 8601 and no NaN', async () => {
    const answer = await ask(
      "SELECT toDateTime64('2024-01-02 03:04:05.6', 6, 'UTC'), nan, NULL, true, toDecimal64('1.5', 2)",
    );
    expect(fieldOf(answer, 'results')).to.deep.equal([['2024-01-02T03:04:05.600000Z', null, null, true, '1.5']]);
  });

  for (const [query, said] of [
    ['SELECT 1 LIMIT 5 OFFSET 5', /^OFFSET is not supported on queries made with a personal API key/],
    ['SELECT * FROM nowhere', /^Unknown table `nowhere`\.$/],
    ['DROP TABLE x', /expecting SELECT/],
    ['SELECT nope', /nope/],
  ] as const)
    it(`refuse ${query} in PostHog's words`, async () => expect(await refusal(query)).to.match(said));

  it('can be asked for and fetched later', async () => {
    const asked = await ask('SELECT 42 AS answer', { refresh: 'force_async', client_query_id: 'q1' });
    expect(fieldOf(fieldOf(asked, 'query_status'), 'complete')).to.equal(false);
    for (;;) {
      const status = fieldOf(await client.get('query/q1/'), 'query_status');
      if (fieldOf(status, 'complete') === true) {
        expect(fieldOf(fieldOf(status, 'results'), 'results')).to.deep.equal([[42]]);
        return;
      }
      await delay(50);
    }
  });
});
