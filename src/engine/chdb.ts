import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChdbQueryStream, type ChdbResult, drainPending, Session } from 'chdb';
import { ParityError } from '../support/error.ts';
import type { Engine, EngineOptions, QueryOptions } from './engine.ts';
import { toEngineError } from './errors.ts';

/**
 * Opens the embedded engine on a data path of its own under `options.scratch`. One engine a process: a second one while the first is open is
 * an `Internal` error. Local files are reachable only inside the process's current folder, which a task process sets to `/`.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  if (isOpen) throw new ParityError('Internal', 'Opening a second engine in one process is not possible.');
  isOpen = true;
  const dataPath = join(options.scratch, '.engine');
  try {
    await rm(dataPath, { recursive: true, force: true });
    await mkdir(dataPath, { recursive: true });
    const main = new Session(dataPath);
    const control = new Session(dataPath);
    for (const session of [main, control]) await session.queryAsync(`SET ${settings(options)}`);
    return new ChdbEngine(main, control, dataPath, options.scratch);
  } catch (error) {
    isOpen = false;
    throw toEngineError(error, 'opening the engine');
  }
}

let isOpen = false;

/**
 * What every session starts with. The first two are not for speed: without them the engine returned wrong results on Delta tables
 * (`WHERE NOT …` lost all rows, `count()` ignored deletion vectors).
 */
function settings({ memoryBytes, threads }: EngineOptions): string {
  const spillBytes = Math.floor(memoryBytes / 2);
  return Object.entries({
    delta_lake_enable_engine_predicate: 0,
    optimize_trivial_count_query: 0,
    session_timezone: "'UTC'",
    max_memory_usage: memoryBytes,
    max_threads: threads,
    max_insert_threads: 1,
    max_bytes_before_external_group_by: spillBytes,
    max_bytes_before_external_sort: spillBytes,
    join_algorithm: "'grace_hash,hash'",
    // Values travel exactly: integers, decimals and special floats as JSON strings.
    output_format_json_quote_64bit_integers: 1,
    output_format_json_quote_decimals: 1,
    output_format_json_quote_denormals: 1,
    output_format_json_named_tuples_as_objects: 1,
    // A join with nothing on one side yields NULL, as SQL says.
    join_use_nulls: 1,
    // Mapped files would count as this process's memory, which is bounded.
    storage_file_read_method: "'pread'",
    // The reader must not run ahead of a slow writer: its default of 4 GB is more than a task has.
    input_format_parquet_memory_low_watermark: 2 ** 20,
    input_format_parquet_memory_high_watermark: Math.min(64 * 2 ** 20, Math.floor(memoryBytes / 8)),
    // Tables of thousands of columns make long statements.
    max_query_size: 2 ** 28,
    max_ast_elements: 10_000_000,
    max_expanded_ast_elements: 10_000_000,
    engine_file_truncate_on_insert: 1,
    s3_truncate_on_insert: 1,
    output_format_parquet_compression_method: "'zstd'",
    // The engine's own schema cache would outlive a file that a run writes again under the same name.
    schema_inference_use_cache_for_file: 0,
    schema_inference_use_cache_for_s3: 0,
    schema_inference_use_cache_for_azure: 0,
    schema_inference_use_cache_for_url: 0,
    use_cache_for_count_from_files: 0,
  })
    .map(([name, value]) => `${name}=${value}`)
    .join(', ');
}

class ChdbEngine implements Engine {
  readonly scratch: string;
  readonly #main: Session;
  readonly #control: Session;
  readonly #dataPath: string;
  /** Statements of one session run one after another; this is the end of the queue. */
  #tail: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(main: Session, control: Session, dataPath: string, scratch: string) {
    this.#main = main;
    this.#control = control;
    this.#dataPath = dataPath;
    this.scratch = scratch;
  }

  async rows<Row = Record<string, unknown>>(sql: string, options: QueryOptions = {}): Promise<Row[]> {
    const result = await this.#run(sql, 'JSONEachRow', options);
    const text = result.text();
    return text === '' ? [] : (JSON.parse(`[${text.trimEnd().replaceAll('\n', ',')}]`) as Row[]);
  }

  async execute(sql: string, options: QueryOptions = {}): Promise<void> {
    await this.#run(sql, 'Null', options);
  }

  async *stream(sql: string, format: string, options: QueryOptions = {}): AsyncIterable<Uint8Array> {
    const release = await this.#turn();
    let stream: ChdbQueryStream | undefined;
    let isWhole = false;
    const watch = this.#watch(options);
    try {
      watch.throwIfStopped();
      stream = this.#main.queryStream(sql, { format });
      for await (const chunk of stream) {
        watch.throwIfStopped();
        yield chunk.raw();
      }
      isWhole = true;
    } catch (error) {
      throw watch.reason() ?? toEngineError(error, 'streaming a query');
    } finally {
      stream?.cancel();
      if (!isWhole) await this.#discardLeftovers();
      await watch.end();
      release();
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#killQueries();
    await this.#tail.catch(() => undefined);
    this.#main.close();
    this.#control.close();
    await drainPending();
    isOpen = false;
    await rm(this.#dataPath, { recursive: true, force: true });
  }

  async #run(sql: string, format: string, options: QueryOptions): Promise<ChdbResult> {
    const release = await this.#turn();
    const watch = this.#watch(options);
    try {
      watch.throwIfStopped();
      const result = await this.#main.queryAsync(sql, { format });
      watch.throwIfStopped();
      return result;
    } catch (error) {
      await this.#discardLeftovers();
      throw watch.reason() ?? toEngineError(error, 'running a query');
    } finally {
      await watch.end();
      release();
    }
  }

  /**
   * What a statement had written before it failed stays in the session and would come before the next statement's own result (seen with
   * chdb 3.4.0): it is fetched and thrown away with an empty statement of ours.
   */
  async #discardLeftovers(): Promise<void> {
    await this.#main.queryAsync('SELECT 1 WHERE 0', { format: 'TabSeparated' }).catch(() => undefined);
  }

  async #turn(): Promise<() => void> {
    if (this.#isClosed) throw new ParityError('Internal', 'The engine is closed.');
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#tail;
    this.#tail = promise;
    await before;
    return resolve;
  }

  /**
   * Watches one statement: ends it in the engine on an abort or a timeout (chdb's own `timeout` only stops waiting), and polls its
   * progress from the second session.
   */
  #watch({ signal, timeoutMs, onProgress }: QueryOptions): Watch {
    let reason: ParityError | undefined;
    let kill: Promise<void> | undefined;
    const stop = (error: ParityError): void => {
      reason ??= error;
      kill ??= this.#killQueries();
    };
    const cancelled = (): ParityError => new ParityError('Cancelled', 'The query was cancelled.');
    const onAbort = (): void => stop(cancelled());
    // Nothing runs yet, so there is nothing to kill.
    if (signal?.aborted === true) reason = cancelled();
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => stop(new ParityError('Timeout', `The query did not end within ${timeoutMs / 1000} s.`)),
            timeoutMs,
          );
    const poll = onProgress === undefined ? undefined : this.#poll(onProgress);
    return {
      reason: () => reason,
      throwIfStopped: () => {
        if (reason !== undefined) throw reason;
      },
      end: async () => {
        clearTimeout(timer);
        clearInterval(poll);
        signal?.removeEventListener('abort', onAbort);
        // A kill that is still on its way must not meet the next statement.
        await kill;
      },
    };
  }

  #poll(onProgress: NonNullable<QueryOptions['onProgress']>): NodeJS.Timeout {
    let isAsking = false;
    const ask = async (): Promise<void> => {
      if (isAsking || this.#isClosed) return;
      isAsking = true;
      try {
        const result = await this.#control.queryAsync(
          'SELECT read_rows, read_bytes, total_rows_approx FROM system.processes WHERE query_id != queryID()',
          { format: 'JSONCompactEachRow' },
        );
        const [readRows, readBytes, totalRows] = JSON.parse(result.text().split('\n')[0] || '[]') as string[];
        if (readRows !== undefined)
          onProgress({ readRows: Number(readRows), readBytes: Number(readBytes), totalRows: Number(totalRows) });
      } catch {
        // Progress is a courtesy: a failed look at it must not end the query.
      } finally {
        isAsking = false;
      }
    };
    return setInterval(() => void ask(), 500).unref();
  }

  /** `KILL QUERY … SYNC` hangs in the embedded engine, so it is asked for and the statement's own end awaited. */
  async #killQueries(): Promise<void> {
    await this.#control.queryAsync('KILL QUERY WHERE query_id != queryID() ASYNC').catch(() => undefined);
  }
}

interface Watch {
  reason(): ParityError | undefined;
  throwIfStopped(): void;
  end(): Promise<void>;
}
