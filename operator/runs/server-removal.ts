import type { ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import {
  configMaps,
  type MetadataOnly,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  type Resource,
  secrets,
  services,
  statefulSets,
} from '../../src/kube/objects.ts';
import { ParityError } from '../../src/support/error.ts';
import { labels, ofRun } from './names.ts';
import type { Removed, Scope } from './types.ts';

/** What a server is made of, whoever made it; what makes others comes first. */
const kinds: readonly Resource[] = [
  statefulSets,
  pods,
  persistentVolumeClaims,
  services,
  networkPolicies,
  configMaps,
  secrets,
];

/** What is being deleted may take so long beyond its grace period before somebody is told. */
const patienceMs = 60_000;

/**
 * One step towards no object of the source's server being left in the run's namespace; found by the installation's id, the full uid and the source's name.
 * Throws `CleanupIncomplete` for what is being deleted for a minute and stays: its finalizers are named, and left alone.
 */
export async function removeServerObjects(scope: Scope, source: ResolvedSource): Promise<Removed> {
  const left: string[] = [];
  let isLate = false;
  for (const kind of kinds) {
    for (const object of await serverObjectsOf(scope, source, kind)) {
      const { deletionTimestamp } = object.metadata;
      const outcome = deletionTimestamp === undefined ? await remove(scope, kind, object) : 'deleting';
      if (outcome !== 'gone') left.push(inWords(kind, object));
      // The time at which it should have been gone, grace included.
      isLate ||= deletionTimestamp !== undefined && scope.now().getTime() - Date.parse(deletionTimestamp) > patienceMs;
    }
  }
  const waitingFor = left.join('; ');
  if (isLate) throw stuck(`being deleted, but still there: ${waitingFor}`);
  return { isGone: left.length === 0, waitingFor };
}

/** The error for a removal that does not end by itself. */
export function stuck(message: string): ParityError {
  return new ParityError('CleanupIncomplete', message, {
    advice: 'Whoever set a finalizer has to take it off; nothing here does. The removal is tried again by itself.',
    isRetryable: true,
  });
}

/** Objects of the source's server that are still there, in words. Changes nothing. */
export async function remainingServerObjects(scope: Scope, source: ResolvedSource): Promise<readonly string[]> {
  const left: string[] = [];
  for (const kind of kinds) {
    // The Secret is ours to remove, and comes last.
    if (kind === secrets) continue;
    left.push(...(await serverObjectsOf(scope, source, kind)).map((object) => inWords(kind, object)));
  }
  return left;
}

async function serverObjectsOf(scope: Scope, source: ResolvedSource, kind: Resource): Promise<readonly MetadataOnly[]> {
  const labelSelector = `${ofRun(scope.hold.run)},${labels.source}=${source.name}`;
  return (await scope.kube.listMetadata(kind, { namespace: scope.hold.namespace, labelSelector })).items;
}

async function remove(scope: Scope, kind: Resource, { metadata }: MetadataOnly): Promise<'gone' | 'deleting'> {
  try {
    return await scope.kube.delete(kind, metadata, { uid: metadata.uid });
  } catch (error) {
    // Gone, and another of that name is there: that one is nobody's business here, or found the next time.
    if (isKubeError(error, 'Conflict')) return 'deleting';
    throw error;
  }
}

function inWords(kind: Resource, { metadata }: MetadataOnly): string {
  const what = `${kind.kind} ${metadata.namespace}/${metadata.name}`;
  const finalizers = metadata.deletionTimestamp === undefined ? [] : (metadata.finalizers ?? []);
  return finalizers.length === 0 ? what : `${what} (kept by ${finalizers.join(', ')}: who set that has to let go)`;
}
