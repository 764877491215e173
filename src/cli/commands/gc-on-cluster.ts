import { isKubeError } from '../../kube/error.ts';
import {
  configMaps,
  jobs,
  type MetadataOnly,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  type Resource,
  resource,
  secrets,
  services,
  statefulSets,
} from '../../kube/objects.ts';
import { labels, runs } from '../../kube/runs.ts';
import { align, clean } from '../../report/terminal.ts';
import { count, duration } from '../../report/words.ts';
import { ParityError, toParityError } from '../../support/error.ts';
import { type Cluster, type ClusterFlags, openCluster } from '../cluster/access.ts';
import type { Io } from './io.ts';

export interface ClusterGcFlags extends ClusterFlags {
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly allNamespaces?: boolean;
}

/** Something in the cluster that carries the mark of a run. */
interface Marked {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly run: string;
  readonly runUid: string;
  readonly installation: string;
  readonly createdAt: string;
}

/**
 * `parity gc --cluster --dry-run`: what carries the mark of a run that is not there any more. It removes nothing: the operator's sweeper
 * does, which alone may decide that a run is gone. Throws `BadUsage` without --dry-run. Returns 0.
 */
export async function gcOnCluster(flags: ClusterGcFlags, io: Io): Promise<number> {
  if (flags.dryRun !== true) {
    throw new ParityError('BadUsage', 'parity gc --cluster only looks', {
      advice: "Add --dry-run. The operator's sweeper removes what belongs to no run; its log says what holds it up.",
    });
  }
  const cluster = await openCluster(flags);
  try {
    const { marked, unseen } = await markedThings(cluster, flags.allNamespaces === true);
    // Only what was there before the runs were listed can belong to none of them.
    const living = await runUids(cluster);
    const orphans = marked.filter(({ runUid }) => !living.has(runUid));
    if (flags.json === true) io.out(`${JSON.stringify({ orphans, unseen })}\n`);
    else io.out(text(orphans, flags.allNamespaces === true ? 'any namespace' : `namespace ${cluster.namespace}`));
    for (const line of unseen) io.err(`parity: not looked at: ${clean(line)}\n`);
    return 0;
  } finally {
    cluster.client.close();
  }
}

const applications = resource('argoproj.io', 'v1alpha1', 'applications', 'Application');

const kinds: readonly Resource[] = [
  jobs,
  pods,
  secrets,
  configMaps,
  services,
  statefulSets,
  persistentVolumeClaims,
  networkPolicies,
  applications,
];

async function markedThings({ client, namespace }: Cluster, everywhere: boolean) {
  const marked: Marked[] = [];
  const unseen: string[] = [];
  for (const kind of kinds) {
    // Applications live with Argo CD, wherever their run is.
    const scope = everywhere || kind === applications ? {} : { namespace };
    try {
      const found = await client.listMetadata(kind, { ...scope, labelSelector: labels.runUid });
      marked.push(...found.items.map((item) => markedOf(kind, item)));
    } catch (error) {
      if (kind === applications && isKubeError(error, 'NoSuchKind')) continue;
      if (!isKubeError(error, 'Forbidden')) throw error;
      unseen.push(error.message);
    }
  }
  return { marked, unseen };
}

function markedOf(kind: Resource, { metadata }: MetadataOnly): Marked {
  const marks = metadata.labels ?? {};
  return {
    kind: kind.kind,
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    run: marks[labels.run] ?? '',
    runUid: marks[labels.runUid] ?? '',
    installation: marks[labels.installation] ?? '',
    createdAt: metadata.creationTimestamp,
  };
}

/** Of the whole cluster: a thing in one namespace may belong to a run in another. */
async function runUids({ client }: Cluster): Promise<ReadonlySet<string>> {
  try {
    const { items } = await client.listMetadata(runs);
    return new Set(items.map(({ metadata }) => metadata.uid));
  } catch (error) {
    if (!isKubeError(error, 'Forbidden')) throw error;
    throw new ParityError('AccessDenied', `which runs there are cannot be told: ${toParityError(error).message}`, {
      cause: error,
      advice: 'Allow the account to list pipelineparityruns in the whole cluster.',
    });
  }
}

function text(orphans: readonly Marked[], where: string): string {
  if (orphans.length === 0) return `There is nothing without a run in ${where}.\n`;
  const rows = orphans.map(({ kind, namespace, name, run, runUid, installation, createdAt }) => [
    kind,
    `${namespace}/${name}`,
    `run ${clean(run)}`,
    clean(runUid),
    `installation ${clean(installation)}`,
    `${duration(Math.max(0, Date.now() - Date.parse(createdAt)) / 1000)} old`,
  ]);
  return `${[...align(rows, new Set()), `${count(orphans.length, 'thing')} without a run; the operator of the installation removes them.`].join('\n')}\n`;
}
