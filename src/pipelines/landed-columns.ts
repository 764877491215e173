import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType, formatType, isNested } from '../lake/relation-types.ts';
import type { DataType, Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';

export interface LandingOptions {
  /** The landed columns that are merged with; undefined where the table is landed anew. */
  readonly earlier: readonly Field[] | undefined;
  /** Whether columns that are not among the earlier ones land. */
  readonly keepsNewColumns: boolean;
  /** Whether NULLs may land where the source has none. */
  readonly nullsAppear: boolean;
}

/**
 * The source's columns as they land, in its order. Nested values are JSON text in a database and stay text. A column that landed rows do not have yet
 * is nullable; one that the source no longer has is gone.
 */
export function landedColumns(source: readonly Field[], options: LandingOptions): Field[] {
  const { earlier, keepsNewColumns, nullsAppear } = options;
  const known = (name: string): Field | undefined => earlier?.find((column) => column.name === name);
  return source
    .filter(({ name }) => keepsNewColumns || earlier === undefined || known(name) !== undefined)
    .map((field) => ({
      name: field.name,
      physicalName: field.name,
      type: isNested(field.type) ? { kind: 'string' } : field.type,
      nullable: field.nullable || nullsAppear || (earlier !== undefined && (known(field.name)?.nullable ?? true)),
    }));
}

/**
 * The landed rows with `columns`: NULL where they have no such column, widened where its type has grown. Throws `PipelineFailed` naming table and column
 * where the earlier values do not all fit the new type.
 */
export function alignedTo(columns: readonly Field[], landed: Relation, table: string): string {
  const values = columns.map((column) => {
    const earlier = landed.columns.find(({ name }) => name === column.name);
    const name = quoteIdentifier(column.name);
    if (earlier === undefined) return `CAST(NULL, '${engineType(column.type)}') AS ${name}`;
    if (engineType(earlier.type) === engineType(column.type) && earlier.type.kind === column.type.kind)
      return `r.${name} AS ${name}`;
    if (!isWidening(earlier.type, column.type))
      throw new ParityError(
        'PipelineFailed',
        `The reference pipeline cannot merge into ${table}: column ${column.name} has landed as ${formatType(earlier.type)} and is ${formatType(column.type)} in the source now.`,
        { subject: `${table}.${column.name}`, advice: 'Sync the table in full after such a change.' },
      );
    return `CAST(r.${name}, '${engineType(column.type)}') AS ${name}`;
  });
  return `SELECT ${values.join(', ')} FROM (${landed.sql}) AS r`;
}

const integers = ['byte', 'short', 'integer', 'long'];

function isWidening(from: DataType, to: DataType): boolean {
  if (integers.includes(from.kind) && integers.includes(to.kind))
    return integers.indexOf(from.kind) <= integers.indexOf(to.kind);
  if (from.kind === 'decimal' && to.kind === 'decimal')
    return to.scale >= from.scale && to.precision - to.scale >= from.precision - from.scale;
  return from.kind === 'float' && to.kind === 'double';
}
