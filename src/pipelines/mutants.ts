import { BUGS } from '../api/generated/enums.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Field } from '../lake/types.ts';
import { ParityError } from '../support/error.ts';

/**
 * Bugs on purpose. Each one is a bug that a real pipeline has had, described in one place: what it does to a value, to the rows that were read, to
 * the cursor, or to the merge. The reference pipeline asks its mutant at exactly those points and is otherwise the same program, so that a run which
 * passes without a bug and fails with one has shown that it would have seen that bug.
 *
 * A bug that has nothing to bite on (`OffByOneDay` in a table without dates) leaves the table as it is. docs/reference/bugs.md lists which of the
 * example's tables show which bug.
 */
export const bugs = BUGS;

export type Bug = (typeof bugs)[number];

/** Rows that the pipeline handles at once; some bugs lose or double one such batch. */
export const batchRows = 20_000;

export interface Mutant {
  readonly bug: Bug;
  /**
   * What lands in `column`, as engine SQL over a subquery `r` of the rows that were read; undefined where the value lands as it was read. `movable`
   * are the columns that are neither key nor cursor.
   */
  value(column: Field, movable: readonly Field[]): string | undefined;
  /** Which of the rows that were read are landed. */
  readonly rows: RowSelection;
  /** Reads rows *after* the mark where it was to read rows *from* it. */
  readonly isCursorOffByOne: boolean;
  readonly merge: MergeRule;
  /** Whether columns that the source has gained are landed by an incremental sync. */
  readonly keepsNewColumns: boolean;
}

export type RowSelection =
  | 'All'
  | 'AllAndFirstBatchTwice'
  /** Without the last batch of up to `batchRows` rows, in key order. */
  | 'WithoutLastBatch'
  /** Without the last hundredth (at least one row), in cursor order. */
  | 'WithoutTail';

export type MergeRule =
  /** New rows replace landed rows of their key; NULL is equal to NULL. The right one. */
  | 'Replace'
  /** Rows whose key has landed already are dropped. */
  | 'InsertOnly'
  /** Nothing landed is ever removed. */
  | 'Append'
  /** Keys match by `=`, and matched rows are replaced only where `old.rowhash <> new.rowhash`, a hash that is NULL where any column is. */
  | 'NullUnsafe';

/** The mutant of a bug's name; `InvalidSpec` for a name that is none of `bugs`. */
export function mutantOf(name: string): Mutant {
  const bug = bugs.find((known) => known === name);
  if (bug === undefined)
    throw new ParityError('InvalidSpec', `The reference pipeline knows no bug named ${name}.`, {
      subject: 'spec.pipelines[].reference.bug',
      advice: `Use one of ${bugs.join(', ')}.`,
    });
  return { ...healthy, bug, ...deviation(bug) };
}

const healthy: Mutant = {
  bug: 'None',
  value: () => undefined,
  rows: 'All',
  isCursorOffByOne: false,
  merge: 'Replace',
  keepsNewColumns: true,
};

/** Where a bug makes the pipeline do something else. Deliberate, all of it. */
function deviation(bug: Bug): Partial<Mutant> {
  switch (bug) {
    case 'None':
      return {};

    // Rows
    case 'DroppedTail':
      return { rows: 'WithoutTail' };
    case 'DuplicatedBatch':
      return { rows: 'AllAndFirstBatchTwice' };
    case 'LostLastChunk':
      return { rows: 'WithoutLastBatch' };

    // Cursor and merge
    case 'CursorOffByOne':
      return { isCursorOffByOne: true };
    case 'StaleUpdates':
      return { merge: 'InsertOnly' };
    case 'ResurrectedDeletes':
      return { merge: 'Append' };
    case 'NullUnsafeMerge':
      return { merge: 'NullUnsafe' };
    case 'DroppedNewColumn':
      return { keepsNewColumns: false };

    // Values
    case 'TruncatedPrecision':
      return { value: truncatedPrecision };
    case 'LostMicroseconds':
      return { value: ofInstants((micros) => `${micros} - positiveModulo(${micros}, 1000)`) };
    case 'ShiftedTimestamps':
      return { value: of(['timestamp'], (micros) => within(micros, `${micros} + ${5 * 3_600_000_000}`, lastMicro)) };
    case 'OffByOneDay':
      return { value: of(['date'], (days) => within(days, `${days} + 1`, lastDay)) };
    case 'NullToEmpty':
      return { value: of(['string'], (text) => `ifNull(${text}, '')`) };
    case 'EmptyToNull':
      return { value: of(['string'], (text) => `nullIf(${text}, '')`) };
    case 'TrimmedStrings':
      return { value: of(['string'], (text) => `trimBoth(${text})`) };
    case 'WrongEncoding':
      return { value: of(['string'], (text) => `convertCharset(${text}, 'ISO-8859-1', 'UTF-8')`) };
    case 'Float32Rounding':
      return { value: of(['double'], (number) => `toFloat64(toFloat32(${number}))`) };
    case 'SwappedColumns':
      return { value: swappedColumns };
  }
}

/** The last microsecond and day of year 9999: a bug must not turn a value into one that no format can hold. */
const lastMicro = '253402300799999999';
const lastDay = '2932896';

function within(value: string, moved: string, last: string): string {
  return `if(${moved} > ${last}, ${value}, ${moved})`;
}

function of(kinds: readonly Field['type']['kind'][], change: (column: string) => string): Mutant['value'] {
  return ({ name, type }) => (kinds.includes(type.kind) ? change(read(name)) : undefined);
}

function ofInstants(change: (micros: string) => string): Mutant['value'] {
  return of(['timestamp', 'timestamp_ntz'], change);
}

/** Decimals keep half of their places, instants their whole seconds. */
function truncatedPrecision(column: Field, movable: readonly Field[]): string | undefined {
  const { type, name } = column;
  if (type.kind === 'decimal' && type.scale > 0) return `trunc(${read(name)}, ${Math.floor(type.scale / 2)})`;
  return ofInstants((micros) => `${micros} - positiveModulo(${micros}, 1000000)`)(column, movable);
}

/** The first two columns of one type that are neither key nor cursor change places. */
function swappedColumns(column: Field, movable: readonly Field[]): string | undefined {
  for (const [index, first] of movable.entries()) {
    const second = movable.slice(index + 1).find((other) => isSameType(first, other));
    if (second === undefined) continue;
    if (column.name === first.name) return read(second.name);
    return column.name === second.name ? read(first.name) : undefined;
  }
  return undefined;
}

/** Qualified, for the engine would take a bare name for the value that is called so. */
function read(name: string): string {
  return `r.${quoteIdentifier(name)}`;
}

function isSameType(left: Field, right: Field): boolean {
  return JSON.stringify(left.type) === JSON.stringify(right.type);
}
