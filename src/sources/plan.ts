import { formatType } from '../lake/relation-types.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';
import type { PlanOptions, SourceTable } from './source.ts';

/** What a database engine allows for names and tables. */
export interface Limits {
  readonly engine: string;
  readonly columns: number;
  /** Length of a name, and how it is measured. */
  readonly identifier: { readonly max: number; readonly unit: 'bytes' | 'characters' };
  /** Names that the engine keeps for columns of its own. */
  readonly reserved: readonly string[];
}

/**
 * The plan that drivers share: names checked, columns left out, types overridden, the engine's own type for the rest.
 * Throws `UnsupportedFeature` naming the column (or table), `InvalidSpec` for a type that is not a type's name.
 */
export function planTable(
  table: string,
  columns: readonly Field[],
  options: PlanOptions,
  limits: Limits,
  typeOf: (field: Field, isKey: boolean) => string | undefined,
): SourceTable {
  const overrides = new Map(options.columns.filter((column) => column.table === table).map((c) => [c.column, c]));
  const kept = columns.filter(({ name }) => overrides.get(name)?.omit !== true);
  checkNames(table, kept, limits);
  const isKept = (name: string): boolean => kept.some((field) => field.name === name);
  const primaryKey = options.primaryKey.every(isKept) ? options.primaryKey : [];
  return {
    name: table,
    primaryKey,
    cursor: options.cursor !== undefined && isKept(options.cursor) ? options.cursor : undefined,
    columns: kept.map((field) => {
      const override = overrides.get(field.name)?.type;
      const sqlType =
        override === undefined
          ? typeOf(field, primaryKey.includes(field.name))
          : checkedType(table, field.name, override);
      if (sqlType !== undefined) return { field, sqlType };
      throw new ParityError(
        'UnsupportedFeature',
        `Planning ${table} in ${limits.engine}: column ${field.name} is ${formatType(field.type)}, for which ${limits.engine} has no exact type.`,
        {
          subject: `${table}.${field.name}`,
          advice: `Leave the column out of this source with sources[].columns: [{ table: ${table}, column: ${field.name}, omit: true }].`,
        },
      );
    }),
  };
}

function checkNames(table: string, columns: readonly Field[], limits: Limits): void {
  const refuse = (subject: string, found: string, advice: string): never => {
    throw new ParityError('UnsupportedFeature', `Planning ${table} in ${limits.engine}: ${found}.`, {
      subject,
      advice,
    });
  };
  const { max, unit } = limits.identifier;
  const length = (name: string): number => (unit === 'bytes' ? Buffer.byteLength(name) : [...name].length);
  const seen = new Map<string, string>();
  if (columns.length === 0)
    refuse(table, 'no column is left to load', 'Take columns out of sources[].columns or snapshot.tables[].exclude.');
  if (columns.length > limits.columns)
    refuse(table, `it has ${columns.length} columns, more than the ${limits.columns} possible`, 'Leave some out.');
  if (length(table) > max) refuse(table, `its name is longer than ${max} ${unit}`, 'Give the table a shorter name.');
  for (const { name } of columns) {
    const subject = `${table}.${name}`;
    const advice = `Leave the column out of this source with sources[].columns: [{ table: ${table}, column: ${name}, omit: true }].`;
    if (limits.reserved.includes(name.toLowerCase()))
      refuse(subject, `column ${name} has a name that ${limits.engine} keeps for itself`, advice);
    if (name.startsWith('parity~')) refuse(subject, `column ${name} has a name that is kept for this software`, advice);
    if (name === '' || name.includes('\0') || name !== name.trimEnd())
      refuse(subject, `column '${name}' has a name that it would change`, advice);
    if (length(name) > max)
      refuse(subject, `column ${name} has a name longer than ${max} ${unit}, which would be cut`, advice);
    const twin = seen.get(name.toLowerCase());
    if (twin !== undefined) refuse(subject, `columns ${twin} and ${name} are equal but for case`, advice);
    seen.set(name.toLowerCase(), name);
  }
}

/** A type's name and nothing else: it becomes part of a statement. */
const typeName =
  /^[a-z][a-z0-9_]*( [a-z][a-z0-9_]*)*(\(\d{1,9}( ?, ?\d{1,4})?\))?( unsigned| with time zone| without time zone)?(\[\])?$/i;
const enumType = /^enum\('[^'\\\0]{1,255}'(, ?'[^'\\\0]{1,255}'){0,999}\)$/i;

/** Whether the type is an enumeration of values, `enum('a','b')`. */
export function isEnum(type: string): boolean {
  return enumType.test(type);
}

function checkedType(table: string, column: string, type: string): string {
  if (typeName.test(type) || isEnum(type)) return type;
  throw new ParityError('InvalidSpec', `Planning ${table}: the type of column ${column} is not the name of a type.`, {
    subject: `${table}.${column}`,
    advice: "Write it as the engine does, e.g. uuid, jsonb, bigint unsigned, varchar(20), enum('a','b').",
  });
}
