import { randomUUID } from 'node:crypto';
import { canonicalJson, fieldOf } from '../../api/json.ts';
import type { Metadata } from '../../api/metadata.ts';
import { isKubeError } from '../../kube/error.ts';
import type { Draft } from '../../kube/objects.ts';
import { type PlanObject, plans, type RunObject, runs } from '../../kube/runs.ts';
import { ParityError, toParityError } from '../../support/error.ts';
import { retry } from '../../support/retry.ts';
import type { Cluster } from './access.ts';

/** Tells a run that we have made from another of the same name, when the answer to its creation was lost. */
const requestAnnotation = 'pipelineparity.io/request';

export type NewObject<T> = { readonly metadata: Omit<Metadata, 'namespace'> } & Pick<T & { spec: unknown }, 'spec'>;

/**
 * Creates the run, whose answer may be lost without harm. Throws `BadUsage` where there is one of that name already, `InvalidSpec`
 * where the cluster's schema refuses it or does not know one of its fields.
 */
export async function createRun({ client, namespace }: Cluster, run: NewObject<RunObject>): Promise<RunObject> {
  const { name, labels, annotations } = run.metadata;
  const request = randomUUID();
  const draft: Draft<RunObject> = {
    metadata: { name, namespace, labels, annotations: { ...annotations, [requestAnnotation]: request } },
    spec: run.spec,
  };
  return await retry(
    async () => {
      try {
        return await client.create(runs, draft, { isStrict: true });
      } catch (error) {
        if (!isKubeError(error, 'AlreadyExists')) throw error;
        const found = await client.find(runs, { namespace, name });
        if (found?.metadata.annotations?.[requestAnnotation] === request) return found;
        throw alreadyThere(name, namespace, found, error);
      }
    },
    { attempts: 4, isRetryable: (error) => toParityError(error).isRetryable },
  );
}

/**
 * Sees to it that the plan is there as the manifest says. Another plan of its name is replaced only where `mayReplace`: others may
 * use it. Throws `BadUsage`.
 */
export async function createPlan(
  { client, namespace }: Cluster,
  plan: NewObject<PlanObject>,
  mayReplace: boolean,
): Promise<'created' | 'unchanged' | 'replaced'> {
  const { name, labels, annotations } = plan.metadata;
  const draft: Draft<PlanObject> = { metadata: { name, namespace, labels, annotations }, spec: plan.spec };
  const found = await client.find(plans, { namespace, name });
  if (found === undefined) {
    try {
      await client.create(plans, draft, { isStrict: true });
      return 'created';
    } catch (error) {
      if (!isKubeError(error, 'AlreadyExists')) throw error;
    }
  }
  const current = found ?? (await client.get(plans, { namespace, name }));
  if (canonicalJson(current.spec) === canonicalJson(plan.spec)) return 'unchanged';
  if (!mayReplace) throw anotherPlan(name, namespace);
  await client.jsonPatch(plans, { namespace, name }, [
    { op: 'test', path: '/metadata/resourceVersion', value: current.metadata.resourceVersion },
    { op: 'replace', path: '/spec', value: plan.spec },
  ]);
  return 'replaced';
}

function alreadyThere(name: string, namespace: string, found: RunObject | undefined, cause: unknown): ParityError {
  const verdict = fieldOf(found?.status?.result, 'verdict');
  const state = typeof verdict === 'string' ? verdict : (found?.status?.phase ?? 'there');
  return new ParityError('BadUsage', `a run ${name} is in namespace ${namespace} already (${state})`, {
    subject: name,
    cause,
    advice: 'A run is carried out once: give this one another name with --name, or delete that one.',
  });
}

function anotherPlan(name: string, namespace: string): ParityError {
  return new ParityError('BadUsage', `the plan ${name} in namespace ${namespace} is not the one in the manifest`, {
    subject: name,
    advice:
      'Replace it with --replace-plan, give this one another name, or leave it out of the manifest to use that one.',
  });
}
