import type { PipelineParityPlan, PipelineParityRun } from '../api/generated/types.ts';
import { type KubeObject, resource } from './objects.ts';

/** A run as the API server stores it. */
export type RunObject = KubeObject & Pick<PipelineParityRun, 'spec' | 'status'>;
/** A plan as the API server stores it. */
export type PlanObject = KubeObject & Pick<PipelineParityPlan, 'spec'>;

export const runs = resource<RunObject>('pipelineparity.io', 'v1alpha1', 'pipelineparityruns', 'PipelineParityRun');
export const plans = resource<PlanObject>('pipelineparity.io', 'v1alpha1', 'pipelineparityplans', 'PipelineParityPlan');

/** What everything that the operator makes in a cluster is labelled with. */
export const labels = {
  run: 'pipelineparity.io/run',
  runUid: 'pipelineparity.io/run-uid',
  installation: 'pipelineparity.io/installation',
  task: 'pipelineparity.io/task',
  attempt: 'pipelineparity.io/attempt',
  /** On a pipeline's own Jobs and pods, beside the task that they belong to; as an annotation the whole id. */
  execution: 'pipelineparity.io/execution',
  source: 'pipelineparity.io/source',
  managedBy: 'app.kubernetes.io/managed-by',
} as const;

/** Says in words, on the Job and pod of a task, what the task does. */
export const titleAnnotation = 'pipelineparity.io/title';

/** On a run that has something to be removed: first on, last off. */
export const cleanupFinalizer = 'pipelineparity.io/cleanup';
