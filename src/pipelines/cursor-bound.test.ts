import { expect } from 'chai';
import type { PostHogPipelineSpec, PostHogSyncType } from '../api/resolved.ts';
import type { Relation } from '../lake/relation.ts';
import { cursorBoundOf } from './cursor-bound.ts';

const pipeline = (syncType?: PostHogSyncType, ofTable?: PostHogSyncType): PostHogPipelineSpec => ({
  name: 'candidate',
  cursorBound: 'Exclusive',
  executions: 'PerTable',
  timeoutSeconds: 60,
  outputs: { kind: 'files', format: 'Delta', location: 's3://bucket/dlt' },
  posthog: {
    secretRef: { name: 'posthog' },
    ...(syncType === undefined ? {} : { syncType }),
    tables: ofTable === undefined ? [] : [{ name: 't', syncType: ofTable }],
  },
});
const base: Relation = {
  columns: (['long', 'date'] as const).map((kind) => ({
    name: kind,
    physicalName: kind,
    nullable: true,
    type: { kind },
  })),
  sql: 'SELECT 1',
  rows: 1,
  sizeBytes: undefined,
  name: 't',
};

describe('The bound of a cursor', () => {
  for (const [what, spec, key, cursor, bound] of [
    ['what PostHog reads by default', pipeline(), ['id'], 'long', 'Exclusive'],
    ['its dates', pipeline(), ['id'], 'date', 'Inclusive'],
    ['a table without a key, which it reads anew', pipeline(), [], 'long', undefined],
    ['tables that it reads anew', pipeline('FullRefresh'), ['id'], 'long', undefined],
    ['a table that it reads anew among others', pipeline('Incremental', 'FullRefresh'), ['id'], 'long', undefined],
    ['a table that it follows among others', pipeline('FullRefresh', 'Append'), ['id'], 'long', 'Exclusive'],
    [
      'the built-in pipeline',
      { name: 'x', cursorBound: 'Inclusive', reference: { bug: 'None' } },
      [],
      'long',
      'Inclusive',
    ],
  ] as const) {
    it(`of ${what} is ${bound ?? 'none'}`, () => {
      expect(cursorBoundOf(spec, { name: 't', key }, cursor, base)).to.equal(bound);
    });
  }
});
