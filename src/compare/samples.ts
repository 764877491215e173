import type { Engine, QueryOptions } from '../engine/engine.ts';
import { isEqualCell } from './cells.ts';
import type { DifferenceClass, Sample } from './result.ts';
import type { ComparisonPlan } from './schema.ts';
import type { ValueType } from './types.ts';
import { isUnseenReason } from './unseen.ts';

/** Every class, in the order in which reports show them. */
export const differenceClasses: readonly DifferenceClass[] = ['missing', 'extra', 'changed', 'duplicate'];

/**
 * Up to `limit` rows of each class, those with the smallest key hash: the same ones in every run. `pairs` is a subquery with a column `unseen`.
 *
 * Masked: no value leaves the engine; the key's values are short hashes, and only a changed row names its columns. Shown: values as text,
 * dates and times in ISO 8601, bytes that are no UTF-8 as `\x…`, cut after 300 characters. Where there is no key, the row's hash stands for it.
 */
export async function readSamples(
  engine: Engine,
  plan: ComparisonPlan,
  pairs: string,
  options: { limit: number; values: 'Masked' | 'Shown' },
  query: QueryOptions,
): Promise<Sample[]> {
  if (options.limit === 0) return [];
  const samples: Sample[] = [];
  for (const name of differenceClasses) {
    const rows = await engine.rows<SampleRow>(
      `SELECT lower(hex(kh)) AS row_hash, unseen, ${keySql(plan, name, options.values)} AS key_values, ${cellsSql(plan, name, options.values)} AS cells
       FROM (${pairs}) WHERE class = '${name}' ORDER BY kh, pos LIMIT ${Math.trunc(options.limit)}`,
      query,
    );
    samples.push(...rows.map((row) => toSample(plan, name, row, options.values)));
  }
  return samples;
}

interface SampleRow {
  readonly row_hash: string;
  readonly unseen: string;
  readonly key_values: readonly (string | null)[];
  readonly cells: readonly (readonly [number, string | null, string | null])[];
}

function keySql(plan: ComparisonPlan, name: DifferenceClass, values: 'Masked' | 'Shown'): string {
  const letter = name === 'missing' || name === 'changed' ? 'b' : 'd';
  const texts = plan.key.map((column) => {
    const cell = `${letter}${plan.columns.indexOf(column)}`;
    return values === 'Shown' ? textSql(column.type, cell) : `substring(lower(hex(sipHash128(tuple(${cell})))), 1, 12)`;
  });
  return `CAST([${texts.join(', ')}], 'Array(Nullable(String))')`;
}

function cellsSql(plan: ComparisonPlan, name: DifferenceClass, values: 'Masked' | 'Shown'): string {
  const type = 'Array(Tuple(UInt32, Nullable(String), Nullable(String)))';
  const isShown = values === 'Shown';
  if (!isShown && name !== 'changed') return `CAST([], '${type}')`;
  const cells = plan.columns.flatMap((column, i) => {
    if (plan.key.includes(column)) return [];
    const show = (letter: 'b' | 'd', isThere: boolean): string =>
      isShown && isThere ? textSql(column.type, `${letter}${i}`) : 'NULL';
    const isChanged = name === 'changed' ? `NOT ${isEqualCell(column, `b${i}`, `d${i}`)}` : '1';
    const value = `tuple(${i}, ${show('b', name === 'missing' || name === 'changed')}, ${show('d', name !== 'missing')})`;
    return [`if(${isChanged}, [CAST(${value}, 'Tuple(UInt32, Nullable(String), Nullable(String))')], [])`];
  });
  return cells.length === 0 ? `CAST([], '${type}')` : `CAST(arrayConcat(${cells.join(', ')}), '${type}')`;
}

function textSql(type: ValueType, cell: string): string {
  switch (type.kind) {
    case 'binary':
      return `substring(concat('\\\\x', lower(hex(${cell}))), 1, ${longestText})`;
    case 'string':
    case 'json':
      return `if(isValidUTF8(ifNull(${cell}, '')), substringUTF8(${cell}, 1, ${longestText}), substring(concat('\\\\x', lower(hex(${cell}))), 1, ${longestText}))`;
    case 'boolean':
      return `if(isNull(${cell}), NULL, if(${cell}, 'true', 'false'))`;
    case 'int':
    case 'decimal':
    case 'float':
    case 'date':
    case 'timestamp':
      return `toString(${cell})`;
  }
}
const longestText = 300;

function toSample(plan: ComparisonPlan, name: DifferenceClass, row: SampleRow, values: 'Masked' | 'Shown'): Sample {
  const isShown = values === 'Shown';
  const render = (type: ValueType, text: string | null): string | null => (isShown ? renderText(type, text) : text);
  const key: Record<string, string | null> = {};
  if (plan.key.length === 0) key.row = row.row_hash.slice(0, 12);
  for (const [i, column] of plan.key.entries()) key[column.name] = render(column.type, row.key_values[i] ?? null);
  const columns = row.cells.flatMap(([number, baseline, candidate]) => {
    const column = plan.columns[number];
    if (column === undefined) return [];
    return [{ name: column.name, baseline: render(column.type, baseline), candidate: render(column.type, candidate) }];
  });
  return { class: name, key, columns, ...(isUnseenReason(row.unseen) ? { unseen: row.unseen } : {}) };
}

/** Day numbers and microseconds as people read them; years beyond what JavaScript's dates hold stay numbers. */
export function renderText(type: ValueType, text: string | null): string | null {
  if (text === null) return null;
  if (type.kind === 'date') {
    const date = new Date(Number(text) * 86_400_000);
    return Number.isNaN(date.getTime()) ? `day ${text}` : date.toISOString().slice(0, -14);
  }
  if (type.kind === 'timestamp') {
    const micros = BigInt(text);
    const rest = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
    const date = new Date(Number((micros - rest) / 1_000n));
    if (Number.isNaN(date.getTime())) return `${text} µs`;
    return `${date.toISOString().slice(0, -5)}.${rest.toString().padStart(6, '0')}Z`;
  }
  return text;
}
