import type { V1NetworkPolicyPeer } from '@kubernetes/client-node';
import type { AllowedPeer } from '../../src/api/resolved.ts';
import type { NetworkPolicy, Wire } from '../../src/kube/objects.ts';
import { labels } from './names.ts';

export type Peer = Wire<V1NetworkPolicyPeer>;

/** The label by which the operator's own pods are known in its namespace; its chart sets it. */
export const operatorPodLabels = { 'app.kubernetes.io/name': 'pipeline-parity' } as const;

export interface PolicyOptions {
  /** Labels of the server's pods. */
  readonly pods: Readonly<Record<string, string>>;
  readonly port: number;
  readonly runUid: string;
  readonly operatorNamespace: string;
  readonly allowFrom: readonly AllowedPeer[];
}

/** Lets the run's own pods, the operator and the named peers reach a server, and nobody else; the server itself reaches nothing. */
export function networkPolicySpec(options: PolicyOptions): NonNullable<NetworkPolicy['spec']> {
  const own: readonly Peer[] = [
    { podSelector: { matchLabels: { [labels.runUid]: options.runUid } } },
    {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': options.operatorNamespace } },
      podSelector: { matchLabels: operatorPodLabels },
    },
  ];
  return {
    podSelector: { matchLabels: options.pods },
    policyTypes: ['Ingress', 'Egress'],
    egress: [],
    ingress: [{ ports: [{ port: options.port, protocol: 'TCP' }], from: [...own, ...options.allowFrom.map(peerOf)] }],
  };
}

/** A peer as a NetworkPolicy writes it. */
export function peerOf(peer: AllowedPeer): Peer {
  if ('cidr' in peer) return { ipBlock: { cidr: peer.cidr } };
  const { namespace, pods } = peer;
  return {
    ...(namespace === undefined
      ? {}
      : { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } }),
    podSelector: pods === undefined ? {} : { matchLabels: labelsOf(pods) },
  };
}

/** The labels that `app=worker,tier=etl` says. */
export function labelsOf(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map((pair) => pair.split('='));
  return Object.fromEntries(pairs.map(([name = '', value = '']) => [name, value]));
}
