import { randomUUID } from 'node:crypto';
import { friendlySql } from '../../../src/compare/query-sql.ts';
import type { Engine } from '../../../src/engine/engine.ts';
import { quoteIdentifier, quoteString } from '../../../src/engine/sql.ts';
import { readDeltaSnapshot } from '../../../src/lake/delta/log.ts';
import { deltaRelation } from '../../../src/lake/relation-delta.ts';
import type { ObjectStore } from '../../../src/lake/store.ts';
import type { Table } from './state.ts';

export const defaultRows = 100;
export const mostRows = 50_000;

export const offsetMessage =
  'OFFSET is not supported on queries made with a personal API key. For pagination, use keyset pagination on the `timestamp` column, e.g. ' +
  '`WHERE timestamp > :last_seen_timestamp ORDER BY timestamp LIMIT N`. For bulk data extraction, use batch exports: https://posthog.com/docs/cdp/batch-exports';

/** What PostHog shows its user of an error. */
export class ExposedError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface QueryResult {
  readonly columns: readonly string[];
  readonly types: readonly (readonly [string, string])[];
  /** JSON text of a list of rows: numbers with all their digits. */
  readonly results: string;
  readonly hasMore: boolean | undefined;
  readonly limit: number;
}

/** Answers plain SQL, as HogQL is for queries that use nothing of its own, over the tables that are live; limits as PostHog's. */
export async function answer(
  engine: Engine,
  store: ObjectStore,
  tables: readonly Table[],
  query: string,
  ownTables: Readonly<Record<string, string>> = {},
): Promise<QueryResult> {
  const plain = query.trim().replace(/;\s*$/, '');
  const bare = plain.replaceAll(/'(?:[^'\\]|\\[\s\S]|'')*'/g, "''");
  if (/\boffset\b/i.test(bare)) throw new ExposedError('invalid_input', offsetMessage);
  if (!/^\s*(select|with)\b/i.test(bare)) throw new ExposedError('invalid_input', 'mismatched input: expecting SELECT');
  const database = `posthog_${randomUUID().replaceAll('-', '')}`;
  await engine.execute(`CREATE DATABASE ${database}`);
  try {
    let sql = plain;
    for (const [name, select] of Object.entries(ownTables)) {
      if (!new RegExp(`\\b${name}\\b`).test(bare)) continue;
      await engine.execute(`CREATE VIEW ${database}.${name} AS ${select}`);
      sql = sql.replaceAll(new RegExp(`\\b(from|join)\\s+${name}\\b`, 'gi'), `$1 ${database}.${name}`);
    }
    for (const table of tables.filter(({ name }) => new RegExp(`\\b${name}\\b`).test(bare))) {
      await engine.execute(
        `CREATE VIEW ${database}.${quoteIdentifier(table.name)} AS ${await selectOf(engine, store, table)}`,
      );
      sql = sql.replaceAll(new RegExp(`\\b${table.name}\\b`, 'g'), `${database}.${table.name}`);
    }
    const unknown = /\b(?:from|join)\s+([a-z_][\w.]*)/gi;
    for (const [, name = ''] of sql.matchAll(unknown))
      if (
        !name.startsWith(database) &&
        !/^(numbers|values)$/.test(name) &&
        !new RegExp(`\\b${name}\\s+as\\s*\\(`, 'i').test(sql)
      )
        throw new ExposedError('invalid_input', `Unknown table \`${name}\`.`);
    const [, given] = /\blimit\s+(\d+)\s*$/i.exec(bare) ?? [];
    const limit = given === undefined ? defaultRows : Math.min(mostRows, Number(given));
    const body = given === undefined ? sql : sql.replace(/\blimit\s+\d+\s*$/i, '');
    const shape = await engine.rows<{ name: string; type: string }>(`DESCRIBE (${body}\n)`);
    const values = shape.map(({ name, type }) => jsonOf(quoteIdentifier(name), type));
    const rows = await engine.rows<{ row: string }>(
      `SELECT concat('[', arrayStringConcat([${values.join(', ')}], ','), ']') AS row FROM (${body}\nLIMIT ${limit + (given === undefined ? 1 : 0)})`,
    );
    const hasMore = given === undefined ? rows.length > limit : undefined;
    return {
      columns: shape.map(({ name }) => name),
      types: shape.map(({ name, type }) => [name, type]),
      results: `[${rows
        .slice(0, limit)
        .map(({ row }) => row)
        .join(',')}]`,
      hasMore,
      limit,
    };
  } catch (error) {
    if (error instanceof ExposedError) throw error;
    throw new ExposedError('clickhouse_error', error instanceof Error ? error.message : String(error));
  } finally {
    await engine.execute(`DROP DATABASE IF EXISTS ${database} SYNC`);
  }
}

async function selectOf(engine: Engine, store: ObjectStore, table: Table): Promise<string> {
  if (table.path !== undefined)
    return friendlySql(
      await deltaRelation(engine, store, table.path, await readDeltaSnapshot(store, table.path, undefined)),
    );
  const { key = '', secret = '' } = table.credential ?? {};
  const format = table.format === 'Delta' ? 'deltaLake' : 's3';
  const more = format === 's3' ? `, ${quoteString(table.format)}` : '';
  return `SELECT * FROM ${format}(${quoteString(table.urlPattern)}, ${quoteString(key)}, ${quoteString(secret)}${more})`;
}

/** As PostHog writes values: numbers bare, times in ISO 8601, decimals as text, no NaN. */
function jsonOf(column: string, type: string): string {
  const plain = type.replace(/^Nullable\((.*)\)$/, '$1');
  const text = (sql: string): string => `toJSONString(toString(${sql}))`;
  const written = /^(U?Int|Float)/.test(plain)
    ? `if(toString(${column}) IN ('nan', 'inf', '-inf'), 'null', toString(${column}))`
    : /^Bool/.test(plain)
      ? `toString(${column})`
      : /^DateTime/.test(plain)
        ? text(
            `concat(replaceOne(replaceRegexpOne(toString(toTimeZone(${column}, 'UTC')), '[.]0+$', ''), ' ', 'T'), 'Z')`,
          )
        : /^(Array|Map|Tuple)/.test(plain)
          ? `toJSONString(${column})`
          : text(column);
  return `ifNull(${written}, 'null')`;
}
