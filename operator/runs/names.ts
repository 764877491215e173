import { createHash } from 'node:crypto';
import type { OwnerReference } from '../../src/kube/objects.ts';
import { cleanupFinalizer, labels, type RunObject } from '../../src/kube/runs.ts';
import { cutName, sourceName } from '../../src/kube/source-name.ts';
import type { RunIdentity } from '../../src/tasks/task.ts';

export { cleanupFinalizer, labels, sourceName };

/** On a run's hold Secret. */
export const holdFinalizer = 'pipelineparity.io/hold';
/** On the hold of a run that has ended without a workspace, because the store refused it. */
export const refusedAnnotation = 'pipelineparity.io/workspace-refused';
/** On a run, set by an administrator to its uid: let go of what could not be removed. */
export const abandonAnnotation = 'pipelineparity.io/abandon';

const manager = 'pipeline-parity';

/** The labels of everything that a run has in the cluster. A label holds 63 characters: a longer name of a run is cut, its uid never. */
export function runLabels(run: RunIdentity): Readonly<Record<string, string>> {
  return {
    [labels.managedBy]: manager,
    [labels.installation]: run.installation,
    [labels.run]: cutName(run.name, 63),
    [labels.runUid]: run.uid,
  };
}

/** Selects what the run has in the cluster, by the installation's id and the full uid. */
export function ofRun(run: Pick<RunIdentity, 'installation' | 'uid'>): string {
  return `${labels.installation}=${run.installation},${labels.runUid}=${run.uid}`;
}

/** Whether an object carries the marks of this very run: the proof without which nothing is adopted or deleted. */
export function isOfRun(
  object: { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } },
  run: Pick<RunIdentity, 'installation' | 'uid'>,
): boolean {
  const found = object.metadata.labels ?? {};
  return found[labels.installation] === run.installation && found[labels.runUid] === run.uid;
}

/** What makes the run the owner of an object in its namespace. */
export function ownedBy(run: RunObject): OwnerReference {
  const { apiVersion, kind, metadata } = run;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: false };
}

/** Name of the run's hold Secret. */
export function holdName(uid: string): string {
  return `parity-${uid}`;
}

/** Name of the Job of one attempt of a task. */
export function jobName(uid: string, taskId: string, attempt: number): string {
  return cutName(`parity-${uid.slice(0, 8)}-${taskId}`, 63 - String(attempt).length - 1).concat(`-${attempt}`);
}

/** Name of a Job of a pipeline, and of the Secret with what it is told: of its pipeline, step, source and table, and the attempt. */
export function pipelineJobName(uid: string, parts: readonly string[], attempt: number): string {
  const said = parts.join('-');
  const plain = said.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  // Tables of other letters, or whose names differ in them only.
  const own = plain === said ? plain : `${plain}-${createHash('sha256').update(said).digest('hex').slice(0, 8)}`;
  return cutName(`parity-${uid.slice(0, 8)}-job-${own}`, 63 - String(attempt).length - 1).concat(`-${attempt}`);
}
