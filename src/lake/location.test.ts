import { resolve } from 'node:path';
import { expect } from 'chai';
import { ParityError } from '../support/error.ts';
import { formatLocation, isInside, parseLocation } from './location.ts';

describe('a location', () => {
  const written: [string, string][] = [
    ['s3://bucket', 's3://bucket'],
    ['s3://bucket/', 's3://bucket'],
    ['s3://bucket/a/b/', 's3://bucket/a/b'],
    ['s3://bucket//a', 's3://bucket/a'],
    ['file:///data/lake', 'file:///data/lake'],
    ['file:///data/lake/', 'file:///data/lake'],
    ['file:///a%20b', 'file:///a b'],
    ['file:///100%25', 'file:///100%25'],
    ['file:reports', `file://${resolve('reports')}`],
  ];
  for (const [text, formatted] of written) {
    it(`${text} is ${formatted}`, () => {
      expect(formatLocation(parseLocation(text))).to.equal(formatted);
      expect(parseLocation(formatted)).to.deep.equal(parseLocation(text));
    });
  }

  const refused = [
    '',
    'bucket',
    's3://',
    's3:///key',
    's3://bkt/../c',
    'gs://bucket',
    'file:',
    'file://host/x',
    'file:///%zz',
  ];
  for (const text of refused) {
    it(`'${text}' is refused by name`, () => {
      expect(() => parseLocation(text))
        .to.throw(ParityError, text)
        .with.property('code', 'InvalidSpec');
    });
  }

  it('with an endpoint that is no address is refused', () => {
    expect(() => parseLocation('s3://bkt', { endpoint: 'localhost:9000' })).to.throw(ParityError, 'localhost:9000');
  });

  const pairs: { inner: string; outer: string; is: boolean; endpoint?: string }[] = [
    { inner: 's3://bkt/lake', outer: 's3://bkt/lake', is: true },
    { inner: 's3://bkt/lake/x', outer: 's3://bkt/lake', is: true },
    { inner: 's3://bkt/lake-2', outer: 's3://bkt/lake', is: false },
    { inner: 's3://bkt/lake', outer: 's3://bkt', is: true },
    { inner: 's3://bkt', outer: 's3://bkt/lake', is: false },
    { inner: 's3://other/lake', outer: 's3://bkt', is: false },
    { inner: 's3://bkt/lake', outer: 's3://bkt', endpoint: 'http://elsewhere:9000', is: false },
    { inner: 'file:///a/b', outer: 'file:///a', is: true },
    { inner: 'file:///ab', outer: 'file:///a', is: false },
    { inner: 'file:///a', outer: 'file:///', is: true },
    { inner: 'file:///a', outer: 's3://aaa', is: false },
  ];
  for (const { inner, outer, is, endpoint } of pairs) {
    it(`${inner}${endpoint === undefined ? '' : ` at ${endpoint}`} is ${is ? '' : 'not '}inside ${outer}`, () => {
      expect(isInside(parseLocation(inner, { endpoint }), parseLocation(outer))).to.equal(is);
    });
  }
});
