import { ownName } from '../compare/row-digest.ts';
import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';

export interface KeyCheck {
  /** The key where it is one: there, never NULL, never twice; else empty. */
  readonly primaryKey: readonly string[];
  /** Why there is no primary key: `key (id) has 2 duplicates and 1 NULLs`. */
  readonly note: string | undefined;
  /** Longest value of each text (characters) and binary (bytes) column of the key. */
  readonly keyLengths: Readonly<Record<string, number>>;
}

/**
 * Whether a key is one in every relation given (both versions of a table that will advance): real tables have duplicates and NULLs in their keys. Memory
 * stays bounded: the grouping spills to disk.
 */
export async function checkKey(
  engine: Engine,
  relations: readonly Relation[],
  key: readonly string[],
  options: QueryOptions = {},
): Promise<KeyCheck> {
  const lengths: Record<string, number> = {};
  if (key.length === 0) return { primaryKey: [], note: 'no key was named', keyLengths: lengths };
  for (const relation of relations) {
    const found = await checkRelation(engine, relation, key, lengths, options);
    if (found !== undefined) return { primaryKey: [], note: `key (${key.join(', ')}) ${found}`, keyLengths: lengths };
  }
  return { primaryKey: key, note: undefined, keyLengths: lengths };
}

async function checkRelation(
  engine: Engine,
  relation: Relation,
  key: readonly string[],
  lengths: Record<string, number>,
  options: QueryOptions,
): Promise<string | undefined> {
  const missing = key.find((name) => !relation.columns.some((column) => column.name === name));
  if (missing !== undefined) return `has a column ${missing} that ${relation.name} lacks`;
  const columns = key.map(quoteIdentifier);
  const nested = relation.columns.find(({ name, type }) => key.includes(name) && isUnindexable(type.kind));
  if (nested !== undefined) return `has a column ${nested.name} of type ${nested.type.kind}`;
  const texts = relation.columns.filter(({ name, type }) => key.includes(name) && isVariable(type.kind));
  const longest = texts.map(
    ({ name, type }, index) =>
      `max(${type.kind === 'binary' ? 'length' : 'lengthUTF8'}(${quoteIdentifier(name)})) AS ${ownName(index)}`,
  );
  const [row] = await engine.rows<Record<string, string | number | null>>(
    `SELECT ${[`countIf(${columns.map((column) => `${column} IS NULL`).join(' OR ')}) AS ${ownName('nulls')}`, ...longest].join(', ')} FROM (${relation.sql})`,
    options,
  );
  texts.forEach(({ name }, index) => {
    lengths[name] = Math.max(lengths[name] ?? 0, Number(row?.[`parity~${index}`] ?? 0));
  });
  const nulls = Number(row?.['parity~nulls'] ?? 0);
  const duplicates = await countDuplicates(engine, relation, columns, options);
  if (nulls === 0 && duplicates === 0) return undefined;
  const parts = [...(duplicates > 0 ? [`${duplicates} duplicates`] : []), ...(nulls > 0 ? [`${nulls} NULLs`] : [])];
  return `has ${parts.join(' and ')} in ${relation.name}`;
}

/** Rows beyond the first of their key. Grouped by a 128-bit hash, so that wide keys cost no more than narrow ones. */
async function countDuplicates(
  engine: Engine,
  relation: Relation,
  columns: readonly string[],
  options: QueryOptions,
): Promise<number> {
  const n = ownName('n');
  const [row] = await engine.rows<{ n: string | null }>(
    `SELECT sum(${n} - 1) AS n FROM (SELECT count() AS ${n} FROM (${relation.sql}) GROUP BY xxh3_128(tuple(${columns.join(', ')})) HAVING ${n} > 1)`,
    options,
  );
  return Number(row?.n ?? 0);
}

function isVariable(kind: string): boolean {
  return kind === 'string' || kind === 'binary';
}

/** Floats are no key either: what equals in SQL (0 and -0, NaN and NaN) is not what equals here. */
function isUnindexable(kind: string): boolean {
  return kind === 'struct' || kind === 'array' || kind === 'map' || kind === 'float' || kind === 'double';
}
