import type { KubeClient } from '../../kube/client.ts';
import { isKubeError } from '../../kube/error.ts';
import type { MetadataOnly } from '../../kube/objects.ts';
import { cleanupFinalizer, runs } from '../../kube/runs.ts';
import { clean } from '../../report/terminal.ts';
import { count } from '../../report/words.ts';
import { type ClusterFlags, openCluster } from '../cluster/access.ts';
import type { Io } from './io.ts';

/** More are only counted. */
const mostNames = 20;

/**
 * What Helm asks before it uninstalls the operator: returns 2 while runs in these namespaces (in all of them, where none is named) have
 * something that only their operator can remove, and 0 otherwise.
 */
export async function refuseWhileRunsRemain(
  namespaces: readonly string[],
  flags: ClusterFlags,
  io: Io,
): Promise<number> {
  const { client } = await openCluster(flags);
  try {
    const found: MetadataOnly[] = [];
    for (const scope of namespaces.length === 0 ? [{}] : namespaces.map((namespace) => ({ namespace }))) {
      found.push(...(await runsIn(client, scope, io)));
    }
    const held = found.filter(({ metadata }) => metadata.finalizers?.includes(cleanupFinalizer) === true);
    if (held.length === 0) return 0;
    const names = held.slice(0, mostNames).map(({ metadata }) => `${metadata.namespace}/${clean(metadata.name)}`);
    const rest = held.length - names.length;
    io.err(
      `parity: ${count(held.length, 'run')} still ${held.length === 1 ? 'has' : 'have'} something that only the operator can remove: ${names.join(', ')}${rest > 0 ? ` and ${rest} more` : ''} — Delete them and wait until they are gone: kubectl delete ppr NAME\n`,
    );
    return 2;
  } finally {
    client.close();
  }
}

/**
 * Where the CRDs are gone, there are no runs. Where the operator may do nothing it can remove nothing either: most likely the namespace is gone, and its
 * RoleBinding with it, which stays while runs have something there.
 */
async function runsIn(
  client: KubeClient,
  scope: { readonly namespace?: string },
  io: Io,
): Promise<readonly MetadataOnly[]> {
  try {
    return (await client.listMetadata(runs, scope)).items;
  } catch (error) {
    if (isKubeError(error, 'NoSuchKind')) return [];
    if (!isKubeError(error, 'Forbidden') || scope.namespace === undefined) throw error;
    io.err(`parity: the operator has no access to namespace ${scope.namespace}: it is taken for deleted\n`);
    return [];
  }
}
