import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  type Client,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
} from '@temporalio/client';
import { canonicalJson, fieldOf } from '../api/json.ts';
import type { TemporalPipelineSpec } from '../api/resolved.ts';
import { expandJson } from '../api/templates.ts';
import { ParityError } from '../support/error.ts';
import { makeFolder } from '../support/folder.ts';
import { redact } from '../support/log.ts';
import { delay } from '../support/retry.ts';
import type { TaskContext } from '../tasks/task.ts';
import { type Execution, type ExecutionSecrets, executionsFolder, variablesOf } from './contract.ts';
import type { ExecutionState, Executor, RunningExecution } from './external.ts';
import { answerMs, connectTemporal, isNoWorkflow, toTemporalError } from './temporal-client.ts';
import { failureChain } from './temporal-failure.ts';
import { stuckReason } from './temporal-stuck.ts';

/** A server that does not answer may be starting again; after this it is lost. */
const lostMs = 45_000;
/** A task that is stopped has five seconds in all: what has not ended by then is terminated. */
const cancelMs = 2_500;
/** Queries wake a worker: they are asked less often than the server. */
const queryEveryMs = 5_000;

/**
 * A pipeline that is a workflow of Temporal, `parity-<uid>-<pipeline>-<step>-<source>[-<table>]-<attempt>`. Duplicates are rejected, also of workflows that have
 * ended: whoever asks for the same execution again finds the one that is there. Only one that was cancelled or terminated with the task that followed it
 * gets a successor, in that task's next attempt.
 */
export function temporalExecutor(spec: TemporalPipelineSpec): Executor {
  let client: Promise<Client> | undefined;
  return {
    maxRunning: Number.POSITIVE_INFINITY,
    async start(execution, secrets, context) {
      client ??= connect(spec, context);
      return await adoptOrStart(await client, spec, execution, secrets, context);
    },
    async close() {
      await (await client?.catch(() => undefined))?.connection.close();
      client = undefined;
    },
  };
}

async function connect({ temporal }: TemporalPipelineSpec, context: TaskContext): Promise<Client> {
  const secret = temporal.secretRef === undefined ? undefined : await context.secret(temporal.secretRef.name);
  return await connectTemporal(temporal, secret);
}

async function adoptOrStart(
  client: Client,
  spec: TemporalPipelineSpec,
  execution: Execution,
  secrets: ExecutionSecrets,
  context: TaskContext,
): Promise<RunningExecution> {
  await intend(execution, context);
  const digest = digestOf(spec, execution);
  for (let attempt = 1; ; attempt++) {
    const id = `${execution.id}-${attempt}`;
    const handle = client.workflow.getHandle(id);
    if (await startNew(client, spec, execution, { id, attempt, digest }, secrets, context))
      return follow(client, spec, handle, Date.now());
    const found = await call(client, spec, `asking for ${id}`, () => handle.describe());
    const wasStopped = found.status.name === 'CANCELLED' || found.status.name === 'TERMINATED';
    if (wasStopped && attempt < context.attempt) continue;
    if (fieldOf(found.memo?.parity, 'digest') !== digest)
      throw new ParityError('PipelineFailed', `There is a workflow ${id}, and it is not what this run asked for.`, {
        subject: id,
        advice: 'Somebody else has started it: see who uses ids of this form.',
      });
    return follow(client, spec, handle, found.startTime.getTime());
  }
}

/** Returns false where a workflow of this id is there, running or ended. */
async function startNew(
  client: Client,
  spec: TemporalPipelineSpec,
  execution: Execution,
  { id, attempt, digest }: { readonly id: string; readonly attempt: number; readonly digest: string },
  secrets: ExecutionSecrets,
  context: TaskContext,
): Promise<boolean> {
  const { workflowType, taskQueue, args } = spec.temporal;
  const template: unknown = JSON.parse(args);
  const expanded = expandJson(template, variablesOf(execution, attempt, secrets));
  const { uid, installation, name } = context.file.run;
  try {
    await call(client, spec, `starting workflow ${id}`, () =>
      client.workflow.start(workflowType, {
        workflowId: id,
        taskQueue,
        args: Array.isArray(expanded) ? expanded : [expanded],
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
        workflowIdConflictPolicy: 'FAIL',
        // Should nobody be there to end it in time, the server does.
        workflowExecutionTimeout: (spec.timeoutSeconds + 60) * 1000,
        memo: { parity: { run: uid, name, installation, pipeline: spec.name, digest } },
      }),
    );
    return true;
  } catch (error) {
    if (error instanceof ParityError && error.cause instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
}

/** On record before it is started: whoever cleans up knows of it, whatever becomes of this process. */
async function intend({ id }: Execution, context: TaskContext): Promise<void> {
  if (context.runFolder === undefined) await context.workspace.put(`executions/${id}`, '');
  else await makeFolder(join(executionsFolder(context.runFolder), id), 0o700);
}

/** What makes two requests the same. Where a source is reached may change when a run goes on after its driver was killed. */
function digestOf({ temporal }: TemporalPipelineSpec, { id, request }: Execution): string {
  const { mode, tables, run } = request;
  const { workflowType, taskQueue } = temporal;
  return createHash('sha256').update(canonicalJson({ id, run, mode, tables, workflowType, taskQueue })).digest('hex');
}

function follow(
  client: Client,
  spec: TemporalPipelineSpec,
  handle: WorkflowHandle,
  startedAtMs: number,
): RunningExecution {
  const { workflowId } = handle;
  let lastAnswerMs = performance.now();
  let lastQueryMs = Number.NEGATIVE_INFINITY;
  let queried: string | undefined;
  const ask = async (question: string): Promise<unknown> =>
    await call(client, spec, `asking ${workflowId} for ${question}`, () => handle.query(question));
  return {
    startedAtMs,
    ask,

    async observe() {
      let found: WorkflowExecutionDescription;
      try {
        found = await call(client, spec, `asking for ${workflowId}`, () => handle.describe());
        lastAnswerMs = performance.now();
      } catch (error) {
        if (
          !(error instanceof ParityError) ||
          error.code !== 'Unreachable' ||
          performance.now() - lastAnswerMs > lostMs
        )
          throw error;
        return { state: 'Running', note: 'the server of Temporal does not answer' };
      }
      if (found.status.name !== 'RUNNING') return await ended(found, client, spec, handle);
      const stuck = await call(client, spec, 'looking at its task queue', () =>
        stuckReason(client, spec.temporal, found),
      );
      if (stuck !== undefined) {
        await this.cancel(stuck.message);
        return { state: 'Failed', error: stuck };
      }
      if (spec.temporal.progressQuery !== undefined && performance.now() - lastQueryMs > queryEveryMs) {
        lastQueryMs = performance.now();
        queried = await ask(spec.temporal.progressQuery).then(noteOf, () => queried);
      }
      const note = queried ?? progressOf(found);
      return { state: 'Running', ...(note === undefined ? {} : { note: redact(note) }) };
    },

    cancel: (why) => endWorkflow(client, handle, why, cancelMs),
  };
}

/** Asks a workflow to cancel itself, and terminates it where it does not in time. One that has ended, or never was, is no error. */
export async function endWorkflow(client: Client, handle: WorkflowHandle, why: string, graceMs: number): Promise<void> {
  const deadline = performance.now() + graceMs;
  try {
    await client.withDeadline(Date.now() + answerMs, () => handle.cancel());
    for (let waitMs = 25; performance.now() < deadline; waitMs = Math.min(500, waitMs * 2)) {
      const { status } = await client.withDeadline(Date.now() + answerMs, () => handle.describe());
      if (status.name !== 'RUNNING') return;
      await delay(Math.min(waitMs, Math.max(0, deadline - performance.now())));
    }
    await client.withDeadline(Date.now() + answerMs, () => handle.terminate(`pipeline-parity: ${why}`.slice(0, 500)));
  } catch (error) {
    if (!isNoWorkflow(error)) throw error;
  }
}

async function ended(
  { status }: WorkflowExecutionDescription,
  client: Client,
  spec: TemporalPipelineSpec,
  handle: WorkflowHandle,
): Promise<ExecutionState> {
  const { workflowId } = handle;
  const failed = (found: string, advice?: string): ExecutionState => {
    const options = advice === undefined ? {} : { advice };
    return { state: 'Failed', error: new ParityError('PipelineFailed', `workflow ${workflowId} ${found}`, options) };
  };
  switch (status.name) {
    case 'COMPLETED':
      return { state: 'Succeeded' };
    // Its next run goes by the same id, and is what the next look sees.
    case 'CONTINUED_AS_NEW':
      return { state: 'Running', note: 'it continues as new' };
    case 'FAILED':
      return failed(`failed: ${await causeOf(client, spec, handle)}`);
    case 'TIMED_OUT':
      return failed('took longer than its execution timeout, and the server ended it');
    case 'CANCELLED':
      return failed('was cancelled, and not by this run', 'See who or what cancels workflows in that namespace.');
    case 'TERMINATED':
      return failed(
        `was terminated: ${await causeOf(client, spec, handle)}`,
        'See who terminates workflows in that namespace.',
      );
    default:
      return { state: 'Running', note: `it is ${status.name.toLowerCase()}` };
  }
}

async function causeOf(client: Client, spec: TemporalPipelineSpec, handle: WorkflowHandle): Promise<string> {
  try {
    await client.withDeadline(Date.now() + answerMs, () => handle.result());
    return 'it has a result';
  } catch (error) {
    const known = toTemporalError(error, spec.temporal, `asking how ${handle.workflowId} ended`);
    return known.code === 'Unreachable' ? known.message : failureChain(error);
  }
}

/** The latest heartbeat of an activity, or what the workflow keeps as `progress` in its memo; why an activity is tried again, above all. */
function progressOf({ raw, memo }: WorkflowExecutionDescription): string | undefined {
  for (const { activityType, attempt, lastFailure, heartbeatDetails } of raw.pendingActivities ?? []) {
    const name = activityType?.name ?? 'an activity';
    const tried = lastFailure?.message
      ? `${name} is tried for the ${attempt ?? 2}. time: ${lastFailure.message}`
      : undefined;
    if (tried !== undefined) return tried.slice(0, 300);
    const [payload] = heartbeatDetails?.payloads ?? [];
    const beat = noteOf(decoded(payload?.data));
    if (beat !== undefined) return beat;
  }
  return noteOf(memo?.progress);
}

function decoded(data: Uint8Array | null | undefined): unknown {
  if (data === null || data === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(data).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A progress value in words: texts as they are, objects as `table flights, rows 20000`. */
function noteOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object') return String(value).slice(0, 200);
  const parts = Object.entries(value).filter(([, part]) => typeof part !== 'object');
  return parts.length === 0
    ? undefined
    : parts
        .map(([name, part]) => `${name} ${part}`)
        .join(', ')
        .slice(0, 200);
}

/** One call, bounded in time, its failure in our words. */
async function call<Result>(
  client: Client,
  { temporal }: TemporalPipelineSpec,
  doing: string,
  action: () => Promise<Result>,
): Promise<Result> {
  try {
    return await client.withDeadline(Date.now() + answerMs, action);
  } catch (error) {
    throw toTemporalError(error, temporal, doing);
  }
}
