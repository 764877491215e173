import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ComparisonColumn } from '../../api/resolved.ts';
import type { TableComparison } from '../../compare/result.ts';
import { type ErrorRecord, ParityError } from '../../support/error.ts';
import { memoryPlan, ownMemoryBytes } from '../driver/memory.ts';

/** What the child is asked, over its IPC channel. No credential is in it: those are in the environment. */
export interface CompareRequest {
  readonly baseline: string;
  readonly candidate: string;
  /** Folder that relative paths start from. */
  readonly folder: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly key: readonly string[];
  readonly columns: readonly ComparisonColumn[];
  readonly samples: number;
  readonly values: 'Masked' | 'Shown';
  readonly memoryBytes: number;
  readonly threads: number;
}

export type CompareAnswer =
  | { readonly kind: 'Compared'; readonly comparison: TableComparison }
  | { readonly kind: 'Failed'; readonly error: ErrorRecord };

/** The request as the child gets it. */
export interface CompareOrder extends CompareRequest {
  readonly scratch: string;
}

const watchMs = 250;
const graceMs = 5_000;

/**
 * Compares in a process of its own with a bound on its memory, so that a crash of the engine is a sentence and not a signal. Throws
 * what the comparison throws, `OutOfMemory`, `Crashed` naming the signal, and `Cancelled`; the scratch folder is gone in each end.
 */
export async function compareInChild(request: CompareRequest, signal: AbortSignal): Promise<TableComparison> {
  const scratch = await mkdtemp(join(tmpdir(), 'parity-compare-'));
  try {
    return await ask({ ...request, scratch }, signal);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function ask(order: CompareOrder, signal: AbortSignal): Promise<TableComparison> {
  const plan = memoryPlan(order.memoryBytes);
  const child = spawn(process.execPath, [`--max-old-space-size=${plan.heapMiB}`, program()], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let answer: CompareAnswer | undefined;
  let isOverBound = false;
  let stderr = '';
  child.on('message', (message) => {
    if (isAnswer(message)) answer = message;
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr = (stderr + chunk).slice(-4_096);
  });
  const watch = setInterval(async () => {
    const used = child.pid === undefined ? undefined : await ownMemoryBytes(child.pid);
    if (used === undefined || used <= plan.killBytes) return;
    isOverBound = true;
    child.kill('SIGKILL');
  }, watchMs);
  const stop = () => {
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), graceMs).unref();
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    const ended = new Promise<{ code: number | null; killedBy: NodeJS.Signals | null }>((settle, fail) => {
      child.once('error', fail);
      child.once('exit', (code, killedBy) => settle({ code, killedBy }));
    });
    child.send(order, () => undefined);
    const { code, killedBy } = await ended;
    if (answer?.kind === 'Compared') return answer.comparison;
    if (signal.aborted) throw new ParityError('Cancelled', 'the comparison was stopped');
    if (answer?.kind === 'Failed') throw fromRecord(answer.error);
    throw isOverBound ? outOfMemory(order) : crashed(code, killedBy, stderr);
  } finally {
    clearInterval(watch);
    signal.removeEventListener('abort', stop);
  }
}

function program(): string {
  const name = import.meta.url.endsWith('.ts') ? './compare-process.ts' : './compare-process.js';
  return fileURLToPath(new URL(name, import.meta.url));
}

function isAnswer(message: unknown): message is CompareAnswer {
  return (
    typeof message === 'object' &&
    message !== null &&
    'kind' in message &&
    (message.kind === 'Compared' || message.kind === 'Failed')
  );
}

function fromRecord({ code, message, advice, subject, isRetryable }: ErrorRecord): ParityError {
  return new ParityError(code, message, {
    isRetryable,
    ...(advice === undefined ? {} : { advice }),
    ...(subject === undefined ? {} : { subject }),
  });
}

function outOfMemory({ memoryBytes, baseline, candidate }: CompareOrder): ParityError {
  return new ParityError(
    'OutOfMemory',
    `comparing ${baseline} with ${candidate} needed more than ${memoryBytes / 2 ** 20} MiB`,
    { advice: 'Give it more with --memory.' },
  );
}

function crashed(code: number | null, killedBy: NodeJS.Signals | null, stderr: string): ParityError {
  const how = killedBy === null ? `ended with code ${code}` : `was ended by ${killedBy}`;
  return new ParityError('Crashed', `the process that compared ${how}`, {
    advice: 'Try again with --threads 1; if it happens again, please report it with both tables.',
    ...(stderr === '' ? {} : { cause: new Error(stderr) }),
  });
}
