import { columnDigests, type RowDigest, rowDigest } from '../compare/row-digest.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import { ParityError } from '../support/error.ts';
import type { OwnedSession } from './session.ts';
import { cloneAdvice } from './snowflake-clone.ts';
import type { LoadOptions, SourceTable } from './source.ts';

export interface ProofOptions extends LoadOptions {
  /** The table that the source's one is a clone of; left out where it was loaded. */
  readonly cloneOf?: string | undefined;
}

/** Reads a table back from its source and returns its row digest. */
export async function digestSource(
  engine: Engine,
  session: OwnedSession,
  table: SourceTable,
  options: LoadOptions,
): Promise<RowDigest> {
  return await session.scan(engine, table, options, (relation) =>
    rowDigest(engine, relation, { signal: options.signal }),
  );
}

/**
 * Holds what a source contains against the snapshot, so that a later difference can only be the pipeline's. Returns the digest that both have. Throws
 * `ProofFailed` naming the table and the first column that differs, and what the table is a clone of.
 */
export async function proveEqual(
  engine: Engine,
  session: OwnedSession,
  table: SourceTable,
  snapshot: Relation,
  options: ProofOptions,
): Promise<RowDigest> {
  const wanted = await rowDigest(engine, snapshot, { signal: options.signal });
  const found = await digestSource(engine, session, table, options);
  if (found.digest === wanted.digest) return found;
  throw await proofFailed(engine, session, table, { relation: snapshot, wanted, found }, options);
}

async function proofFailed(
  engine: Engine,
  session: OwnedSession,
  table: SourceTable,
  proof: { relation: Relation; wanted: RowDigest; found: RowDigest },
  options: ProofOptions,
): Promise<ParityError> {
  const { relation, wanted, found } = proof;
  const failure = (what: string, column?: string): ParityError => failed(table.name, what, column, options.cloneOf);
  if (found.rows !== wanted.rows) return failure(`holds ${found.rows} rows where ${relation.name} has ${wanted.rows}`);
  const expected = await columnDigests(engine, relation, { signal: options.signal });
  const { digests } = await session.scan(engine, table, options, async (source) => ({
    digests: await columnDigests(engine, source, { signal: options.signal }),
    rows: found.rows,
  }));
  const differing = table.columns.find(({ field }) => digests.get(field.name) !== expected.get(field.name));
  if (differing === undefined) return failure(`pairs the values of its columns otherwise than ${relation.name}`);
  const { field, sqlType } = differing;
  return failure(
    `holds other values than ${relation.name} in column ${field.name} (${field.type.kind} as ${sqlType})`,
    field.name,
  );
}

function failed(table: string, found: string, column: string | undefined, cloneOf: string | undefined): ParityError {
  const proved = cloneOf === undefined ? `the source's copy of ${table}` : `${table}, a clone of ${cloneOf}`;
  return new ParityError('ProofFailed', `Proving ${proved}: it ${found}.`, {
    subject: column === undefined ? table : `${table}.${column}`,
    advice:
      cloneOf === undefined
        ? 'Where sources[].columns names a type for the column, choose one that keeps its values as they are, or omit the column; else something has written to the source.'
        : cloneAdvice,
  });
}
