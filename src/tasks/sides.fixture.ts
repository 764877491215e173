import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedComparison, ResolvedQuery, ResolvedTable } from '../api/resolved.ts';
import { type Bench, contextFor } from '../pipelines/reference.fixture.ts';
import type { ResolvedSide, TaskInput } from '../run/types.ts';
import type { TaskContext } from './task.ts';

/** Writes a SELECT as the only file of a table of one side; with `asSides`, two folders are a comparison of existing tables. */
export async function writeTable(bench: Bench, side: string, table: string, sql: string): Promise<void> {
  const folder = join(bench.folder, side, table);
  await mkdir(folder, { recursive: true });
  await bench.engine.execute(`INSERT INTO FUNCTION file('${join(folder, 'part.parquet')}', Parquet) ${sql}`);
}

export function sideOf(bench: Bench, side: string): ResolvedSide {
  return { kind: 'location', location: `parquet:${join(bench.folder, side)}` };
}

/** A context for a compare or query task over tables written by `writeTable`. */
export function contextOf(
  bench: Bench,
  input: TaskInput,
  options: {
    readonly tables: readonly (Pick<ResolvedTable, 'name'> & Partial<ResolvedTable>)[];
    readonly comparison?: Partial<ResolvedComparison>;
    readonly queries?: readonly ResolvedQuery[];
  },
): TaskContext {
  const request = { pipeline: 'p', step: 's', source: 'shop', mode: 'Full', tables: [], at: 'Target' } as const;
  const context = contextFor(bench, request, {
    pipeline: { name: 'p', cursorBound: 'Inclusive', reference: { bug: 'None' } },
    keys: {},
  });
  const { spec } = context.file;
  const tables = options.tables.map((table) => ({ path: table.name, key: [], exclude: [], mask: [], ...table }));
  return {
    ...context,
    file: {
      ...context.file,
      input,
      spec: {
        ...spec,
        snapshot: { ...spec.snapshot, tables },
        sources: [],
        comparison: { ...spec.comparison, ...options.comparison },
        queries: options.queries ?? [],
      },
    },
  };
}
