import { expect } from 'chai';
import fc from 'fast-check';
import { mergeDiff } from './patch.ts';

describe('a merge patch of what changed', () => {
  const rows: readonly { readonly says: string; before: object; after: object; patch: object | undefined }[] = [
    { says: 'nothing, for the same', before: { a: 1, b: [1] }, after: { b: [1], a: 1 }, patch: undefined },
    { says: 'only the field that changed', before: { a: 1, b: 2 }, after: { a: 1, b: 3 }, patch: { b: 3 } },
    { says: 'null for a field that is gone', before: { a: 1, b: 2 }, after: { a: 1 }, patch: { b: null } },
    {
      says: 'null for a field deep down',
      before: { tasks: { a: { state: 'Running', since: 1 } } },
      after: { tasks: { a: { state: 'Done' } } },
      patch: { tasks: { a: { state: 'Done', since: null } } },
    },
    {
      says: 'a list as a whole, when one item changed',
      before: { conditions: [{ type: 'A' }, { type: 'B' }] },
      after: { conditions: [{ type: 'A' }, { type: 'C' }] },
      patch: { conditions: [{ type: 'A' }, { type: 'C' }] },
    },
    {
      says: 'nothing for a field that is undefined on both sides',
      before: {},
      after: { a: undefined },
      patch: undefined,
    },
    { says: 'null, for undefined where something was', before: { a: 1 }, after: { a: undefined }, patch: { a: null } },
    { says: 'an empty map, for a new one', before: {}, after: { labels: {} }, patch: { labels: {} } },
    {
      says: 'a new map without the fields that hold nothing',
      before: {},
      after: { result: { verdict: 'Passed', error: undefined } },
      patch: { result: { verdict: 'Passed' } },
    },
    { says: 'a map in place of a list', before: { a: [1] }, after: { a: { b: 1 } }, patch: { a: { b: 1 } } },
  ];
  for (const { says, before, after, patch } of rows)
    it(`is ${says}`, () => expect(mergeDiff(before, after)).to.deep.equal(patch));

  it('makes the one into the other, whatever they are', () => {
    fc.assert(
      fc.property(objects, objects, (before, after) => {
        const patch = mergeDiff(before, after);
        expect(patch === undefined ? before : merged(before, patch)).to.deep.equal(after);
      }),
      { numRuns: 2000 },
    );
  });
});

const names = fc.constantFrom('a', 'b', 'c', 'd');
const objects = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<unknown>(0, 1, '', 'x', true, false),
    fc.array(fc.constantFrom<unknown>(1, 'x', { a: 1 }, { b: 2 }), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(names, tie('value'), { maxKeys: 4, noNullPrototype: true }),
})).object;

/** What RFC 7396 says that a server does. */
function merged(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result.delete(name);
    else result.set(name, merged(result.get(name), value));
  }
  return Object.fromEntries(result);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
