import { createHash } from 'node:crypto';
import type { V1EnvVar } from '@kubernetes/client-node';
import { canonicalJson } from '../../src/api/json.ts';
import type { JobPipelineSpec, JobReference } from '../../src/api/resolved.ts';
import { expandText, SECRET_VARIABLES, variablesIn } from '../../src/api/templates.ts';
import type { Draft, Job, Wire } from '../../src/kube/objects.ts';
import { titleAnnotation } from '../../src/kube/runs.ts';
import {
  CONNECTION_VARIABLES,
  contractOf,
  type Execution,
  type ExecutionSecrets,
  variablesOf,
} from '../../src/pipelines/contract.ts';
import type { Task } from '../../src/run/types.ts';
import { taskTitle } from '../../src/tasks/title.ts';
import { graceSeconds, inputAnnotation } from './jobs.ts';
import { labels, ownedBy, pipelineJobName, runLabels } from './names.ts';
import { labelsOf } from './network-policies.ts';
import type { Scope } from './types.ts';

/** A task that syncs. */
export type SyncTask = Task & { readonly input: Extract<Task['input'], { readonly kind: 'sync' }> };

/** What a Job follows from beside the execution. */
export type JobScope = Pick<Scope, 'hold' | 'run'> & {
  readonly options: Pick<Scope['options'], 'imagePullSecrets' | 'nodeSelector' | 'tolerations'>;
};

/** Where the contract's files are in the pod. */
export const contractFolder = '/parity';

/** What a Job of a pipeline syncs. */
export interface Syncing {
  readonly pipeline: string;
  readonly source: string;
  readonly execution: string;
  /** Where the execution is one table's. */
  readonly table?: string;
}

/** Where it is marked with that. */
export const syncingAnnotations = {
  pipeline: 'pipelineparity.io/pipeline',
  source: 'pipelineparity.io/source',
  table: 'pipelineparity.io/table',
} as const;

/** What carries out one execution of a pipeline: a Job, and the Secret of the same name with all that it is told of connections. */
export interface PipelineJob {
  readonly job: Draft<Job>;
  readonly keys: Readonly<Record<string, string>>;
}

/** The Job of one attempt at an execution: of the same run, execution and attempt it is always the same. */
export function pipelineJob(
  scope: JobScope,
  pipeline: JobPipelineSpec,
  task: Pick<SyncTask, 'id' | 'input'>,
  execution: Execution,
  secrets: ExecutionSecrets,
  attempt: number,
): PipelineJob {
  const { hold, run } = scope;
  const { step, source } = task.input;
  const tables = execution.request.tables.map((table) => table.name);
  const table = pipeline.executions === 'PerTable' ? tables[0] : undefined;
  const parts = [pipeline.name, step, source, ...(table === undefined ? [] : [table])];
  const name = pipelineJobName(hold.run.uid, parts, attempt);
  const own = {
    ...runLabels(hold.run),
    [labels.task]: task.id,
    [labels.attempt]: String(attempt),
    [labels.execution]: executionLabel(execution.id),
  };
  const title = { [titleAnnotation]: taskTitle(task, table) };
  const about = canonicalJson({ execution: execution.id, tables, specDigest: hold.specDigest, attempt });
  const digest = createHash('sha256').update(about).digest('hex');
  const told = toldTo(name, pipeline, execution, secrets, attempt);
  return {
    keys: told.keys,
    job: {
      metadata: {
        name,
        namespace: hold.namespace,
        labels: own,
        annotations: {
          ...title,
          [labels.execution]: execution.id,
          [syncingAnnotations.pipeline]: pipeline.name,
          [syncingAnnotations.source]: source,
          ...(table === undefined ? {} : { [syncingAnnotations.table]: table }),
          [inputAnnotation]: digest,
        },
        ownerReferences: [ownedBy(run)],
      },
      spec: {
        backoffLimit: 0,
        activeDeadlineSeconds: pipeline.timeoutSeconds,
        template: { metadata: { labels: own, annotations: title }, spec: podSpec(scope, pipeline, name, told) },
      },
    },
  };
}

/** An execution's id as a label, which holds no more than 63 characters. */
export function executionLabel(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 32);
}

type Variable = Wire<V1EnvVar>;

interface Told {
  readonly env: readonly Variable[];
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** What the Secret holds. */
  readonly keys: Readonly<Record<string, string>>;
  /** Path of each file of the contract, and the Secret's key that it comes from. */
  readonly files: readonly { readonly key: string; readonly path: string }[];
}

/** The contract as a pod finds it. What tells of a connection or a credential is in the Secret, and stands nowhere in the Job. */
function toldTo(
  secret: string,
  { job }: JobPipelineSpec,
  execution: Execution,
  secrets: ExecutionSecrets,
  attempt: number,
): Told {
  const contract = contractOf(execution, attempt, secrets, contractFolder);
  const value = variablesOf(execution, attempt, secrets);
  const files = Object.entries(contract.files).map(([path, text]) => ({ key: path.replaceAll('/', '.'), path, text }));
  const keys = new Map(files.map(({ key, text }) => [key, text]));
  const kept = (name: string, text: string): Variable => {
    keys.set(`env.${name}`, text);
    return { name, valueFrom: { secretKeyRef: { name: secret, key: `env.${name}` } } };
  };
  const expand = (text: string): string => expandText(text, (name) => literal(expandText(`{{${name}}}`, value)));
  const declared = job.env.map((variable): Variable => {
    const { name } = variable;
    if ('secretKeyRef' in variable) return { name, valueFrom: { secretKeyRef: variable.secretKeyRef } };
    return isSecret(variable.value)
      ? kept(name, expandText(variable.value, value))
      : { name, value: expand(variable.value) };
  });
  const own = new Set(declared.map(({ name }) => name));
  const told = Object.entries(contract.env)
    .filter(([name]) => !own.has(name))
    .map(([name, text]) => (CONNECTION_VARIABLES.test(name) ? kept(name, text) : { name, value: literal(text) }));
  return {
    // The contract's first: what the manifest declares may refer to it by $(NAME).
    env: [...told, ...declared],
    command: job.command.map(expand),
    args: job.args.map(expand),
    keys: Object.fromEntries(keys),
    files: files.map(({ key, path }) => ({ key, path })),
  };
}

function isSecret(template: string): boolean {
  return variablesIn(template).some((name) => SECRET_VARIABLES.some((secret) => secret === name));
}

/** A value as it is: `$(NAME)` in it is no variable of Kubernetes. */
function literal(text: string): string {
  return text.replaceAll('$', '$$$$');
}

/** A pod without a token that can gain no privilege; what its image needs beyond that, the manifest says. */
function podSpec({ options }: JobScope, { job }: JobPipelineSpec, secret: string, told: Told) {
  const { runAsNonRoot, runAsUser, runAsGroup, fsGroup, readOnlyRootFilesystem } = job.securityContext;
  const { imagePullPolicy, workingDir, serviceAccountName, nodeSelector, resources } = job;
  const pullSecrets = [...options.imagePullSecrets.map((name) => ({ name })), ...job.imagePullSecrets];
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: graceSeconds,
    ...(serviceAccountName === undefined ? {} : { serviceAccountName }),
    imagePullSecrets: pullSecrets,
    nodeSelector: { ...options.nodeSelector, ...(nodeSelector === undefined ? {} : labelsOf(nodeSelector)) },
    tolerations: [...options.tolerations, ...job.tolerations].map((toleration) => ({ ...toleration })),
    securityContext: {
      runAsNonRoot,
      ...(runAsUser === undefined ? {} : { runAsUser }),
      ...(runAsGroup === undefined ? {} : { runAsGroup }),
      ...(fsGroup === undefined ? {} : { fsGroup }),
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: 'pipeline',
        image: job.image,
        ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
        ...(told.command.length === 0 ? {} : { command: told.command }),
        ...(told.args.length === 0 ? {} : { args: told.args }),
        ...(workingDir === undefined ? {} : { workingDir }),
        env: told.env,
        envFrom: job.envFrom,
        resources: { requests: { ...resources.requests }, limits: { ...resources.limits } },
        // What it says last is then in the pod's status, from where it reaches the report.
        terminationMessagePolicy: 'FallbackToLogsOnError',
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [
          { name: 'contract', mountPath: contractFolder, readOnly: true },
          ...(readOnlyRootFilesystem ? [{ name: 'tmp', mountPath: '/tmp' }] : []),
          ...job.mounts.map(({ path }, index) => ({ name: `mount-${index}`, mountPath: path, readOnly: true })),
        ],
      },
    ],
    volumes: [
      { name: 'contract', secret: { secretName: secret, items: told.files } },
      ...(readOnlyRootFilesystem ? [{ name: 'tmp', emptyDir: {} }] : []),
      ...job.mounts.map((mount, index) => ({ name: `mount-${index}`, ...volumeOf(mount) })),
    ],
  };
}

function volumeOf(reference: JobReference) {
  return 'secretRef' in reference
    ? { secret: { secretName: reference.secretRef.name } }
    : { configMap: { name: reference.configMapRef.name } };
}
