import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import type { DataType } from '../lake/types.ts';
import { type CompareOptions, compareRelations } from './compare.ts';
import { normalizedName, POSTHOG_RULES, postHogNames, type RuleName } from './profile.ts';
import { defaults, type Row, relationOf, type TableSpec } from './testing.ts';

type Cell = Row[number];
type Column = DataType & { readonly notNull?: boolean };

interface RuleCase {
  readonly rule: RuleName;
  readonly mine: Column;
  readonly theirs: Column;
  /** The column's name on each side, where it is not `v`. */
  readonly names?: readonly [string, string];
  readonly sourceType?: string;
  readonly accepts: readonly (readonly [Cell, Cell])[];
  readonly refuses: readonly (readonly [Cell, Cell])[];
}

const decimal = (precision: number, scale: number): DataType => ({ kind: 'decimal', precision, scale });
const list: DataType = { kind: 'array', element: { kind: 'long' }, containsNull: true };
const big = '12345678901234567890123456789012345678';

const cases: readonly RuleCase[] = [
  {
    rule: 'TimestampsWithoutZone',
    mine: { kind: 'timestamp' },
    theirs: { kind: 'timestamp_ntz' },
    accepts: [
      [1_388_534_400_000_001, 1_388_534_400_000_001],
      [null, null],
    ],
    refuses: [
      [1_388_534_400_000_001, 1_388_534_400_000_000],
      [1_388_534_400_000_000, 1_388_516_400_000_000],
      [1, null],
    ],
  },
  {
    rule: 'TimesAsSeconds',
    mine: { kind: 'string' },
    theirs: { kind: 'double' },
    sourceType: 'time without time zone',
    accepts: [
      ['12:34:56.789', 45_296.789],
      ['00:00:00', 0],
      ['23:59:59.999999', 86_399.999999],
      [null, null],
    ],
    refuses: [
      ['12:34:56.789', 45_296.789001],
      ['12:34:56.789', 45_296.7890004],
      ['noon', 43_200],
      ['00:00:00', null],
      [null, 0],
      ['noon', null],
      ['00:00:00', Number.NaN],
    ],
  },
  {
    rule: 'TimesAsSeconds',
    mine: { kind: 'string' },
    theirs: { kind: 'double' },
    sourceType: 'interval',
    accepts: [
      ['3 days 04:05:06', 273_906],
      ['1 day -00:00:01', 86_399],
      ['-01:00:00', -3_600],
      ['-1 days +00:00:01', -86_399],
      ['3 days', 259_200],
    ],
    refuses: [
      ['3 days 04:05:06', 273_907],
      ['1 mon', 2_592_000],
      ['', 0],
    ],
  },
  {
    rule: 'WideDecimalsAsText',
    mine: decimal(38, 0),
    theirs: { kind: 'string' },
    accepts: [
      [big, big],
      [big, `${big}.0`],
      ['-7', '-7'],
      [null, null],
    ],
    refuses: [
      [big, `${big.slice(0, -1)}9`],
      [big, `${big}.1`],
      ['7', '07'],
      ['7', ' 7'],
      ['7', ''],
      ['0', null],
    ],
  },
  {
    rule: 'NotANumberIsNull',
    mine: { kind: 'double' },
    theirs: { kind: 'double' },
    accepts: [
      [Number.NaN, null],
      [Number.POSITIVE_INFINITY, null],
      [1.5, 1.5],
    ],
    refuses: [
      [1.5, null],
      [Number.NaN, 0],
      [Number.NaN, Number.NaN],
      [0, -0],
      [null, 0],
    ],
  },
  {
    rule: 'DefaultsForNull',
    mine: { kind: 'long' },
    theirs: { kind: 'long', notNull: true },
    accepts: [
      [null, 0],
      [5, 5],
    ],
    refuses: [
      [null, 1],
      [5, 0],
    ],
  },
  {
    rule: 'DefaultsForNull',
    mine: { kind: 'string' },
    theirs: { kind: 'string', notNull: true },
    accepts: [[null, '']],
    refuses: [
      [null, ' '],
      ['a', ''],
    ],
  },
  {
    rule: 'DefaultsForNull',
    mine: { kind: 'boolean' },
    theirs: { kind: 'boolean', notNull: true },
    accepts: [[null, false]],
    refuses: [[null, true]],
  },
  {
    rule: 'BinaryKeysAsHex',
    mine: { kind: 'binary' },
    theirs: { kind: 'string' },
    names: ['owner_id', 'owner_id'],
    accepts: [['\u0001\u00ff'.slice(0, 1), '01']],
    refuses: [
      ['\u0001', '02'],
      ['k', '6B'],
      ['\u0001', '\u0001'],
    ],
  },
  {
    rule: 'NestedAsJson',
    mine: list,
    theirs: { kind: 'string' },
    accepts: [['[1,2]', '[1, 2]']],
    refuses: [
      ['[1,2]', '[2,1]'],
      ['[1,2]', '[1,"2"]'],
      ['[]', null],
    ],
  },
  {
    rule: 'NormalizedNames',
    mine: { kind: 'long' },
    theirs: { kind: 'long' },
    names: ['Origin Airport', 'origin_airport'],
    accepts: [[1, 1]],
    refuses: [[1, 2]],
  },
];

/** Pairs of columns that no rule makes equal. */
const otherPairs: readonly (readonly [string, Column, Column, [string, string]?])[] = [
  ['a wall clock that became an instant', { kind: 'timestamp_ntz' }, { kind: 'timestamp' }],
  ['text that became a double, of no time column', { kind: 'string' }, { kind: 'double' }],
  ['a narrow decimal that became text', decimal(37, 0), { kind: 'string' }],
  ['a decimal with a scale that became text', decimal(38, 2), { kind: 'string' }],
  ['an integer that became text', { kind: 'long' }, { kind: 'string' }],
  ['a double that became a float', { kind: 'double' }, { kind: 'float' }],
  ['bytes that became text, of no key', { kind: 'binary' }, { kind: 'string' }, ['photo', 'photo']],
  ['a name that is nearly the normalized one', { kind: 'long' }, { kind: 'long' }, ['Origin Airport', 'originairport']],
  ['a date that became text', { kind: 'date' }, { kind: 'string' }],
];

describe('comparison.profile: PostHog', () => {
  let engine: Engine;
  let scratch: string;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'parity-profile-'));
    engine = await openEngine({ scratch, memoryBytes: 512 * 1024 * 1024, threads: 2 });
  });
  after(async () => {
    await engine.close();
    await rm(scratch, { recursive: true });
  });

  const compare = async (
    [mine, theirs]: readonly [TableSpec, TableSpec],
    [a, b]: readonly [Cell, Cell],
    options: Partial<CompareOptions> = {},
  ) =>
    await compareRelations(
      engine,
      relationOf({ id: { kind: 'long' }, ...mine }, [[1, a]]),
      relationOf({ id: { kind: 'long' }, ...theirs }, [[1, b]]),
      {
        ...defaults,
        profile: 'PostHog',
        ...options,
      },
    );

  for (const { rule, mine, theirs, names: [left, right] = ['v', 'v'], sourceType, accepts, refuses } of cases) {
    const specs = [{ [left]: mine }, { [right]: theirs }] as const;
    const sourceTypes = sourceType === undefined ? {} : { sourceTypes: new Map([[left, sourceType]]) };
    const shown = (cell: Cell): string => JSON.stringify(typeof cell === 'number' ? String(cell) : cell);
    for (const pair of accepts)
      it(`${rule} accepts ${mine.kind} ${shown(pair[0])} as ${theirs.kind} ${shown(pair[1])}`, async () => {
        const result = await compare(specs, pair, sourceTypes);
        assert.deepInclude(result, { verdict: 'Equal', differences: 0 }, JSON.stringify(result.schema));
      });
    for (const pair of refuses)
      it(`${rule} does not accept ${mine.kind} ${shown(pair[0])} as ${theirs.kind} ${shown(pair[1])}`, async () => {
        const result = await compare(specs, pair, sourceTypes);
        assert.deepInclude(result, { verdict: 'Different', differences: 1 });
        assert.equal(result.rows.changed, 1);
      });
  }

  for (const [what, mine, theirs, [left, right] = ['v', 'v']] of otherPairs)
    it(`no rule makes equal ${what}`, async () => {
      const result = await compare([{ [left]: mine }, { [right]: theirs }], [null, null]);
      assert.equal(result.verdict, 'Different');
    });

  it('Exact knows none of its rules but the one that it shares', async () => {
    for (const { rule, mine, theirs, names: [left, right] = ['v', 'v'], accepts, sourceType } of cases) {
      const [pair] = accepts;
      if (pair === undefined || rule === 'NestedAsJson') continue;
      const sourceTypes = new Map(sourceType === undefined ? [] : [[left, sourceType]]);
      const result = await compare([{ [left]: mine }, { [right]: theirs }], pair, { profile: 'Exact', sourceTypes });
      assert.equal(result.verdict, 'Different', rule);
    }
  });

  it('AddedColumns are four, and no other column that is there beside', async () => {
    const added = Object.fromEntries(
      ['_ph_debug', '_ph_partition_key', '_dlt_id', '_dlt_load_id'].map((name) => [name, { kind: 'string' } as const]),
    );
    const text = { kind: 'string' } as const;
    assert.equal((await compare([{}, added], [null, null])).verdict, 'Equal');
    assert.equal((await compare([{}, { _dlt_ids: text }], [null, null])).verdict, 'Different');
    assert.equal((await compare([{}, { _ph_secret: text }], [null, null])).verdict, 'Different');
  });

  it('BinaryColumnsDropped lets go of binary columns that are no keys, and of nothing else', async () => {
    const keep: TableSpec = { n: { kind: 'long' } };
    assert.equal((await compare([{ ...keep, photo: { kind: 'binary' } }, keep], [1, 1])).verdict, 'Equal');
    assert.equal((await compare([{ ...keep, photo_id: { kind: 'binary' } }, keep], [1, 1])).verdict, 'Different');
    assert.equal((await compare([{ ...keep, photo: { kind: 'string' } }, keep], [1, 1])).verdict, 'Different');
  });

  it('a key that landed NOT NULL, as the source has it, stays a key', async () => {
    const result = await compareRelations(
      engine,
      relationOf({ id: { kind: 'long' }, v: { kind: 'long' } }, [[1, 1]]),
      relationOf({ id: { kind: 'long', notNull: true }, v: { kind: 'long' } }, [[1, 1]]),
      { ...defaults, profile: 'PostHog' },
    );
    assert.equal(result.verdict, 'Equal');
  });

  for (const [name, landed] of [
    ['Origin Airport', 'origin_airport'],
    ['camelCase', 'camel_case'],
    ['HTTPCode', 'http_code'],
    ['2nd', '_2nd'],
    ['a-b+c', 'a_bxc'],
    ['__x__', '_xxx'],
    ['é', 'x'],
    ['plain_name', 'plain_name'],
  ] as const)
    it(`names ${name} ${landed}`, () => assert.equal(normalizedName(name), landed));

  it('gives a name that is taken an underscore', () => {
    assert.deepEqual(
      [...postHogNames(['Foo', 'foo', 'FOO'])],
      [
        ['Foo', '_foo'],
        ['foo', 'foo'],
        ['FOO', '__foo'],
      ],
    );
  });

  it('is the table of its documentation, line by line', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/reference/posthog.md'), 'utf8');
    for (const { name, change, origin } of POSTHOG_RULES)
      assert.include(page, `| \`${name}\` | ${change} | ${origin} |`);
  });
});
