import type { JobPipelineSpec } from '../../src/api/resolved.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Draft, type Job, jobs } from '../../src/kube/objects.ts';
import { executionsOf } from '../../src/pipelines/contract.ts';
import { isJobPipeline } from '../../src/pipelines/job.ts';
import { taskId } from '../../src/run/task-id.ts';
import type { Connection } from '../../src/sources/source.ts';
import { redact } from '../../src/support/log.ts';
import { sourceName } from './names.ts';
import { contractFolder, type JobScope, pipelineJob } from './pipeline-job.ts';
import { contextOf } from './pipeline-job-secrets.ts';

/**
 * Has the API server check the Job of each pipeline that is one, without storing it: what only it knows of labels, tolerations and names is said before anything
 * of the run is made. Returns a line for each that it would refuse, with the field; undefined where there is none.
 */
export async function refusedJobs(kube: KubeClient, scope: JobScope): Promise<string | undefined> {
  const lines: string[] = [];
  for (const [index, pipeline] of scope.hold.spec.pipelines.entries()) {
    if (!isJobPipeline(pipeline)) continue;
    const draft = await sampleOf(scope, pipeline);
    if (draft === undefined) continue;
    try {
      await kube.create(jobs, draft, { isDryRun: true });
    } catch (error) {
      // A quota, or a namespace that is going, is about the moment: it is said when a Job is made.
      if (isKubeError(error, 'Forbidden', 'NamespaceTerminating', 'AlreadyExists')) continue;
      if (!isKubeError(error, 'Invalid')) throw error;
      lines.push(`spec.pipelines[${index}].job: the API server refuses such a Job: ${redact(error.message)}`);
    }
  }
  return lines.length === 0 ? undefined : lines.join('\n');
}

const nobody: Connection = { host: 'host', port: 1, user: 'user', password: '', database: 'database' };

/** The Job of a full sync of the first source, by a connection that leads nowhere. */
async function sampleOf(scope: JobScope, pipeline: JobPipelineSpec): Promise<Draft<Job> | undefined> {
  const { spec, run } = scope.hold;
  const [source] = spec.sources;
  if (source === undefined) return undefined;
  const { name, tables } = source;
  const input = {
    kind: 'sync',
    step: 'check',
    pipeline: pipeline.name,
    mode: 'Full',
    source: name,
    tables,
    at: 'Target',
  } as const;
  const place = { secret: sourceName(run.uid, name), secretDir: `${contractFolder}/source` };
  const [execution] = await executionsOf(pipeline, input, contextOf(scope.hold), nobody, place);
  if (execution === undefined) return undefined;
  const task = { id: taskId('check', 'sync', pipeline.name), input };
  return pipelineJob(scope, pipeline, task, execution, { source: nobody }, 1).job;
}
