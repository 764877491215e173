import { type CopyOptions, copyObjects } from './snapshot-copy.ts';
import { type CopiedTable, markKey, readCopiedTable, versionMap } from './snapshot-layout.ts';
import { type OwnVersion, writeLastCheckpoint, writeOwnLog } from './snapshot-log.ts';
import type { TablePlan } from './snapshot-plan.ts';
import type { RewriteOptions } from './snapshot-rewrite.ts';

export interface TableCopyResult {
  readonly copied: CopiedTable;
  /** What this attempt moved; nothing where an earlier one had completed the table. */
  readonly moved: { readonly files: number; readonly bytes: number; readonly serverSide: boolean };
}

/**
 * Makes the plan's table at `options.destination`, as a Delta table that ends at the version asked for. Killed at any instant and
 * called again it ends in the same state: what has arrived is kept, the record that says "complete" is written last.
 */
export async function copyTable(
  plan: TablePlan,
  options: CopyOptions & { readonly rewrite: RewriteOptions },
): Promise<TableCopyResult> {
  const { store, destination } = options;
  const earlier = await readCopiedTable(store, destination);
  if (earlier !== undefined && isSameContent(earlier, plan)) {
    return { copied: earlier, moved: { files: 0, bytes: 0, serverSide: false } };
  }
  // What lies there now is some other content: it is no complete copy of this plan while it is being replaced.
  if (earlier !== undefined) await store.delete([markKey(destination)]);
  const result = plan.isRewritten ? await rewrite(plan, options) : await copyAsItIs(plan, options);
  await store.put(markKey(destination), `${JSON.stringify(result.copied, null, 2)}\n`);
  return result;
}

/** Loaded where it is needed: a process that copies files as they are loads no engine. */
async function rewrite(...args: Parameters<typeof copyTable>): Promise<TableCopyResult> {
  const { rewriteTable } = await import('./snapshot-rewrite.ts');
  return rewriteTable(...args);
}

async function copyAsItIs(plan: TablePlan, options: CopyOptions): Promise<TableCopyResult> {
  const { store, destination } = options;
  const moved = await copyObjects(plan, options);
  const { snapshot } = plan.target;
  const production = { version: snapshot.version, baseVersion: plan.base?.snapshot.version ?? null };
  let copy = production;
  if (plan.hasOwnLog) {
    copy = await writeOwnLog(store, destination, plan.base && ownVersion(plan.base), ownVersion(plan.target));
  } else {
    await writeLastCheckpoint(store, destination, plan);
  }
  return {
    moved,
    copied: {
      name: plan.table.name,
      ...production,
      versions: versionMap(production, copy),
      digest: plan.digest,
      rows: snapshot.rows,
      sizeBytes: snapshot.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      files: snapshot.files.length,
      isRewritten: false,
    },
  };
}

function ownVersion({ snapshot, metaData }: TablePlan['target']): OwnVersion {
  return { protocol: snapshot.protocol, metaData, files: snapshot.files };
}

/** A rewritten table's digest covers the mask's key as well, which the plan does not know: it is made again. */
function isSameContent(earlier: CopiedTable, plan: TablePlan): boolean {
  return (
    !plan.isRewritten &&
    earlier.digest === plan.digest &&
    earlier.version === plan.target.snapshot.version &&
    earlier.baseVersion === (plan.base?.snapshot.version ?? null)
  );
}
