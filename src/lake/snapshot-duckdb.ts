import { rm } from 'node:fs/promises';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { ParityError, toParityError } from '../support/error.ts';
import type { DataType } from './types.ts';

/**
 * DuckDB over one file in a folder of the task's, for rewriting tables: unlike the engine it reads nested values with their NULLs
 * and writes Parquet dates and timestamps of all years exactly as it read them. Runs `work` and leaves nothing behind.
 */
export async function withDuckDb<Result>(
  options: { readonly scratch: string; readonly memoryBytes: number; readonly threads: number },
  work: (connection: DuckDBConnection) => Promise<Result>,
): Promise<Result> {
  const path = `${options.scratch}/rewrite.duckdb`;
  const instance = await DuckDBInstance.create(path, {
    threads: String(options.threads),
    memory_limit: `${Math.floor(options.memoryBytes / 2 / 1024 / 1024)}MiB`,
    temp_directory: `${options.scratch}/rewrite.tmp`,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  });
  try {
    const connection = await instance.connect();
    try {
      await connection.run("SET TimeZone = 'UTC'");
      await connection.run('SET preserve_insertion_order = true');
      return await work(connection);
    } finally {
      connection.closeSync();
    }
  } finally {
    instance.closeSync();
    for (const left of [path, `${path}.wal`, `${options.scratch}/rewrite.tmp`]) {
      await rm(left, { recursive: true, force: true });
    }
  }
}

/** The error people can act on for what DuckDB reported while rewriting `table`. */
export function rewriteError(error: unknown, table: string): ParityError {
  if (error instanceof ParityError) return error;
  const { message } = toParityError(error);
  const first = message.split('\n')[0] ?? message;
  if (message.includes('Out of Memory')) {
    const advice = 'Raise spec.execution.memory';
    return new ParityError('OutOfMemory', `Rewriting ${table} needs more memory than it has`, { cause: error, advice });
  }
  if (message.includes('No space left')) {
    return new ParityError('DiskFull', `Rewriting ${table} filled the disk of the scratch folder`, { cause: error });
  }
  return new ParityError('CorruptTable', `Rewriting ${table} failed: ${first}`, { cause: error, subject: table });
}

/** The type that holds a column's values exactly; nested fields by their physical names. */
export function duckType(type: DataType): string {
  switch (type.kind) {
    case 'byte':
      return 'TINYINT';
    case 'short':
      return 'SMALLINT';
    case 'integer':
      return 'INTEGER';
    case 'long':
      return 'BIGINT';
    case 'float':
      return 'FLOAT';
    case 'double':
      return 'DOUBLE';
    case 'boolean':
      return 'BOOLEAN';
    case 'string':
      return 'VARCHAR';
    case 'binary':
      return 'BLOB';
    case 'date':
      return 'DATE';
    case 'timestamp':
      return 'TIMESTAMPTZ';
    case 'timestamp_ntz':
      return 'TIMESTAMP';
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`;
    case 'array':
      return `${duckType(type.element)}[]`;
    case 'map':
      return `MAP(${duckType(type.key)}, ${duckType(type.value)})`;
    case 'struct':
      return `STRUCT(${type.fields.map((field) => `${name(field.physicalName)} ${duckType(field.type)}`).join(', ')})`;
  }
}

/** A quoted identifier. */
export function name(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** A quoted string. */
export function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
