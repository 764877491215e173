import { dirname, join } from 'node:path';
import { ApplicationFailure, cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import { openEngine } from '../../src/engine/chdb.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openStore } from '../../src/lake/open.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import type { ExecutionRequest } from '../../src/pipelines/contract.ts';
import type { SyncRequest } from '../../src/pipelines/pipeline.ts';
import { untilEnd } from '../../src/pipelines/reference.fixture.ts';
import { referencePipeline } from '../../src/pipelines/reference.ts';
import { databaseAccess } from '../../src/pipelines/reference-source.ts';
import { readSecret } from '../../src/support/secrets.ts';
import { readInput, readOutput } from '../../src/tasks/records.ts';
import type { TaskFile } from '../../src/tasks/task.ts';

export { syncFull, syncIncremental } from '../../examples/temporal/activities.ts';

/** A process has one engine, in the folder that its maker gives it. */
let engine: Promise<Engine> | undefined;

/** Has the built-in pipeline do what the request asks for, as a worker that was written around it would. */
export async function syncReference(asked: ExecutionRequest, bug: string): Promise<void> {
  const { landing, step, source, tables } = asked;
  const pipeline = { name: asked.pipeline, cursorBound: 'Inclusive', reference: { bug } } as const;
  const workspace = await openStore({ location: landing.replace(/\/landed\/.*$/, '') });
  const file = await taskOf(workspace, asked);
  if (file.input.kind !== 'sync') throw new Error('the task is no sync');
  const { mode, at } = file.input;
  const request: SyncRequest = {
    ...{ pipeline: pipeline.name, step, source: source.name, mode, at },
    tables: tables.map(({ name }) => name),
  };
  engine ??= openEngine({ scratch: process.env.PARITY_TEST_SCRATCH ?? '', memoryBytes: 2 ** 29, threads: 1 });
  const beats = setInterval(() => heartbeat({ table: request.tables[0] ?? '' }), 500);
  try {
    const status = await untilEnd(referencePipeline(pipeline, databaseAccess), request, {
      file: { ...file, spec: { ...file.spec, pipelines: [pipeline] }, input: { kind: 'sync', ...request } },
      attempt: 1,
      workspace,
      engine: async () => await (engine ?? Promise.reject(new Error('no engine'))),
      scratch: join(process.env.PARITY_TEST_SCRATCH ?? '', 'tasks'),
      secret: (name) => readSecret(name, [dirname(source.secretDir ?? '')]),
      progress: () => undefined,
      signal: cancellationSignal(),
      async detailOf<Detail>(id: string) {
        const output = await readOutput<Detail>(workspace, id);
        if (output?.outcome === 'Succeeded') return output.detail;
        throw new Error(`task ${id} has no result`);
      },
    });
    if (status.state === 'Failed') throw ApplicationFailure.nonRetryable(status.message, status.error?.code);
  } finally {
    clearInterval(beats);
    workspace.close();
  }
}

/** Fails as code does: an error, and the one that caused it. */
export async function failDeeply(): Promise<void> {
  const cause = new Error('connection reset by peer');
  throw new Error('reading page 7 of airlines', { cause });
}

/** Works, and says how far it is, until somebody stops it. */
export async function beat(): Promise<void> {
  for (let rows = 0; ; rows += 1000) {
    heartbeat({ table: 'airlines', rows });
    await sleep(50);
  }
}

/** The task that this execution belongs to: it has the spec that the run was started with. */
async function taskOf(workspace: ObjectStore, { step, pipeline, source, tables }: ExecutionRequest): Promise<TaskFile> {
  for await (const { key } of workspace.list('tasks/')) {
    const [, id] = /^tasks\/(.*)\/input\.json$/.exec(key) ?? [];
    if (id === undefined) continue;
    const file = await readInput(workspace, id);
    const { input } = file;
    const isIt =
      input.kind === 'sync' && input.step === step && input.pipeline === pipeline && input.source === source.name;
    if (isIt && tables.every(({ name }) => input.tables.includes(name))) return file;
  }
  throw new Error('the workspace has no such task');
}
