/**
 * ClickHouse behind a small interface: embedded (chdb) today, a server or cluster behind the same interface later.
 * One engine lives in one task process; nothing else in the project talks to chdb.
 */
export interface Engine {
  /** Runs a statement whose result is small, and returns its rows. 64-bit integers and decimals come as strings; NULL as null. */
  rows<Row = Record<string, unknown>>(sql: string, options?: QueryOptions): Promise<Row[]>;
  /** Runs a statement for its effect. */
  execute(sql: string, options?: QueryOptions): Promise<void>;
  /**
   * Streams a result in an output format (TabSeparated, JSONCompactEachRow, …) chunk by chunk, with back-pressure; memory stays
   * constant. Ending the iteration early cancels the query.
   */
  stream(sql: string, format: string, options?: QueryOptions): AsyncIterable<Uint8Array>;
  /** Absolute folder inside which the engine may read and write local files; gone after `close`. */
  readonly scratch: string;
  close(): Promise<void>;
}

export interface QueryOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly onProgress?: (progress: { readRows: number; readBytes: number; totalRows: number }) => void;
}

export interface EngineOptions {
  /** An existing folder of this process's own; the engine makes its data path under it. */
  readonly scratch: string;
  /** Bound on the engine's memory for one query; it spills to `scratch` before it gets there where it can. */
  readonly memoryBytes: number;
  readonly threads: number;
}
