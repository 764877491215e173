import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ownName } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import { quoteIdentifier, quoteString } from '../engine/sql.ts';
import type { Relation } from '../lake/relation.ts';
import { engineType } from '../lake/relation-types.ts';
import { type ParquetFile, writeParquet } from '../lake/write-parquet.ts';
import { env } from '../support/env.ts';
import { ParityError } from '../support/error.ts';
import { toRefusal } from './refusals.ts';
import { type Row, type SnowflakeClient, sfIdentifier, sfString } from './snowflake-client.ts';
import { arrivalColumns, readValue, travelling, travellingName, travelQuery, unloadValue } from './snowflake-types.ts';
import type { LoadOptions, SourceTable } from './source.ts';

/**
 * Moves rows between the engine and Snowflake as Parquet files over a stage of the session's own, both ways (docs/decisions/0010-snowflake-stage.md). No row becomes a
 * value of this process, and no statement depends on how many rows there are.
 */
export class SnowflakeStage {
  readonly #client: SnowflakeClient;
  readonly #name = `PARITY_${randomBytes(8).toString('hex').toUpperCase()}`;
  #isMade = false;
  #sequence = 0;

  constructor(client: SnowflakeClient) {
    this.#client = client;
  }

  /** Makes the temporary table `target` with the relation's rows as they travel (`arrivedValue` reads them). Returns how many. */
  async load(
    engine: Engine,
    table: SourceTable,
    rows: Relation,
    target: string,
    options: LoadOptions,
  ): Promise<number> {
    const { folder, path } = await this.#place(engine);
    try {
      const files = await this.#write(engine, table, rows, folder, options);
      const written = files.reduce((sum, file) => sum + file.rows, 0);
      if (rows.rows !== undefined && rows.rows !== written) throw lost(table, written, rows.name, rows.rows);
      await this.#client.run(`CREATE OR REPLACE TEMPORARY TABLE ${sfIdentifier(target)} (${arrivalColumns(table)})`);
      if (files.length === 0) return 0;
      await this.#put(files, folder, path, table, options);
      const copied = await this.#client.run(
        `COPY INTO ${sfIdentifier(target)} FROM @${path} FILE_FORMAT = (TYPE = PARQUET) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE ON_ERROR = ABORT_STATEMENT`,
      );
      const loaded = loadedRows(copied);
      if (loaded !== written) throw lost(table, loaded, 'the stage', written);
      options.onProgress({ rows: loaded, bytes: 0 });
      return loaded;
    } finally {
      await this.#clear(folder, path);
    }
  }

  /**
   * Brings the rows of `from` (a table, with a condition) into a folder of the engine, and returns a relation over them and what removes the folder.
   * Throws `Internal` where the engine would see another number of rows than Snowflake unloaded.
   */
  async unload(
    engine: Engine,
    table: SourceTable,
    from: string,
  ): Promise<{ relation: Relation & { readonly rows: number }; remove: () => Promise<void> }> {
    const { folder, path } = await this.#place(engine);
    const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
    const values = table.columns.map(
      (column, index) => `${unloadValue(column)} AS ${sfIdentifier(travellingName(index))}`,
    );
    try {
      const [unloaded] = await this.#client.run(
        `COPY INTO @${path} FROM (SELECT ${values.join(', ')} FROM ${from}) FILE_FORMAT = (TYPE = PARQUET) HEADER = TRUE OVERWRITE = TRUE MAX_FILE_SIZE = ${fileBytes}`,
      );
      const rows = Number(unloaded?.rows_unloaded);
      // Unloading no rows makes no file, and there is nothing to get.
      if (rows > 0) await this.#get(folder, path, table);
      await this.#client.run(`REMOVE @${path}`);
      return { relation: relationOver(table, folder, rows), remove };
    } catch (error) {
      await remove();
      throw error;
    }
  }

  /** A folder of the engine's and a path of the stage for one journey: neither has anything in it. */
  async #place(engine: Engine): Promise<{ folder: string; path: string }> {
    // Encrypted by the server: the driver's own encryption takes memory that grows with the file. Temporary, it ends with the session, however that ends.
    if (!this.#isMade)
      await this.#client.run(`CREATE OR REPLACE TEMPORARY STAGE ${this.#name} ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')`);
    this.#isMade = true;
    const number = this.#sequence++;
    const folder = join(engine.scratch, `snowflake-${process.pid}-${this.#name}-${number}`);
    await mkdir(folder, { recursive: true });
    return { folder, path: `${this.#name}/${number}/` };
  }

  async #write(
    engine: Engine,
    table: SourceTable,
    rows: Relation,
    folder: string,
    { signal, onProgress }: LoadOptions,
  ): Promise<ParquetFile[]> {
    try {
      return await writeParquet(engine, {
        columns: travelling(table),
        sql: travelQuery(table, rows),
        folder,
        sizeBytes: rows.sizeBytes ?? 0,
        signal,
        onProgress: (read) => onProgress({ rows: read, bytes: 0 }),
      });
    } catch (error) {
      throw toRefusal(
        error,
        'Snowflake',
        table.name,
        table.columns.map(({ field }) => field),
      );
    }
  }

  async #put(
    files: readonly ParquetFile[],
    folder: string,
    path: string,
    table: SourceTable,
    options: LoadOptions,
  ): Promise<void> {
    const put = await this.#client.run(
      `PUT ${fileUrl(`${folder}/*.parquet`)} @${path} AUTO_COMPRESS = FALSE OVERWRITE = TRUE`,
    );
    // The driver tells of a file that it could not send in a row of the result, if at all.
    requireAll(put, files.length, 'UPLOADED', `Loading ${table.name} into Snowflake`);
    options.onProgress({ rows: 0, bytes: files.reduce((sum, file) => sum + file.sizeBytes, 0) });
  }

  async #get(folder: string, path: string, table: SourceTable): Promise<void> {
    // The driver makes a folder for each file that it gets, and leaves it behind.
    const temp = join(folder, 'driver');
    await mkdir(temp);
    const got = await env.withTempFolder(temp, () => this.#client.run(`GET @${path} ${fileUrl(`${folder}/`)}`));
    const files = (await readdir(folder)).filter((name) => name.endsWith('.parquet'));
    requireAll(got, files.length, 'DOWNLOADED', `Reading ${table.name} from Snowflake`);
  }

  async #clear(folder: string, path: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
    // What stays goes with the session; a failure that is being told is not to be hidden by this one.
    await this.#client.run(`REMOVE @${path}`).catch(() => undefined);
  }
}

/** The driver reads a file that it gets in one piece. */
const fileBytes = 64 * 1024 ** 2;

function fileUrl(path: string): string {
  return sfString(`file://${path}`);
}

function requireAll(rows: readonly Row[], count: number, status: string, doing: string): void {
  const done = rows.filter((row) => row.status === status).length;
  if (done === rows.length && done === count && done > 0) return;
  throw new ParityError(
    'Unreachable',
    `${doing}: ${done} of ${Math.max(count, rows.length)} files went over its stage.`,
    {
      isRetryable: true,
      advice: "Check that this machine reaches the account's storage.",
    },
  );
}

/** A file that was there before, or only in part, would be in the result with another status. */
function loadedRows(copied: readonly Row[]): number {
  return copied.reduce((sum, row) => (row.status === 'LOADED' ? sum + Number(row.rows_loaded) : sum), 0);
}

function lost(table: SourceTable, found: number, name: string, wanted: number): ParityError {
  return new ParityError(
    'CorruptTable',
    `Loading ${table.name} into Snowflake: ${found} rows arrived where ${name} has ${wanted}.`,
    { subject: table.name },
  );
}

function relationOver(table: SourceTable, folder: string, rows: number): Relation & { readonly rows: number } {
  const columns = table.columns.map(({ field }) => field);
  const structure = travelling(table)
    .map(({ name, type }) => `${quoteIdentifier(name)} ${engineType(type)}`)
    .join(', ');
  const values = table.columns.map(
    (column, index) => `${readValue(column, index)} AS ${quoteIdentifier(column.field.name)}`,
  );
  const source =
    rows === 0
      ? `null(${quoteString(structure)})`
      : `file(${quoteString(join(folder, '*.parquet'))}, Parquet, ${quoteString(structure)})`;
  // The engine would take a column's own name for the one that travelled, where they are equal.
  const inner = `(SELECT ${travelling(table)
    .map(({ name }, index) => `${quoteIdentifier(name)} AS ${ownName(index)}`)
    .join(', ')} FROM ${source})`;
  return {
    columns,
    sql: `SELECT ${values.join(', ')} FROM ${inner}`,
    rows,
    sizeBytes: undefined,
    name: `${table.name} in Snowflake`,
  };
}
