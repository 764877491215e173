import { expect } from 'chai';
import { ParityError } from '../support/error.ts';
import { partitionLiteral } from './relation-partitions.ts';
import type { DataType } from './types.ts';

const options = { name: 's3://lake/t@3', timeZone: undefined };
const literal = (type: DataType, text: string | null, timeZone?: string): string =>
  partitionLiteral({ name: 'p', physicalName: 'p', nullable: true, type }, text, { ...options, timeZone });

const decimal: DataType = { kind: 'decimal', precision: 5, scale: 2 };

describe('partition values', () => {
  const exact: readonly (readonly [DataType, string | null, string, string?])[] = [
    [{ kind: 'string' }, null, 'NULL'],
    [{ kind: 'string' }, '', 'NULL'],
    [{ kind: 'string' }, "O'Hare \\ 50%", "'O\\'Hare \\\\ 50%'"],
    [{ kind: 'byte' }, '-128', "'-128'"],
    [{ kind: 'long' }, '-9223372036854775808', "'-9223372036854775808'"],
    [{ kind: 'boolean' }, 'true', "'true'"],
    [{ kind: 'double' }, '-0.0', "'-0.0'"],
    [{ kind: 'double' }, 'NaN', "'NaN'"],
    [{ kind: 'double' }, '1.0E-7', "'1.0E-7'"],
    [decimal, '-1.50', "'-1.50'"],
    [decimal, '1.5000', "'1.5000'"],
    [{ kind: 'date' }, '1970-01-01', "'0'"],
    [{ kind: 'date' }, '0001-01-01', "'-719162'"],
    [{ kind: 'date' }, '9999-12-31', "'2932896'"],
    [{ kind: 'timestamp_ntz' }, '1969-12-31 23:59:59.999999', "'-1'"],
    [{ kind: 'timestamp_ntz' }, '2013-01-01 00:00:00', "'1356998400000000'"],
    [{ kind: 'timestamp' }, '2013-01-01T00:00:00.000001Z', "'1356998400000001'"],
    [{ kind: 'timestamp' }, '2013-01-01 02:00:00+02:00', "'1356998400000000'"],
    [{ kind: 'timestamp' }, '2013-07-01 02:00:00', "'1372636800000000'", 'Europe/Berlin'],
    [{ kind: 'timestamp' }, '2013-10-27 02:30:00', "'1382833800000000'", 'Europe/Berlin'],
    [{ kind: 'timestamp' }, '2013-03-31 02:30:00', "'1364693400000000'", 'Europe/Berlin'],
  ];
  for (const [type, text, expected, zone] of exact) {
    it(`${type.kind} ${JSON.stringify(text)}${zone === undefined ? '' : ` in ${zone}`} is ${expected}`, () => {
      expect(literal(type, text, zone)).to.equal(expected);
    });
  }

  const refused: readonly (readonly [DataType, string, string, RegExp])[] = [
    [{ kind: 'byte' }, '128', 'CorruptTable', /column p \(byte\) has the value "128"/],
    [{ kind: 'integer' }, '1.0', 'CorruptTable', /none of that type/],
    [{ kind: 'date' }, '2013-02-29', 'CorruptTable', /none of that type/],
    [decimal, '1.505', 'CorruptTable', /none of that type/],
    [decimal, '1000', 'CorruptTable', /none of that type/],
    [{ kind: 'boolean' }, 'yes', 'CorruptTable', /none of that type/],
    [{ kind: 'timestamp_ntz' }, '2013-01-01 00:00:00.0000001', 'CorruptTable', /none of that type/],
    [{ kind: 'timestamp' }, '2013-01-01 00:00:00', 'UnsupportedFeature', /without a zone/],
    [{ kind: 'binary' }, '\u00ff', 'UnsupportedFeature', /bytes above 127/],
  ];
  for (const [type, text, code, message] of refused) {
    it(`${type.kind} ${JSON.stringify(text)} is refused`, () => {
      expect(() => literal(type, text))
        .to.throw(ParityError, message)
        .with.property('code', code);
    });
  }
});
