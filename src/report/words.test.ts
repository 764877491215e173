import { assert } from 'chai';
import { report } from './fixture.ts';
import { bytes, causesClause, duration, headline, schemaSentence, unseenSentence } from './words.ts';

describe('the words of a report', () => {
  const sentences: [string, string | undefined, string | undefined][] = [
    ['bytes', bytes(999), '999 B'],
    ['kilobytes', bytes(1_000), '1.0 kB'],
    ['gigabytes', bytes(53_687_091_200), '53.7 GB'],
    ['milliseconds', duration(0.85), '850 ms'],
    ['seconds', duration(12.34), '12.3 s'],
    ['minutes', duration(245), '4 min 05 s'],
    ['no cause', causesClause([], 3), '; no one rule explains them'],
    [
      'a cause of some',
      causesClause([{ rule: 'Trimmed', detail: '', explains: 2 }], 3),
      '; 2 of 3 explained by Trimmed (white space at the ends was removed)',
    ],
    [
      'a type',
      schemaSentence({ column: 'a', difference: 'Type', baseline: 'long', candidate: 'string', counts: true }),
      'column a is long in the baseline and string in the candidate',
    ],
    [
      'a column too many',
      schemaSentence({ column: 'a', difference: 'Extra', baseline: null, candidate: 'string', counts: true }),
      'column a is only in the candidate (string)',
    ],
    ['no unseen rows', unseenSentence({}), undefined],
    [
      'passed',
      headline({ ...report().counts, differences: 0 }, 'Passed'),
      '2 comparisons and 2 queries without a difference',
    ],
    [
      'passed within what is allowed',
      headline({ ...report().counts, differences: 3 }, 'Passed'),
      '2 comparisons and 2 queries; 3 differences, within maxDifferences',
    ],
    [
      'cancelled',
      headline({ ...report().counts, notCompared: 4 }, 'Cancelled'),
      'cancelled; 2 comparisons made, 1 of them with differences, 4 not made',
    ],
  ];
  for (const [what, actual, expected] of sentences) {
    it(`say ${what}: ${expected}`, () => assert.equal(actual, expected));
  }
});
