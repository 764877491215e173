import type { ResolvedSpec } from '../api/resolved.ts';
import type { ObjectReader, ObjectStore } from '../lake/store.ts';
import type { Condition, RunState, Task, TaskGraph, TaskSummary, Verdict } from '../run/types.ts';
import type { ErrorRecord } from '../support/error.ts';
import { redactError } from '../support/log.ts';
import type { RunIdentity, TaskFile, TaskOutput } from './task.ts';

/**
 * What is recorded of a task in the workspace. `output.json` is its end, written once by whoever is first; a failure that will be
 * tried again lies beside it as `attempt-<n>.json`. State that is lost is read again from these.
 */
export async function writeInput(workspace: ObjectStore, file: TaskFile): Promise<void> {
  await workspace.put(key(file.id, 'input.json'), JSON.stringify(file));
}

/** The task's input. Throws the store's `NotFound` where the driver has not written it. */
export async function readInput(workspace: ObjectReader, id: string): Promise<TaskFile> {
  const file: TaskFile = JSON.parse((await workspace.get(key(id, 'input.json'))).toString());
  return file;
}

/** The task's end; undefined while it has none. */
export async function readOutput<Detail = unknown>(
  workspace: ObjectReader,
  id: string,
): Promise<TaskOutput<Detail> | undefined> {
  return await readJson<TaskOutput<Detail>>(workspace, key(id, 'output.json'));
}

/** Whether the task has an end. */
export async function hasOutput(workspace: ObjectReader, id: string): Promise<boolean> {
  return (await workspace.head(key(id, 'output.json'))) !== undefined;
}

/** The failure of one attempt that was not the task's end; undefined where there is none. */
export async function readAttempt(
  workspace: ObjectReader,
  id: string,
  attempt: number,
): Promise<FailedOutput | undefined> {
  return await readJson<FailedOutput>(workspace, key(id, `attempt-${attempt}.json`));
}

export type FailedOutput = Extract<TaskOutput, { outcome: 'Failed' }>;

/** Records the task's success, unless it already has an end. */
export async function recordSuccess(
  workspace: ObjectStore,
  id: string,
  result: { summary: TaskSummary; detail: unknown },
): Promise<void> {
  const output: TaskOutput = { outcome: 'Succeeded', summary: bounded(result.summary), detail: result.detail };
  await workspace.putIfAbsent(key(id, 'output.json'), JSON.stringify(output));
}

/**
 * Records a failed attempt: as the task's end where another attempt cannot help or is not allowed, else beside it. A task that was
 * stopped on request has not failed, and nothing is recorded.
 */
export async function recordFailure(
  workspace: ObjectStore,
  task: { readonly id: string; readonly attempt: number; readonly retries: number },
  failure: { readonly error: ErrorRecord; readonly table?: string },
): Promise<void> {
  if (failure.error.code === 'Cancelled') return;
  const output: TaskOutput = { outcome: 'Failed', ...failure, error: redactError(failure.error) };
  const isEnd = !failure.error.isRetryable || task.attempt > task.retries;
  const name = isEnd ? 'output.json' : `attempt-${task.attempt}.json`;
  await workspace.putIfAbsent(key(task.id, name), JSON.stringify(output));
}

/** What the run came to, written before the `report` task starts: with the tasks' outputs, all that a report needs. */
export interface RunRecord {
  readonly run: RunIdentity;
  readonly spec: ResolvedSpec;
  readonly specDigest: string;
  readonly graph: TaskGraph;
  readonly state: RunState;
  readonly verdict: Verdict;
  /** One sentence: why. */
  readonly message: string;
  readonly conditions: readonly Condition[];
  readonly startedAt: string;
  readonly endedAt: string;
  /** By task: when its latest attempt began, and how long all attempts took. No part of the fingerprint. */
  readonly timings: Readonly<Record<string, { readonly startedAt: string; readonly durationMs: number }>>;
}

const runRecordKey = 'run.json';

/** Writes the record, or replaces it by a newer one. */
export async function writeRunRecord(workspace: ObjectStore, record: RunRecord): Promise<void> {
  await workspace.put(runRecordKey, JSON.stringify(record));
}

/** The run's record. Throws the store's `NotFound` before the run's work is over. */
export async function readRunRecord(workspace: ObjectReader): Promise<RunRecord> {
  const record: RunRecord = JSON.parse((await workspace.get(runRecordKey)).toString());
  return record;
}

/** The table that a failure is about, where one can be named: the error's own subject, or the task's only table. */
export function tableOf(input: Task['input'], error: ErrorRecord): string | undefined {
  const tables = 'tables' in input ? input.tables : [];
  return tables.find((table) => table === error.subject) ?? (tables.length === 1 ? tables[0] : undefined);
}

/** A summary is a Kubernetes termination message: at most 4 KiB. Only its headline can be long. */
function bounded(summary: TaskSummary): TaskSummary {
  if (summary.headline === undefined || summary.headline.length <= 500) return summary;
  return { ...summary, headline: `${summary.headline.slice(0, 499)}…` };
}

function key(id: string, name: string): string {
  return `tasks/${id}/${name}`;
}

async function readJson<T>(workspace: ObjectReader, key: string): Promise<T | undefined> {
  if ((await workspace.head(key)) === undefined) return undefined;
  const value: T = JSON.parse((await workspace.get(key)).toString());
  return value;
}
