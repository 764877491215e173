import type { Engine, QueryOptions } from '../engine/engine.ts';
import { quoteString } from '../engine/sql.ts';
import { expectedCells, readableAs } from './expected-cells.ts';

/** A query's result, kept in a table of the engine: row number and values as text, NULL staying NULL. */
export interface ResultSet {
  readonly table: string;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
}

export interface ResultSetComparison {
  readonly outcome: 'Equal' | 'Different';
  /** What was found, in one sentence without values; empty where equal. */
  readonly message: string;
  readonly baselineRows: number;
  readonly candidateRows: number;
  /** Digest of the rows, and of their order where it counts; hex. */
  readonly baselineDigest: string;
  readonly candidateDigest: string;
  readonly samples: readonly { readonly baseline: string | null; readonly candidate: string | null }[];
}

/** Whose way of writing values a comparison is made in: a result of PostHog's is compared only with one written as PostHog does. */
export type Writing = 'Engine' | 'PostHog';

/**
 * Runs a SELECT and keeps its result in `table`. Values are compared as the engine writes them, so that a count is equal to the same count
 * in a wider integer, and `1.50` to `1.5` in decimals.
 */
export async function keepResult(
  engine: Engine,
  sql: string,
  table: string,
  options: QueryOptions,
  writing: Writing = 'Engine',
): Promise<ResultSet> {
  // The closing bracket on a line of its own: the query may end in a comment.
  const columns = await engine.rows<{ name: string; type: string }>(`DESCRIBE (${sql}\n)`, options);
  await createTable(engine, table, options);
  // In one thread: with more, sums of floats, ties and whatever else depends on the order of rows would come out otherwise each time.
  await engine.execute(`INSERT INTO ${table} ${resultQuery(sql, columns, writing)}, max_threads = 1`, options);
  return { table, columns };
}

/** A query of the numbered rows of a SELECT, each value as text: what a result set is made of, here or on a server. */
export function resultQuery(sql: string, columns: ResultSet['columns'], writing: Writing = 'Engine'): string {
  const write = writing === 'Engine' ? (value: string) => `toString(${value})` : asPostHogWrites;
  const values = columns.map(({ type }, i) => write(`tupleElement(r, ${i + 1})`, type));
  return `SELECT rowNumberInAllBlocks() AS n, CAST([${values.join(', ')}], 'Array(Nullable(String))') AS v
     FROM (SELECT tuple(*) AS r FROM (${sql}\n)) ${keepOrder}`;
}

/** Keeps what `resultQuery` gave on a server, as a Parquet file. */
export async function takeResult(
  engine: Engine,
  file: string,
  columns: ResultSet['columns'],
  table: string,
  options: QueryOptions,
): Promise<ResultSet> {
  await createTable(engine, table, options);
  await engine.execute(
    `INSERT INTO ${table} SELECT n, v FROM file(${quoteString(file)}, Parquet, 'n UInt64, v Array(Nullable(String))')`,
    options,
  );
  return { table, columns };
}

/**
 * Keeps rows that PostHog gave (a file of `[row number, [values]]` a line, values as text) as a result set, written so that the same value has one text: its
 * types say how a text is to be read.
 */
export async function keepRows(
  engine: Engine,
  file: string,
  columns: ResultSet['columns'],
  table: string,
  options: QueryOptions,
): Promise<ResultSet> {
  await createTable(engine, table, options);
  const values = columns.map(({ type }, i) => fromPostHog(`v[${i + 1}]`, type));
  await engine.execute(
    `INSERT INTO ${table} SELECT n, CAST([${values.join(', ')}], 'Array(Nullable(String))') AS v
     FROM file(${quoteString(file)}, JSONCompactEachRow, 'n UInt64, v Array(Nullable(String))') SETTINGS max_insert_threads = 1`,
    options,
  );
  return { table, columns };
}

/** A text of PostHog's answer: instants in UTC without zeros at their end, numbers as the engine writes them. */
function fromPostHog(text: string, type: string): string {
  const plain = plainType(type);
  if (/^DateTime/.test(plain))
    return `coalesce(${instant(`parseDateTime64BestEffortOrNull(${text}, 6, 'UTC')`)}, ${text})`;
  if (!/^(U?Int|Float|Decimal|Bool|Date)/.test(plain)) return text;
  return `coalesce(toString(accurateCastOrNull(${text}, ${quoteString(plain)})), ${text})`;
}

/** The same for a value of the engine; PostHog gives NULL for what JSON has no number for. */
function asPostHogWrites(value: string, type: string): string {
  const plain = plainType(type);
  if (/^DateTime/.test(plain)) return instant(`toTimeZone(${value}, 'UTC')`);
  if (/^Float/.test(plain)) return `if(isFinite(${value}), toString(${value}), NULL)`;
  if (/^(Array|Map|Tuple)/.test(plain)) return `toJSONString(${value})`;
  return `toString(${value})`;
}

function instant(value: string): string {
  return `replaceRegexpOne(toString(${value}), '[.]0*$|([.][0-9]*[1-9])0+$', '\\\\1')`;
}

/**
 * Keeps rows written in a manifest (each the JSON text of an array) as a result set beside `like`: a value is read as the type of its column
 * there, so that 1 equals 1.0 in a column of floats; what cannot be read so without losing any of it stays as it is written, and will differ.
 */
export async function keepExpected(
  engine: Engine,
  rows: readonly string[],
  like: ResultSet,
  table: string,
  options: QueryOptions,
  writing: Writing = 'Engine',
): Promise<ResultSet> {
  await createTable(engine, table, options);
  for (const [n, row] of rows.entries()) {
    const cells = expectedCells(row);
    // A row with more or fewer values than the result has columns stays recognizable as such.
    const isWhole = cells.length === like.columns.length;
    const values = cells.map((cell, i) => expectedValue(cell, isWhole ? like.columns[i]?.type : undefined, writing));
    await engine.execute(
      `INSERT INTO ${table} SELECT ${n} AS n, CAST([${values.join(', ')}], 'Array(Nullable(String))') AS v`,
      options,
    );
  }
  return { table, columns: like.columns };
}

function expectedValue(cell: string | null, type: string | undefined, writing: Writing): string {
  if (cell === null) return 'NULL';
  const written = quoteString(cell);
  const plain = type === undefined ? '' : plainType(type);
  const readable = readableAs(cell, plain);
  if (readable === undefined) return written;
  const text = quoteString(readable);
  if (writing === 'PostHog') return fromPostHog(text, plain);
  const isScalar = /^(U?Int|Float|Decimal|Bool|String|Date|UUID|FixedString)/.test(plain);
  return isScalar ? `coalesce(toString(accurateCastOrNull(${text}, ${quoteString(plain)})), ${written})` : written;
}

function plainType(type: string): string {
  return type.replace(/^LowCardinality\((.*)\)$/, '$1').replace(/^Nullable\((.*)\)$/, '$1');
}

/**
 * Compares two kept results: row by row in order where `isOrdered`, else as multisets. Up to `samples` differing rows as JSON text, or null
 * where values are masked.
 */
export async function compareResults(
  engine: Engine,
  baseline: ResultSet,
  candidate: ResultSet,
  options: { isOrdered: boolean; samples: number; values: 'Masked' | 'Shown' },
  query: QueryOptions,
): Promise<ResultSetComparison> {
  const mine = await digest(engine, baseline.table, options.isOrdered, query);
  const theirs = await digest(engine, candidate.table, options.isOrdered, query);
  const found = {
    baselineRows: mine.rows,
    candidateRows: theirs.rows,
    baselineDigest: mine.text,
    candidateDigest: theirs.text,
  };
  const [m, n] = [baseline.columns.length, candidate.columns.length];
  if (m !== n)
    return {
      ...found,
      outcome: 'Different',
      message: `${m} columns in the baseline, ${n} in the candidate`,
      samples: [],
    };
  if (mine.text === theirs.text) return { ...found, outcome: 'Equal', message: '', samples: [] };
  const differing = options.isOrdered ? inOrder(baseline, candidate) : asMultisets(baseline, candidate);
  const [count] = await engine.rows<{ n: string }>(`SELECT sum(c) AS n FROM (${differing}) ${bounded}`, query);
  const samples =
    options.samples === 0
      ? []
      : await engine.rows<{ baseline: string | null; candidate: string | null }>(
          `SELECT ${shown('b', options.values)} AS baseline, ${shown('d', options.values)} AS candidate
           FROM (${differing}) ORDER BY place LIMIT ${Math.trunc(options.samples)} ${bounded}`,
          query,
        );
  return {
    ...found,
    outcome: 'Different',
    message: await inWords(engine, baseline, candidate, found, Number(count?.n), options, query),
    samples,
  };
}

const encoded =
  "arrayStringConcat(arrayMap(x -> if(isNull(x), 'N', concat(toString(length(x)), ':', assumeNotNull(x))), v))";
const bounded =
  'SETTINGS max_bytes_before_external_group_by = 67108864, max_bytes_before_external_sort = 67108864, max_block_size = 32768';
/** The engine must neither drop the query's ORDER BY as useless nor read what it sorted in several threads. */
const keepOrder = 'SETTINGS query_plan_remove_redundant_sorting = 0, max_insert_threads = 1';

async function createTable(engine: Engine, table: string, options: QueryOptions): Promise<void> {
  await engine.execute(
    `CREATE TABLE ${table} (n UInt64, v Array(Nullable(String))) ENGINE = MergeTree ORDER BY n`,
    options,
  );
}

async function digest(
  engine: Engine,
  table: string,
  isOrdered: boolean,
  options: QueryOptions,
): Promise<{ rows: number; text: string }> {
  const [row] = await engine.rows<{ rows: string; h: string }>(
    `SELECT count() AS rows, toString(sum(reinterpretAsUInt128(xxh3_128(tuple(${encoded}, ${isOrdered ? 'n' : '0'}))))) AS h FROM ${table}`,
    options,
  );
  const rows = Number(row?.rows ?? 0);
  return {
    rows,
    text: `${rows.toString(16)}-${BigInt.asUintN(128, BigInt(row?.h ?? 0))
      .toString(16)
      .padStart(32, '0')}`,
  };
}

function inOrder(baseline: ResultSet, candidate: ResultSet): string {
  return `SELECT bn, dn, b, d, 1 AS c, ifNull(bn, dn) AS place
    FROM (SELECT n AS bn, v AS b, ${encoded} AS be FROM ${baseline.table}) AS mine
    FULL JOIN (SELECT n AS dn, v AS d, ${encoded} AS de FROM ${candidate.table}) AS theirs ON bn = dn
    WHERE NOT (be <=> de)`;
}

function asMultisets(baseline: ResultSet, candidate: ResultSet): string {
  return `SELECT if(nb > nd, 1, NULL) AS bn, if(nd > nb, 1, NULL) AS dn, any(v) AS b, b AS d, sum(side = 0) AS nb, sum(side = 1) AS nd,
      if(nb > nd, nb - nd, nd - nb) AS c, tuple(xxh3_128(e), e) AS place
    FROM (SELECT 0 AS side, v, ${encoded} AS e FROM ${baseline.table} UNION ALL SELECT 1, v, ${encoded} FROM ${candidate.table})
    GROUP BY e HAVING nb != nd`;
}

/** The row as JSON, cut after 2,000 characters; bytes that are no UTF-8 as U+FFFD. */
function shown(letter: 'b' | 'd', values: 'Masked' | 'Shown'): string {
  if (values === 'Masked') return "CAST(NULL, 'Nullable(String)')";
  return `if(isNull(${letter}n), NULL, substringUTF8(toValidUTF8(toJSONString(arrayMap(x -> if(isNull(x), NULL, toValidUTF8(x)), ${letter}))), 1, 2000))`;
}

async function inWords(
  engine: Engine,
  baseline: ResultSet,
  candidate: ResultSet,
  found: { baselineRows: number; candidateRows: number },
  differing: number,
  { isOrdered }: { isOrdered: boolean },
  query: QueryOptions,
): Promise<string> {
  const { baselineRows, candidateRows } = found;
  if (isOrdered && baselineRows === candidateRows) {
    const [mine, theirs] = [
      await digest(engine, baseline.table, false, query),
      await digest(engine, candidate.table, false, query),
    ];
    if (mine.text === theirs.text)
      return 'the same rows in another order: if rows tie in ORDER BY, add columns to it that tell them apart';
  }
  const rows = (n: number): string => `${n} ${n === 1 ? 'row' : 'rows'}`;
  if (baselineRows !== candidateRows)
    return `${rows(baselineRows)} in the baseline, ${rows(candidateRows)} in the candidate`;
  return isOrdered
    ? `${differing} of ${rows(baselineRows)} ${differing === 1 ? 'differs' : 'differ'}`
    : `${differing / 2} of ${rows(baselineRows)} ${differing === 2 ? 'differs' : 'differ'}`;
}
