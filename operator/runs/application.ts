import { type KubeObject, resource } from '../../src/kube/objects.ts';

/**
 * An Application of Argo CD, as far as we speak of it. Its status is no subresource: it is written like any other field.
 * Source: https://github.com/argoproj/argo-cd/blob/v3.1.16/pkg/apis/application/v1alpha1/types.go
 */
export type Application = KubeObject & {
  readonly spec: {
    readonly project: string;
    readonly source: {
      readonly repoURL: string;
      readonly path: string;
      readonly targetRevision: string;
      readonly helm: {
        readonly releaseName: string;
        readonly valuesObject: Readonly<Record<string, unknown>>;
      };
    };
    readonly destination: { readonly server: string; readonly namespace: string };
    readonly syncPolicy?: { readonly syncOptions?: readonly string[] };
  };
  /** What Argo CD is asked to do; it takes this away when it has done it. */
  readonly operation?: Operation;
  readonly status?: ApplicationStatus;
};

export interface Operation {
  readonly initiatedBy: { readonly username: string };
  readonly sync: { readonly prune: boolean; readonly syncOptions: readonly string[] };
  /** Times as Go writes them (`5s`); a limit below 0 is none. */
  readonly retry: {
    readonly limit: number;
    readonly backoff: { readonly duration: string; readonly factor: number; readonly maxDuration: string };
  };
}

export interface ApplicationStatus {
  readonly sync?: { readonly status?: string; readonly revision?: string };
  readonly health?: { readonly status?: string };
  readonly conditions?: readonly { readonly type: string; readonly message: string }[];
  readonly operationState?: OperationState;
  readonly resources?: readonly ManagedResource[];
}

export interface OperationState {
  readonly phase: 'Running' | 'Terminating' | 'Failed' | 'Error' | 'Succeeded';
  readonly message?: string;
  readonly retryCount?: number;
  readonly finishedAt?: string;
  readonly syncResult?: { readonly revision?: string; readonly resources?: readonly SyncedResource[] };
}

export interface SyncedResource {
  readonly kind: string;
  readonly name: string;
  readonly status?: string;
  readonly message?: string;
}

export interface ManagedResource {
  readonly kind: string;
  /** Left out for what belongs to the whole cluster. */
  readonly namespace?: string;
  readonly name: string;
  readonly status?: string;
  readonly health?: { readonly status?: string; readonly message?: string };
}

export const applications = resource<Application>('argoproj.io', 'v1alpha1', 'applications', 'Application');

/** Makes Argo CD remove what it has deployed before the Application goes; set at creation, so that no instant is without it. */
export const resourcesFinalizer = 'resources-finalizer.argocd.argoproj.io';
