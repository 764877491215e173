import type {
  V1ConfigMap,
  V1CustomResourceDefinition,
  V1Job,
  V1Lease,
  V1Namespace,
  V1NetworkPolicy,
  V1PersistentVolumeClaim,
  V1Pod,
  V1Secret,
  V1Service,
  V1ServiceAccount,
  V1StatefulSet,
} from '@kubernetes/client-node';

/**
 * The objects of a cluster as they are on the wire: times are text, names are the API's own. The generated client's types are
 * used for their fields only, so that nothing of that client is loaded (docs/decisions: it costs 85 MB).
 */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** The metadata of an object that the server has stored. */
export interface ObjectMeta {
  readonly name: string;
  /** Missing on objects of the whole cluster. */
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp: string;
  /** Set once deletion was asked for: what keeps the object are its finalizers and its grace period. */
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** What a creator says of an object's metadata; the rest is the server's. */
export type NewMeta = Pick<
  ObjectMeta,
  'name' | 'namespace' | 'labels' | 'annotations' | 'finalizers' | 'ownerReferences'
>;

/** An object to create: its own fields without the server's. `apiVersion` and `kind` come from the resource. */
export type Draft<T extends KubeObject> = Omit<T, 'apiVersion' | 'kind' | 'metadata' | 'status'> & {
  readonly metadata: NewMeta;
};

/** An object of which only the metadata was read. */
export interface MetadataOnly extends KubeObject {
  readonly kind: 'PartialObjectMetadata';
}

/** Which object: its name, and its namespace unless it is the whole cluster's. */
export interface ObjectName {
  readonly namespace?: string;
  readonly name: string;
}

/** The key of an object in stores and queues: `namespace/name`, or `name` where there is no namespace. */
export function keyOf({ namespace, name }: ObjectName): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The object that a key of `keyOf` names. */
export function nameOf(key: string): ObjectName {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

declare const typeOfObjects: unique symbol;

/** A kind of object by group, version and plural, and (for the compiler only) the type of its objects. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** `''` is the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
  readonly [typeOfObjects]?: T;
}

/** A kind of namespaced object, e.g. `resource<Run>('pipelineparity.io', 'v1alpha1', 'pipelineparityruns', 'PipelineParityRun')`. */
export function resource<T extends KubeObject>(
  group: string,
  version: string,
  plural: string,
  kind: string,
  options: { readonly isNamespaced?: boolean } = {},
): Resource<T> {
  return { group, version, plural, kind, isNamespaced: options.isNamespaced ?? true };
}

/** `apps/v1`, or `v1` for the core group. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`;
}

/** A type of the generated client as it is on the wire. */
export type Wire<T> = 0 extends 1 & T
  ? unknown
  : T extends Date
    ? string
    : T extends readonly (infer Item)[]
      ? readonly Wire<Item>[]
      : T extends object
        ? { readonly [Key in keyof T as Key extends `_${infer Plain}` ? Plain : Key]: Wire<T[Key]> }
        : T;

/** A generated type as a stored object. */
export type Stored<T extends object> = KubeObject & Omit<Wire<T>, keyof KubeObject>;

export type Pod = Stored<V1Pod>;
export type Secret = Stored<V1Secret>;
export type ConfigMap = Stored<V1ConfigMap>;
export type Service = Stored<V1Service>;
export type Namespace = Stored<V1Namespace>;
export type ServiceAccount = Stored<V1ServiceAccount>;
export type PersistentVolumeClaim = Stored<V1PersistentVolumeClaim>;
export type Job = Stored<V1Job>;
export type StatefulSet = Stored<V1StatefulSet>;
export type NetworkPolicy = Stored<V1NetworkPolicy>;
export type Lease = Stored<V1Lease>;
export type CustomResourceDefinition = Stored<V1CustomResourceDefinition>;

export const pods = resource<Pod>('', 'v1', 'pods', 'Pod');
export const secrets = resource<Secret>('', 'v1', 'secrets', 'Secret');
export const configMaps = resource<ConfigMap>('', 'v1', 'configmaps', 'ConfigMap');
export const services = resource<Service>('', 'v1', 'services', 'Service');
export const namespaces = resource<Namespace>('', 'v1', 'namespaces', 'Namespace', { isNamespaced: false });
export const serviceAccounts = resource<ServiceAccount>('', 'v1', 'serviceaccounts', 'ServiceAccount');
export const persistentVolumeClaims = resource<PersistentVolumeClaim>(
  '',
  'v1',
  'persistentvolumeclaims',
  'PersistentVolumeClaim',
);
export const jobs = resource<Job>('batch', 'v1', 'jobs', 'Job');
export const statefulSets = resource<StatefulSet>('apps', 'v1', 'statefulsets', 'StatefulSet');
export const networkPolicies = resource<NetworkPolicy>('networking.k8s.io', 'v1', 'networkpolicies', 'NetworkPolicy');
export const leases = resource<Lease>('coordination.k8s.io', 'v1', 'leases', 'Lease');
export const customResourceDefinitions = resource<CustomResourceDefinition>(
  'apiextensions.k8s.io',
  'v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  { isNamespaced: false },
);
