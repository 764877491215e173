import { gunzipSync, gzipSync } from 'node:zlib';
import type { KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type ObjectName, type Secret, secrets } from '../../src/kube/objects.ts';
import { ParityError } from '../../src/support/error.ts';
import { protectKeys } from '../../src/support/secrets.ts';
import type { RunIdentity } from '../../src/tasks/task.ts';
import { decodeKeys, encodeKeys } from './credentials.ts';
import { holdFinalizer, holdName, isOfRun, refusedAnnotation, runLabels } from './names.ts';
import type { Hold } from './types.ts';

/** On the copy of a hold that is kept for the sweeper, in the operator's own namespace, when an administrator let go of its run. */
export const abandonedLabel = 'pipelineparity.io/abandoned';

type Identity = Pick<RunIdentity, 'installation' | 'uid'>;

/**
 * Makes the hold Secret, before anything else is made; what was decided the first time stays. It has no owner: foreground deletion would take it
 * before the run is finalized. Throws `AccessDenied` where another's Secret has its name.
 */
export async function createHold(
  kube: KubeClient,
  hold: Hold,
): Promise<{ readonly hold: Hold; readonly isNew: boolean }> {
  try {
    const name = { namespace: hold.namespace, name: holdName(hold.run.uid) };
    await kube.create(secrets, { ...draftOf(hold, name, {}), immutable: true });
    return { hold, isNew: true };
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
  }
  const found = await readHold(kube, hold.namespace, hold.run);
  if (found !== undefined) return { hold: found, isNew: false };
  // It was there a moment ago: the next reconcile looks again.
  throw new ParityError('Internal', `the hold of run ${hold.run.uid} was removed while it was read`, {
    isRetryable: true,
  });
}

/** The run's hold; undefined where there is none: then nothing was made. Throws `AccessDenied` where another's Secret has its name. */
export async function readHold(kube: KubeClient, namespace: string, run: Identity): Promise<Hold | undefined> {
  const secret = await kube.find(secrets, { namespace, name: holdName(run.uid) });
  if (secret === undefined) return undefined;
  if (!isOfRun(secret, run)) {
    throw new ParityError('AccessDenied', `the Secret ${namespace}/${holdName(run.uid)} is not this installation's`, {
      advice: 'Nothing was changed. If another installation watches this namespace too, keep one of them.',
    });
  }
  return decodeHold(secret);
}

/** Notes on the hold, for whoever removes what is left of the run, that it never had a workspace. Its run has ended: none will be made. */
export async function noteRefusal(kube: KubeClient, { namespace, run }: Hold): Promise<void> {
  const name = { namespace, name: holdName(run.uid) };
  await kube.mergePatch(secrets, name, { metadata: { annotations: { [refusedAnnotation]: 'true' } } });
}

/** Takes our finalizer off the hold and deletes it. Again it does nothing. */
export async function deleteHold(kube: KubeClient, namespace: string, run: Identity): Promise<void> {
  await deleteHoldSecret(kube, { namespace, name: holdName(run.uid) }, run);
}

/** The same for a hold by its name, such as that of a run that was let go. */
export async function deleteHoldSecret(kube: KubeClient, name: ObjectName, run: Identity): Promise<void> {
  const secret = await kube.find(secrets, name);
  if (secret === undefined || !isOfRun(secret, run)) return;
  const { uid, deletionTimestamp } = secret.metadata;
  // Deleted first: without its finalizer but not deleted it would be a Secret that nobody looks for.
  if (deletionTimestamp === undefined) {
    const end = await kube.delete(secrets, name, { uid }).catch((error: unknown) => {
      if (isKubeError(error, 'Conflict', 'NotFound')) return 'gone';
      throw error;
    });
    if (end === 'gone') return;
  }
  const others = (secret.metadata.finalizers ?? []).filter((finalizer) => finalizer !== holdFinalizer);
  await kube.mergePatch(secrets, name, { metadata: { finalizers: others, uid } }).catch((error: unknown) => {
    if (!isKubeError(error, 'NotFound', 'Conflict')) throw error;
  });
}

/** Keeps a copy of the hold in the operator's namespace, for the sweeper to go on with. */
export async function keepAbandoned(kube: KubeClient, hold: Hold, operatorNamespace: string): Promise<void> {
  try {
    const name = { namespace: operatorNamespace, name: abandonedName(hold.run.uid) };
    await kube.create(secrets, draftOf(hold, name, { [abandonedLabel]: 'true' }));
  } catch (error) {
    if (!isKubeError(error, 'AlreadyExists')) throw error;
  }
}

/** Name of that copy. */
export function abandonedName(uid: string): string {
  return `parity-abandoned-${uid}`;
}

/** What a hold Secret says. Throws `Internal` for one that cannot be read. */
export function decodeHold(secret: Secret): Hold {
  const keys: Readonly<Record<string, unknown>> = { ...secret.data };
  try {
    const { secretKeys, ...hold }: Packed = JSON.parse(gunzipSync(Buffer.from(String(keys.spec), 'base64')).toString());
    const held = decodeKeys(secret);
    const copies = Object.entries(secretKeys).map(([name, keys]) => {
      const copy = Object.fromEntries(keys.map((key) => [key, held[secretKey(name, key)] ?? '']));
      protectKeys(copy);
      return [name, copy] as const;
    });
    const isRefused = hold.isRefused === true || secret.metadata.annotations?.[refusedAnnotation] === 'true';
    return { ...hold, isRefused, secrets: Object.fromEntries(copies) };
  } catch (error) {
    const { namespace, name } = secret.metadata;
    throw new ParityError('Internal', `the hold Secret ${namespace}/${name} cannot be read: ${String(error)}`, {
      cause: error,
      advice: 'It was changed by hand or written by another version. See what the run left, then abandon it.',
    });
  }
}

/** The hold without its credentials; their keys are listed, because a key in a Secret can't say where a name ends. */
type Packed = Omit<Hold, 'secrets'> & { readonly secretKeys: Readonly<Record<string, readonly string[]>> };

function draftOf(
  { secrets: copies, ...hold }: Hold,
  name: Required<ObjectName>,
  labels: Readonly<Record<string, string>>,
) {
  const packed: Packed = {
    ...hold,
    secretKeys: Object.fromEntries(Object.entries(copies).map(([name, keys]) => [name, Object.keys(keys)])),
  };
  const credentials = Object.entries(copies).flatMap(([name, keys]) =>
    Object.entries(keys).map(([key, value]) => [secretKey(name, key), value] as const),
  );
  return {
    metadata: {
      ...name,
      labels: { ...runLabels(hold.run), ...labels },
      finalizers: [holdFinalizer],
    },
    type: 'Opaque',
    data: {
      spec: gzipSync(JSON.stringify(packed)).toString('base64'),
      ...encodeKeys(Object.fromEntries(credentials)),
    },
  };
}

function secretKey(name: string, key: string): string {
  return `secret.${name}.${key}`;
}
