import type { AllowedPeer, DeployedServer, ResolvedSource } from '../../src/api/resolved.ts';
import type { OwnerReference } from '../../src/kube/objects.ts';
import { labels, ownedBy, runLabels, sourceName } from './names.ts';
import { operatorPodLabels, peerOf } from './network-policies.ts';
import { type ServerKind, serverKind } from './server-kinds.ts';
import { roomFor } from './source-size.ts';
import type { Scope, Toleration } from './types.ts';

/** A server of a source, before it is decided who deploys it: the chart that Argo CD deploys is told this, and the operator's own objects are made of it. */
export interface ServerDescription {
  readonly kind: ServerKind;
  readonly name: string;
  /** The run's namespace. */
  readonly namespace: string;
  /** The marks of the run and the source. */
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  readonly imagePullSecrets: readonly string[];
  /** A volume of that size; the node's own disk where left out. */
  readonly size?: string;
  /** What the node has to have free where there is no volume, a quantity. */
  readonly storageRequest?: string;
  readonly tlsSecret?: string;
  readonly runUid: string;
  readonly operatorNamespace: string;
  readonly allowFrom: readonly AllowedPeer[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Toleration[];
  /** The run. Objects that Argo CD makes have none: it would take them for orphans of another. */
  readonly owner: OwnerReference;
}

/** What the run deploys for the source. The Secret of its credentials has the name of the server. */
export async function describeServer(
  scope: Scope,
  source: ResolvedSource,
  server: DeployedServer,
): Promise<ServerDescription> {
  const { hold, options, run } = scope;
  const kind = serverKind(source.engine);
  return {
    kind,
    name: sourceName(hold.run.uid, source.name),
    namespace: hold.namespace,
    labels: { ...runLabels(hold.run), [labels.source]: source.name },
    image: server.image ?? kind.image(source.engineVersion),
    imagePullSecrets: options.imagePullSecrets,
    ...(server.size === undefined ? { storageRequest: await roomFor(scope, source) } : { size: server.size }),
    ...(server.tls === undefined ? {} : { tlsSecret: server.tls.secretRef.name }),
    runUid: hold.run.uid,
    operatorNamespace: options.namespace,
    allowFrom: server.allowFrom,
    nodeSelector: options.nodeSelector,
    tolerations: options.tolerations,
    owner: ownedBy(run),
  };
}

/** The same as values of the charts in argocd/sources, and of any other chart that keeps to argocd/sources/README.md. */
export function toChartValues(server: ServerDescription): Readonly<Record<string, unknown>> {
  return {
    name: server.name,
    labels: server.labels,
    image: server.image,
    imagePullSecrets: server.imagePullSecrets.map((name) => ({ name })),
    auth: { existingSecret: server.name },
    ...(server.size === undefined ? {} : { size: server.size }),
    ...(server.storageRequest === undefined ? {} : { storageRequest: server.storageRequest }),
    ...(server.tlsSecret === undefined ? {} : { tls: { secretName: server.tlsSecret } }),
    runUid: server.runUid,
    operator: { namespace: server.operatorNamespace, podLabels: operatorPodLabels },
    allowFrom: server.allowFrom.map(peerOf),
    nodeSelector: server.nodeSelector,
    tolerations: server.tolerations,
  };
}
