import { quoteString } from '../engine/sql.ts';
import { isNested } from './relation-types.ts';
import type { DataType, MapType, StructType } from './types.ts';

/**
 * Canonical JSON text: how structs, arrays and maps are compared, loaded and exported. Equal values have equal text, whoever wrote it.
 *
 * | type                 | text                                                                                        |
 * |----------------------|---------------------------------------------------------------------------------------------|
 * | struct               | object with every field, by logical name in the schema's order; a NULL field is `null`       |
 * | array                | array, in its order                                                                         |
 * | map with string keys | object, its entries sorted by the bytes of the key                                           |
 * | other maps           | array of `[key, value]` pairs, sorted by the bytes of the key's text                         |
 * | byte … long          | number                                                                                      |
 * | float, double        | number with the fewest digits that give the same value; `1e16` and above and below `1e-6`    |
 * |                      | with an exponent; `"NaN"`, `"Infinity"`, `"-Infinity"`, `"-0.0"`, which JSON stores lose      |
 * | decimal              | string with all digits of its scale, `"1.50"`: JSON stores read numbers as doubles           |
 * | boolean              | `true`, `false`                                                                             |
 * | string               | string; escaped are `"`, `\`, U+0000–U+001F (`\b \t \n \f \r`, else `\u001F`), U+2028, U+2029 |
 * | binary               | string of lower-case hexadecimal digits                                                     |
 * | date                 | `"YYYY-MM-DD"`                                                                              |
 * | timestamp            | `"YYYY-MM-DDThh:mm:ss.ffffffZ"`, timestamp_ntz the same without `Z`                          |
 *
 * No white space. SQL NULL stays SQL NULL.
 *
 * `canonicalJsonFromText` returns an engine expression that brings JSON text of the type (as a jsonb column or a pipeline hands it back:
 * white space, order of keys and spelling of numbers may differ) into this form. Text that is not exactly of the type (another key, a
 * missing one, another JSON type, a number out of range) stays as it is, so that it shows as a difference.
 */
export function canonicalJsonFromText(expr: string, type: DataType): string {
  if (!isNested(type)) return expr;
  // JSONExtractRaw writes its input anew, in one spelling; everything below works on that.
  const raw = `JSONExtractRaw(ifNull(${expr}, ''))`;
  const made = `ifNull(${bind(raw, (json) => canonical(json, type, 1), 0)}, ${expr})`;
  // The parser reads a bare -0.0 as 0: such text is left alone, rather than equal to what it is not.
  return holdsFloats(type)
    ? `if(match(ifNull(${expr}, ''), ${quoteString(BARE_NEGATIVE_ZERO)}), ${expr}, ${made})`
    : made;
}

const BARE_NEGATIVE_ZERO = '-0([.]0*)?([eE][+-]?[0-9]+)?[ \\t\\r\\n]*[],}]';

function holdsFloats(type: DataType): boolean {
  switch (type.kind) {
    case 'struct':
      return type.fields.some((field) => holdsFloats(field.type));
    case 'array':
      return holdsFloats(type.element);
    case 'map':
      return holdsFloats(type.key) || holdsFloats(type.value);
    default:
      return type.kind === 'float' || type.kind === 'double';
  }
}

/** Expression of the canonical text of `json`, a name bound to raw JSON; NULL where it is not of the type. JSON null is the caller's. */
function canonical(json: string, type: DataType, depth: number): string {
  switch (type.kind) {
    case 'struct':
      return canonicalStruct(json, type, depth);
    case 'array': {
      const element = `e${depth}`;
      const elements = `arrayMap(${element} -> ${orNull(element, type.element, depth)}, JSONExtractArrayRaw(${json}))`;
      return `if(JSONType(${json}) = 'Array', ${bind(elements, (list) => joined(list, '[', ']'), depth)}, NULL)`;
    }
    case 'map':
      return canonicalMap(json, type, depth);
    case 'byte':
      return integer(json, 'Int8');
    case 'short':
      return integer(json, 'Int16');
    case 'integer':
      return integer(json, 'Int32');
    case 'long':
      return integer(json, 'Int64');
    case 'float':
    case 'double':
      return float(json, type.kind, depth);
    case 'boolean':
      return `if(JSONType(${json}) = 'Bool', ${json}, NULL)`;
    case 'decimal':
    case 'string':
    case 'binary':
    case 'date':
    case 'timestamp':
    case 'timestamp_ntz':
      return `if(startsWith(${json}, '"'), ${json}, NULL)`;
  }
}

function orNull(json: string, type: DataType, depth: number): string {
  return `if(${json} = 'null', 'null', ${canonical(json, type, depth + 1)})`;
}

function canonicalStruct(json: string, type: StructType, depth: number): string {
  const fields = type.fields.map((field) => {
    const value = `JSONExtractRaw(${json}, ${quoteString(field.name)})`;
    return `${quoteString(`${JSON.stringify(field.name)}:`)}, ${bind(value, (name) => orNull(name, field.type, depth), depth)}`;
  });
  const hasAll = type.fields.map((field) => ` AND JSONHas(${json}, ${quoteString(field.name)})`).join('');
  const fits = `JSONType(${json}) = 'Object' AND JSONLength(${json}) = ${type.fields.length}${hasAll}`;
  const parts = fields.length === 0 ? `'{}'` : `concat('{', ${fields.join(`, ',', `)}, '}')`;
  // concat of a NULL is NULL: one field that does not fit, and the whole does not.
  return `if(${fits}, ${parts}, NULL)`;
}

function canonicalMap(json: string, type: MapType, depth: number): string {
  const pair = `p${depth}`;
  if (type.key.kind === 'string') {
    const entry = `concat(${jsonString(`${pair}.1`)}, ':', ${bind(`${pair}.2`, (v) => orNull(v, type.value, depth), depth)})`;
    const sorted = `arraySort(JSONExtractKeysAndValuesRaw(${json}))`;
    const entries = `arrayMap(${pair} -> ${entry}, ${sorted})`;
    return `if(JSONType(${json}) = 'Object', ${bind(entries, (list) => joined(list, '{', '}'), depth)}, NULL)`;
  }
  const key = bind(`JSONExtractRaw(${pair}, 1)`, (k) => canonical(k, type.key, depth + 1), depth);
  const value = bind(`JSONExtractRaw(${pair}, 2)`, (v) => orNull(v, type.value, depth), depth);
  const isPair = `JSONType(${pair}) = 'Array' AND JSONLength(${pair}) = 2`;
  const entries = `arrayMap(${pair} -> if(${isPair}, (${key}, ${value}), (NULL, NULL)), JSONExtractArrayRaw(${json}))`;
  const texts = bind(
    entries,
    (list) => {
      const sorted = `arraySort(arrayMap(x -> (assumeNotNull(x.1), assumeNotNull(x.2)), ${list}))`;
      const misfit = `arrayExists(x -> isNull(x.1) OR isNull(x.2), ${list})`;
      const text = `arrayStringConcat(arrayMap(x -> concat('[', x.1, ',', x.2, ']'), ${sorted}), ',')`;
      return `if(${misfit}, NULL, concat('[', ${text}, ']'))`;
    },
    depth,
  );
  return `if(JSONType(${json}) = 'Array', ${texts}, NULL)`;
}

/** Only integer literals that fit: `1.0` or `300` for a byte is not what was written. */
function integer(json: string, engineType: string): string {
  return `if(match(${json}, '^(0|-?[1-9][0-9]*)$') AND isNotNull(to${engineType}OrNull(${json})), ${json}, NULL)`;
}

/** The parser takes a literal without point or exponent as an integer and fails beyond 64 bits; `e0` makes it a double. */
function float(json: string, kind: 'float' | 'double', depth: number): string {
  const special = `${json} IN ('"NaN"', '"Infinity"', '"-Infinity"', '"-0.0"')`;
  const literal = `if(match(${json}, '^-?[0-9]+$'), concat(${json}, 'e0'), ${json})`;
  const number = bind(
    `JSONExtractFloat(${literal})`,
    (value) => (kind === 'double' ? floatText(value) : float32Text(value)),
    depth,
  );
  return `multiIf(${special}, ${json}, match(${json}, '^-?[0-9]'), ${number}, NULL)`;
}

/** A double that is a float's exact value, or its shortest spelling, is that float; any other is none. */
function float32Text(value: string): string {
  const single = `toFloat32(${value})`;
  const isSingle = `toFloat64(${single}) = ${value} OR JSONExtractFloat(concat('[', toString(${single}), if(match(toString(${single}), '^-?[0-9]+$'), 'e0', ''), ']'), 1) = ${value}`;
  return `if(${isSingle}, ${floatText(single)}, NULL)`;
}

/** Text of a float or double of the engine as canonical JSON spells it, the quotes of special values included. */
export function canonicalFloat(value: string): string {
  const special = `isNaN(${value}), '"NaN"', isInfinite(${value}), if(${value} > 0, '"Infinity"', '"-Infinity"')`;
  return `multiIf(${special}, ${value} = 0, if(toString(${value}) = '-0', '"-0.0"', '0'), ${floatText(value)})`;
}

/** The engine writes doubles up to 1e21 without an exponent; integers that long are too long for JSON parsers. */
function floatText(value: string): string {
  const text = `toString(${value})`;
  const sign = `if(${value} < 0, '-', '')`;
  const digits = `replaceOne(${text}, '-', '')`;
  const mantissa = `replaceRegexpOne(replaceRegexpOne(${digits}, '0+$', ''), '^(.)(.+)$', '\\\\1.\\\\2')`;
  const isLong = `abs(${value}) >= 1e16 AND position(${text}, 'e') = 0`;
  return `if(${isLong}, concat(${sign}, ${mantissa}, 'e', toString(length(${digits}) - 1)), ${text})`;
}

/** The engine escapes slashes in this function, and only there. */
function jsonString(text: string): string {
  return `replaceAll(toJSONString(${text}), '\\\\/', '/')`;
}

function joined(list: string, open: string, close: string): string {
  return `if(has(${list}, NULL), NULL, concat('${open}', arrayStringConcat(arrayMap(s -> assumeNotNull(s), ${list}), ','), '${close}'))`;
}

/** Evaluates an expression once under a name: SQL has no `let` inside an expression, a lambda over one element is one. */
function bind(expression: string, body: (name: string) => string, depth: number): string {
  const name = `v${depth}_${nextName++}`;
  return `arrayMap(${name} -> ${body(name)}, [${expression}])[1]`;
}

let nextName = 0;
