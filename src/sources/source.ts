import type { ResolvedSource } from '../api/resolved.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import type { Field } from '../lake/types.ts';

/** How to reach a source. Read from mounted files (a secret), never from arguments or task input. */
export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** PEM of the CA; TLS is used and verified where it is there. */
  readonly ca?: string;
  /** Schema of Postgres where tables are looked for. Left out: the user's own search path. */
  readonly schema?: string;
  /** What Snowflake needs beside a user and a database. There is `host` the account's, and `password` is empty where another credential is used. */
  readonly snowflake?: SnowflakeAccess;
  /** What ClickHouse needs beside; only pipelines land there, and queries run there. */
  readonly clickhouse?: ClickHouseAccess;
}

export interface ClickHouseAccess {
  /** Whether its HTTP interface speaks TLS. */
  readonly isSecure: boolean;
  /** The cluster that `ON CLUSTER` names, where what the run makes is made on all of its nodes. */
  readonly cluster?: string;
}

export interface SnowflakeAccess {
  readonly account: string;
  readonly credential:
    | { readonly kind: 'password' }
    /** PEM of the user's private key, and what it is encrypted with. */
    | { readonly kind: 'keyPair'; readonly privateKey: string; readonly passphrase?: string }
    | { readonly kind: 'token'; readonly token: string };
  /** Names as one writes them in SQL: unquoted ones are folded to upper case. Left out: the user's defaults. */
  readonly warehouse?: string;
  readonly role?: string;
  /** The run's own; left out until it has been made. */
  readonly schema?: string;
  /** Where the account answers, if not at `https://<account>.snowflakecomputing.com`. */
  readonly accessUrl?: string;
}

/** One table as a source holds it. */
export interface SourceTable {
  readonly name: string;
  readonly columns: readonly SourceTableColumn[];
  /** Columns of the primary key; empty where the data's key has duplicates or NULLs, or none was named. */
  readonly primaryKey: readonly string[];
  readonly cursor: string | undefined;
}
export interface SourceTableColumn {
  readonly field: Field;
  /** The engine's own type, e.g. `timestamp(6) with time zone`. */
  readonly sqlType: string;
}

/**
 * A database engine. One file each in this folder, with its type table in docs/reference/types.md.
 * All row movement is engine → bytes → database: no row becomes a JavaScript object.
 */
export interface SourceDriver {
  readonly engine: ResolvedSource['engine'];
  connect(connection: Connection, options: { signal: AbortSignal }): Promise<SourceSession>;
  /**
   * The table that holds `columns` exactly. Throws `UnrepresentableValue` or `UnsupportedFeature` naming the column where there
   * is no exact type, identifiers collide or are cut.
   */
  plan(table: string, columns: readonly Field[], options: PlanOptions): SourceTable;
}

export interface PlanOptions {
  readonly primaryKey: readonly string[];
  readonly cursor: string | undefined;
  readonly columns: ResolvedSource['columns'];
  /** Longest value of text and binary key columns, in characters and bytes: MySQL gives a key the length its data needs. */
  readonly keyLengths?: Readonly<Record<string, number>>;
}

export interface SourceSession {
  /**
   * Makes the table anew with the relation's rows: drop, create, stream, then keys and indexes. Atomic for readers where the
   * engine allows it; killed half-way and called again, it ends in the same state. Returns rows loaded.
   * Throws `UnrepresentableValue` naming the column for a value that the engine cannot hold.
   */
  load(engine: Engine, table: SourceTable, rows: Relation, options: LoadOptions): Promise<number>;
  /** In one transaction: deletes rows by key, then inserts, from relations that have the table's columns. */
  apply(
    engine: Engine,
    table: SourceTable,
    changes: { deletes: Relation; inserts: Relation },
    options: LoadOptions,
  ): Promise<{ deleted: number; inserted: number }>;
  /**
   * Streams the whole table (or rows with `cursor` in a range) back into a Parquet file inside the engine's scratch folder, in
   * canonical engine types, and returns a relation over it. Exact: what the engine cannot hold comes as text and is cast.
   */
  export(engine: Engine, table: SourceTable, options: ExportOptions): Promise<Relation>;
  listTables(): Promise<string[]>;
  close(): Promise<void>;
}

export interface LoadOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: { rows: number; bytes: number }) => void;
}

export interface ExportOptions extends LoadOptions {
  /** Only rows whose cursor is greater (or equal) than this value; text in the engine's own spelling. */
  readonly since?: { readonly cursor: string; readonly value: string; readonly inclusive: boolean };
}
