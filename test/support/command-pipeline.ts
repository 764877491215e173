import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { type Database, openDatabase } from '../../examples/temporal/database.ts';
import { openTable } from '../../examples/temporal/delta.ts';
import { openFolder } from '../../examples/temporal/folder.ts';
import { openEngine } from '../../src/engine/chdb.ts';
import type { ExecutionRequest } from '../../src/pipelines/contract.ts';

/**
 * A pipeline as a command: reads all rows of its tables, whatever the mode, and lands them as its argument says. `Delta` is right; so is `Copy`, which copies
 * tables inside the source's database, and `Load`, which brings them to another one. All others do wrong in the way of their name.
 */
const [behaviour = 'Delta'] = process.argv.slice(2);
const contract = process.env.PARITY_REQUEST ?? '';
const request: ExecutionRequest = JSON.parse(await readFile(contract, 'utf8'));
const secretDir = process.env.PARITY_SOURCE_DIR ?? '';
const scratch = await mkdtemp(join(tmpdir(), 'parity-command-pipeline-'));

switch (behaviour) {
  case 'Hang':
    process.stdout.write('waiting for a lock\n');
    setInterval(() => undefined, 1000);
    break;
  case 'Copy':
    await copy();
    break;
  case 'Load':
    await load();
    break;
  case 'Nothing':
    break;
  case 'Parquet':
    await landParquet((table) => fileURLToPath(`${table}/part-0.parquet`));
    break;
  case 'Iceberg':
    await landIceberg();
    break;
  default:
    await landDelta();
}
await rm(scratch, { recursive: true, force: true });

async function landDelta(): Promise<void> {
  const database = await openSource();
  for (const { name, output } of request.tables) {
    if (output.format !== 'Delta') throw new Error('only Delta is landed here');
    const columns = await database.columns(name);
    const file = join(scratch, `${name}.csv`);
    await database.copyTo(file, name, columns);
    const csv = `read_csv('${file}', header = false, all_varchar = true, names = [${columns.map((_, index) => `'c${index}'`).join(', ')}], nullstr = '', allow_quoted_nulls = false)`;
    const as = (column: string): string => (behaviour === 'OtherTable' ? `x_${column}` : column);
    const values = columns.map((column, index) => `${column.fromText(`c${index}`)} AS "${as(column.name)}"`);
    const where = behaviour === 'Empty' ? ' WHERE false' : '';
    const table = await openTable(openFolder(output.location, request.storage, scratch));
    const landed = columns.map((column) => ({ ...column, name: as(column.name) }));
    await table.overwrite(landed, `SELECT ${values.join(', ')} FROM ${csv}${where}`);
    if (behaviour === 'HalfLog') await halve(fileURLToPath(output.location));
  }
  await database.close();
}

async function openSource(): Promise<Database> {
  const { engine } = request.source;
  if (engine === 'Snowflake') throw new Error('only Postgres and MySQL are read here');
  return await openDatabase({ engine, secretDir });
}

/** All rows as one Parquet file each. */
async function landParquet(fileOf: (location: string) => string): Promise<void> {
  const database = await openSource();
  const connection = await (await DuckDBInstance.create()).connect();
  await connection.run("SET TimeZone = 'UTC'");
  for (const { name, output } of request.tables) {
    if (output.format === 'Table') throw new Error('only files are landed here');
    const columns = await database.columns(name);
    const file = join(scratch, `${name}.csv`);
    await database.copyTo(file, name, columns);
    const names = columns.map((_, index) => `'c${index}'`).join(', ');
    const values = columns.map((column, index) => `${column.fromText(`c${index}`)} AS "${column.name}"`).join(', ');
    const target = fileOf(output.location);
    await mkdir(dirname(target), { recursive: true });
    await connection.run(
      `COPY (SELECT ${values} FROM read_csv('${file}', header = false, all_varchar = true, names = [${names}])) TO '${target}' (FORMAT parquet)`,
    );
  }
  connection.closeSync();
  await database.close();
}

/** Airlines by the engine's own writer of Iceberg, which knows no time with a zone. */
async function landIceberg(): Promise<void> {
  await landParquet(() => join(scratch, 'rows.parquet'));
  process.chdir('/');
  const engine = await openEngine({ scratch, memoryBytes: 2 ** 29, threads: 1 });
  await engine.execute('SET allow_insert_into_iceberg = 1');
  for (const { output } of request.tables) {
    if (output.format === 'Table') throw new Error('only files are landed here');
    const folder = fileURLToPath(output.location);
    await mkdir(folder, { recursive: true });
    await engine.execute(
      `CREATE TABLE ice (carrier Nullable(String), name Nullable(String)) ENGINE = IcebergLocal('${folder}/', 'Parquet')`,
    );
    await engine.execute(`INSERT INTO ice SELECT carrier, name FROM file('${join(scratch, 'rows.parquet')}', Parquet)`);
  }
  await engine.close();
}

/** Cuts the table's first commit in two, as a writer does that dies where there is no atomic rename. */
async function halve(folder: string): Promise<void> {
  const commit = join(folder, '_delta_log', '00000000000000000000.json');
  const text = await readFile(commit, 'utf8');
  await writeFile(commit, text.slice(0, text.length / 2));
}

async function copy(): Promise<void> {
  const client = new pg.Client((await readFile(join(secretDir, 'url'), 'utf8')).trim());
  await client.connect();
  await client.query('CREATE SCHEMA IF NOT EXISTS landed');
  for (const { name, output } of request.tables) {
    if (output.format !== 'Table') throw new Error('only tables are landed here');
    await client.query(`DROP TABLE IF EXISTS "${output.schema}"."${output.table}"`);
    await client.query(`CREATE TABLE "${output.schema}"."${output.table}" AS SELECT * FROM "${name}"`);
  }
  await client.end();
}

/** Airlines into MySQL, row by row: there are sixteen. */
/** Brings the table to the database that the run has made for it, with as many statements as rows: there are few. */
async function load(): Promise<void> {
  const client = new pg.Client((await readFile(join(secretDir, 'url'), 'utf8')).trim());
  await client.connect();
  const target = await openTarget();
  for (const { output } of request.tables) {
    if (output.format !== 'Table') throw new Error('only tables are landed here');
    const { rows } = await client.query<Record<string, string>>(
      `SELECT carrier, name, to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS updated_at FROM airlines`,
    );
    await target.make(output.table);
    for (const { carrier, name, updated_at } of rows)
      await target.insert(
        output.table,
        [carrier, name, updated_at].map((value) => `'${value?.replaceAll("'", "''")}'`).join(', '),
      );
  }
  await target.close();
  await client.end();
}

interface Target {
  make(table: string): Promise<void>;
  insert(table: string, values: string): Promise<void>;
  close(): Promise<void>;
}

async function openTarget(): Promise<Target> {
  const folder = process.env.PARITY_OUTPUT_DIR ?? '';
  const names = await readdir(folder);
  const keys = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const)),
  );
  switch (process.env.PARITY_OUTPUT_ENGINE) {
    case 'ClickHouse': {
      const url = `${new URL(keys.url ?? '').origin}/?database=${keys.database}`;
      const headers = { 'x-clickhouse-user': keys.user ?? '', 'x-clickhouse-key': latin1(keys.password ?? '') };
      const run = async (body: string): Promise<void> => {
        const answer = await fetch(url, { method: 'POST', headers, body });
        if (!answer.ok) throw new Error(await answer.text());
      };
      return {
        // A table of which each row is there twice until it is merged.
        make: (table) =>
          run(
            `CREATE OR REPLACE TABLE ${table} (carrier LowCardinality(String), name String, updated_at DateTime64(6)) ENGINE = ReplacingMergeTree ORDER BY carrier`,
          ),
        async insert(table, values) {
          for (let time = 0; time < 2; time++) await run(`INSERT INTO ${table} VALUES (${values})`);
        },
        close: async () => undefined,
      };
    }
    default: {
      const client = await mysql.createConnection(keys.url ?? '');
      return {
        async make(table) {
          await client.query(`DROP TABLE IF EXISTS \`${table}\``);
          await client.query(
            `CREATE TABLE \`${table}\` (carrier longtext, name longtext, updated_at datetime(6)) CHARACTER SET utf8mb4`,
          );
        },
        async insert(table, values) {
          await client.query(`INSERT INTO \`${table}\` VALUES (${values})`);
        },
        close: () => client.end(),
      };
    }
  }
}

function latin1(value: string): string {
  return Buffer.from(value).toString('latin1');
}
