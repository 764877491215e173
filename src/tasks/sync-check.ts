import { postHogNames } from '../compare/profile.ts';
import type { Relation } from '../lake/relation.ts';
import type { SyncRequest } from '../pipelines/pipeline.ts';
import { ParityError } from '../support/error.ts';
import { snapshotRelation } from './relations.ts';
import type { TaskContext } from './task.ts';

/**
 * Whether what a pipeline says to have landed can be the table at all. A pipeline that reports success and lands nothing, or something else, has failed; what
 * differs in single columns and rows is the comparison's business. Throws `PipelineFailed` naming pipeline and table.
 */
export async function checkLanded(
  request: SyncRequest,
  table: string,
  landed: Relation,
  rows: number,
  context: TaskContext,
): Promise<void> {
  const { pipeline, source, at } = request;
  const engine = await context.engine();
  const expected = await snapshotRelation(context, engine, table, at, { source });
  const wrong = (found: string, advice: string): ParityError =>
    new ParityError('PipelineFailed', `Pipeline ${pipeline} says that it has synced ${table}, but ${found}.`, {
      subject: table,
      advice,
    });
  if (rows === 0 && expected.rows !== undefined && expected.rows > 0)
    throw wrong(
      `the landed table has no row, and its source has ${expected.rows}`,
      'See where it lands its rows, and whether it ends before it has written them.',
    );
  const { comparison } = context.file.spec;
  const byProfile =
    comparison.profile === 'PostHog' ? postHogNames(expected.columns.map(({ name }) => name)) : undefined;
  const names = new Map(
    comparison.columns.flatMap(({ table: of, column, rename }) =>
      rename === undefined ? [] : [[`${of}.${column}`, rename]],
    ),
  );
  const landedAs = (column: string): string => names.get(`${table}.${column}`) ?? byProfile?.get(column) ?? column;
  const has = new Set(landed.columns.map(({ name }) => name));
  const key = context.file.spec.snapshot.tables.find(({ name }) => name === table)?.key ?? [];
  const columns = expected.columns.map(({ name }) => name);
  const lacks = key.filter((column) => !has.has(landedAs(column)));
  if (lacks.length === 0 && columns.some((column) => has.has(landedAs(column)))) return;
  const shown = [...has].slice(0, 8).join(', ');
  throw wrong(
    lacks.length > 0
      ? `the landed table has no column ${lacks.join(', ')} of the key (it has ${shown})`
      : `the landed table has none of its columns (it has ${shown})`,
    'If the pipeline renames columns, say so in comparison.columns; else see whether it landed another table there.',
  );
}
