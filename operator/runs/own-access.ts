import { isKubeError } from '../../src/kube/error.ts';
import { type KubeObject, type ObjectName, resource } from '../../src/kube/objects.ts';
import { addFinalizer, patchMetadata } from '../kube/patch.ts';
import type { RunContext } from './context.ts';
import { runs } from './types.ts';

const roleBindings = resource<KubeObject>('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding');

type Context = Pick<RunContext, 'kube' | 'options'>;

/**
 * Keeps the RoleBinding by which the operator works in a namespace, for as long as the run has something there: who deletes the namespace deletes its
 * RoleBindings first, and then nobody could finalize the run. Each run has a finalizer of its own on it.
 */
export async function keepOwnAccess({ kube, options }: Context, namespace: string, uid: string): Promise<void> {
  const name = bindingIn(options, namespace);
  const binding = name === undefined ? undefined : await kube.find(roleBindings, name);
  // Nothing is added to what is being deleted; then nothing can be made in the namespace either.
  if (binding === undefined || binding.metadata.deletionTimestamp !== undefined) return;
  await addFinalizer(kube, roleBindings, binding, finalizerOf(uid));
}

/** Lets go of the RoleBinding, for a run that has nothing any more and for those that are not there any more. Again it does nothing. */
export async function releaseOwnAccess({ kube, options }: Context, namespace: string, uid?: string): Promise<void> {
  const name = bindingIn(options, namespace);
  const binding = name === undefined ? undefined : await kube.find(roleBindings, name).catch(nothingAllowed);
  const finalizers = binding?.metadata.finalizers ?? [];
  if (binding === undefined || !finalizers.some((finalizer) => finalizer.startsWith(prefix))) return;
  const { items } = await kube.listMetadata(runs, { namespace });
  const needed = new Set(
    items
      .map(({ metadata }) => metadata.uid)
      .filter((other) => other !== uid)
      .map(finalizerOf),
  );
  const left = finalizers.filter((finalizer) => !finalizer.startsWith(prefix) || needed.has(finalizer));
  if (left.length === finalizers.length) return;
  await patchMetadata(kube, roleBindings, binding, { finalizers: left }).catch((error: unknown) => {
    if (!isKubeError(error, 'NotFound')) throw error;
  });
}

/** A namespace that is gone took its permissions along. */
function nothingAllowed(error: unknown): undefined {
  if (!isKubeError(error, 'Forbidden')) throw error;
}

const prefix = 'pipelineparity.io/run-';

function finalizerOf(uid: string): string {
  return `${prefix}${uid}`;
}

function bindingIn({ roleBinding: name }: Context['options'], namespace: string): ObjectName | undefined {
  return name === undefined ? undefined : { namespace, name };
}
