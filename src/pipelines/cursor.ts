import type { ResolvedSource } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Field } from '../lake/types.ts';

/** A cursor's value in canonical spelling: an integer or decimal as text, a date as days and an instant as microseconds since 1970. */
export type Mark = string;

/** The greatest value of `cursor` in the rows of `sql` (a SELECT in canonical types), or null where there is none. */
export async function highestMark(
  engine: Engine,
  sql: string,
  cursor: Field,
  signal: AbortSignal,
): Promise<Mark | null> {
  const [row] = await engine.rows<{ mark: string | null }>(
    `SELECT toString(max(${quoteIdentifier(cursor.name)})) AS mark FROM (${sql})`,
    { signal },
  );
  return row?.mark ?? null;
}

/** Whether the column's type has an order that the engine and every database agree on: text has not, for its collation is the database's. */
export function canFollow(cursor: Field): boolean {
  switch (cursor.type.kind) {
    case 'byte':
    case 'short':
    case 'integer':
    case 'long':
    case 'decimal':
    case 'date':
    case 'timestamp':
    case 'timestamp_ntz':
      return true;
    case 'float':
    case 'double':
    case 'boolean':
    case 'string':
    case 'binary':
    case 'struct':
    case 'array':
    case 'map':
      return false;
  }
}

/** The mark as a literal that the database reads back exactly; instants are UTC, as every session to a source is. */
export function spellMark(mark: Mark, cursor: Field, engine: ResolvedSource['engine']): string {
  switch (cursor.type.kind) {
    case 'date':
      return isoOfMillis(BigInt(mark) * 86_400_000n).slice(0, 10);
    case 'timestamp':
      return engine === 'Postgres' ? `${spellMicros(mark)}+00` : spellMicros(mark);
    case 'timestamp_ntz':
      return spellMicros(mark);
    default:
      return mark;
  }
}

function spellMicros(mark: Mark): string {
  const micros = BigInt(mark);
  const fraction = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = (micros - fraction) / 1_000_000n;
  return `${isoOfMillis(seconds * 1000n)
    .slice(0, 19)
    .replace('T', ' ')}.${fraction.toString().padStart(6, '0')}`;
}

/** JavaScript's own calendar is proleptic Gregorian, and exact for years 1 to 9999 at whole seconds. */
function isoOfMillis(millis: bigint): string {
  return new Date(Number(millis)).toISOString();
}
