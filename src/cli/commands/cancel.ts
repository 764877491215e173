import { type ClusterFlags, openCluster, runNameOf } from '../cluster/access.ts';
import { cancelRun } from '../cluster/cancel.ts';
import type { Io } from './io.ts';

/** `parity cancel`: asks the operator to cancel a run. One that has finished is left as it is. Returns 0. */
export async function cancelCommand(run: string, flags: ClusterFlags, io: Io): Promise<number> {
  const name = runNameOf(run);
  const cluster = await openCluster(flags);
  try {
    const ending = await cancelRun(cluster, name);
    if (ending !== undefined) io.out(`${name} has finished already: ${ending.verdict}\n`);
    else io.out(`${name} is being cancelled; wait for its end with: parity wait ${name} -n ${cluster.namespace}\n`);
    return 0;
  } finally {
    cluster.client.close();
  }
}
