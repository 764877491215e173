import { connect, type KubeClient } from '../../kube/client.ts';
import { ParityError } from '../../support/error.ts';

export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
}

/** A namespace of a cluster, and who asks. */
export interface Cluster {
  readonly client: KubeClient;
  readonly namespace: string;
}

/** The cluster that the flags, or the kubeconfig's own context, name. Throws `BadUsage` where none is known. */
export async function openCluster(flags: ClusterFlags): Promise<Cluster> {
  const { kubeconfig, context, namespace } = flags;
  const client = await connect({
    fieldManager: 'parity-cli',
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
  });
  return { client, namespace: namespace ?? client.namespace };
}

/** The name of a run as people write it: `flights`, or `ppr/flights` as kubectl prints it. */
export function runNameOf(text: string): string {
  const name = text.replace(/^(ppr|pipelineparityruns?(\.pipelineparity\.io)?)\//, '');
  if (/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name) && name.length <= 253) return name;
  throw new ParityError('BadUsage', `'${text}' cannot be the name of a run`, {
    advice: 'List the runs with: kubectl get ppr',
  });
}

/** `90`, `90s`, `30m` or `6h` as ms. Throws `BadUsage` naming the flag. */
export function durationMs(flag: string, text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,7})(s|m|h)?$/.exec(text) ?? [];
  const seconds = { s: 1, m: 60, h: 3600 }[unit];
  if (digits === undefined || seconds === undefined) {
    throw new ParityError('BadUsage', `${flag} ${text} is no duration`, { advice: 'Write it as 90s, 30m or 6h.' });
  }
  return Number(digits) * seconds * 1000;
}
