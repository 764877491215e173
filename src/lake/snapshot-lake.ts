import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ResolvedSnapshot, ResolvedSpec } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { formatLocation, isInside, parseLocation } from './location.ts';
import { openReader } from './open.ts';
import { mapBounded } from './pool.ts';
import { Requests } from './requests.ts';
import { planTable, type TablePlan } from './snapshot-plan.ts';
import type { Location, ObjectReader } from './store.ts';

const CONCURRENCY = 8;

/** Production, read only, with its requests counted and held to the manifest's rate. Close it after use. */
export interface Lake {
  readonly reader: ObjectReader;
  readonly requests: Requests;
}

/** `sharers`: tasks that read production side by side and have to share its rate. */
export async function openLake(
  snapshot: ResolvedSnapshot,
  secret: Readonly<Record<string, string>> | undefined,
  sharers = 1,
): Promise<Lake> {
  const { maxRequestsPerSecond } = snapshot.limits;
  const requests = new Requests(maxRequestsPerSecond === undefined ? undefined : maxRequestsPerSecond / sharers);
  return { reader: await openReader(snapshot, secret, requests), requests };
}

/**
 * Plans every table of the manifest from its log. Nothing is copied. Throws `LimitExceeded` where the copy would be larger than
 * `limits.maxBytes`, and the first table's error otherwise.
 */
export async function planTables(
  lake: Lake,
  snapshot: ResolvedSnapshot,
  signal?: AbortSignal,
): Promise<readonly TablePlan[]> {
  const plans = await mapBounded(snapshot.tables, CONCURRENCY, (table) => planTable(lake.reader, table), signal);
  const { maxBytes } = snapshot.limits;
  const bytes = plans.reduce((sum, plan) => sum + plan.copyBytes, 0);
  if (maxBytes === undefined || bytes <= maxBytes) return plans;
  const largest = [...plans].sort((a, b) => b.copyBytes - a.copyBytes)[0];
  throw new ParityError(
    'LimitExceeded',
    `The snapshot would copy ${bytes} bytes from ${snapshot.location}, over the limit of ${maxBytes}; the largest table is ${largest?.table.name} with ${largest?.copyBytes}`,
    {
      subject: 'spec.snapshot.limits.maxBytes',
      advice: 'Raise the limit, name fewer tables, or leave out a baseVersion',
    },
  );
}

/**
 * Throws `InvalidSpec` where the run would write inside the lake that it reads, or where the lake lies inside what the run
 * deletes when it ends.
 */
export async function checkApart(spec: ResolvedSpec, workspace: Location): Promise<void> {
  const lake = await real(parseLocation(spec.snapshot.location, spec.snapshot));
  const written: readonly (readonly [string, Location])[] = [
    ['workspace', await real(workspace)],
    ['reports', await real(parseLocation(spec.reports.location, spec.reports))],
  ];
  for (const [field, location] of written) {
    if (isInside(location, lake)) {
      throw apart(
        field,
        `the ${field} location ${formatLocation(location)} lies inside the lake ${formatLocation(lake)}`,
      );
    }
  }
  if (isInside(lake, await real(workspace))) {
    throw apart('workspace', `the lake ${formatLocation(lake)} lies inside the workspace ${formatLocation(workspace)}`);
  }
}

/** Where a folder really is: a link into the lake is the lake. What does not exist yet is looked for from its parent. */
async function real(location: Location): Promise<Location> {
  if (location.scheme !== 'file') return location;
  try {
    return { scheme: 'file', root: await realpath(location.root) };
  } catch {
    const parent = dirname(location.root);
    if (parent === location.root) return location;
    const { root } = await real({ scheme: 'file', root: parent });
    return { scheme: 'file', root: join(root, basename(location.root)) };
  }
}

function apart(field: string, found: string): ParityError {
  return new ParityError('InvalidSpec', `Nothing may be written to the lake, but ${found}`, {
    subject: `spec.${field}.location`,
    advice: 'Choose a location apart from spec.snapshot.location',
  });
}
