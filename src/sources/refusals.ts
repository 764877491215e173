import { quoteIdentifier } from '../engine/sql.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';

/** Why a value cannot be held; the words go into the message. */
const reasons = {
  nul: 'text with a NUL character',
  nan: 'NaN',
  infinity: 'an infinite number',
  negativeZero: 'a negative zero (-0.0)',
  range: 'a date or time outside the years 1 to 9999',
  notUtf8: 'text that is not valid UTF-8',
  longText: 'text of more than 16 MiB',
  longBinary: 'binary of more than 8 MiB',
} as const;

export type RefusalReason = keyof typeof reasons;

/**
 * The expression for a column's value that stops the query at the first value for which a condition holds. Checked while rows stream
 * by, so that no refusal costs a pass of its own.
 */
export function guarded(
  value: string,
  index: number,
  refusals: readonly { readonly when: string; readonly reason: RefusalReason }[],
): string {
  return refusals.reduce(
    (expression, { when, reason }) =>
      `if(throwIf(ifNull(${when}, false), 'parity-refused ${index} ${reason}') = 1, NULL, ${expression})`,
    value,
  );
}

/** Conditions that every engine shares: canonical days and microseconds outside years 1 to 9999 would be rendered as another date. */
export function rangeRefusal(field: Field): readonly { when: string; reason: RefusalReason }[] {
  const column = quoteIdentifier(field.name);
  switch (field.type.kind) {
    case 'date':
      return [{ when: `${column} < -719162 OR ${column} > 2932896`, reason: 'range' }];
    case 'timestamp':
    case 'timestamp_ntz':
      return [{ when: `${column} < -62135596800000000 OR ${column} > 253402300799999999`, reason: 'range' }];
    default:
      return [];
  }
}

/** The named error where `error` is a guard's, else `error` as it came. */
export function toRefusal(error: unknown, engine: string, table: string, columns: readonly Field[]): unknown {
  const text = error instanceof Error ? error.message : String(error);
  const [, index, reason] = /parity-refused (\d+) (\w+)/.exec(text) ?? [];
  const column = columns[Number(index)]?.name;
  if (column === undefined || reason === undefined || !isReason(reason)) return error;
  return unrepresentable(engine, table, column, reasons[reason], error);
}

/** `UnrepresentableValue` that names the column and says how to go on. */
export function unrepresentable(
  engine: string,
  table: string,
  column: string,
  what: string,
  cause?: unknown,
): ParityError {
  return new ParityError(
    'UnrepresentableValue',
    `Loading ${table} into ${engine}: column ${column} holds ${what}, which ${engine} cannot hold exactly.`,
    {
      subject: `${table}.${column}`,
      advice: `Leave the column out of this source with sources[].columns: [{ table: ${table}, column: ${column}, omit: true }], or name a type that holds it.`,
      cause,
    },
  );
}

function isReason(text: string): text is RefusalReason {
  return text in reasons;
}
