import { type SnowflakeClient, sfIdentifier } from './snowflake-client.ts';

/** The first of the columns that holds a time with a part below the microsecond, which unloading would cut; `type` as Snowflake describes it. */
export async function finerThanMicroseconds<Column extends { readonly name: string; readonly type: string }>(
  client: SnowflakeClient,
  table: string,
  columns: readonly Column[],
): Promise<Column | undefined> {
  const fine = columns.filter(({ type }) => /^timestamp_\w+\([789]\)$/.test(type));
  if (fine.length === 0) return undefined;
  const counts = fine.map(({ name }, index) => {
    const column = sfIdentifier(name);
    return `SUM(IFF(DATE_TRUNC('microsecond', ${column}) <> ${column}, 1, 0)) AS "c${index}"`;
  });
  const [row] = await client.run(`SELECT ${counts.join(', ')} FROM ${sfIdentifier(table)}`);
  return fine.find((_, index) => Number(row?.[`c${index}`] ?? 0) > 0);
}
