import { POSTHOG_COLUMNS } from '../api/posthog.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Field } from '../lake/types.ts';
import { engineType, type ValueType, valueTypeOf } from './types.ts';

/** A change that PostHog's data warehouse makes by design, and that counts as equal where `comparison.profile` is `PostHog`. */
export interface ProfileRule {
  readonly name: RuleName;
  readonly change: string;
  /** Where PostHog's code makes it: a function or constant of a file in github.com/PostHog/posthog. */
  readonly origin: string;
}

export type RuleName =
  | 'AddedColumns'
  | 'NormalizedNames'
  | 'NestedAsJson'
  | 'TimestampsWithoutZone'
  | 'TimesAsSeconds'
  | 'WideDecimalsAsText'
  | 'NotANumberIsNull'
  | 'DefaultsForNull'
  | 'BinaryKeysAsHex'
  | 'BinaryColumnsDropped';

const arrowUtils = 'products/warehouse_sources/backend/temporal/data_imports/pipelines/core/arrow_utils.py';
const naming = 'products/warehouse_sources/backend/temporal/data_imports/naming_convention.py';

/** The whole of it: docs/reference/posthog.md shows the same lines. */
export const POSTHOG_RULES: readonly ProfileRule[] = [
  {
    name: 'AddedColumns',
    change: 'columns `_ph_debug`, `_ph_partition_key`, `_dlt_id` and `_dlt_load_id` are there beside the source’s own',
    origin: `INTERNAL_COLUMN_NAMES in ${arrowUtils}`,
  },
  {
    name: 'NormalizedNames',
    change:
      'a column is named in snake case of ASCII letters, digits and single underscores; one whose name is taken gets `_` in front',
    origin: `normalize_identifier in ${naming}, normalize_table_column_names in ${arrowUtils}`,
  },
  {
    name: 'NestedAsJson',
    change: 'structs, arrays and maps are JSON text',
    origin: `evolve_pyarrow_schema in ${arrowUtils}`,
  },
  {
    name: 'TimestampsWithoutZone',
    change: 'an instant is its UTC wall time, in microseconds, without a zone',
    origin: `evolve_pyarrow_schema in ${arrowUtils}`,
  },
  {
    name: 'TimesAsSeconds',
    change: 'a column that the source has as `time` or `interval` is a double of seconds',
    origin: `evolve_pyarrow_schema in ${arrowUtils}`,
  },
  {
    name: 'WideDecimalsAsText',
    change:
      'a decimal(38,0) may be text of the same number: with the digit after the point that PostHog adds it has more than 38',
    origin: `_get_max_decimal_type and DELTA_MAX_DECIMAL_PRECISION in ${arrowUtils}`,
  },
  {
    name: 'NotANumberIsNull',
    change: 'NaN and the infinities are NULL',
    origin: `_process_batch in ${arrowUtils}`,
  },
  {
    name: 'DefaultsForNull',
    change: 'NULL in a column that landed as NOT NULL is 0, 0.0, false, an empty text or 1970-01-01',
    origin: `get_default_value_for_pyarrow_type in ${arrowUtils}`,
  },
  {
    name: 'BinaryKeysAsHex',
    change:
      'binary columns that are keys, `id`, `uuid`, `guid` or end with `_id` are text of lower-case hexadecimal digits',
    origin: `_is_id_like_column in ${arrowUtils}`,
  },
  {
    name: 'BinaryColumnsDropped',
    change: 'other binary columns are left out',
    origin: `_process_batch in ${arrowUtils}`,
  },
];

/** Whether a column of the candidate is one of PostHog's own. */
export function isAddedColumn(name: string): boolean {
  return POSTHOG_COLUMNS.includes(name);
}

/** What PostHog calls the columns of a table, by the source's names, in the table's order. */
export function postHogNames(names: readonly string[]): ReadonlyMap<string, string> {
  const standing = new Map(names.map((name) => [name, name]));
  const used = new Set<string>();
  for (const name of names) {
    let landed = normalizedName(name);
    if (landed === name) continue;
    while (used.has(landed) || [...standing.values()].includes(landed)) landed = `_${landed}`;
    used.add(landed);
    standing.set(name, landed);
  }
  return standing;
}

/** A name as PostHog normalizes it; one of nothing but spaces stays as it is. */
export function normalizedName(name: string): string {
  const trimmed = name.trim();
  if (trimmed === '') return name;
  const letters: Readonly<Record<string, string>> = { '+': 'x', '-': '_', '*': 'x', '@': 'a', '|': 'l' };
  const ascii = trimmed.replaceAll(/[-+*@|]/g, (sign) => letters[sign] ?? sign).replaceAll(/[^A-Za-z0-9_]+/g, '_');
  const words = ascii
    .replaceAll(/([^_])([A-Z][a-z]+)/g, '$1_$2')
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase();
  const begun = /^[0-9]/.test(words) ? `_${words}` : words;
  const [end = ''] = /_*$/.exec(begun) ?? [];
  return `${begun.slice(0, begun.length - end.length)}${'x'.repeat(end.length)}`.replaceAll(/_{2,}/g, '_');
}

/** A pair of columns as the profile compares them. */
export interface ProfiledPair {
  readonly type: ValueType;
  readonly baseline: string;
  readonly candidate: string;
  /** Expression of a value of the baseline's own type, for a third relation that has the column. */
  readonly ofBase: (value: string) => string;
  /** Whether the two types, and their nullability, are what the rules make of the baseline's. */
  readonly isTypeByDesign: boolean;
  readonly isNullabilityByDesign: boolean;
}

export interface ProfiledColumn {
  /** The type that the source declares the column with, where the manifest says so. */
  readonly sourceType: string | undefined;
  readonly isKey: boolean;
}

/** How the profile compares two columns; undefined where none of its rules applies, so that they are compared as ever. */
export function profiledPair(field: Field, partner: Field, about: ProfiledColumn): ProfiledPair | undefined {
  const change = changeOf(field, partner, about);
  const isFilled = field.nullable && !partner.nullable && !about.isKey;
  if (change === undefined && !isFilled) return undefined;
  const mine = valueTypeOf(field.type);
  const plain: Change = { type: mine, ofBaseline: (value) => value, ofCandidate: (value) => value, isType: false };
  const { type, ofBaseline, ofCandidate, isType } = change ?? plain;
  // Without a rule for the types, only equal ones can be filled by this.
  if (change === undefined && engineType(mine) !== engineType(valueTypeOf(partner.type))) return undefined;
  const filled = (value: string): string =>
    isFilled ? `ifNull(${ofBaseline(value)}, ${defaultOf(type)})` : ofBaseline(value);
  return {
    type,
    baseline: filled(`side.${quoteIdentifier(field.name)}`),
    candidate: ofCandidate(`side.${quoteIdentifier(partner.name)}`),
    ofBase: filled,
    isTypeByDesign: isType,
    isNullabilityByDesign: isFilled,
  };
}

/** Whether PostHog leaves the column out. */
export function isDropped(field: Field, { isKey }: Pick<ProfiledColumn, 'isKey'>): boolean {
  return field.type.kind === 'binary' && !isIdLike(field.name, isKey);
}

interface Change {
  readonly type: ValueType;
  readonly ofBaseline: (value: string) => string;
  readonly ofCandidate: (value: string) => string;
  /** Whether the candidate's other type is part of it. */
  readonly isType: boolean;
}

function changeOf(field: Field, partner: Field, { sourceType, isKey }: ProfiledColumn): Change | undefined {
  const [mine, theirs] = [valueTypeOf(field.type), valueTypeOf(partner.type)];
  const same = (value: string): string => value;
  if (field.type.kind === 'timestamp' && partner.type.kind === 'timestamp_ntz')
    return { type: mine, ofBaseline: same, ofCandidate: same, isType: true };
  if (mine.kind === 'string' && theirs.kind === 'float' && theirs.bits === 64 && isTimeType(sourceType))
    return { type: { kind: 'int', bits: 64 }, ofBaseline: nanosOfText, ofCandidate: nanosOfSeconds, isType: true };
  if (mine.kind === 'decimal' && mine.precision === 38 && mine.scale === 0 && theirs.kind === 'string')
    return {
      type: { kind: 'string' },
      ofBaseline: (value) => `toString(${value})`,
      ofCandidate: plainNumber,
      isType: true,
    };
  if (mine.kind === 'float' && theirs.kind === 'float' && mine.bits <= theirs.bits) {
    const wide = (value: string): string => (mine.bits === theirs.bits ? value : `toFloat64(${value})`);
    return {
      type: theirs,
      ofBaseline: (value) => `if(isFinite(${value}), ${wide(value)}, NULL)`,
      ofCandidate: canonicalNaN(theirs),
      isType: false,
    };
  }
  if (mine.kind === 'binary' && theirs.kind === 'string' && isIdLike(field.name, isKey))
    return { type: { kind: 'string' }, ofBaseline: (value) => `lower(hex(${value}))`, ofCandidate: same, isType: true };
  return undefined;
}

/** A NaN that landed is a difference, whatever its bits. */
function canonicalNaN(type: ValueType): (value: string) => string {
  return (value) => `if(isNaN(${value}), CAST('nan', '${engineType(type)}'), ${value})`;
}

function isTimeType(sourceType: string | undefined): boolean {
  return sourceType !== undefined && /^(time|interval)(\s*\(\d+\))?( without time zone)?$/i.test(sourceType.trim());
}

function isIdLike(name: string, isKey: boolean): boolean {
  return isKey || /^(id|uuid|guid)$|_id$/i.test(name);
}

/** Nanoseconds of `[-N days][ ±HH:MM:SS[.ffffff]]` as Postgres writes intervals, NULL for NULL; what is written otherwise becomes a number that no seconds have. */
function nanosOfText(value: string): string {
  const text = `if(ifNull(${value}, '') = '', 'nothing', ${value})`;
  const parts = `extractGroups(assumeNotNull(${text}), '^(?:(-?\\\\d{1,6}) days? ?)?(?:([-+]?)(\\\\d{1,7}):(\\\\d{2}):(\\\\d{2})(?:[.](\\\\d{1,6}))?)?$')`;
  const number = (index: number): string => `toInt64OrZero(p[${index}])`;
  const clock = `(${number(3)} * 3600 + ${number(4)} * 60 + ${number(5)}) * 1000000 + toInt64OrZero(rightPad(p[6], 6, '0'))`;
  const micros = `${number(1)} * 86400000000 + if(p[2] = '-', -1, 1) * (${clock})`;
  const made = `arrayElement(arrayMap(p -> if(empty(p), ${unreadable}, (${micros}) * 1000), [${parts}]), 1)`;
  return `if(isNull(${value}), NULL, ${made})`;
}

/** Nanoseconds of a double of seconds: microseconds are exact, and what lies between two of them never becomes one. */
function nanosOfSeconds(value: string): string {
  const micros = `round(ifNull(${value}, 0) * 1000000)`;
  const isWhole = `abs(ifNull(${value}, 0) * 1000000 - ${micros}) <= greatest(0.001, abs(${micros}) * 1e-15)`;
  const isSmall = `abs(ifNull(${value}, 0)) < 9000000000`;
  return `if(isNull(${value}), NULL, if(isFinite(ifNull(${value}, 0)) AND ${isSmall} AND ${isWhole}, toInt64(if(${isSmall}, ${micros}, 0)) * 1000, ${unreadable} + 1))`;
}

const unreadable = 'toInt64(-9223372036854775807)';

/** The number that a text spells, without zeros that say nothing; other text stays as it is, and so does no number. */
function plainNumber(value: string): string {
  const text = `ifNull(${value}, '')`;
  const trimmed = `replaceRegexpOne(replaceRegexpOne(${text}, '[.]0+$', ''), '^-0$', '0')`;
  return `if(isNull(${value}), NULL, if(match(${text}, '^-?(0|[1-9][0-9]{0,37})([.]0+)?$'), ${trimmed}, concat('not a whole number: ', ${text})))`;
}

function defaultOf(type: ValueType): string {
  switch (type.kind) {
    case 'int':
    case 'float':
    case 'decimal':
    case 'date':
    case 'timestamp':
      return `CAST('0', '${engineType(type)}')`;
    case 'boolean':
      return 'false';
    case 'string':
    case 'binary':
      return "''";
    case 'json':
      return "'[]'";
  }
}
