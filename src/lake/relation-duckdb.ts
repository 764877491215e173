import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';

/** Bound on DuckDB's memory: it stands beside the engine in one process, and works on one file at a time. */
const MEMORY = '512MB';

/**
 * Runs `work` with a DuckDB of its own, in this process: bounded memory, two threads, spilling into `scratch`, no network, no extensions
 * loaded by itself. It is closed when `work` ends.
 */
export async function withDuckDb<Result>(
  scratch: string,
  work: (connection: DuckDBConnection) => Promise<Result>,
): Promise<Result> {
  const spill = join(scratch, 'duckdb');
  await mkdir(spill, { recursive: true });
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '2',
    memory_limit: MEMORY,
    temp_directory: spill,
    preserve_insertion_order: 'false',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  });
  try {
    const connection = await instance.connect();
    try {
      return await work(connection);
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
  }
}

/** A string literal for DuckDB. */
export function duckString(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** An identifier for DuckDB. */
export function duckIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
