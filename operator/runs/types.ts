import type { ResolvedSource, ResolvedSpec, ResolvedStorage } from '../../src/api/resolved.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import type { KubeObject } from '../../src/kube/objects.ts';
import { type PlanObject, plans, type RunObject, runs } from '../../src/kube/runs.ts';
import type { Task, TaskId } from '../../src/run/types.ts';
import type { ErrorRecord, ParityError } from '../../src/support/error.ts';
import type { RunIdentity } from '../../src/tasks/task.ts';
import type { WorkspacePlan } from '../../src/tasks/workspace.ts';

export { type PlanObject, plans, type RunObject, runs };

/** What an installation of the operator is told: flags, values of its chart. */
export interface OperatorOptions {
  /** Id of the installation: what it makes carries it, and it removes nothing else. */
  readonly installation: string;
  /** The operator's own namespace. */
  readonly namespace: string;
  /** Image of task pods, by digest; pinned for a run when it begins. */
  readonly image: string;
  readonly imagePullSecrets: readonly string[];
  /** ServiceAccount of task pods, in the run's namespace; they get no token of it. The namespace's default where left out. */
  readonly taskServiceAccount?: string;
  readonly executor: 'Jobs' | 'Process';
  /** What only a trusted installation lets its runs do (docs: security). */
  readonly allow: { readonly command: boolean; readonly embedded: boolean; readonly fileLocations: boolean };
  /** Where runs work that do not say. */
  readonly defaultWorkspace?: ResolvedStorage;
  /** Where sources with `argocd` are deployed from; such sources are refused where left out. */
  readonly argocd?: {
    /** Argo CD's namespace, where Applications live. */
    readonly namespace: string;
    readonly project: string;
    readonly repoURL: string;
    readonly path: string;
    readonly targetRevision: string;
    readonly destinationServer: string;
  };
  /** Watched namespaces; all of them where left out. */
  readonly namespaces?: readonly string[];
  /** RoleBinding by which the operator works in each watched namespace: it is kept while runs there have something to be removed. */
  readonly roleBinding?: string;
  /** Most runs that are carried out at once; later ones wait in the order of their creation. */
  readonly parallelRuns: number;
  /** Where task pods and sources may run. */
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Toleration[];
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: 'Exists' | 'Equal';
  readonly value?: string;
  readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  readonly tolerationSeconds?: number;
}

/** What was decided when the run began, kept in its hold Secret until nothing of the run is left. */
export interface Hold {
  readonly run: RunIdentity;
  /** The run's namespace. */
  readonly namespace: string;
  readonly spec: ResolvedSpec;
  /** SHA-256 of the resolved spec, hexadecimal. */
  readonly specDigest: string;
  readonly graphVersion: number;
  /** Image of the run's task pods. */
  readonly image: string;
  readonly workspace: WorkspacePlan;
  /** Its store refused to make the workspace whenever it was asked, and will not be asked again: there is none, and nothing that would be kept in it. */
  readonly isRefused?: boolean;
  /** Copies of the credentials that finalization needs, by name of their Secret. */
  readonly secrets: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Tells people what happened, as Events of Kubernetes; never fails and never waits. */
export interface EventRecorder {
  record(about: KubeObject, event: { readonly type: 'Normal' | 'Warning'; reason: string; message: string }): void;
}

/** Lines about one run: its name and uid are in each. */
export interface RunLog {
  debug(message: string, details?: object): void;
  info(message: string, details?: object): void;
  warn(message: string, details?: object): void;
}

/** What the sub-reconcilers of one run share. */
export interface Scope {
  readonly kube: KubeClient;
  readonly options: OperatorOptions;
  /** As a live read had it. */
  readonly run: RunObject;
  readonly hold: Hold;
  readonly events: EventRecorder;
  readonly log: RunLog;
  /** Aborts when the operator stops, or has lost its lease. */
  readonly signal: AbortSignal;
  readonly now: () => Date;
}

/** How tasks are carried out: as Jobs in the cluster, or as processes beside the operator. */
export interface TaskExecutor {
  /** Every attempt of the run that exists, with where it stands: one request for the whole run. */
  observe(scope: Scope): Promise<readonly Attempt[]>;
  /** Starts an attempt whose input lies in the workspace; again it does nothing. Never blocks. Returns why it can't begin, where that won't pass. */
  start(scope: Scope, task: Task, attempt: number): Promise<TaskFailure | undefined>;
  /** Asks the attempts of these tasks to stop, and says whether nothing of them can write any more. Never blocks. */
  stop(scope: Scope, taskIds: readonly TaskId[] | 'all'): Promise<Removed>;
  /** Ends attempts that will not come to an end by themselves (their image can't be pulled), and keeps the others. Never blocks. */
  end(scope: Scope, attempts: readonly Attempt[]): Promise<void>;
}

/** One attempt of a task, as it is observed. */
export interface Attempt {
  readonly taskId: TaskId;
  /** 1, 2, … */
  readonly attempt: number;
  readonly startedAt?: Date;
  /** Where it has ended, and it is known when. */
  readonly endedAt?: Date;
  readonly state: /** `waiting`: why it cannot begin yet, for people. */
    | { readonly kind: 'Running'; readonly waiting?: string }
    /** `failure` is how it ended as far as can be seen from outside: what the task recorded comes first. */
    | { readonly kind: 'Exited'; readonly failure?: TaskFailure };
  /** It takes several steps: `start` of the same attempt brings it a step further. */
  readonly isInSteps?: boolean;
  /** Nothing of it can write any more: only then may another attempt begin. */
  readonly isGone: boolean;
}

export interface TaskFailure {
  readonly error: ErrorRecord;
  readonly table?: string;
}

/** Whether something that is being removed is gone. */
export interface Removed {
  readonly isGone: boolean;
  /** What keeps it, for people: an object by name, and why. Empty when it is gone. */
  readonly waitingFor: string;
}

/** Brings up and removes one kind of source. Nothing blocks, everything can be done again. */
export interface SourceProvider {
  /**
   * One step towards a source that tasks can use. Ready once it answers and its connection lies in the Secret of `sourceName` (`publishConnection` in
   * connections.ts), from where both executors hand it to tasks.
   */
  ensure(scope: Scope, source: ResolvedSource): Promise<SourceState>;
  /** One step towards nothing being left of it. Deletes only what carries the installation's id and the run's full uid. */
  remove(scope: Scope, source: ResolvedSource): Promise<Removed>;
  /**
   * Sees to it that a source which was ready still can be used, where that takes a living operator (servers beside it). Left out: it can, or its tasks
   * will say that it can't.
   */
  keep?(scope: Scope, source: ResolvedSource): Promise<SourceState>;
}

export type SourceState =
  | { readonly state: 'Ready' }
  /** `since`: when what is waited for was made, so that a deadline outlives the operator. */
  | { readonly state: 'Progressing' | 'Stalled'; readonly message: string; readonly since?: Date }
  | { readonly state: 'Failed'; readonly error: ParityError };
