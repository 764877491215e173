import { absoluteDifference, isSameValue } from './cells.ts';
import type { CauseRule } from './result.ts';
import type { ValueType } from './types.ts';

/** One way in which a cell may have been changed, as SQL (0 or 1, never NULL) over the two values and the base's. */
export interface RuleVariant {
  readonly rule: CauseRule;
  readonly detail: string;
  readonly sql: string;
}

/** SQL names of one cell's values. */
export interface Cell {
  readonly type: ValueType;
  readonly baseline: string;
  readonly candidate: string;
  /** The base's value, where the comparison has a base. */
  readonly base: string | undefined;
}

/** Every rule that can explain changes of a column of this type; of rules that explain equally much, the first one is meant. */
export function rulesFor(cell: Cell): RuleVariant[] {
  return [...stale(cell), ...nulls(cell), ...texts(cell), ...times(cell), ...numbers(cell)];
}

function stale({ type, candidate, base }: Cell): RuleVariant[] {
  if (base === undefined) return [];
  return [
    {
      rule: 'StaleValue',
      detail: 'the value of the base version',
      sql: `(in_base AND ${isSameValue(type, candidate, base)})`,
    },
  ];
}

function nulls({ type, baseline: b, candidate: d }: Cell): RuleVariant[] {
  const empty = (x: string): string => (isText(type) ? `ifNull(${x} = '', 0)` : '0');
  const variants: RuleVariant[] = [
    {
      rule: 'BecameNull',
      detail: 'a value became NULL',
      sql: `(isNotNull(${b}) AND isNull(${d}) AND NOT ${empty(b)})`,
    },
    {
      rule: 'NullBecameValue',
      detail: 'NULL became a value',
      sql: `(isNull(${b}) AND isNotNull(${d}) AND NOT ${empty(d)})`,
    },
  ];
  if (isText(type))
    variants.push(
      { rule: 'NullBecameEmpty', detail: "NULL became ''", sql: `(isNull(${b}) AND ${empty(d)})` },
      { rule: 'EmptyBecameNull', detail: "'' became NULL", sql: `(${empty(b)} AND isNull(${d}))` },
    );
  return variants;
}

function texts({ type, baseline: b, candidate: d }: Cell): RuleVariant[] {
  if (!isText(type)) return [];
  const equals = (expression: string): string => `(${b} != ${d} AND ${expression} = ${d})`;
  const notAscii = '[^\\\\x00-\\\\x7F]';
  const variants: readonly (readonly [CauseRule, string, string])[] = [
    ['Trimmed', 'white space at the end', equals(`replaceRegexpOne(${b}, '\\\\s+$', '')`)],
    ['Trimmed', 'white space at the start', equals(`replaceRegexpOne(${b}, '^\\\\s+', '')`)],
    ['Trimmed', 'white space at both ends', equals(`replaceRegexpAll(${b}, '^\\\\s+|\\\\s+$', '')`)],
    ['CaseChanged', 'to lower case', equals(`lowerUTF8(${b})`)],
    ['CaseChanged', 'to upper case', equals(`upperUTF8(${b})`)],
    ['CaseChanged', 'upper and lower case', `(${b} != ${d} AND lowerUTF8(${b}) = lowerUTF8(${d}))`],
    ['WrongEncoding', 'UTF-8 read as Latin-1', equals(latin1AsUtf8(b))],
    [
      'WrongEncoding',
      'UTF-8 read as Windows-1252',
      equals(`convertCharset(ifNull(${b}, ''), 'windows-1252', 'UTF-8')`),
    ],
    ['WrongEncoding', 'Latin-1 text decoded once more', `(${b} != ${d} AND ${latin1AsUtf8(d)} = ${b})`],
    ['WrongEncoding', 'characters outside ASCII became ?', equals(`replaceRegexpAll(${b}, '${notAscii}', '?')`)],
    [
      'WrongEncoding',
      'characters outside ASCII became U+FFFD',
      equals(`replaceRegexpAll(${b}, '${notAscii}', '\u{FFFD}')`),
    ],
    ['WrongEncoding', 'characters outside ASCII were left out', equals(`replaceRegexpAll(${b}, '${notAscii}', '')`)],
  ];
  return variants.map(toVariant);
}

function latin1AsUtf8(text: string): string {
  return `convertCharset(ifNull(${text}, ''), 'ISO-8859-1', 'UTF-8')`;
}

function times({ type, baseline: b, candidate: d }: Cell): RuleVariant[] {
  if (type.kind === 'date') return dayOff(`toInt64(${d}) - toInt64(${b})`, 1);
  if (type.kind !== 'timestamp') return [];
  const difference = `toInt128(${d}) - toInt128(${b})`;
  return [
    ...dayOff(difference, 86_400_000_000),
    ...zoneShifts.map((minutes) =>
      toVariant(['ShiftedByHours', shiftText(minutes), `(${difference} = ${minutes * 60_000_000})`]),
    ),
    ...[
      { unit: 1_000, name: 'milliseconds' },
      { unit: 1_000_000, name: 'seconds' },
      { unit: 60_000_000, name: 'minutes' },
      { unit: 86_400_000_000, name: 'days' },
    ].map(({ unit, name }) =>
      toVariant([
        'TruncatedPrecision',
        `to ${name}`,
        `(${b} != ${d} AND ${d} % ${unit} = 0 AND abs(${difference}) < ${unit})`,
      ]),
    ),
  ];
}

/**
 * Offsets of zones from UTC, either way, in minutes: whole hours up to 14, and the zones that are half or three quarters of an hour off
 * (https://data.iana.org/time-zones/tzdb/zone1970.tab). A whole day has a rule of its own.
 */
const zoneShifts: readonly number[] = [
  ...Array.from({ length: 14 }, (_, hour) => 60 * (hour + 1)),
  ...[150, 210, 270, 330, 345, 390, 525, 570, 630, 690, 765, 825],
].flatMap((minutes) => [minutes, -minutes]);

function shiftText(minutes: number): string {
  const [sign, size] = [minutes > 0 ? '+' : '-', Math.abs(minutes)];
  const rest = size % 60 === 0 ? '' : ` ${size % 60} min`;
  return `${sign}${Math.floor(size / 60)} h${rest}`;
}

function dayOff(difference: string, day: number): RuleVariant[] {
  return [
    toVariant(['OffByOneDay', '+1 day', `(${difference} = ${day})`]),
    toVariant(['OffByOneDay', '-1 day', `(${difference} = -${day})`]),
  ];
}

function numbers({ type, baseline: b, candidate: d }: Cell): RuleVariant[] {
  switch (type.kind) {
    case 'int':
      return type.bits < 32
        ? []
        : [
            float32(
              `(${b} != ${d} AND toFloat32(${b}) = toFloat32(${d}) AND toFloat64(toFloat32(${b})) = toFloat64(${d}))`,
            ),
          ];
    case 'decimal':
      return [
        ...scales(type.scale).map((k) => {
          const unit = `toDecimal256('${k === 0 ? '1' : `0.${'0'.repeat(k - 1)}1`}', ${type.scale})`;
          const isMultiple = `truncate(toDecimal256(${d}, ${type.scale}), ${k}) = toDecimal256(${d}, ${type.scale})`;
          return truncated(k, `(${b} != ${d} AND ${isMultiple} AND ${absoluteDifference(type, b, d)} < ${unit})`);
        }),
        float32(`(${b} != ${d} AND toFloat32(${b}) = toFloat32(${d}))`),
      ];
    case 'float': {
      const isOther = `NOT ${isSameValue(type, b, d)}`;
      return [
        ...(type.bits === 64 ? [float32(`(${isOther} AND toFloat64(toFloat32(${b})) = ${d})`)] : []),
        ...scales(10).map((k) =>
          truncated(k, `(${isOther} AND (round(${b}, ${k}) = ${d} OR trunc(${b}, ${k}) = ${d}))`),
        ),
      ];
    }
    default:
      return [];
  }
}

function scales(below: number): number[] {
  return Array.from({ length: Math.min(below, 19) }, (_, k) => k);
}

function truncated(k: number, sql: string): RuleVariant {
  return toVariant([
    'TruncatedPrecision',
    k === 0 ? 'to whole numbers' : `to ${k} decimal ${k === 1 ? 'place' : 'places'}`,
    sql,
  ]);
}

function float32(sql: string): RuleVariant {
  return toVariant(['RoundedToFloat32', 'to the precision of a 32-bit float', sql]);
}

/** A rule never says NULL: where a value is missing, it does not explain. */
function toVariant([rule, detail, sql]: readonly [CauseRule, string, string]): RuleVariant {
  return { rule, detail, sql: `ifNull(${sql}, 0)` };
}

function isText(type: ValueType): boolean {
  return type.kind === 'string' || type.kind === 'binary';
}
