import type { ComparisonColumn } from '../api/resolved.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { canonicalJsonFromText } from '../lake/nested.ts';
import type { Relation } from '../lake/relation.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';
import { isAddedColumn, isDropped, type ProfiledPair, postHogNames, profiledPair } from './profile.ts';
import type { SchemaDifference } from './result.ts';
import { commonType, engineType, isNumeric, typeText, type ValueType, valueTypeOf } from './types.ts';

/** A column that both sides have, with the expressions that bring each side's value to one type. */
export interface PlannedColumn {
  readonly name: string;
  /** The column's name in the engine's working tables: `c0`, `c1`, … */
  readonly alias: string;
  readonly type: ValueType;
  /** Over a row of the baseline relation, and over one of the candidate relation. */
  readonly baseline: string;
  readonly candidate: string;
  /** Largest absolute difference that counts as equal, a plain decimal number such as `0.001`. */
  readonly tolerance: string | undefined;
  /** Of a value of the baseline's type, where comparing is more than casting. */
  readonly ofBase?: (value: string) => string;
}

export interface PlanOptions {
  readonly table: string;
  readonly key: readonly string[];
  readonly columns: readonly ComparisonColumn[];
  /** What counts as equal beside what is equal. */
  readonly profile?: 'Exact' | 'PostHog';
  /** Types that the source declares columns with, where the manifest says so. */
  readonly sourceTypes?: ReadonlyMap<string, string>;
}

export interface ComparisonPlan {
  readonly columns: readonly PlannedColumn[];
  /** Columns of the key, in the key's order; empty: rows are compared as a multiset. */
  readonly key: readonly PlannedColumn[];
  readonly differences: readonly SchemaDifference[];
  readonly notes: readonly string[];
}

/**
 * Which columns can be compared, and how. A column without a partner, or whose two types have no lossless common type, is a schema
 * difference and is left out; so is a narrower nullability outside the key, but that column is still compared. A type that holds all that the baseline's
 * type holds (a wider integer, a decimal with more digits, JSON text of a nested value) is shown and does not count, as a wider nullability.
 *
 * Throws `InvalidSpec` for a key, ignored, renamed or tolerance column that does not exist, and a tolerance that makes no sense.
 */
export function planComparison(baseline: Relation, candidate: Relation, options: PlanOptions): ComparisonPlan {
  const settings = new Map(options.columns.filter((c) => c.table === options.table).map((c) => [c.column, c]));
  const isIgnored = (name: string): boolean => settings.get(name)?.ignore === true;
  const partners = new Map(candidate.columns.map((field) => [field.name, field]));
  const isPostHog = options.profile === 'PostHog';
  const landedAs = isPostHog ? postHogNames(baseline.columns.map(({ name }) => name)) : undefined;
  const partnerOf = (name: string): string => settings.get(name)?.rename ?? landedAs?.get(name) ?? name;
  checkNames(baseline, candidate, options, settings);
  checkPartners(
    baseline.columns.map(({ name }) => name).filter((name) => !isIgnored(name)),
    partnerOf,
    options.table,
  );
  const columns: PlannedColumn[] = [];
  const differences: SchemaDifference[] = [];
  const taken = new Set<string>();

  for (const field of baseline.columns) {
    const partnerName = partnerOf(field.name);
    taken.add(partnerName);
    if (isIgnored(field.name)) continue;
    const partner = partners.get(partnerName);
    const isKey = options.key.includes(field.name);
    if (partner === undefined) {
      const isByDesign = isPostHog && isDropped(field, { isKey });
      differences.push(difference(field.name, 'Missing', typeText(field.type), null, !isByDesign));
      continue;
    }
    const about = { isKey, sourceType: options.sourceTypes?.get(field.name) };
    const profiled = isPostHog ? profiledPair(field, partner, about) : undefined;
    differences.push(...typeDifferences(field, partner, isKey).map((found) => byDesign(found, profiled)));
    const pair = profiled ?? comparableExpressions(field, partner);
    if (pair === undefined) continue;
    const tolerance = toleranceOf(settings.get(field.name), pair.type, options);
    const { type, baseline: mine, candidate: theirs } = pair;
    const column = {
      name: field.name,
      alias: `c${columns.length}`,
      type,
      baseline: mine,
      candidate: theirs,
      tolerance,
    };
    columns.push(profiled === undefined ? column : { ...column, ofBase: profiled.ofBase });
  }
  for (const field of candidate.columns)
    if (!taken.has(field.name) && !isIgnored(field.name))
      differences.push(
        difference(field.name, 'Extra', null, typeText(field.type), !(isPostHog && isAddedColumn(field.name))),
      );

  if (columns.length === 0)
    throw new ParityError(
      'InvalidSpec',
      `Comparing ${options.table}: ${baseline.name} and ${candidate.name} have no column in common that can be compared.`,
      {
        subject: options.table,
        advice: 'Check that both sides are the same table, or name renamed columns in comparison.columns.',
      },
    );
  return { columns, differences, ...planKey(columns, options) };
}

function byDesign(found: SchemaDifference, profiled: ProfiledPair | undefined): SchemaDifference {
  const isByDesign = found.difference === 'Type' ? profiled?.isTypeByDesign : profiled?.isNullabilityByDesign;
  return isByDesign === true ? { ...found, counts: false } : found;
}

function checkNames(
  baseline: Relation,
  candidate: Relation,
  { table, key }: { table: string; key: readonly string[] },
  settings: ReadonlyMap<string, ComparisonColumn>,
): void {
  const known = new Set(baseline.columns.map((field) => field.name));
  for (const name of key) {
    if (known.has(name) && settings.get(name)?.ignore !== true) continue;
    const found = known.has(name) ? 'is ignored by comparison.columns' : `is not a column of ${baseline.name}`;
    throw new ParityError('InvalidSpec', `Comparing ${table}: the key column ${name} ${found}.`, {
      subject: `${table}.${name}`,
      advice: `The columns are ${[...known].join(', ')}.`,
    });
  }
  const either = new Set([...known, ...candidate.columns.map((field) => field.name)]);
  for (const [name, setting] of settings) {
    const isThere = setting.ignore === true ? either.has(name) : known.has(name);
    if (isThere) continue;
    throw new ParityError(
      'InvalidSpec',
      `Comparing ${table}: comparison.columns names ${name}, which the table does not have.`,
      {
        subject: `${table}.${name}`,
        advice: `The columns are ${[...known].join(', ')}.`,
      },
    );
  }
}

/** A column of the candidate that stood for two of the baseline would hide that one of them is not there. */
function checkPartners(compared: readonly string[], partnerOf: (name: string) => string, table: string): void {
  const partners = new Map<string, string>();
  for (const name of compared) {
    const partner = partnerOf(name);
    const other = partners.get(partner);
    if (other !== undefined)
      throw new ParityError(
        'InvalidSpec',
        `Comparing ${table}: the candidate's column ${partner} would be compared with both ${other} and ${name}.`,
        {
          subject: `${table}.${name}`,
          advice: `Rename one of them to another column, or ignore it: the candidate has no column of its own for it.`,
        },
      );
    partners.set(partner, name);
  }
}

/** A source's primary key makes its columns NOT NULL, whatever the lake says: a pipeline that lands them so is right. */
function typeDifferences(field: Field, partner: Field, isKey: boolean): SchemaDifference[] {
  const found: SchemaDifference[] = [];
  const [mine, theirs] = [typeText(field.type), typeText(partner.type)];
  if (mine !== theirs) found.push(difference(field.name, 'Type', mine, theirs, !isWider(field, partner)));
  if (field.nullable !== partner.nullable)
    found.push(
      difference(
        field.name,
        'Nullability',
        nullability(field),
        nullability(partner),
        field.nullable && !partner.nullable && !isKey,
      ),
    );
  return found;
}

/** Whether the partner's type holds every value of the field's type, and means the same. */
function isWider(field: Field, partner: Field): boolean {
  const [mine, theirs] = [valueTypeOf(field.type), valueTypeOf(partner.type)];
  if (mine.kind === 'json') return theirs.kind === 'string';
  if (!isNumeric(mine) || !isNumeric(theirs)) return false;
  const common = commonType(mine, theirs);
  return common !== undefined && engineType(common) === engineType(theirs);
}

function comparableExpressions(
  field: Field,
  partner: Field,
): Pick<PlannedColumn, 'type' | 'baseline' | 'candidate'> | undefined {
  const [mine, theirs] = [valueTypeOf(field.type), valueTypeOf(partner.type)];
  const type = commonType(mine, theirs);
  if (type === undefined) return undefined;
  const isNestedText = (own: ValueType, other: ValueType): boolean => own.kind === 'string' && other.kind === 'json';
  const from = (own: Field, ownType: ValueType, other: Field): string => {
    // Qualified: an alias of the SELECT (`c0`) must not capture a column of the same name.
    const name = `side.${quoteIdentifier(own.name)}`;
    if (isNestedText(ownType, valueTypeOf(other.type))) return canonicalJsonFromText(name, other.type);
    return canonical(engineType(ownType) === engineType(type) ? name : `CAST(${name}, '${engineType(type)}')`, type);
  };
  return { type, baseline: from(field, mine, partner), candidate: from(partner, theirs, field) };
}

/** One bit pattern for every NaN: they are the same value. -0.0 and 0.0 stay two values, because a pipeline that loses the sign changes data. */
function canonical(expression: string, type: ValueType): string {
  return type.kind === 'float'
    ? `if(isNaN(${expression}), CAST('nan', '${engineType(type)}'), ${expression})`
    : expression;
}

function planKey(
  columns: readonly PlannedColumn[],
  { table, key }: { table: string; key: readonly string[] },
): Pick<ComparisonPlan, 'key' | 'notes'> {
  const found = key.flatMap((name) => columns.filter((column) => column.name === name));
  const isUsable = found.length === key.length;
  if ((key.length === 0 || !isUsable) && columns.some((column) => column.tolerance !== undefined))
    throw new ParityError('InvalidSpec', `Comparing ${table} with a tolerance needs a key that both sides have.`, {
      subject: table,
      advice: 'Name the key of the table, or ignore the column instead of giving it a tolerance.',
    });
  const keyTolerance = found.find((column) => column.tolerance !== undefined);
  if (keyTolerance !== undefined)
    throw new ParityError(
      'InvalidSpec',
      `Comparing ${table}: the key column ${keyTolerance.name} cannot have a tolerance.`,
      {
        subject: `${table}.${keyTolerance.name}`,
        advice: 'Keys are compared exactly: take the tolerance out.',
      },
    );
  if (isUsable) return { key: found, notes: [] };
  const lost = key.filter((name) => !found.some((column) => column.name === name));
  return {
    key: [],
    notes: [`the candidate has no comparable key column ${lost.join(', ')}: rows were compared as a multiset`],
  };
}

function toleranceOf(
  setting: ComparisonColumn | undefined,
  type: ValueType,
  { table }: { table: string },
): string | undefined {
  if (setting?.tolerance === undefined) return undefined;
  const subject = `${table}.${setting.column}`;
  if (!isNumeric(type))
    throw new ParityError(
      'InvalidSpec',
      `Comparing ${table}: the column ${setting.column} is not a number and cannot have a tolerance.`,
      {
        subject,
        advice: 'Take the tolerance out, or ignore the column.',
      },
    );
  const text = plainDecimal(setting.tolerance);
  const integerDigits = type.kind === 'decimal' ? type.precision - type.scale : 20;
  const scale = Math.max(type.kind === 'decimal' ? type.scale : 0, scaleOf(text ?? ''));
  const mostDigits = Math.max(integerDigits, text?.split('.')[0]?.length ?? 0);
  if (text === undefined || (type.kind === 'float' ? scale : scale + mostDigits) > 75)
    throw new ParityError(
      'InvalidSpec',
      `Comparing ${table}: ${setting.tolerance} is no tolerance for the column ${setting.column}.`,
      {
        subject,
        advice: 'Give a positive decimal number, e.g. 0.01 or 1e-9.',
      },
    );
  return text;
}

/** `1e-3` as `0.001`; undefined for what is no positive decimal number of sensible size. */
export function plainDecimal(text: string): string | undefined {
  const match = /^(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text.trim());
  if (match === null) return undefined;
  const [, whole = '', fraction = '', exponent = '0'] = match;
  const shift = Number(exponent) - fraction.length;
  const digits = whole + fraction;
  if (Math.abs(shift) > 60 || digits.length > 40) return undefined;
  if (shift >= 0) return digits + '0'.repeat(shift);
  const padded = digits.padStart(1 - shift, '0');
  return `${padded.slice(0, shift)}.${padded.slice(shift)}`;
}

/** Digits after the point. */
export function scaleOf(plain: string): number {
  return plain.split('.')[1]?.length ?? 0;
}

function nullability(field: Field): string {
  return field.nullable ? 'nullable' : 'not null';
}

function difference(
  column: string,
  kind: SchemaDifference['difference'],
  baseline: string | null,
  candidate: string | null,
  counts: boolean,
): SchemaDifference {
  return { column, difference: kind, baseline, candidate, counts };
}
