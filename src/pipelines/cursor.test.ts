import { expect } from 'chai';
import type { Field, PrimitiveName } from '../lake/types.ts';
import { spellMark } from './cursor.ts';

const column = (kind: PrimitiveName): Field => ({ name: 'c', type: { kind }, nullable: true, physicalName: 'c' });

describe('a mark is spelled as the database reads it', () => {
  for (const [what, kind, engine, mark, text] of [
    ['an integer as it is', 'long', 'Postgres', '-9223372036854775808', '-9223372036854775808'],
    ['a date of year 1', 'date', 'MySQL', '-719162', '0001-01-01'],
    ['a date of year 9999', 'date', 'Postgres', '2932896', '9999-12-31'],
    [
      'an instant with its zone in Postgres',
      'timestamp',
      'Postgres',
      '1388534400000001',
      '2014-01-01 00:00:00.000001+00',
    ],
    ['an instant without zone in MySQL', 'timestamp', 'MySQL', '1388534400000001', '2014-01-01 00:00:00.000001'],
    ['a wall clock without zone', 'timestamp_ntz', 'Postgres', '1388534400123456', '2014-01-01 00:00:00.123456'],
    ['a microsecond before 1970', 'timestamp_ntz', 'MySQL', '-1', '1969-12-31 23:59:59.999999'],
    ['the first microsecond of year 1', 'timestamp_ntz', 'MySQL', '-62135596800000000', '0001-01-01 00:00:00.000000'],
    ['the last microsecond of year 9999', 'timestamp_ntz', 'MySQL', '253402300799999999', '9999-12-31 23:59:59.999999'],
  ] as const) {
    it(what, () => expect(spellMark(mark, column(kind), engine)).to.equal(text));
  }
});
