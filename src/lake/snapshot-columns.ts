import { POSTHOG_COLUMNS } from '../api/posthog.ts';
import type { ResolvedSpec, ResolvedTable } from '../api/resolved.ts';
import { closest } from '../api/suggest.ts';
import { ParityError } from '../support/error.ts';
import type { DeltaSnapshot } from './delta/types.ts';
import type { TablePlan } from './snapshot-plan.ts';
import type { Field } from './types.ts';

/**
 * Throws `InvalidSpec` naming the field where a table's key, cursor, exclude, sample or mask names a column that the version under
 * test lacks (or the base lacks, where it is needed there), or that cannot be used so.
 */
export function checkTableSpec(table: ResolvedTable, target: DeltaSnapshot, base: DeltaSnapshot | undefined): void {
  for (const column of table.key) checkUsable(table, target, 'key', column);
  if (table.cursor !== undefined) checkUsable(table, target, 'cursor', table.cursor);
  // Columns of a pipeline's own are taken out wherever they are; they need not be.
  for (const column of table.exclude) if (!POSTHOG_COLUMNS.includes(column)) find(table, target, 'exclude', column);
  if (table.sample !== undefined) checkUsable(table, target, 'sample.by', table.sample.by);
  for (const { column } of table.mask) checkMask(table, target, column);
  if (base !== undefined) {
    for (const column of table.key) checkUsable(table, base, 'key', column);
    if (table.cursor !== undefined) checkUsable(table, base, 'cursor', table.cursor);
    if (table.sample !== undefined) checkUsable(table, base, 'sample.by', table.sample.by);
  }
  for (const snapshot of base === undefined ? [target] : [base, target]) checkPartitionZones(table, snapshot);
}

/**
 * Throws `InvalidSpec` where a source's `columns` names a column that neither version of its table has: its type would not be tested, and nobody would know.
 */
export function checkSourceColumns(
  { sources }: Pick<ResolvedSpec, 'sources'>,
  plans: readonly Pick<TablePlan, 'table' | 'target' | 'base'>[],
): void {
  for (const { name, columns } of sources)
    for (const { table, column } of columns) {
      const plan = plans.find((one) => one.table.name === table);
      if (plan === undefined) continue;
      const versions = [plan.target, ...(plan.base === undefined ? [] : [plan.base])];
      const known = versions.flatMap(({ snapshot }) => snapshot.schema.fields.map((field) => field.name));
      if (known.includes(column)) continue;
      const guess = closest(column, known);
      throw new ParityError(
        'InvalidSpec',
        `The columns of the source ${name} name ${table}.${column}, which the table does not have`,
        {
          subject: `spec.sources[${name}].columns[${table}.${column}]`,
          advice: guess === undefined ? `Its columns are ${known.slice(0, 20).join(', ')}` : `Did you mean '${guess}'?`,
        },
      );
    }
}

/** A column by which rows are identified, ordered or chosen: it is there, holds one value, and is not taken out. */
function checkUsable(table: ResolvedTable, snapshot: DeltaSnapshot, field: string, column: string): void {
  const { type } = find(table, snapshot, field, column);
  if (type.kind === 'struct' || type.kind === 'array' || type.kind === 'map') {
    throw invalid(
      table,
      field,
      `names the column '${column}', which is a ${type.kind}`,
      'Name a column of a simple type',
    );
  }
  if (table.exclude.includes(column)) {
    throw invalid(table, field, `names the column '${column}', which exclude takes out`, 'Name it in one of the two');
  }
}

function checkMask(table: ResolvedTable, target: DeltaSnapshot, column: string): void {
  checkUsable(table, target, 'mask', column);
  if (column !== table.cursor) return;
  throw invalid(table, 'mask', `names the cursor '${column}', whose order has to stay`, 'Mask other columns');
}

/** A timestamp partition without zone means the writer's zone, which only the manifest can tell. */
function checkPartitionZones(table: ResolvedTable, snapshot: DeltaSnapshot): void {
  if (table.partitionTimeZone !== undefined) return;
  const zoned = snapshot.schema.fields.filter(
    (field) => field.type.kind === 'timestamp' && snapshot.partitionColumns.includes(field.name),
  );
  for (const field of zoned) {
    const value = snapshot.files
      .map((file) => file.partitionValues[field.physicalName])
      .find((text) => typeof text === 'string' && !/(Z|[+-]\d\d:?\d\d)$/.test(text));
    if (value === undefined || value === null) continue;
    throw new ParityError(
      'UnsupportedFeature',
      `The partition column '${field.name}' of ${table.name} has timestamps without zone, such as '${value}'`,
      {
        subject: `spec.snapshot.tables[${table.name}].partitionTimeZone`,
        advice: "Set the table's partitionTimeZone to the zone of the writer, e.g. UTC",
      },
    );
  }
}

function find(table: ResolvedTable, snapshot: DeltaSnapshot, field: string, column: string): Field {
  const names = snapshot.schema.fields.map(({ name }) => name);
  const found = snapshot.schema.fields.find(({ name }) => name === column);
  if (found !== undefined) return found;
  const guess = closest(column, names);
  const missing = `names the column '${column}', which version ${snapshot.version} does not have`;
  throw invalid(
    table,
    field,
    missing,
    guess === undefined ? `Its columns are ${names.slice(0, 20).join(', ')}` : `Did you mean '${guess}'?`,
  );
}

function invalid(table: ResolvedTable, field: string, found: string, advice: string): ParityError {
  const subject = `spec.snapshot.tables[${table.name}].${field}`;
  return new ParityError('InvalidSpec', `The ${field} of the table ${table.name} ${found}`, { subject, advice });
}
