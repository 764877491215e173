import { setTimeout as later } from 'node:timers/promises';
import { runTask } from '../../src/cli/task.ts';
import type { TaskKind } from '../../src/run/types.ts';
import { ParityError } from '../../src/support/error.ts';
import { readRunRecord } from '../../src/tasks/records.ts';
import type { Resolution, TaskContext, TaskHandler } from '../../src/tasks/task.ts';

const handlers: Partial<Record<TaskKind, TaskHandler>> = { resolve, report };

async function resolve(context: TaskContext): ReturnType<TaskHandler> {
  await behave(context);
  const detail: Resolution = {
    tables: context.file.spec.snapshot.tables.map(({ name }) => ({
      name,
      version: 1,
      baseVersion: null,
      rows: 1,
      sizeBytes: 1,
      copyBytes: 1,
      files: 1,
    })),
  };
  return { summary: { tables: detail.tables.length }, detail };
}

async function report(context: TaskContext): ReturnType<TaskHandler> {
  await behave(context);
  const { verdict, message } = await readRunRecord(context.workspace);
  return { summary: {}, detail: { verdict, message } };
}

async function work(context: TaskContext): ReturnType<TaskHandler> {
  const { input } = context.file;
  if ('tables' in input) for (const table of input.tables) context.progress({ table, rows: 1 });
  const counts = input.kind === 'compare' || input.kind === 'query';
  const differences = await behave(context);
  if (input.kind === 'rehydrate' || input.kind === 'advance' || input.kind === 'sync')
    await context.secret(`source-${input.source}`);
  return {
    summary: counts
      ? { differences, ...(differences > 0 ? { headline: 'flights: 3 rows missing' } : {}) }
      : { rows: 1 },
    detail: {},
  };
}

/** Returns how many differences the task is to report. */
async function behave(context: TaskContext): Promise<number> {
  const { pipelines, snapshot } = context.file.spec;
  // An API server takes only bugs that there are: for it the behaviour stands in the path of the first table.
  const told = /^behave\/(.*)$/.exec(snapshot.tables[0]?.path ?? '')?.[1];
  const [pipeline] = pipelines;
  const bug = pipeline !== undefined && 'reference' in pipeline ? pipeline.reference.bug : 'None';
  const [kind, behaviour] = (told ?? bug).split(':');
  if (kind !== context.file.input.kind) return 0;
  switch (behaviour) {
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      return await forever();
    case 'kill-once':
      if (context.attempt === 1) process.kill(process.pid, 'SIGKILL');
      return 0;
    case 'exit':
      process.exit(7);
      break;
    case 'hang':
      // Deaf to SIGTERM as well.
      process.removeAllListeners('SIGTERM').on('SIGTERM', () => undefined);
      for (;;) await forever();
    case 'wait':
      await new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(new Error('stopped'))));
      break;
    case 'wait-once':
      if (await context.workspace.putIfAbsent('waited', '')) await forever();
      break;
    case 'eat':
      return eat();
    case 'differ':
      return 3;
    case 'mute':
      return Number.NaN;
    case 'fail':
      throw new ParityError('CorruptTable', 'reading table flights: its log ends in the middle of a line', {
        subject: 'flights',
      });
    case 'flaky':
      if (context.attempt === 1) throw new ParityError('Unreachable', 'no answer', { isRetryable: true });
      break;
  }
  return 0;
}

async function forever(): Promise<never> {
  for (;;) await later(60_000);
}

/** Grows outside the JavaScript heap, as the engine does. */
async function eat(): Promise<never> {
  const eaten: Buffer[] = [];
  for (;;) {
    eaten.push(Buffer.alloc(32 * 2 ** 20, 1));
    await later(5);
  }
}

/**
 * A task process whose tasks do no work, but behave as the manifest says: the first pipeline's `bug` is `<kind>:<behaviour>`, e.g.
 * `sync:kill`. Everything around the handlers is the real thing.
 */
process.exit(await runTask(process.argv.slice(2), { handlerOf: async (kind) => handlers[kind] ?? work }));
