import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import type { TemporalPipelineSpec } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { redact } from '../support/log.ts';

/** How long a workflow's first step may wait before anybody asks whether there is a worker at all. */
const patienceMs = 20_000;
/** A worker that waits for work asks for it at least once a minute. */
const pollMs = 75_000;
/** A step that fails this often fails for good: a workflow that the worker does not know, code that does not fit the history. */
const hopelessAttempts = 4;

/** Why a running workflow will not go on: nobody polls its task queue, or its worker fails every step. Undefined where neither is so. */
export async function stuckReason(
  client: Client,
  { taskQueue, namespace }: TemporalPipelineSpec['temporal'],
  { raw, workflowId, type }: WorkflowExecutionDescription,
): Promise<ParityError | undefined> {
  const pending = raw.pendingWorkflowTask;
  if (pending === null || pending === undefined) return undefined;
  if ((pending.attempt ?? 1) >= hopelessAttempts) {
    const said = await lastTaskFailure(client, namespace, workflowId);
    if (said === undefined) return undefined;
    const message = `workflow ${workflowId} of the type ${type} does not go on: its worker fails each of its steps (${redact(said)})`;
    return new ParityError('PipelineFailed', message, {
      advice: 'See whether the worker knows this workflow type, and runs the code that began the workflow.',
    });
  }
  const waitingMs = Date.now() - millis(pending.originalScheduledTime ?? pending.scheduledTime);
  if (isStarted(pending.startedTime) || waitingMs < patienceMs) return undefined;
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: workflowQueue,
  });
  const last = Math.max(0, ...(pollers ?? []).map(({ lastAccessTime }) => millis(lastAccessTime)));
  if (Date.now() - last < pollMs) return undefined;
  const found = last === 0 ? 'nobody polls' : `nobody has polled for ${Math.round((Date.now() - last) / 1000)} s`;
  return new ParityError(
    'Unreachable',
    `${found} the task queue ${taskQueue} in the namespace ${namespace}: workflow ${workflowId} waits for a worker`,
    { subject: taskQueue, advice: 'Start the worker, or correct taskQueue: it is the one that the worker names.' },
  );
}

/** `TASK_QUEUE_TYPE_WORKFLOW` of the API. */
const workflowQueue = 1;

/** What the worker said when it failed a step, from the newest events of the history. */
async function lastTaskFailure(client: Client, namespace: string, workflowId: string): Promise<string | undefined> {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace,
    execution: { workflowId },
    maximumPageSize: 20,
  });
  const failed = (history?.events ?? []).find((event) => event.workflowTaskFailedEventAttributes);
  return failed?.workflowTaskFailedEventAttributes?.failure?.message ?? undefined;
}

type Timestamp = { seconds?: unknown; nanos?: number | null } | null | undefined;

function isStarted(time: Timestamp): boolean {
  return millis(time) > 0;
}

/** Seconds are a 64-bit integer of the protocol's library. */
function millis(time: Timestamp): number {
  return time === null || time === undefined ? 0 : Number(String(time.seconds ?? 0)) * 1000 + (time.nanos ?? 0) / 1e6;
}
