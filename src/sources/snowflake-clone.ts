import type { CloneFrom } from '../api/resolved.ts';
import { formatType } from '../lake/relation-types.ts';
import type { DataType } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';
import { type SnowflakeClient, sfIdentifier, sfString } from './snowflake-client.ts';
import { isDenied, isMissing, isTooLongAgo, SnowflakeFailure } from './snowflake-errors.ts';
import { finerThanMicroseconds } from './snowflake-times.ts';
import type { SourceTable, SourceTableColumn } from './source.ts';

/**
 * Makes the table as a zero-copy clone of the one of its name in another schema of the account, without its columns in `unwanted`. Returns it with the types that
 * it has there. Again it makes it anew. What it holds is for a proof to say; what reading it would cut is refused here. Throws `NotFound`,
 * `AccessDenied`; `UnsupportedFeature` naming a column that is missing, not the snapshot's or of another type; `ProofFailed` naming one with nanoseconds.
 */
export async function cloneTable(
  client: SnowflakeClient,
  table: SourceTable,
  from: CloneFrom,
  unwanted: readonly string[],
): Promise<SourceTable> {
  await makeClone(client, table, from);
  const described = await client.run(`DESCRIBE TABLE ${sfIdentifier(table.name)}`);
  const found = described.map(({ name, type }) => ({ name: name ?? '', type: (type ?? '').toLowerCase() }));
  const columns = table.columns.map((column) => asFound(table, column, found, from));
  const extra = found.filter(({ name }) => !columns.some(({ field }) => field.name === name));
  for (const { name } of extra) {
    if (!unwanted.includes(name)) throw refused(table, name, `column ${name} is not one of the snapshot's`, from);
    await client.run(`ALTER TABLE ${sfIdentifier(table.name)} DROP COLUMN ${sfIdentifier(name)}`);
  }
  await requireMicroseconds(
    client,
    table.name,
    found.filter((column) => !extra.includes(column)),
    from,
  );
  return { ...table, columns };
}

/** What a table is a clone of, as one would write it in SQL. */
export function cloneOf(table: string, { schema }: CloneFrom): string {
  return `${schema}.${sfIdentifier(table)}`;
}

async function makeClone(client: SnowflakeClient, table: SourceTable, from: CloneFrom): Promise<void> {
  const at = from.at === undefined ? '' : ` AT (TIMESTAMP => TO_TIMESTAMP_TZ(${sfString(from.at)}))`;
  try {
    // Transient, for only such a table can be the clone of a transient one.
    await client.run(
      `CREATE OR REPLACE TRANSIENT TABLE ${sfIdentifier(table.name)} CLONE ${cloneOf(table.name, from)}${at}`,
    );
  } catch (error) {
    throw error instanceof SnowflakeFailure ? (cloningFailed(table, from, error) ?? error) : error;
  }
}

function cloningFailed(table: SourceTable, from: CloneFrom, cause: SnowflakeFailure): ParityError | undefined {
  const grants = `grant the role USAGE on ${from.schema} and its database and SELECT on the table`;
  const named = `Cloning ${cloneOf(table.name, from)} in Snowflake:`;
  if (isTooLongAgo(cause))
    return new ParityError('NotFound', `${named} there is no history of it back to ${from.at}.`, {
      subject: table.name,
      advice: `Choose a time after it was made and within its DATA_RETENTION_TIME_IN_DAYS, or ${load}.`,
      cause,
    });
  if (isDenied(cause))
    return new ParityError('AccessDenied', `${named} the role lacks a privilege.`, {
      subject: table.name,
      advice: `${grants.replace('grant', 'Grant')}.`,
      cause,
    });
  if (!isMissing(cause)) return undefined;
  return new ParityError('NotFound', `${named} there is no such table, or the role may not see it.`, {
    subject: table.name,
    advice: `It has the snapshot's own name, case included; ${grants}; or ${load}.`,
    cause,
  });
}

const load = 'leave cloneFrom out, so that the table is loaded';

interface FoundColumn {
  readonly name: string;
  readonly type: string;
}

function asFound(
  table: SourceTable,
  { field, sqlType }: SourceTableColumn,
  found: readonly FoundColumn[],
  from: CloneFrom,
): SourceTableColumn {
  const { name, type } = field;
  const there = found.find((column) => column.name === name);
  if (there === undefined) {
    const twin = found.find((column) => column.name.toLowerCase() === name.toLowerCase());
    const hint = twin === undefined ? '' : ` (${twin.name} is another one: names keep their case)`;
    throw refused(table, name, `there is no column ${name}${hint}`, from);
  }
  if (readableTypes(type).test(there.type)) return { field, sqlType: there.type };
  throw refused(
    table,
    name,
    `column ${name} is ${there.type}, and ${formatType(type)} in the snapshot, which a load would make ${sqlType}`,
    from,
  );
}

/** The types that hold a type's values, and no others that reading them would not show. */
function readableTypes(type: DataType): RegExp {
  switch (type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
      return /^number\(\d+,0\)$/;
    case 'decimal':
      return new RegExp(`^number\\(${type.precision},${type.scale}\\)$`);
    case 'float':
    case 'double':
      return /^float$/;
    case 'boolean':
      return /^boolean$/;
    // One with a collation says so behind its length.
    case 'string':
      return /^varchar\(\d+\)$/;
    case 'binary':
      return /^binary\(\d+\)$/;
    case 'date':
      return /^date$/;
    case 'timestamp':
      return /^timestamp_l?tz\(\d\)$/;
    case 'timestamp_ntz':
      return /^timestamp_ntz\(\d\)$/;
    // Their JSON is read strictly: a key or a number too many shows.
    case 'struct':
    case 'array':
    case 'map':
      return /^(object|array|variant)$/;
  }
}

/** A time with nanoseconds would look like the snapshot's when it is read; all else that no type of the snapshot's holds stops the reading. */
async function requireMicroseconds(
  client: SnowflakeClient,
  table: string,
  found: readonly FoundColumn[],
  from: CloneFrom,
): Promise<void> {
  const column = await finerThanMicroseconds(client, table, found);
  if (column === undefined) return;
  throw new ParityError(
    'ProofFailed',
    `Proving ${table}, a clone of ${cloneOf(table, from)}: column ${column.name} holds a time with a part below the microsecond, as the snapshot has none.`,
    { subject: `${table}.${column.name}`, advice: cloneAdvice },
  );
}

function refused(table: SourceTable, column: string, found: string, from: CloneFrom): ParityError {
  return new ParityError('UnsupportedFeature', `Cloning ${cloneOf(table.name, from)} in Snowflake: ${found}.`, {
    subject: `${table.name}.${column}`,
    advice: `Clone from a schema whose tables have the snapshot's columns, or ${load}.`,
  });
}

/** What to do where a clone is not what the snapshot is. */
export const cloneAdvice = `What lies there is not the version that the run has of it: choose the one, or the other (version, baseVersion, cloneFrom.at), or ${load}.`;
