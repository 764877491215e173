import { isDeepStrictEqual } from 'node:util';
import type { KubeClient, MergePatch } from '../../src/kube/client.ts';
import type { KubeObject, ObjectMeta, Resource } from '../../src/kube/objects.ts';

/**
 * The object with the new status: sends only what changed since `read`, and only if nobody has changed the object in between.
 * Nothing changed: no request, and `read` itself comes back. Throws `Conflict`, which ends a reconcile: what it decided was decided
 * on an old object, and is never sent again.
 */
export async function patchStatus<T extends KubeObject & { readonly status?: object }>(
  client: KubeClient,
  resource: Resource<T>,
  read: T,
  status: NonNullable<T['status']>,
): Promise<T> {
  const changed = mergeDiff(read.status ?? {}, status);
  // A status that is there and empty is not the same as none: an empty one is never worth a request.
  if (changed === undefined) return read;
  return client.mergePatch(resource, read.metadata, lockedTo(read, { status: changed }), { subresource: 'status' });
}

/** The metadata that `patchMetadata` sets: what is left out stays as it is. A key of a map that is left out is removed. */
export type OwnMetadata = Pick<ObjectMeta, 'finalizers' | 'labels' | 'annotations'>;

/** The object with other finalizers, labels or annotations, with the promises of `patchStatus`. */
export async function patchMetadata<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  read: T,
  metadata: OwnMetadata,
): Promise<T> {
  const { finalizers, labels, annotations } = read.metadata;
  const before = { finalizers: finalizers ?? [], labels: labels ?? {}, annotations: annotations ?? {} };
  const changed = mergeDiff(before, { ...before, ...metadata });
  if (changed === undefined) return read;
  return client.mergePatch(resource, read.metadata, lockedTo(read, { metadata: changed }));
}

/** The object with this finalizer, before all else that is done for it. */
export function addFinalizer<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  read: T,
  finalizer: string,
): Promise<T> {
  const finalizers = read.metadata.finalizers ?? [];
  return patchMetadata(client, resource, read, {
    finalizers: finalizers.includes(finalizer) ? finalizers : [...finalizers, finalizer],
  });
}

/** The object without this finalizer; others' stay. */
export function removeFinalizer<T extends KubeObject>(
  client: KubeClient,
  resource: Resource<T>,
  read: T,
  finalizer: string,
): Promise<T> {
  return patchMetadata(client, resource, read, {
    finalizers: (read.metadata.finalizers ?? []).filter((other) => other !== finalizer),
  });
}

/**
 * The merge patch (RFC 7396) that makes `before` into `after`, or undefined if they are the same. Objects are compared field by
 * field; a list that differs anywhere is sent whole; a field that is gone is sent as null. A null or undefined in `after` is a field
 * that is gone: a merge patch can't store a null.
 */
export function mergeDiff(before: object, after: object): MergePatch | undefined {
  const old = fieldsOf(before);
  const now = fieldsOf(after);
  const patch: Record<string, unknown> = {};
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    const [from, to] = [old.get(name), now.get(name)];
    if (to === undefined) patch[name] = null;
    else if (isObject(from) && isObject(to)) {
      const inner = mergeDiff(from, to);
      if (inner !== undefined) patch[name] = inner;
    } else if (!isDeepStrictEqual(from, to)) patch[name] = to;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function lockedTo(
  read: KubeObject,
  patch: { readonly status: MergePatch } | { readonly metadata: MergePatch },
): MergePatch {
  const { resourceVersion } = read.metadata;
  return { ...patch, metadata: { ...('metadata' in patch ? patch.metadata : {}), resourceVersion } };
}

/** The fields that hold something, as they will be on the wire. */
function fieldsOf(object: object): ReadonlyMap<string, unknown> {
  const held = Object.entries(object).filter(([, value]) => value !== null && value !== undefined);
  return new Map(held.map(([name, value]) => [name, onTheWire(value)]));
}

/** A value without the fields that hold nothing: sent as null they would be refused or stored, left undefined they differ from what is read back. */
function onTheWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(onTheWire);
  return isObject(value) ? Object.fromEntries(fieldsOf(value)) : value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
