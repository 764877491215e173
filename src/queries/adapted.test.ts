import { expect } from 'chai';
import { adapted, type FoundQuery, type Touchable } from './adapted.ts';

const tables: Touchable = new Map([
  ['postgres_orders', { reference: 'orders' }],
  ['shop.planes', { reference: 'shop.planes' }],
  ['both', { cannot: 'reads both, which several sources hold' }],
]);
const window = { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' };

/** Query, language, and what becomes of it: its text, or why it is left out; nothing where it touches no table. */
const cases: readonly [string, FoundQuery['language'], string | RegExp | undefined][] = [
  ['SELECT id FROM postgres_orders', 'HogQL', 'SELECT id FROM {{orders}} AS `postgres_orders`'],
  ['SELECT o.id FROM postgres_orders o -- x FROM y', 'HogQL', 'SELECT o.id FROM {{orders}} o -- x FROM y'],
  ['select 1 from `Postgres_Orders` AS o;', 'SQL', 'select 1 from {{orders}} AS o'],
  [
    "SELECT 'FROM x' FROM shop.planes JOIN postgres_orders USING id WHERE id IN (SELECT id FROM postgres_orders)",
    'SQL',
    "SELECT 'FROM x' FROM {{shop.planes}} AS `planes` JOIN {{orders}} AS `postgres_orders` USING id WHERE id IN (SELECT id FROM {{orders}} AS `postgres_orders`)",
  ],
  [
    'WITH o AS (SELECT * FROM postgres_orders) SELECT extract(day FROM at) FROM o',
    'SQL',
    'WITH o AS (SELECT * FROM {{orders}} AS `postgres_orders`) SELECT extract(day FROM at) FROM o',
  ],
  [
    'SELECT count() FROM postgres_orders, events WHERE 1',
    'HogQL',
    "SELECT count() FROM {{orders}} AS `postgres_orders`, (SELECT * FROM events WHERE timestamp >= toDateTime('2026-01-01T00:00:00Z') AND timestamp < toDateTime('2026-02-01T00:00:00Z')) AS `events` WHERE 1",
  ],
  [
    'SELECT t FROM postgres_orders o LEFT ARRAY JOIN o.tags AS t, o.other AS u',
    'SQL',
    'SELECT t FROM {{orders}} o LEFT ARRAY JOIN o.tags AS t, o.other AS u',
  ],
  ['SELECT 1 FROM other', 'SQL', undefined],
  ["SELECT 'postgres_orders'", 'SQL', undefined],
  ['SELECT now() FROM postgres_orders', 'HogQL', /^calls now\(\), which gives another result each time$/],
  ['SELECT now() FROM postgres_orders', 'SQL', /^calls now\(\)/],
  ['SELECT 1 FROM postgres_orders LIMIT 5 OFFSET 5', 'HogQL', /^has an OFFSET, which PostHog refuses/],
  ['SELECT 1 FROM postgres_orders LIMIT 100000', 'HogQL', /^has LIMIT 100000, and PostHog gives 50,000 rows/],
  ['SELECT 1 FROM postgres_orders WHERE {filters}', 'HogQL', /^has \{filters\}, which only PostHog's own pages/],
  ['SELECT 1 FROM postgres_orders JOIN refunds USING id', 'SQL', /^reads refunds, which is no table of the run$/],
  ['SELECT 1 FROM postgres_orders JOIN sessions USING id', 'HogQL', /^reads sessions, which grows all the time/],
  ['SELECT 1 FROM both', 'SQL', /^reads both, which several sources hold$/],
  ['INSERT INTO x SELECT 1 FROM postgres_orders', 'SQL', /^is not one SELECT$/],
];

describe('an inherited query', () => {
  for (const [text, language, becomes] of cases)
    it(`${text} (${language}) ${becomes === undefined ? 'touches nothing' : typeof becomes === 'string' ? 'is a case' : 'is left out'}`, () => {
      const result = adapted({ name: 'q', language, text }, tables, window);
      if (becomes === undefined) expect(result).to.deep.equal({ kind: 'Untouched' });
      else if (typeof becomes === 'string') expect(result).to.deep.equal({ kind: 'Case', text: becomes });
      else expect(result).to.have.property('why').that.matches(becomes);
    });

  it('of events is left out without a window', () => {
    const text = 'SELECT 1 FROM postgres_orders JOIN events USING id';
    expect(adapted({ name: 'q', language: 'HogQL', text }, tables, undefined)).to.deep.equal({
      kind: 'LeftOut',
      why: 'reads events without a fixed window; set inherited.from and inherited.to',
    });
  });

  it('that is no query is left out where it names a table, and else is nothing', () => {
    const found = { name: 'q', language: 'HogQL', cannot: 'is a TrendsQuery' } as const;
    expect(adapted({ ...found, text: '{"table_name":"postgres_orders"}' }, tables, window).kind).to.equal('LeftOut');
    expect(adapted({ ...found, text: '{"table_name":"postgres_orders_2"}' }, tables, window).kind).to.equal(
      'Untouched',
    );
  });
});
