import { openLake } from '../lake/snapshot-lake.ts';
import { snapshotPath } from '../lake/snapshot-layout.ts';
import { planTable, type TablePlan } from '../lake/snapshot-plan.ts';
import { copyTable } from '../lake/snapshot-table.ts';
import { ParityError } from '../support/error.ts';
import type { Resolution, SnapshotDetail, TaskContext, TaskHandler } from './task.ts';

/**
 * Copies its tables, at the versions that `resolve` pinned, into the workspace: `snapshot/<table>/` is then a Delta table that
 * ends at the version under test. What is sampled or masked is rewritten on the way and never arrives in clear. Throws
 * `VersionGone`, `CorruptTable`, `AccessDenied`, `Unreachable`, `LimitExceeded`, each naming the object.
 */
export const runSnapshot: TaskHandler<SnapshotDetail> = async (context) => {
  const { spec, input } = context.file;
  if (input.kind !== 'snapshot') throw new ParityError('Internal', `A ${input.kind} task was given to snapshot`);
  const { secretRef } = spec.snapshot;
  const secret = secretRef === undefined ? undefined : await context.secret(secretRef.name);
  const resolution = await context.detailOf<Resolution>('resolve');
  const lake = await openLake(spec.snapshot, secret, spec.execution.parallelism);
  try {
    const tables: SnapshotDetail['tables'][number][] = [];
    for (const name of input.tables) {
      const before = lake.requests.count;
      const plan = await planTable(lake.reader, pinned(context, resolution, name));
      const { copied, moved } = await copyTable(plan, {
        ...lake,
        store: context.workspace,
        destination: snapshotPath(name),
        signal: context.signal,
        onBytes: reporter(context, plan),
        rewrite: {
          scratch: context.scratch,
          memoryBytes: spec.execution.memoryBytes,
          threads: spec.execution.threads,
          maskSecret: () => context.secret(spec.snapshot.maskSecretRef?.name ?? 'mask'),
        },
      });
      const { version, baseVersion, digest, rows, sizeBytes, files } = copied;
      const requests = lake.requests.count - before;
      tables.push({ name, version, baseVersion, digest, rows, sizeBytes, files, copied: { ...moved, requests } });
    }
    return {
      summary: {
        tables: tables.length,
        rows: tables.reduce((sum, { rows }) => sum + rows, 0),
        bytes: tables.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      },
      detail: { tables },
    };
  } finally {
    lake.reader.close();
  }
};

/** The manifest's table with the versions that the run has settled on. */
function pinned(context: TaskContext, resolution: Resolution, name: string) {
  const table = context.file.spec.snapshot.tables.find((candidate) => candidate.name === name);
  const resolved = resolution.tables.find((candidate) => candidate.name === name);
  if (table === undefined || resolved === undefined) {
    throw new ParityError('Internal', `The table ${name} was not resolved`, { subject: name });
  }
  const baseVersion = resolved.baseVersion === null ? {} : { baseVersion: String(resolved.baseVersion) };
  return { ...table, version: String(resolved.version), ...baseVersion };
}

/** Progress in bytes, and the limit once more: an object may be larger than its log says. */
function reporter(context: TaskContext, plan: TablePlan): (bytes: number) => void {
  const { maxBytes } = context.file.spec.snapshot.limits;
  let arrived = 0;
  return (bytes) => {
    arrived += bytes;
    context.progress({ table: plan.table.name, bytes: arrived, totalBytes: plan.copyBytes });
    if (maxBytes === undefined || arrived <= maxBytes) return;
    throw new ParityError('LimitExceeded', `Copying ${plan.table.name} went over the limit of ${maxBytes} bytes`, {
      subject: 'spec.snapshot.limits.maxBytes',
      advice: 'Raise the limit or name another version',
    });
  };
}
