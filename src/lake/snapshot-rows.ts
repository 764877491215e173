import type { DuckDBConnection } from '@duckdb/node-api';
import { ParityError } from '../support/error.ts';
import type { DeltaFile } from './delta/types.ts';
import { duckType, name, text } from './snapshot-duckdb.ts';
import { canonicalText, maskExpression } from './snapshot-mask.ts';
import type { TablePlan } from './snapshot-plan.ts';
import type { Field } from './types.ts';

/** The live rows of one data file, while it is being rewritten. */
export interface FileRows {
  readonly file: DeltaFile;
  /** The version whose columns the file is read by. */
  readonly version: TablePlan['target'];
  /** A table expression over them. */
  readonly sql: string;
  /** Physical names of the columns that the file has. */
  readonly columns: ReadonlySet<string>;
}

/** Tables in which keys of the sample, and masks of keys, are collected; on disk where they are large. */
export async function prepareChoice(connection: DuckDBConnection): Promise<void> {
  await connection.run('CREATE OR REPLACE TABLE parity_keys (digest VARCHAR)');
  await connection.run('CREATE OR REPLACE TABLE parity_masks (name VARCHAR, original VARCHAR, masked VARCHAR)');
}

/** The columns of a rewritten file, by physical names, in the order of the schema; what the file lacks is NULL. */
export function selectColumns(plan: TablePlan, rows: FileRows): readonly string[] {
  const masked = new Set(plan.table.mask.map(({ column }) => column));
  return rows.version.snapshot.schema.fields.map((field) => {
    const value = columnValue(plan, rows, field);
    const shown = masked.has(field.name) ? maskExpression(value, field.type, field.name) : value;
    return `${shown} AS ${name(field.physicalName)}`;
  });
}

/**
 * Which rows are in the sample, as a condition: by the hash of the sample column's text, so the same rows every time and in every
 * table that is sampled by that column; rows without a value stay; so do rows whose key is in the sample of the other version.
 */
export function chosenRows(plan: TablePlan, rows: FileRows): string {
  const { sample } = plan.table;
  if (sample === undefined) return 'true';
  const chosen = isChosen(plan, rows, sample);
  if (!needsKeys(plan)) return chosen;
  return `(${chosen} OR ${keyDigest(plan, rows)} IN (SELECT digest FROM parity_keys))`;
}

/** Adds the file's keys that are in the sample to those of the other files. */
export async function collectKeys(connection: DuckDBConnection, plan: TablePlan, rows: FileRows): Promise<void> {
  const { sample } = plan.table;
  if (sample === undefined || !needsKeys(plan)) return;
  await connection.run(
    `INSERT INTO parity_keys SELECT DISTINCT ${keyDigest(plan, rows)} FROM ${rows.sql} AS t WHERE ${isChosen(plan, rows, sample)}`,
  );
}

/** Remembers which mask each value of a masked key column got. */
export async function recordMasks(connection: DuckDBConnection, plan: TablePlan, rows: FileRows): Promise<void> {
  for (const field of maskedKeys(plan, rows)) {
    const value = columnValue(plan, rows, field);
    await connection.run(
      `INSERT INTO parity_masks SELECT DISTINCT ${text(field.name)}, sha256(${canonicalText(value, field.type)}),
         ${canonicalText(maskExpression(value, field.type, field.name), field.type)}
       FROM ${rows.sql} AS t WHERE ${value} IS NOT NULL AND ${chosenRows(plan, rows)}`,
    );
  }
}

/** Throws `UnrepresentableValue` naming the column where two values of a key got one mask: keys have to stay different. */
export async function checkInjective(connection: DuckDBConnection, plan: TablePlan): Promise<void> {
  const found = await connection.runAndReadAll(
    `SELECT name, count(DISTINCT original) - count(DISTINCT masked) AS lost
     FROM parity_masks GROUP BY name HAVING lost <> 0 ORDER BY name LIMIT 1`,
  );
  const [row] = found.getRows();
  if (row === undefined) return;
  throw new ParityError(
    'UnrepresentableValue',
    `Masking the key column '${String(row[0])}' of ${plan.table.name} would give ${String(row[1])} of its values the mask of another: they are too short`,
    {
      subject: `spec.snapshot.tables[${plan.table.name}].mask`,
      advice: 'Leave that column unmasked, or key the table by another one',
    },
  );
}

/** Only where rows are chosen by a column that is not all of the key can a key be in the sample of one version alone. */
function needsKeys(plan: TablePlan): boolean {
  const { sample, key } = plan.table;
  return plan.base !== undefined && sample !== undefined && key.length > 0 && !key.includes(sample.by);
}

function isChosen(plan: TablePlan, rows: FileRows, sample: { percent: number; by: string }): string {
  const field = fieldOf(rows, sample.by);
  const value = columnValue(plan, rows, field);
  return `(${value} IS NULL OR md5_number_lower(${canonicalText(value, field.type)}) % 100 < ${sample.percent})`;
}

function keyDigest(plan: TablePlan, rows: FileRows): string {
  const parts = plan.table.key.map((column) => {
    const field = fieldOf(rows, column);
    return `coalesce('v' || md5(${canonicalText(columnValue(plan, rows, field), field.type)}), 'n')`;
  });
  return `md5(${parts.join(' || ')})`;
}

function maskedKeys(plan: TablePlan, { version }: FileRows): readonly Field[] {
  const masked = plan.table.mask.map(({ column }) => column).filter((column) => plan.table.key.includes(column));
  return version.snapshot.schema.fields.filter((field) => masked.includes(field.name));
}

function fieldOf({ version }: FileRows, column: string): Field {
  const found = version.snapshot.schema.fields.find((field) => field.name === column);
  if (found === undefined) throw new ParityError('InvalidSpec', `There is no column '${column}'`, { subject: column });
  return found;
}

/** The column's value in the type that the schema declares; NULL where the file is older than the column. */
function columnValue(plan: TablePlan, { version, file, columns }: FileRows, field: Field): string {
  const type = duckType(field.type);
  if (version.snapshot.partitionColumns.includes(field.name)) {
    return partitionValue(plan, field, file.partitionValues[field.physicalName] ?? null);
  }
  if (!columns.has(field.physicalName)) return `CAST(NULL AS ${type})`;
  const column = `t.${name(field.physicalName)}`;
  // Nested values are passed on as the file has them: their own fields may be fewer than the schema's.
  const isNested = field.type.kind === 'struct' || field.type.kind === 'array' || field.type.kind === 'map';
  return isNested ? column : `CAST(${column} AS ${type})`;
}

function partitionValue(plan: TablePlan, field: Field, value: string | null): string {
  const type = duckType(field.type);
  if (value === null) return `CAST(NULL AS ${type})`;
  if (field.type.kind === 'binary') return `encode(${text(value)})`;
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/.test(value);
  if (field.type.kind === 'timestamp' && !hasZone) {
    return `(CAST(${text(value)} AS TIMESTAMP) AT TIME ZONE ${text(plan.table.partitionTimeZone ?? 'UTC')})`;
  }
  return `CAST(${text(value)} AS ${type})`;
}

/** Physical names of the columns of a table expression. */
export async function columnsOf(connection: DuckDBConnection, sql: string): Promise<ReadonlySet<string>> {
  const described = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${sql}`);
  return new Set(described.getRows().map((row) => String(row[0])));
}
