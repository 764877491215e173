import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { canonicalJson } from './json.ts';
import { absoluteLocation, isLocationInside } from './locations.ts';
import { placeholdersOf, replacePlaceholders } from './placeholders.ts';
import { bytesOf } from './quantity.ts';
import type { ResolvedStorage } from './resolved.ts';
import { closest } from './suggest.ts';

describe('bytesOf', () => {
  for (const [quantity, bytes] of [
    ['1', 1],
    ['512Mi', 536_870_912],
    ['1.5Gi', 1_610_612_736],
    ['1.5k', 1500],
    ['0.0001k', 1],
    ['7Pi', 7_881_299_347_898_368],
  ] as const) {
    it(`reads ${quantity} as ${bytes} bytes`, () => expect(bytesOf(quantity)).to.equal(bytes));
  }

  for (const quantity of ['', 'Mi', '1GB', '-1', '1e3', ' 1', '9Pi', '1.']) {
    it(`refuses "${quantity}"`, () =>
      expect(() => bytesOf(quantity))
        .to.throw()
        .with.property('code', 'InvalidSpec'));
  }
});

describe('closest', () => {
  for (const [word, candidates, expected] of [
    ['baseVersoin', ['version', 'baseVersion'], 'baseVersion'],
    ['ENGINE', ['engine'], 'engine'],
    ['suspend', ['sources', 'snapshot'], undefined],
    ['x', [], undefined],
  ] as const) {
    it(`finds ${expected ?? 'nothing'} for ${word}`, () => expect(closest(word, candidates)).to.equal(expected));
  }
});

describe('Locations', () => {
  for (const [location, absolute] of [
    ['file:lake', 'file:///work/lake'],
    ['file:../lake/', 'file:///lake'],
    ['file:/lake', 'file:///lake'],
    ['file:///a%20b', 'file:///a b'],
    ['file:100%25', 'file:///work/100%25'],
    ['file:50%', 'file:50%'],
    ['file://host/x', 'file://host/x'],
    ['s3://b/p', 's3://b/p'],
    ['parquet:file:dump', 'parquet:file:///work/dump'],
  ] as const) {
    it(`make ${location} absolute as ${absolute}`, () =>
      expect(absoluteLocation(location, '/work')).to.equal(absolute));
  }

  const at = (location: string, endpoint?: string): ResolvedStorage => ({
    location,
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  for (const [inner, outer, isInside] of [
    [at('s3://b/a/x'), at('s3://b/a'), true],
    [at('s3://b/a'), at('s3://b/a/'), true],
    [at('s3://b/ab'), at('s3://b/a'), false],
    [at('s3://b'), at('s3://b/a'), false],
    [at('s3://b/a'), at('s3://b'), true],
    [at('s3://c/a'), at('s3://b'), false],
    [at('s3://'), at('s3://b'), false],
    [at('s3://b/a', 'http://localhost:9000'), at('s3://b', 'http://127.0.0.1:9000/'), true],
    [at('s3://b/a', 'http://LOCALHOST:80'), at('s3://b', 'http://[::1]'), true],
    [at('s3://b/a', 'http://localhost:9000'), at('s3://b', 'http://localhost:9001'), false],
    [at('s3://b/a', 'https://s3.eu-west-1.amazonaws.com'), at('s3://b'), true],
    [at('s3://b/a', 'https://minio.example.com'), at('s3://b'), false],
    [at('file:///lake/x'), at('file:///lake'), true],
    [at('file:///lake2'), at('file:///lake'), false],
    [at('file:///a/%2e%2e/lake'), at('file:///lake'), true],
    [at('file:///anything'), at('file:///'), true],
    [at('file:///b'), at('s3://b'), false],
  ] as const) {
    const spelt = (place: ResolvedStorage): string => [place.location, place.endpoint].filter(Boolean).join(' of ');
    it(`see that ${spelt(inner)} is ${isInside ? '' : 'not '}inside ${spelt(outer)}`, () => {
      expect(isLocationInside(inner, outer)).to.equal(isInside);
    });
  }

  it('are followed through symbolic links', () => {
    const folder = mkdtempSync(join(tmpdir(), 'parity-locations-'));
    try {
      mkdirSync(join(folder, 'lake'));
      symlinkSync(join(folder, 'lake'), join(folder, 'link'));
      const inner = at(`file://${join(folder, 'link', 'new', 'run')}`);
      expect(isLocationInside(inner, at(`file://${join(folder, 'lake')}`))).to.equal(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('Placeholders', () => {
  it('are found with source and table', () => {
    expect(
      placeholdersOf('from {{a}} join {{ s.b }}').map(({ text, source, table }) => [text, source, table]),
    ).to.deep.equal([
      ['{{a}}', undefined, 'a'],
      ['{{ s.b }}', 's', 'b'],
    ]);
  });

  it('are none in texts, quoted names and comments, where nothing is read', () => {
    const texts = [
      "'{{a}} '' '",
      '"{{b}}"',
      '`{{c}}`',
      '/* {{d}} */',
      "{{e}} 'it\\'s --'",
      '{{f}} -- {{g}}',
      '# {{h}}',
    ];
    expect(placeholdersOf(texts.join('\n')).map(({ table }) => table)).to.deep.equal(['e', 'f']);
  });

  it('are replaced where they stand, by text that is not looked at again', () => {
    expect(replacePlaceholders('{{a}}+{{b}}', ({ table }) => `{{${table}}}$&`)).to.equal('{{a}}$&+{{b}}$&');
  });
});

describe('canonicalJson', () => {
  it('is the same for equal values, in any order of fields, and JSON', () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([name, field]) => [name, shuffled(field)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(canonicalJson(shuffled(value))).to.equal(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).to.deep.equal(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
