import type { ResolvedStorage } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import {
  configMaps,
  jobs,
  type KubeObject,
  keyOf,
  type MetadataOnly,
  networkPolicies,
  persistentVolumeClaims,
  type Resource,
  type Secret,
  secrets,
  services,
  statefulSets,
} from '../../src/kube/objects.ts';
import { toParityError } from '../../src/support/error.ts';
import { log } from '../../src/support/log.ts';
import { throwIfAborted } from '../../src/support/retry.ts';
import type { RunIdentity } from '../../src/tasks/task.ts';
import { type FoundWorkspace, listWorkspaces, readMark, removeWorkspace } from '../../src/tasks/workspace.ts';
import { applications } from '../runs/application.ts';
import { type RunContext, scopeOf } from '../runs/context.ts';
import { readKeys } from '../runs/credentials.ts';
import { decodeHold, deleteHoldSecret } from '../runs/hold.ts';
import { storageKeys } from '../runs/memory.ts';
import { holdFinalizer, labels } from '../runs/names.ts';
import { describeLeftovers, removeAll } from '../runs/removals.ts';
import { type Hold, type RunObject, runs } from '../runs/types.ts';

/** What was found that belongs to no living run, and what became of it. */
export interface Leak {
  readonly kind: string;
  readonly name: string;
  readonly outcome: 'Removed' | 'Waiting' | { readonly error: string };
}

/** Things that are younger may belong to a run that was made after the runs were listed, in ms. */
const youngMs = 60_000;

/**
 * Looks for what carries this installation's mark and belongs to no living run, and removes it: what holds say first (they know all of a run: its buckets, databases,
 * Applications, workflows), then objects of the cluster, then workspaces where runs work: under the installation's default location, and where any hold says that its run
 * works. Nothing is removed before a live read has said that its run is gone.
 */
export async function sweep(context: RunContext): Promise<readonly Leak[]> {
  const leaks: Leak[] = [];
  const note = (leak: Leak) => {
    leaks.push(leak);
    log.warn('something belonged to no living run', { ...leak });
  };
  const held: Held = { uids: new Set(), workplaces: new Map() };
  for (const secret of await holds(context)) {
    throwIfAborted(context.signal);
    const leak = await sweepHold(context, secret, held);
    if (leak !== undefined) note(leak);
  }
  for (const leak of await sweepObjects(context, held)) note(leak);
  for (const leak of await sweepWorkspaces(context, held)) note(leak);
  return leaks;
}

/** What the holds say, of runs that are alive and of others. */
interface Held {
  readonly uids: Set<string>;
  /** Where runs work, by location and server. */
  readonly workplaces: Map<string, Workplace>;
}

interface Workplace {
  readonly storage: ResolvedStorage;
  readonly keys: Readonly<Record<string, string>> | undefined;
}

function places({ options }: RunContext): readonly (string | undefined)[] {
  return options.namespaces ?? [undefined];
}

function ofInstallation({ options }: RunContext): string {
  return `${labels.installation}=${options.installation}`;
}

async function holds(context: RunContext): Promise<readonly Secret[]> {
  const { kube, options } = context;
  const own = options.namespaces === undefined ? [undefined] : [...new Set([...options.namespaces, options.namespace])];
  const found: Secret[] = [];
  for (const namespace of own) {
    const where = namespace === undefined ? {} : { namespace };
    for (const { metadata } of (await kube.listMetadata(secrets, { ...where, labelSelector: ofInstallation(context) }))
      .items) {
      if (metadata.finalizers?.includes(holdFinalizer) !== true) continue;
      const secret = await kube.find(secrets, metadata);
      if (secret !== undefined) found.push(secret);
    }
  }
  return found;
}

/** A hold whose run is gone: its finalization was never carried out, or was given up by an administrator. */
async function sweepHold(context: RunContext, secret: Secret, held: Held): Promise<Leak | undefined> {
  const name = keyOf(secret.metadata);
  held.uids.add(secret.metadata.labels?.[labels.runUid] ?? '');
  try {
    const hold = decodeHold(secret);
    const storage = hold.spec.workspace;
    held.workplaces.set(nameOfPlace(storage), { storage, keys: storageKeys(hold) });
    const run = await context.kube.find(runs, { namespace: hold.namespace, name: hold.run.name });
    if (run?.metadata.uid === hold.run.uid) return undefined;
    const removal = await removeAll(scopeOf(context, goneRun(hold), hold), context.hands);
    if (removal.kind === 'Incomplete')
      return { kind: 'Hold', name, outcome: { error: describeLeftovers(removal.leftovers) } };
    if (removal.kind === 'Waiting') return { kind: 'Hold', name, outcome: 'Waiting' };
    await deleteHoldSecret(context.kube, secret.metadata, hold.run);
    return { kind: 'Hold', name, outcome: 'Removed' };
  } catch (error) {
    throwIfAborted(context.signal);
    return { kind: 'Hold', name, outcome: { error: toParityError(error).message } };
  }
}

/** A run as far as it is known once it is gone: enough to find what it had. */
function goneRun({ run, namespace }: Hold): RunObject {
  return {
    apiVersion: 'pipelineparity.io/v1alpha1',
    kind: 'PipelineParityRun',
    metadata: { name: run.name, namespace, uid: run.uid, resourceVersion: '', creationTimestamp: '' },
    spec: {},
  };
}

/** Objects whose run is gone and that no hold knows: the cluster takes owned ones by itself, these were left. */
async function sweepObjects(context: RunContext, held: Held): Promise<readonly Leak[]> {
  const { kube, options } = context;
  const kinds: readonly Resource<KubeObject>[] = [
    jobs,
    statefulSets,
    services,
    configMaps,
    networkPolicies,
    persistentVolumeClaims,
  ];
  const found: { readonly kind: Resource<KubeObject>; readonly object: MetadataOnly }[] = [];
  const list = async (kind: Resource<KubeObject>, namespace: string | undefined) => {
    const where = namespace === undefined ? {} : { namespace };
    const { items } = await kube.listMetadata(kind, { ...where, labelSelector: ofInstallation(context) });
    found.push(...items.map((object) => ({ kind, object })));
  };
  for (const namespace of places(context)) for (const kind of kinds) await list(kind, namespace);
  if (options.argocd !== undefined)
    await list(applications, options.argocd.namespace).catch((error: unknown) => {
      if (!isKubeError(error, 'NoSuchKind')) throw error;
    });
  const alive = await livingRuns(context);
  const leaks: Leak[] = [];
  for (const { kind, object } of found) {
    const { namespace = '', name, deletionTimestamp, creationTimestamp } = object.metadata;
    const run = object.metadata.labels?.[labels.runUid];
    const isYoung = context.now().getTime() - Date.parse(creationTimestamp) < youngMs;
    if (run === undefined || alive.has(run) || held.uids.has(run) || isYoung || deletionTimestamp !== undefined)
      continue;
    throwIfAborted(context.signal);
    const about = { kind: kind.kind, name: `${namespace}/${name}` };
    const outcome = await removeObject(context, kind, object).catch((error: unknown) => ({
      error: toParityError(error).message,
    }));
    leaks.push({ ...about, outcome });
  }
  return leaks;
}

async function removeObject(
  { kube }: RunContext,
  kind: Resource<KubeObject>,
  { metadata }: MetadataOnly,
): Promise<'Removed' | 'Waiting'> {
  const { namespace = '', name, uid } = metadata;
  // Argo CD finishes an operation before it deletes, and ours would be tried for ever.
  if (kind.kind === applications.kind)
    await kube.mergePatch(applications, { namespace, name }, { metadata: { uid }, operation: null });
  return (await kube.delete(kind, { namespace, name }, { uid })) === 'gone' ? 'Removed' : 'Waiting';
}

/** Buckets, prefixes and folders with our mark, wherever runs are known to work. */
async function sweepWorkspaces(context: RunContext, held: Held): Promise<readonly Leak[]> {
  const leaks: Leak[] = [];
  for (const place of await workplaces(context, held)) {
    const found = await listed(context, place);
    if (found.length === 0) continue;
    const alive = await livingRuns(context);
    for (const workspace of found) {
      throwIfAborted(context.signal);
      if (alive.has(workspace.uid) || held.uids.has(workspace.uid)) continue;
      const leak = await sweepWorkspace(context, workspace, place.keys);
      if (leak !== undefined) leaks.push(leak);
    }
  }
  return leaks;
}

/** A place that can't be listed keeps no other from being looked at. */
async function listed({ signal }: RunContext, { storage, keys }: Workplace): Promise<readonly FoundWorkspace[]> {
  throwIfAborted(signal);
  try {
    return await listWorkspaces(storage, keys);
  } catch (error) {
    log.warn('workspaces without a run cannot be looked for here', { location: storage.location, error });
    return [];
  }
}

async function workplaces({ kube, options }: RunContext, held: Held): Promise<readonly Workplace[]> {
  const storage = options.defaultWorkspace;
  if (storage === undefined) return [...held.workplaces.values()];
  const { secretRef } = storage;
  const keys = secretRef === undefined ? undefined : await readKeys(kube, options.namespace, secretRef.name);
  // The operator's own keys, where a run works in the default place with a copy of them.
  return [...new Map([...held.workplaces, [nameOfPlace(storage), { storage, keys }]]).values()];
}

function nameOfPlace({ location, endpoint, region }: ResolvedStorage): string {
  return JSON.stringify([location.replace(/\/+$/, ''), endpoint, region]);
}

async function sweepWorkspace(
  { options, signal, now }: RunContext,
  { uid, plan }: FoundWorkspace,
  keys: Readonly<Record<string, string>> | undefined,
): Promise<Leak | undefined> {
  const about = { kind: 'Workspace', name: plan.storage.location };
  try {
    const mark = await readMark(plan, keys);
    // Another installation's, or in the making.
    if (mark?.installation !== options.installation || mark.uid !== uid) return undefined;
    if (now().getTime() - Date.parse(mark.createdAt) < youngMs) return undefined;
    const run: RunIdentity = { name: mark.name, uid, installation: options.installation };
    await removeWorkspace(plan, run, keys, signal);
    return { ...about, outcome: 'Removed' };
  } catch (error) {
    return { ...about, outcome: { error: toParityError(error).message } };
  }
}

/** Uids of all runs, by a list that the server answers from what is stored. */
async function livingRuns(context: RunContext): Promise<ReadonlySet<string>> {
  const alive = new Set<string>();
  // Of all namespaces that can be seen: a run outside those that are watched is another installation's, and alive.
  for (const namespace of places(context)) {
    const where = namespace === undefined ? {} : { namespace };
    for (const { metadata } of (await context.kube.listMetadata(runs, where)).items) alive.add(metadata.uid);
  }
  return alive;
}
