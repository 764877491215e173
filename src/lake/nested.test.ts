import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEngine } from '../engine/chdb.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteString } from '../engine/sql.ts';
import { canonicalJsonFromText } from './nested.ts';
import type { DataType, Field } from './types.ts';

const field = (name: string, type: DataType): Field => ({ name, physicalName: name, type, nullable: true });
const struct = (...fields: Field[]): DataType => ({ kind: 'struct', fields });
const array = (element: DataType): DataType => ({ kind: 'array', element, containsNull: true });
const map = (key: DataType, value: DataType): DataType => ({ kind: 'map', key, value, valueContainsNull: true });
const decimal: DataType = { kind: 'decimal', precision: 9, scale: 2 };

const pair = struct(field('n', { kind: 'long' }), field('s', { kind: 'string' }));
const counts = map({ kind: 'string' }, { kind: 'long' });
const doubles = array({ kind: 'double' });
const floats = array({ kind: 'float' });

/** What it shows, the type, the text, the canonical text (left out: unchanged). */
const cases: readonly (readonly [string, DataType, string, string?])[] = [
  ['white space goes', pair, ' { "n" : 1 ,\n "s" : "a b" } ', '{"n":1,"s":"a b"}'],
  ['fields take the order of the schema', pair, '{"s":"x","n":1}', '{"n":1,"s":"x"}'],
  ['NULL fields stay', pair, '{"n":null,"s":null}', '{"n":null,"s":null}'],
  ['64-bit integers keep every digit', pair, '{"s":"","n":-9223372036854775808}', '{"n":-9223372036854775808,"s":""}'],
  [
    'escapes are written one way',
    pair,
    '{"n":1,"s":"\\u0041\\/\\u000a\\u001f\\ud83d\\ude00\\u2028"}',
    '{"n":1,"s":"A/\\n\\u001F😀\\u2028"}',
  ],
  ['NUL in a string stays', pair, '{"n":1,"s":"a\\u0000b"}'],
  ['a missing field leaves the text', pair, '{"n": 1}'],
  ['a field too many leaves the text', pair, '{"n": 1, "s": "x", "t": 2}'],
  ['a repeated field leaves the text', pair, '{"n": 1, "n": 2}'],
  ['a number as a string leaves the text', pair, '{"n": "1", "s": "x"}'],
  ['a string as a number leaves the text', pair, '{"n": 1, "s": 2}'],
  ['a fraction in an integer leaves the text', pair, '{"n": 1.5, "s": "x"}'],
  ['another case of a name leaves the text', pair, '{"N": 1, "s": "x"}'],
  ['an array for a struct leaves the text', pair, '[ 1, "x" ]'],
  ['text that is no JSON stays', pair, '{"n":1,"s":"x"'],
  ['JSON with something behind it stays', pair, '{"s":"x","n":1} x'],
  ['JSON null stays, as it is no NULL', pair, 'null'],
  ['empty text stays', pair, ''],
  ['an empty struct', struct(), '{ }', '{}'],
  [
    'names with quotes and dots',
    struct(field(`a."b'\\`, { kind: 'long' })),
    `{ "a.\\"b'\\\\" : 7 }`,
    `{"a.\\"b'\\\\":7}`,
  ],
  ['an empty array', array({ kind: 'long' }), ' [ ] ', '[]'],
  ['NULL elements stay', array({ kind: 'string' }), '[null , "null"]', '[null,"null"]'],
  ['one element out of range leaves the text', array({ kind: 'byte' }), '[1, 128]'],
  ['nested arrays', array(array({ kind: 'integer' })), '[[1, 2], null, [ ]]', '[[1,2],null,[]]'],
  ['structs in arrays', array(pair), '[{"s":"x","n":1}, null]', '[{"n":1,"s":"x"},null]'],
  ['one struct that does not fit leaves the text', array(pair), '[{"s":"x","n":1}, {"n":1}]'],
  ['keys are sorted by bytes', counts, '{"é":1,"z":2,"Z":3,"":4}', '{"":4,"Z":3,"z":2,"é":1}'],
  ['keys are escaped', counts, '{"a\\/\\n\\"":1}', '{"a/\\n\\"":1}'],
  ['NULL values of a map stay', counts, '{"b":null,"a":1}', '{"a":1,"b":null}'],
  ['a wrong value leaves the map', counts, '{"b":"1","a":1}'],
  ['maps of structs', map({ kind: 'string' }, pair), '{"k":{"s":"","n":0},"j":null}', '{"j":null,"k":{"n":0,"s":""}}'],
  [
    'other maps are sorted pairs',
    map({ kind: 'integer' }, { kind: 'boolean' }),
    '[[2, true], [ 1,null ]]',
    '[[1,null],[2,true]]',
  ],
  ['a triple leaves the text', map({ kind: 'integer' }, { kind: 'boolean' }), '[[2, true, 1]]'],
  [
    'doubles have one spelling',
    doubles,
    '[1.0, 1e2, 1E-7, 0.10, 5e-324, 1e16, 12345678901234567000.0, 1e21, 0]',
    '[1,100,1e-7,0.1,5e-324,1e16,1.2345678901234567e19,1e21,0]',
  ],
  [
    'doubles that JSON has no number for',
    doubles,
    '["NaN", "Infinity", "-Infinity", "-0.0"]',
    '["NaN","Infinity","-Infinity","-0.0"]',
  ],
  ['a bare -0.0 leaves the text', doubles, '[1, -0.0]'],
  ['a bare -0e0 leaves the text', doubles, '[-0e0 , 1]'],
  ['the largest double', doubles, '[-1.7976931348623157e308]', '[-1.7976931348623157e308]'],
  ['another string for a double leaves the text', doubles, '[ "1.0" ]'],
  [
    'floats, also as the double they are',
    floats,
    '[0.1, 0.10000000149011612, 16777216, 3.4028235e38]',
    '[0.1,0.1,16777216,3.4028235e38]',
  ],
  ['a double that is no float leaves the text', floats, '[ 0.1000000001 ]'],
  ['decimals are strings', array(decimal), '[ "1.50" ]', '["1.50"]'],
  ['a decimal as a number leaves the text', array(decimal), '[ 1.50 ]'],
  ['dates and times are strings', array({ kind: 'date' }), '[ "0001-01-01" ]', '["0001-01-01"]'],
  ['booleans', array({ kind: 'boolean' }), '[ true , false, null ]', '[true,false,null]'],
  ['a number for a boolean leaves the text', array({ kind: 'boolean' }), '[ 1 ]'],
];

describe('canonical JSON from text', () => {
  let scratch: string;
  let engine: Engine;
  const folder = process.cwd();

  before(async () => {
    process.chdir('/');
    scratch = await mkdtemp(join(tmpdir(), 'parity-nested-'));
    engine = await openEngine({ scratch, memoryBytes: 500_000_000, threads: 2 });
  });

  after(async () => {
    await engine.close();
    process.chdir(folder);
    await rm(scratch, { recursive: true });
  });

  const canonical = async (type: DataType, text: string): Promise<string | null | undefined> => {
    const sql = `SELECT ${canonicalJsonFromText('j', type)} AS made FROM (SELECT materialize(CAST(${quoteString(text)}, 'Nullable(String)')) AS j)`;
    const [row] = await engine.rows<{ made: string | null }>(sql);
    return row?.made;
  };

  for (const [title, type, text, expected = text] of cases) {
    it(title, async () => {
      expect(await canonical(type, text)).to.equal(expected);
      expect(await canonical(type, expected), 'made canonical twice').to.equal(expected);
    });
  }

  it('leaves NULL as NULL', async () => {
    const sql = `SELECT ${canonicalJsonFromText('j', pair)} AS made FROM (SELECT materialize(CAST(NULL, 'Nullable(String)')) AS j)`;
    expect(await engine.rows(sql)).to.deep.equal([{ made: null }]);
  });
});
