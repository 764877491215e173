import { isObject } from '../api/json.ts';
import type { JobPipelineSpec, ResolvedPipeline } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import type { Executor } from './external.ts';

/** What the operator leaves in the workspace of an execution whose Job has ended well. */
export interface EndedJob {
  readonly job: string;
  readonly uid: string;
  readonly endedAt: string;
}

/** Where it lies. */
export function endedJobKey(execution: string): string {
  return `ended/${execution}.json`;
}

/**
 * A pipeline that is a Job of Kubernetes. Task pods have no access to the cluster: the operator makes and follows the Jobs (operator/runs/pipeline-jobs.ts), and
 * begins the sync task once they have ended well, which leaves to it what an executor's success is followed by. Throws `Internal` for an execution that nobody has
 * carried out: what lies there would be an older sync's.
 */
export function jobExecutor({ name }: JobPipelineSpec): Executor {
  return {
    maxRunning: Number.POSITIVE_INFINITY,
    async start({ id }, _, { workspace }) {
      const key = endedJobKey(id);
      if ((await workspace.head(key)) === undefined)
        throw new ParityError('Internal', `no Job has carried out ${id} of pipeline ${name}`, {
          advice: 'Jobs are made by the operator on a cluster: give the run to one with --cluster.',
        });
      const ended: unknown = JSON.parse((await workspace.get(key)).toString());
      const endedAt = isObject(ended) ? Date.parse(String(ended.endedAt)) : Number.NaN;
      return {
        startedAtMs: Number.isNaN(endedAt) ? Date.now() : endedAt,
        observe: async () => ({ state: 'Succeeded' }),
        cancel: async () => undefined,
      };
    },
  };
}

/** Whether the pipeline's executions are Jobs. */
export function isJobPipeline(pipeline: ResolvedPipeline | undefined): pipeline is JobPipelineSpec {
  return pipeline !== undefined && 'job' in pipeline;
}

/** Secrets that the pods of a pipeline's Jobs name: its own, which tasks of the run are never given. */
export function secretsOfJob({ job }: JobPipelineSpec): readonly string[] {
  const references = [...job.envFrom, ...job.mounts];
  return [
    ...job.imagePullSecrets.map(({ name }) => name),
    ...job.env.flatMap((variable) => ('secretKeyRef' in variable ? [variable.secretKeyRef.name] : [])),
    ...references.flatMap((reference) => ('secretRef' in reference ? [reference.secretRef.name] : [])),
  ];
}

/** ConfigMaps that they name. */
export function configMapsOfJob({ job }: JobPipelineSpec): readonly string[] {
  return [...job.envFrom, ...job.mounts].flatMap((reference) =>
    'configMapRef' in reference ? [reference.configMapRef.name] : [],
  );
}
