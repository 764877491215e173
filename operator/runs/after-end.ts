import { isKubeError } from '../../src/kube/error.ts';
import type { Outcome } from '../kube/queue.ts';
import { logOf, type RunContext } from './context.ts';
import { cleanUpAfterEnd } from './finalize.ts';
import { readHold } from './hold.ts';
import { cleanupFinalizer } from './names.ts';
import { type RunObject, runs } from './types.ts';

/** A run that has its verdict: it is cleaned up as its policy says, and goes when its time is over. Its tasks are never looked at again. */
export async function afterEnd(context: RunContext, run: RunObject): Promise<Outcome> {
  const { policy, leftMs } = await termsOf(context, run);
  const isDue = leftMs !== undefined && leftMs <= 0;
  const wantsCleanup = policy === 'Always' || (policy === 'OnSuccess' && run.status?.result?.verdict === 'Passed');
  if (isDue && !isTracked(run)) return await remove(context, run);
  const hasSomething = (run.metadata.finalizers ?? []).includes(cleanupFinalizer);
  if (hasSomething && (wantsCleanup || isDue)) return await cleanUpAfterEnd(context, run);
  return isDue || leftMs === undefined ? undefined : { againAfterMs: leftMs };
}

/** The policy and the time that is left, of the run as it is now over what was frozen. */
async function termsOf({ kube, options, now }: RunContext, run: RunObject) {
  const { policy: own, ttlSecondsAfterFinished: ownTtl } = run.spec.cleanup ?? {};
  const hold =
    !(run.metadata.finalizers ?? []).includes(cleanupFinalizer) || (own !== undefined && ownTtl !== undefined)
      ? undefined
      : await readHold(kube, run.metadata.namespace ?? '', {
          installation: options.installation,
          uid: run.metadata.uid,
        });
  const ttl = ownTtl ?? run.status?.ttlSecondsAfterFinished;
  const { completionTime } = run.status ?? {};
  const leftMs =
    ttl === undefined || completionTime === undefined
      ? undefined
      : Date.parse(completionTime) + ttl * 1000 - now().getTime();
  return { policy: own ?? hold?.spec.cleanup.policy ?? 'Always', leftMs };
}

/** Its finalizer removes what is left of it, as for anyone who deletes it. */
async function remove({ kube }: RunContext, run: RunObject): Promise<Outcome> {
  const { namespace = '', name, uid } = run.metadata;
  logOf(run).info('its time after the end is over: it is deleted');
  await kube.delete(runs, { namespace, name }, { uid }).catch((error: unknown) => {
    if (!isKubeError(error, 'Conflict')) throw error;
  });
  return undefined;
}

/** Argo CD would make a run again that it finds missing: only what the run has made goes. Its label is Helm's too, which does no harm here. */
function isTracked({ metadata }: RunObject): boolean {
  return (
    metadata.annotations?.['argocd.argoproj.io/tracking-id'] !== undefined ||
    metadata.labels?.['argocd.argoproj.io/instance'] !== undefined ||
    metadata.labels?.['app.kubernetes.io/instance'] !== undefined
  );
}
