import { createHash } from 'node:crypto';
import type { CloneFrom } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import { unrepresentable } from './refusals.ts';
import type { OwnedDriver, OwnedSession } from './session.ts';
import { applyStaged } from './snowflake-apply.ts';
import { connectSnowflake, type SnowflakeClient, sfIdentifier, sfString } from './snowflake-client.ts';
import { cloneTable } from './snowflake-clone.ts';
import { diagnoseSnowflake, isValueError } from './snowflake-errors.ts';
import { SnowflakeStage } from './snowflake-stage.ts';
import { arrivedValue, planSnowflake } from './snowflake-types.ts';
import type { Connection, ExportOptions, LoadOptions, SourceTable } from './source.ts';
import { toSourceError } from './source-errors.ts';

/** An account of Snowflake, in a schema of the run's own. Types: docs/reference/types.md; what it needs and does: docs/reference/snowflake.md. */
export const snowflakeDriver: OwnedDriver = {
  engine: 'Snowflake',
  plan: planSnowflake,

  async connect(connection, { signal }) {
    return new SnowflakeSession(await connectSnowflake(connection, signal), connection, signal);
  },
};

class SnowflakeSession implements OwnedSession {
  readonly #client: SnowflakeClient;
  readonly #connection: Connection;
  readonly #signal: AbortSignal;
  readonly #stage: SnowflakeStage;

  constructor(client: SnowflakeClient, connection: Connection, signal: AbortSignal) {
    this.#client = client;
    this.#connection = connection;
    this.#signal = signal;
    this.#stage = new SnowflakeStage(client);
  }

  async load(engine: Engine, table: SourceTable, rows: Relation, options: LoadOptions): Promise<number> {
    const arrival = nameFor('Rows', table);
    return await this.#doing(`loading ${table.name}`, table, async () => {
      const loaded = await this.#stage.load(engine, table, rows, arrival, options);
      // One statement, and atomic: readers see the table as it was, or whole.
      await this.#converting(table, arrival, () =>
        this.#client.run(
          `CREATE OR REPLACE TRANSIENT TABLE ${sfIdentifier(table.name)} (${columnList(table)}) AS ${converted(table, arrival)}`,
        ),
      );
      // Snowflake keeps it as a fact about the table, and does not enforce it.
      if (table.primaryKey.length > 0)
        await this.#client.run(
          `ALTER TABLE ${sfIdentifier(table.name)} ADD PRIMARY KEY (${table.primaryKey.map(sfIdentifier).join(', ')})`,
        );
      await this.#drop(arrival);
      return loaded;
    });
  }

  async apply(
    engine: Engine,
    table: SourceTable,
    changes: { deletes: Relation; inserts: Relation },
    options: LoadOptions,
  ): Promise<{ deleted: number; inserted: number }> {
    return await this.#doing(`applying changes to ${table.name}`, table, async () => {
      // Statements that make tables end a transaction, so everything is there before it begins.
      const staged = {
        deletes: await this.#stageRows(engine, table, 'Deletes', changes.deletes, options),
        inserts: await this.#stageRows(engine, table, 'Inserts', changes.inserts, options),
      };
      try {
        return await applyStaged(this.#client, table, staged);
      } finally {
        await this.#drop(staged.deletes.name).catch(() => undefined);
        await this.#drop(staged.inserts.name).catch(() => undefined);
      }
    });
  }

  async clone(table: SourceTable, from: CloneFrom, unwanted: readonly string[]): Promise<SourceTable> {
    return await this.#doing(`cloning ${table.name}`, table, () => cloneTable(this.#client, table, from, unwanted));
  }

  async alter(table: SourceTable): Promise<void> {
    const target = sfIdentifier(table.name);
    await this.#doing(`changing the columns of ${table.name}`, table, async () => {
      const rows = await this.#client.run(
        `SELECT COLUMN_NAME AS "name" FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = CURRENT_SCHEMA() AND TABLE_NAME = ${sfString(table.name)}`,
      );
      const present = rows.map(({ name }) => name);
      for (const { field, sqlType } of table.columns)
        if (!present.includes(field.name))
          await this.#client.run(`ALTER TABLE ${target} ADD COLUMN ${sfIdentifier(field.name)} ${sqlType}`);
      for (const name of present)
        if (name !== null && name !== undefined && !table.columns.some(({ field }) => field.name === name))
          await this.#client.run(`ALTER TABLE ${target} DROP COLUMN ${sfIdentifier(name)}`);
    });
  }

  async export(engine: Engine, table: SourceTable, options: ExportOptions): Promise<Relation> {
    return await this.#doing(`reading ${table.name}`, table, async () => {
      // The files stay for the relation; the engine's folder goes with the task.
      const { relation } = await this.#stage.unload(engine, table, rowsFrom(table, options));
      return relation;
    });
  }

  async scan<Result extends { readonly rows: number }>(
    engine: Engine,
    table: SourceTable,
    options: ExportOptions,
    consume: (relation: Relation) => Promise<Result>,
  ): Promise<Result> {
    return await this.#doing(`reading ${table.name}`, table, async () => {
      const { relation, remove } = await this.#stage.unload(engine, table, rowsFrom(table, options));
      try {
        const result = await consume(relation);
        if (result.rows === relation.rows) return result;
        throw new ParityError(
          'Internal',
          `Reading ${table.name} from Snowflake: it unloaded ${relation.rows} rows and the engine saw ${result.rows}.`,
          { subject: table.name },
        );
      } finally {
        await remove();
      }
    });
  }

  async listTables(): Promise<string[]> {
    return await this.#doing('listing tables', undefined, async () => {
      const rows = await this.#client.run(
        `SELECT TABLE_NAME AS "name" FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = CURRENT_SCHEMA() AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME`,
      );
      return rows.map(({ name }) => name ?? '');
    });
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #stageRows(
    engine: Engine,
    table: SourceTable,
    what: 'Deletes' | 'Inserts',
    rows: Relation,
    options: LoadOptions,
  ): Promise<{ name: string; rows: number }> {
    const arrival = nameFor('Rows', table);
    const name = nameFor(what, table);
    const count = await this.#stage.load(engine, table, rows, arrival, options);
    await this.#converting(table, arrival, () =>
      this.#client.run(
        `CREATE OR REPLACE TEMPORARY TABLE ${sfIdentifier(name)} (${columnList(table)}) AS ${converted(table, arrival)}`,
      ),
    );
    await this.#drop(arrival);
    return { name, rows: count };
  }

  /** Snowflake names no column for a value that does not fit its type, so each is tried by itself, once it is known that there is one. */
  async #converting<Result>(table: SourceTable, arrival: string, action: () => Promise<Result>): Promise<Result> {
    try {
      return await action();
    } catch (error) {
      if (!isValueError(error)) throw error;
      for (const [index, column] of table.columns.entries()) {
        const tried = this.#client.run(
          `SELECT COUNT(CAST(${arrivedValue(column, index)} AS ${column.sqlType})) FROM ${sfIdentifier(arrival)}`,
        );
        if (await tried.then(() => false, isValueError))
          throw unrepresentable(
            'Snowflake',
            table.name,
            column.field.name,
            `a value that no ${column.sqlType} holds`,
            error,
          );
      }
      throw error;
    }
  }

  async #drop(name: string): Promise<void> {
    await this.#client.run(`DROP TABLE IF EXISTS ${sfIdentifier(name)}`);
  }

  async #doing<Result>(doing: string, table: SourceTable | undefined, action: () => Promise<Result>): Promise<Result> {
    try {
      this.#signal.throwIfAborted();
      return await action();
    } catch (error) {
      if (this.#signal.aborted) throw new ParityError('Cancelled', `Snowflake, ${doing}: cancelled.`);
      const where = table === undefined ? {} : { table: table.name };
      throw toSourceError(
        error,
        { engine: 'Snowflake', doing, connection: this.#connection, ...where },
        diagnoseSnowflake(this.#connection),
      );
    }
  }
}

/** A table for rows that are on their way. It is temporary: no other session sees it, and it ends with this one. */
function nameFor(what: 'Rows' | 'Deletes' | 'Inserts', table: SourceTable): string {
  return `PARITY_${what}_${createHash('sha256').update(table.name).digest('hex').slice(0, 32)}`.toUpperCase();
}

function columnList(table: SourceTable): string {
  return table.columns.map(({ field, sqlType }) => `${sfIdentifier(field.name)} ${sqlType}`).join(', ');
}

function converted(table: SourceTable, arrival: string): string {
  return `SELECT ${table.columns.map(arrivedValue).join(', ')} FROM ${sfIdentifier(arrival)}`;
}

function rowsFrom(table: SourceTable, { since }: ExportOptions): string {
  const from = sfIdentifier(table.name);
  if (since === undefined) return from;
  const type = table.columns.find(({ field }) => field.name === since.cursor)?.sqlType ?? 'varchar';
  return `${from} WHERE ${sfIdentifier(since.cursor)} ${since.inclusive ? '>=' : '>'} CAST(${sfString(since.value)} AS ${type})`;
}
