import { fieldOf } from '../../api/json.ts';
import { isKubeError } from '../../kube/error.ts';
import { runs } from '../../kube/runs.ts';
import { ParityError } from '../../support/error.ts';
import type { Cluster } from './access.ts';
import { type Ending, endingOf } from './ending.ts';
import { readRun } from './follow.ts';

/**
 * Asks the operator to cancel the run. Returns how it has ended, if it had before. Throws `NotFound` where it is not there or, with
 * `uid`, is another one.
 */
export async function cancelRun(cluster: Cluster, name: string, uid?: string): Promise<Ending | undefined> {
  const run = await readRun(cluster, name);
  const ending = endingOf(run);
  if (ending !== undefined) return ending;
  const test = { op: 'test', path: '/metadata/uid', value: uid ?? run.metadata.uid } as const;
  const { namespace } = cluster;
  const set = { op: 'add', path: '/spec/cancel', value: true } as const;
  try {
    const changed = await cluster.client.jsonPatch(runs, { namespace, name }, [test, set]);
    // A server drops what its schema does not know.
    if (fieldOf(changed.spec, 'cancel') === true) return undefined;
  } catch (error) {
    if (!isKubeError(error, 'Invalid') || (await readRun(cluster, name)).metadata.uid === test.value) throw error;
    throw new ParityError('NotFound', `run ${name} (${test.value}) is gone: another one has its name`, {
      cause: error,
    });
  }
  throw new ParityError('UnsupportedFeature', `the cluster's PipelineParityRun has no spec.cancel: ${name} goes on`, {
    subject: name,
    advice: 'Install the CRDs of this version, or delete the run.',
  });
}
