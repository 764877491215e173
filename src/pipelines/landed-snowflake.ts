import type { DataType } from '../lake/types.ts';
import { connectSnowflake, type SnowflakeClient, sfIdentifier, sfString } from '../sources/snowflake-client.ts';
import { finerThanMicroseconds } from '../sources/snowflake-times.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';

interface FoundColumn {
  readonly name: string;
  readonly type: string;
  readonly as?: string;
}

/**
 * A table of the run's schema: by its own name or, since Snowflake folds names without quotes to upper case, by that. So are its columns: `as` is then the one of `names`
 * that was folded. No columns where there is no such table. Throws `UnrepresentableValue` naming the column of a time with a part below the microsecond: the export
 * would cut it.
 */
export async function snowflakeTable(
  connection: Connection,
  table: string,
  names: readonly string[],
): Promise<{ readonly name: string; readonly columns: readonly FoundColumn[] }> {
  const client = await connectSnowflake(connection, new AbortController().signal);
  try {
    const tables = await client.run(
      `SELECT TABLE_NAME AS "name" FROM INFORMATION_SCHEMA.TABLES
       WHERE TABLE_SCHEMA = CURRENT_SCHEMA() AND TABLE_NAME IN (${sfString(table)}, ${sfString(table.toUpperCase())})`,
    );
    const name = tables.some((row) => row.name === table) ? table : table.toUpperCase();
    if (!tables.some((row) => row.name === name)) return { name: table, columns: [] };
    const rows = await client.run(`DESCRIBE TABLE ${sfIdentifier(name)}`);
    const columns = rows.map((row) => ({
      name: row.name ?? '',
      type: spelled(row.type ?? ''),
      ...unfolded(row.name ?? '', names),
    }));
    await requireMicroseconds(client, name, columns);
    return { name, columns };
  } finally {
    await client.close();
  }
}

function unfolded(name: string, names: readonly string[]): { readonly as?: string } {
  const [as, ...others] = names.filter((one) => one.toUpperCase() === name);
  return as === undefined || others.length > 0 || as === name ? {} : { as };
}

/** The type as the plan of a source spells it: only numbers and times have digits that matter. */
function spelled(type: string): string {
  const written = type.toLowerCase();
  return /^(number|timestamp_\w+)\(/.test(written) ? written : written.replace(/^(varchar|binary|time)\(\d+\)$/, '$1');
}

/** What a column of another type than the plan's is read as; undefined where no type here holds it exactly. */
export function snowflakeType(type: string): DataType | undefined {
  const [, precision, scale] = /^number\((\d+),(\d+)\)$/.exec(type) ?? [];
  if (precision !== undefined) return { kind: 'decimal', precision: Number(precision), scale: Number(scale) };
  if (/^timestamp_(ltz|tz)\(/.test(type)) return { kind: 'timestamp' };
  if (/^timestamp_ntz\(/.test(type)) return { kind: 'timestamp_ntz' };
  return types.get(type);
}

const types: ReadonlyMap<string, DataType> = new Map<string, DataType>([
  ['float', { kind: 'double' }],
  ['boolean', { kind: 'boolean' }],
  ['varchar', { kind: 'string' }],
  ['binary', { kind: 'binary' }],
  ['date', { kind: 'date' }],
  ['time', { kind: 'string' }],
  ['variant', { kind: 'string' }],
  ['object', { kind: 'string' }],
  ['array', { kind: 'string' }],
]);

async function requireMicroseconds(
  client: SnowflakeClient,
  table: string,
  columns: readonly FoundColumn[],
): Promise<void> {
  const column = await finerThanMicroseconds(client, table, columns);
  if (column === undefined) return;
  throw new ParityError(
    'UnrepresentableValue',
    `Reading ${table} from Snowflake, its column ${column.name} holds a time with a part below the microsecond, which is not read exactly.`,
    { subject: table, advice: `Land it as ${column.type.replace(/\(.*/, '').toUpperCase()}(6), or as text.` },
  );
}
