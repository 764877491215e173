import type { ResolvedSpec } from '../api/resolved.ts';
import { parseLocation } from '../lake/location.ts';
import { checkSourceColumns } from '../lake/snapshot-columns.ts';
import { checkApart, openLake, planTables } from '../lake/snapshot-lake.ts';
import type { TablePlan } from '../lake/snapshot-plan.ts';
import type { Location } from '../lake/store.ts';
import { readInherited } from '../queries/inherited.ts';
import { checkPostHog } from '../queries/preflight.ts';
import { probeReports } from '../report/write.ts';
import { withReports } from './report.ts';
import type { Resolution, ResolvedTableVersion, TaskHandler } from './task.ts';

/**
 * Reads the logs of all tables: pins versions, counts rows and bytes, checks limits and the columns that the manifest names, and that a report can
 * be written, and that PostHog answers where queries run there. Nothing is copied yet, so whatever can be known to fail, fails here. Throws the errors of `planTables` and `checkApart`.
 */
export const runResolve: TaskHandler<Resolution> = async (context) => {
  const { spec } = context.file;
  await checkApart(spec, context.workspace.location);
  const { secretRef } = spec.snapshot;
  const secret = secretRef === undefined ? undefined : await context.secret(secretRef.name);
  const lake = await openLake(spec.snapshot, secret);
  try {
    const plans = await planTables(lake, spec.snapshot, context.signal);
    checkSourceColumns(spec, plans);
    await withReports(context, (store) => probeReports(store, context.file.run));
    const tables = plans.map(toVersion);
    const hasInherited = spec.queries.some((query) => 'inherited' in query);
    const inherited = hasInherited ? { inherited: await readInherited(context) } : {};
    const cases = [...spec.queries, ...(inherited.inherited?.cases ?? [])];
    if (cases.some((query) => 'hogql' in query)) await checkPostHog(context);
    const total = (value: (table: ResolvedTableVersion) => number) =>
      tables.reduce((sum, table) => sum + value(table), 0);
    return {
      summary: { tables: tables.length, rows: total(({ rows }) => rows), bytes: total(({ copyBytes }) => copyBytes) },
      detail: { tables, ...inherited },
    };
  } finally {
    lake.reader.close();
  }
};

/** What a run would ask of production and copy. */
export interface SnapshotPreview {
  readonly tables: readonly (ResolvedTableVersion & {
    readonly requests: number;
    /** How the table travels: on the server's side, streamed through this machine, or rewritten because of samples and masks. */
    readonly way: 'ServerSide' | 'Streamed' | 'Rewritten';
  })[];
  readonly bytes: number;
  readonly files: number;
  /** Requests to production in all: those for the logs, made by this preview as well, and those for the copy. */
  readonly requests: number;
  /** Bytes that would leave the lake's region; null where no region is known (files, S3-compatible servers). */
  readonly crossRegionBytes: number | null;
}

/**
 * What `parity preview` prints: the same plan that a run makes, from the logs alone. `secret`: of `spec.snapshot.secretRef`.
 * Throws what `runResolve` throws.
 */
export async function previewSnapshot(
  spec: ResolvedSpec,
  secret: Readonly<Record<string, string>> | undefined,
  signal?: AbortSignal,
): Promise<SnapshotPreview> {
  const workspace =
    spec.workspace.location === 's3://' ? undefined : parseLocation(spec.workspace.location, spec.workspace);
  const lake = await openLake(spec.snapshot, secret);
  try {
    const plans = await planTables(lake, spec.snapshot, signal);
    checkSourceColumns(spec, plans);
    const tables = plans.map((plan) => ({
      ...toVersion(plan),
      requests: requestsOf(plan),
      way: plan.isRewritten
        ? ('Rewritten' as const)
        : isServerSide(lake.reader.location, workspace, spec)
          ? ('ServerSide' as const)
          : ('Streamed' as const),
    }));
    const bytes = plans.reduce((sum, { copyBytes }) => sum + copyBytes, 0);
    return {
      tables,
      bytes,
      files: plans.reduce((sum, { objects }) => sum + objects.length, 0),
      requests: 2 * lake.requests.count + tables.reduce((sum, { requests }) => sum + requests, 0),
      crossRegionBytes: crossRegionBytes(lake.reader.location, spec, bytes),
    };
  } finally {
    lake.reader.close();
  }
}

function toVersion({ table, target, base, objects, copyBytes }: TablePlan): ResolvedTableVersion {
  return {
    name: table.name,
    version: target.snapshot.version,
    baseVersion: base?.snapshot.version ?? null,
    rows: target.snapshot.rows,
    sizeBytes: target.snapshot.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    copyBytes,
    files: objects.length,
  };
}

/** One for each object, one more where its size has to be asked, and the listing that the tags are compared by. */
function requestsOf({ objects }: TablePlan): number {
  const unknown = objects.filter(({ sizeBytes }) => sizeBytes === undefined).length;
  return objects.length + unknown + Math.ceil(objects.length / 1000);
}

function isServerSide(lake: Location, workspace: Location | undefined, spec: ResolvedSpec): boolean {
  if (lake.scheme === 'file') return workspace?.scheme === 'file';
  if (workspace === undefined) return (spec.workspace.endpoint ?? undefined) === lake.endpoint;
  return workspace.scheme === 's3' && workspace.endpoint === lake.endpoint;
}

function crossRegionBytes(lake: Location, spec: ResolvedSpec, bytes: number): number | null {
  const { region, endpoint, location } = spec.workspace;
  if (lake.scheme !== 's3' || lake.endpoint !== undefined) return null;
  if (spec.snapshot.region === undefined) return null;
  if (!location.startsWith('s3://') || endpoint !== undefined) return bytes;
  if (region === undefined) return null;
  return region === lake.region ? 0 : bytes;
}
