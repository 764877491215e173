import type { Job } from '../../src/kube/objects.ts';
import { ParityError } from '../../src/support/error.ts';
import type { JobWords } from './job-attempt.ts';
import { labels } from './names.ts';
import { type Syncing, syncingAnnotations } from './pipeline-job.ts';
import type { TaskFailure } from './types.ts';

/** Lines of its log that are told of a container that failed. */
const shownLines = 8;

/** What a Job of a pipeline is called where it fails: the pipeline is somebody's, and so is its image. */
export function wordsOf({ metadata }: Job): JobWords {
  const { pipeline } = syncingOf({ metadata });
  const job = `spec.pipelines[${pipeline}].job`;
  const what = `Job ${metadata.name}`;
  return {
    what,
    advice: {
      late: `Find out what it waits for, or give it more time with spec.pipelines[${pipeline}].timeoutSeconds.`,
      memory: `Raise ${job}.resources.limits.memory.`,
      room: `Give the cluster more room, or ask for less with ${job}.resources, nodeSelector and tolerations.`,
      image: `See that the image of ${job}.image exists and that nodes reach its registry.`,
      pull: `Name a Secret that the registry accepts in ${job}.imagePullSecrets.`,
      program: `See that the image has what ${job}.command names.`,
    },
    said: () => undefined,
    ended: (how, code, message) => {
      const lines = message.split(/[\r\n]+/).filter((line) => line.trim() !== '');
      const said =
        lines.length === 0 ? ' without a word' : `; the last it said: ${lines.slice(-shownLines).join(' | ')}`;
      const advice =
        code === 127
          ? `Something that it calls was not found: see that the image has it.`
          : `Run the image by itself; its whole log: parity logs, or kubectl logs job/${metadata.name}.`;
      return { error: new ParityError('PipelineFailed', `${what} ${how}${said}`, { advice }).toJSON() };
    },
  };
}

/** The failure of a Job as that of the sync which it is a part of. */
export function failureInSync(syncing: Syncing, { error }: TaskFailure): TaskFailure {
  const { pipeline, source, table } = syncing;
  const message = `Pipeline ${pipeline} failed on source ${source}${table === undefined ? '' : `, table ${table}`}: ${error.message}`;
  return { error: { ...error, message }, ...(table === undefined ? {} : { table }) };
}

/** What a pipeline's Job syncs, as it was marked when it was made. */
export function syncingOf({ metadata }: Pick<Job, 'metadata'>): Syncing {
  const { annotations = {} } = metadata;
  const table = annotations[syncingAnnotations.table];
  return {
    pipeline: annotations[syncingAnnotations.pipeline] ?? '',
    source: annotations[syncingAnnotations.source] ?? '',
    execution: annotations[labels.execution] ?? '',
    ...(table === undefined ? {} : { table }),
  };
}
