import type { ConfigMap, Draft, NetworkPolicy, Service, StatefulSet } from '../../src/kube/objects.ts';
import { networkPolicySpec } from './network-policies.ts';
import type { ServerDescription } from './server-description.ts';
import { serverScript, serverUser } from './server-kinds.ts';

export interface ServerObjects {
  readonly networkPolicy: Draft<NetworkPolicy>;
  readonly configMap: Draft<ConfigMap>;
  readonly service: Draft<Service>;
  readonly statefulSet: Draft<StatefulSet>;
}

/** The objects of a server: what the charts in argocd/sources make of the same description, object by object (a test compares them). */
export function serverObjects(server: ServerDescription): ServerObjects {
  const pods = { 'app.kubernetes.io/name': server.name };
  const metadata = {
    name: server.name,
    namespace: server.namespace,
    labels: { ...pods, ...server.labels },
    ownerReferences: [server.owner],
  };
  const { kind } = server;
  return {
    networkPolicy: { metadata, spec: networkPolicySpec({ ...server, pods, port: kind.port }) },
    configMap: {
      metadata,
      data: {
        'start.sh': serverScript(kind, 'start.sh'),
        'ready.sh': serverScript(kind, 'ready.sh'),
        // Servers ask who they are; images need not know the user that they run as.
        passwd: `root:x:0:0:root:/root:/bin/sh\ndatabase:x:${serverUser}:${serverUser}:database:/data:/bin/sh\n`,
      },
    },
    service: {
      metadata,
      spec: {
        selector: pods,
        ports: [{ name: kind.name, port: kind.port, targetPort: kind.port, protocol: 'TCP' }],
      },
    },
    statefulSet: {
      metadata,
      spec: {
        replicas: 1,
        serviceName: server.name,
        selector: { matchLabels: pods },
        ...ownVolume(server, metadata.labels),
        template: { metadata: { labels: metadata.labels }, spec: podSpec(server) },
      },
    },
  };
}

type StatefulSetSpec = NonNullable<StatefulSet['spec']>;
type PodSpec = NonNullable<StatefulSetSpec['template']['spec']>;
type Container = PodSpec['containers'][number];

/** A volume that goes with the StatefulSet. */
function ownVolume(
  { size }: ServerDescription,
  labels: Readonly<Record<string, string>>,
): Pick<StatefulSetSpec, 'volumeClaimTemplates' | 'persistentVolumeClaimRetentionPolicy'> {
  if (size === undefined) return {};
  return {
    persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
    volumeClaimTemplates: [
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'data', labels },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: size } } },
      },
    ],
  };
}

function podSpec(server: ServerDescription): PodSpec {
  const { nodeSelector, tolerations, imagePullSecrets } = server;
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 30,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: serverUser,
      runAsGroup: serverUser,
      fsGroup: serverUser,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    ...(imagePullSecrets.length === 0 ? {} : { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
    ...(Object.keys(nodeSelector).length === 0 ? {} : { nodeSelector }),
    ...(tolerations.length === 0 ? {} : { tolerations }),
    containers: [container(server)],
    volumes: volumes(server),
  };
}

function container({ kind, image, tlsSecret, storageRequest }: ServerDescription): Container {
  return {
    name: kind.name,
    image,
    // The same in every image: its own entrypoint is not used.
    command: ['sh', '/scripts/start.sh'],
    ...(kind.env.length === 0 ? {} : { env: kind.env }),
    ports: [{ name: kind.name, containerPort: kind.port, protocol: 'TCP' }],
    readinessProbe: {
      exec: { command: ['sh', '/scripts/ready.sh'] },
      periodSeconds: 1,
      timeoutSeconds: 5,
      failureThreshold: 6,
    },
    ...(kind.stopCommand === undefined ? {} : { lifecycle: { preStop: { exec: { command: kind.stopCommand } } } }),
    // A server that ends says why in its last lines.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    resources: {
      requests: {
        cpu: '250m',
        memory: '512Mi',
        ...(storageRequest === undefined ? {} : { 'ephemeral-storage': storageRequest }),
      },
      limits: { memory: '2Gi' },
    },
    volumeMounts: [
      { name: 'data', mountPath: '/data' },
      { name: 'run', mountPath: '/run/parity' },
      { name: 'tmp', mountPath: '/tmp' },
      ...(kind.needsSharedMemory ? [{ name: 'shm', mountPath: '/dev/shm' }] : []),
      { name: 'scripts', mountPath: '/scripts', readOnly: true },
      { name: 'scripts', mountPath: '/etc/passwd', subPath: 'passwd', readOnly: true },
      { name: 'credentials', mountPath: '/secrets', readOnly: true },
      ...(tlsSecret === undefined ? [] : [{ name: 'tls', mountPath: '/tls', readOnly: true }]),
    ],
  };
}

function volumes({ kind, name, size, tlsSecret }: ServerDescription): NonNullable<PodSpec['volumes']> {
  return [
    ...(size === undefined ? [{ name: 'data', emptyDir: {} }] : []),
    { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
    { name: 'tmp', emptyDir: {} },
    ...(kind.needsSharedMemory ? [{ name: 'shm', emptyDir: { medium: 'Memory', sizeLimit: '256Mi' } }] : []),
    { name: 'scripts', configMap: { name, defaultMode: 0o444 } },
    { name: 'credentials', secret: { secretName: name, defaultMode: 0o440 } },
    ...(tlsSecret === undefined ? [] : [{ name: 'tls', secret: { secretName: tlsSecret, defaultMode: 0o440 } }]),
  ];
}
