import { rowDigest } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { formatType } from '../lake/relation-types.ts';
import { computeChanges, withColumns } from '../sources/changes.ts';
import { type OpenSource, openSource } from '../sources/connect.ts';
import { digestSource, proveEqual } from '../sources/prove.ts';
import { ParityError } from '../support/error.ts';
import { naming, planOf, pointsOf, progressOf } from './rehydrate.ts';
import { snapshotDifference, snapshotRelation } from './relations.ts';
import type { TaskContext, TaskHandler } from './task.ts';

/** Detail of an `advance` task. */
export interface AdvanceDetail {
  readonly source: string;
  readonly tables: readonly AdvancedTable[];
}

export interface AdvancedTable {
  readonly name: string;
  readonly rows: number;
  /** Row digest that the snapshot's target and the source share. */
  readonly digest: string;
  /** Rows that went and came; an update is one of each. Null where an earlier attempt had done it. */
  readonly applied: { readonly deleted: number; readonly inserted: number } | null;
  readonly notes: readonly string[];
}

/**
 * Brings tables of a source from the snapshot's base to its target, each in one transaction, by the rows that differ between the two (see
 * docs/decisions/0008-computed-changes.md), and proves it as rehydrating does. A source that is at the target already is left as it is, so a
 * killed attempt can be done again. Throws `ProofFailed` where a source is at neither point.
 */
export const runAdvance: TaskHandler<AdvanceDetail> = async (context) => {
  const { input } = context.file;
  if (input.kind !== 'advance')
    throw new ParityError('Internal', `An advance task was given the input of ${input.kind}.`);
  const engine = await context.engine();
  const source = await openSource(context, input.source);
  const tables: AdvancedTable[] = [];
  try {
    for (const name of input.tables) {
      if ((await pointsOf(context, name)).length < 2) continue;
      const advanced = await advanceTable(context, engine, source, name).catch((error: unknown) => {
        throw naming(error, name);
      });
      tables.push(advanced);
    }
  } finally {
    await source.session.close();
  }
  const rows = tables.reduce((sum, { applied }) => sum + (applied?.deleted ?? 0) + (applied?.inserted ?? 0), 0);
  return { summary: { tables: tables.length, rows }, detail: { source: input.source, tables } };
};

const unchanged = 'its base version has the same rows as the other, so an incremental sync had nothing to do';

async function advanceTable(
  context: TaskContext,
  engine: Engine,
  source: OpenSource,
  name: string,
): Promise<AdvancedTable> {
  const options = { source: source.spec.name };
  const base = await snapshotRelation(context, engine, name, 'Base', options);
  const target = await snapshotRelation(context, engine, name, 'Target', options);
  refuseChangedTypes(name, base, target);
  const { table } = await planOf(context, engine, source, name, target, [base, target]);
  const report = progressOf(context, name, target, 'advancing');
  await source.session.alter(table);

  const now = await digestSource(engine, source.session, table, report);
  const wanted = await rowDigest(engine, target, { signal: context.signal });
  const padded = withColumns(base, target.columns);
  const before = await rowDigest(engine, padded, { signal: context.signal });
  const notes = before.digest === wanted.digest ? [unchanged] : [];
  if (now.digest === wanted.digest) return { name, ...now, applied: null, notes };

  if (now.digest !== before.digest) throw neither(name, source);
  const part = await snapshotDifference(context, engine, name, options);
  const from = withColumns(part.base, target.columns);
  const changes = await computeChanges(engine, from, part.target, { signal: context.signal });
  const applied = await source.session.apply(engine, table, changes, report);
  const proof = await proveEqual(engine, source.session, table, target, report);
  context.progress({ table: name, rows: proof.rows, totalRows: proof.rows });
  return { name, ...proof, applied, notes };
}

function refuseChangedTypes(name: string, base: Relation, target: Relation): void {
  for (const column of target.columns) {
    const before = base.columns.find((other) => other.name === column.name);
    if (before === undefined || formatType(before.type) === formatType(column.type)) continue;
    throw new ParityError(
      'UnsupportedFeature',
      `Advancing ${name}: column ${column.name} is ${formatType(before.type)} in the base version and ${formatType(column.type)} in the other.`,
      {
        subject: `${name}.${column.name}`,
        advice: 'Choose versions between which no column changes its type, or omit the column.',
      },
    );
  }
}

function neither(name: string, { spec }: OpenSource): ParityError {
  return new ParityError(
    'ProofFailed',
    `Advancing ${name} in source ${spec.name}: it holds neither the base version nor the other one.`,
    { subject: name, advice: 'Something else has written to the source; start a new run.' },
  );
}
