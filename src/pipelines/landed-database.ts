import mysql from 'mysql2/promise';
import pg from 'pg';
import type { LandingEngine, ResolvedOutputs, ResolvedSource } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier } from '../engine/sql.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import type { Relation } from '../lake/relation.ts';
import { isNested } from '../lake/relation-types.ts';
import type { DataType, Field } from '../lake/types.ts';
import { clientOptions as mysqlOptions } from '../sources/mysql-client.ts';
import { diagnoseMysql } from '../sources/mysql-errors.ts';
import { clientOptions as postgresOptions } from '../sources/postgres.ts';
import { diagnosePostgres } from '../sources/postgres-errors.ts';
import { sourceDriver } from '../sources/registry.ts';
import type { Connection, LoadOptions, SourceTableColumn } from '../sources/source.ts';
import { toSourceError } from '../sources/source-errors.ts';
import { ParityError } from '../support/error.ts';
import { snapshotPath, snapshotVersion } from '../tasks/relations.ts';
import type { TaskContext } from '../tasks/task.ts';
import type { TableOutput } from './contract.ts';
import { clickHouseRelation } from './landed-clickhouse.ts';
import { snowflakeTable, snowflakeType } from './landed-snowflake.ts';

export interface LandedInDatabase {
  readonly outputs: Extract<ResolvedOutputs, { kind: 'database' }>;
  readonly output: Extract<TableOutput, { format: 'Table' }>;
  readonly source: string;
  readonly table: string;
}

/**
 * A table of a database as it is there: its columns are asked of the database, not of the manifest, so that one that is missing, added or of another type
 * is seen. The rows are exported by the database itself. Throws `NotFound` where there is no such table.
 */
export async function databaseRelation(
  engine: Engine,
  context: TaskContext,
  { output, outputs, source, table }: LandedInDatabase,
  connection: Connection,
): Promise<Relation> {
  const spec = context.file.spec.sources.find(({ name }) => name === source);
  if (spec === undefined)
    throw new ParityError('InvalidSpec', `The run has no source ${source}.`, { subject: 'spec.sources' });
  const engineName = outputs.server?.engine ?? spec.engine;
  const fields = await snapshotFields(context, table);
  const columns = spec.engine === engineName ? spec.columns : [];
  const options = {
    signal: context.signal,
    onProgress: ({ rows }: { rows: number }) => context.progress({ table, rows }),
  };
  return await tableRelation(engine, connection, { engineName, output, table, fields, columns }, options);
}

export interface TableInDatabase {
  readonly engineName: LandingEngine;
  readonly output: LandedInDatabase['output'];
  /** The run's table. */
  readonly table: string;
  /** The snapshot's columns, and how the source holds them where it is of the same engine. */
  readonly fields: readonly Field[];
  readonly columns: ResolvedSource['columns'];
}

/** The same, where the run has said what it knows of the table. */
export async function tableRelation(
  engine: Engine,
  connection: Connection,
  landed: TableInDatabase,
  options: LoadOptions,
): Promise<Relation> {
  const { engineName, output, table, fields } = landed;
  if (engineName === 'ClickHouse') {
    const expected = new Map(fields.map((field) => [field.name, field]));
    return await clickHouseRelation(engine, connection, { name: output.table, table, expected }, options.signal);
  }
  const names = fields.map((field) => field.name);
  const found = await tableOf(connection, engineName, output, names);
  if (found.columns.length === 0)
    throw new ParityError('NotFound', `There is no table ${output.table} in the ${engineName} database.`, {
      subject: table,
    });
  const expected = expectedColumns(landed, engineName);
  const columns = found.columns.map((column) => {
    const planned = expected.get(column.as ?? column.name);
    const isSame = planned !== undefined && isSameType(planned, column.type, engineName);
    const field = isSame ? { ...planned.field, name: column.name } : columnFor(column, engineName, table);
    return { field, sqlType: column.type };
  });
  const own = output.schema === null ? connection : { ...connection, schema: output.schema };
  const session = await sourceDriver(engineName).connect(own, { signal: options.signal });
  try {
    const asTable = { name: found.name, columns, primaryKey: [], cursor: undefined };
    const relation = await session.export(engine, asTable, options);
    const place = [output.schema, found.name].filter(Boolean).join('.');
    return { ...renamed(relation, found.columns), name: `${place} in ${engineName}` };
  } finally {
    await session.close();
  }
}

interface FoundTable {
  /** As the database spells it. */
  readonly name: string;
  /** None where there is no such table. */
  readonly columns: readonly FoundColumn[];
}

interface FoundColumn {
  readonly name: string;
  /** As the database spells it. */
  readonly type: string;
  /** What the column is called here, where the database has folded its name. */
  readonly as?: string;
}

async function tableOf(
  connection: Connection,
  engine: ResolvedSource['engine'],
  output: LandedInDatabase['output'],
  names: readonly string[],
): Promise<FoundTable> {
  const name = output.table;
  const doing = `looking at the table ${output.table}`;
  switch (engine) {
    case 'Postgres': {
      const client = new pg.Client(postgresOptions(connection));
      client.on('error', () => undefined);
      try {
        await client.connect();
        const { rows } = await client.query<FoundColumn>(
          `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
           JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
           WHERE nspname = $1 AND relname = $2 AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
          [output.schema ?? 'public', output.table],
        );
        return { name, columns: rows };
      } catch (error) {
        throw toSourceError(error, { engine, doing, connection }, diagnosePostgres(connection));
      } finally {
        await client.end().catch(() => undefined);
      }
    }
    case 'MySQL': {
      let client: mysql.Connection | undefined;
      try {
        client = await mysql.createConnection(mysqlOptions(connection));
        client.on('error', () => undefined);
        const [rows] = await client.query<mysql.RowDataPacket[]>(
          `SELECT column_name AS name, column_type AS type FROM information_schema.columns
           WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position`,
          [output.table],
        );
        return { name, columns: rows.map((row) => ({ name: String(row.name), type: String(row.type) })) };
      } catch (error) {
        throw toSourceError(error, { engine, doing, connection }, diagnoseMysql(connection));
      } finally {
        client?.destroy();
      }
    }
    case 'Snowflake':
      return await snowflakeTable(connection, output.table, names);
  }
}

/** The relation with the names that its columns have here. */
function renamed(relation: Relation, found: readonly FoundColumn[]): Relation {
  if (found.every(({ as }) => as === undefined)) return relation;
  const columns = relation.columns.map((field, index) => {
    const name = found[index]?.as ?? field.name;
    return { ...field, name, physicalName: name };
  });
  const values = relation.columns.map(
    ({ name }, index) => `read.${quoteIdentifier(name)} AS ${quoteIdentifier(columns[index]?.name ?? name)}`,
  );
  return { ...relation, columns, sql: `SELECT ${values.join(', ')} FROM (${relation.sql}) AS read` };
}

/** What this engine holds of the table when it is a source: a column of just that type is read as the snapshot's. */
function expectedColumns(
  { table, fields, columns }: TableInDatabase,
  engine: ResolvedSource['engine'],
): ReadonlyMap<string, SourceTableColumn> {
  try {
    const planned = sourceDriver(engine).plan(table, fields, {
      primaryKey: [],
      cursor: undefined,
      columns,
    });
    return new Map(planned.columns.map((column) => [column.field.name, column]));
  } catch {
    // Another engine than the source's may not be able to hold all of it: then types speak for themselves.
    return new Map();
  }
}

/** The snapshot's columns, without those that were never the source's. */
export async function snapshotFields(context: TaskContext, table: string): Promise<readonly Field[]> {
  const declared = context.file.spec.snapshot.tables.find(({ name }) => name === table);
  const version = await snapshotVersion(context, table, 'Target');
  const { schema } = await readDeltaSnapshot(context.workspace, snapshotPath(table), version);
  return schema.fields.filter(({ name }) => declared?.exclude.includes(name) !== true);
}

function columnFor({ name, type }: FoundColumn, engine: ResolvedSource['engine'], table: string): Field {
  const found = typeFor[engine](type);
  if (found === undefined)
    throw new ParityError(
      'UnsupportedFeature',
      `Reading ${table}, its column ${name} is of the type ${type}, which is not read exactly.`,
      { subject: table, advice: `Have the pipeline land it as another type, or exclude the column from the table.` },
    );
  return { name, physicalName: name, type: found, nullable: true };
}

const typeFor: Readonly<Record<ResolvedSource['engine'], (type: string) => DataType | undefined>> = {
  Postgres: postgresType,
  MySQL: mysqlType,
  Snowflake: snowflakeType,
};

function postgresType(type: string): DataType | undefined {
  const decimal = decimalOf(/^numeric\((\d+),(\d+)\)$/.exec(type));
  if (decimal !== undefined) return decimal;
  if (/^timestamp(\(\d\))? with time zone$/.test(type)) return { kind: 'timestamp' };
  if (/^timestamp(\(\d\))? without time zone$/.test(type)) return { kind: 'timestamp_ntz' };
  // All else has one exact text; a number without a precision is only equal to a text.
  return postgresTypes.get(type) ?? { kind: 'string' };
}

const postgresTypes: ReadonlyMap<string, DataType> = new Map<string, DataType>([
  ['smallint', { kind: 'short' }],
  ['integer', { kind: 'integer' }],
  ['bigint', { kind: 'long' }],
  ['real', { kind: 'float' }],
  ['double precision', { kind: 'double' }],
  ['boolean', { kind: 'boolean' }],
  ['bytea', { kind: 'binary' }],
  ['date', { kind: 'date' }],
]);

function mysqlType(type: string): DataType | undefined {
  const plain = type.toLowerCase().replace(/ (zerofill|charset \w+|collate \w+)/g, '');
  if (plain === 'tinyint(1)') return { kind: 'boolean' };
  const decimal = decimalOf(/^decimal\((\d+),(\d+)\)/.exec(plain));
  if (decimal !== undefined) return decimal;
  const isUnsigned = / unsigned$/.test(plain);
  const word = /^[a-z]+/.exec(plain)?.[0] ?? '';
  const integer = isUnsigned ? unsignedIntegers.get(word) : integers.get(word);
  if (integer !== undefined) return integer;
  if (/^(char|varchar|tinytext|text|mediumtext|longtext|enum|set|json|time|year)$/.test(word))
    return { kind: 'string' };
  if (/^(binary|varbinary|tinyblob|blob|mediumblob|longblob)$/.test(word)) return { kind: 'binary' };
  switch (word) {
    case 'float':
      return { kind: 'float' };
    case 'double':
      return { kind: 'double' };
    case 'date':
      return { kind: 'date' };
    case 'datetime':
      return { kind: 'timestamp_ntz' };
    case 'timestamp':
      return { kind: 'timestamp' };
    default:
      return undefined;
  }
}

const integers: ReadonlyMap<string, DataType> = new Map<string, DataType>([
  ['tinyint', { kind: 'byte' }],
  ['smallint', { kind: 'short' }],
  ['mediumint', { kind: 'integer' }],
  ['int', { kind: 'integer' }],
  ['bigint', { kind: 'long' }],
]);

/** The next wider type holds them all. */
const unsignedIntegers: ReadonlyMap<string, DataType> = new Map<string, DataType>([
  ['tinyint', { kind: 'short' }],
  ['smallint', { kind: 'integer' }],
  ['mediumint', { kind: 'integer' }],
  ['int', { kind: 'long' }],
  ['bigint', { kind: 'decimal', precision: 20, scale: 0 }],
]);

function decimalOf(match: RegExpExecArray | null): DataType | undefined {
  if (match === null || Number(match[1]) > 38) return undefined;
  return { kind: 'decimal', precision: Number(match[1]), scale: Number(match[2]) };
}

/** Semi-structured types of Snowflake all hold the nested value. */
function isSameType({ field, sqlType }: SourceTableColumn, found: string, engine: ResolvedSource['engine']): boolean {
  if (engine === 'Snowflake' && /^(variant|object|array)$/.test(found)) return isNested(field.type);
  return normal(sqlType) === normal(found);
}

/** One spelling for what two versions of a database print in different ways: display widths, default precisions. */
function normal(type: string): string {
  return type
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .replace(/^timestamp(\(6\))? (with|without)/, 'timestamp $2')
    .replace(/^(smallint|mediumint|int|bigint)\(\d+\)/, '$1')
    .replace(/^tinyint\((?!1\))\d+\)/, 'tinyint')
    .replace(/, /g, ',')
    .replace(/ (character set|collate) \w+/g, '');
}
