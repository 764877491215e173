/** What the workflow is asked to do: one table, in full or from where it stands. Field names are those of the run's `{{request}}`. */
export interface SyncRequest {
  readonly mode: 'Full' | 'Incremental';
  readonly source: {
    readonly engine: 'Postgres' | 'MySQL';
    /** Folder with one file each for host, port, user, password and database: credentials never travel through Temporal. */
    readonly secretDir: string;
  };
  /** Where the object store is, where the tables land in one. */
  readonly storage: { readonly endpoint: string | null; readonly region: string | null };
  readonly tables: readonly [TableRequest];
}

export interface TableRequest {
  readonly name: string;
  readonly key: readonly string[];
  readonly cursor: string | null;
  /** A folder, as `file:///…` or `s3://bucket/…`, that is to hold the Delta table. */
  readonly output: { readonly location: string };
}

export interface SyncResult {
  readonly rowsRead: number;
  readonly rowsLanded: number;
}
