import type { ExternalPipelineSpec } from '../api/resolved.ts';
import { mapBounded } from '../lake/pool.ts';
import { sourceConnection } from '../sources/connect.ts';
import { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { type Execution, type ExecutionSecrets, executionsOf } from './contract.ts';
import { landedRelation, landingDatabase, onlySource } from './outputs.ts';
import type { Pipeline, SyncRequest, SyncStatus } from './pipeline.ts';
import { isMet } from './success.ts';

/** What carries executions out: a process on this machine, a server of workflows, a cluster. */
export interface Executor {
  /** How many executions of one sync run side by side. */
  readonly maxRunning: number;
  /** Starts the execution, or takes over what an earlier process has started of it: never a second time what runs, or has ended. */
  start(execution: Execution, secrets: ExecutionSecrets, context: TaskContext): Promise<RunningExecution>;
  /** Lets go of what it holds in this process; executions go on. */
  close?(): Promise<void>;
}

export interface RunningExecution {
  /** When it was first started, also by an earlier process. */
  readonly startedAtMs: number;
  /** Throws only where what it asks cannot be reached. */
  observe(): Promise<ExecutionState>;
  /** Stops it, by force if need be. One that has ended already is no error. */
  cancel(why: string): Promise<void>;
  /** Asks the execution itself whether it has done its work; only some can be asked. */
  ask?(question: string): Promise<unknown>;
}

export type ExecutionState =
  | { readonly state: 'Running'; readonly note?: string }
  | { readonly state: 'Succeeded' }
  | { readonly state: 'Failed'; readonly error: ParityError };

/** A pipeline that somebody else has written, behind the four calls: `executor` knows how it is started. */
export function externalPipeline(spec: ExternalPipelineSpec, executor: Executor): Pipeline {
  const syncs = new Map<string, Promise<ExternalSync>>();
  const keyOf = ({ step, source, tables }: SyncRequest): string => JSON.stringify([step, source, tables]);
  return {
    async start(request, context) {
      const key = keyOf(request);
      const sync = syncs.get(key) ?? ExternalSync.prepare(spec, executor, request, context);
      syncs.set(key, sync);
      await (await sync).advance();
    },

    async observe(request) {
      const sync = await syncs.get(keyOf(request));
      return sync === undefined ? { state: 'Failed', message: 'it was not started' } : await sync.advance();
    },

    async cancel(request) {
      const sync = await syncs.get(keyOf(request))?.catch(() => undefined);
      await sync?.cancel('the sync was stopped');
    },

    output: async (table, engine, context, source) =>
      await landedRelation(spec, engine, context, table, source ?? onlySource(context, table)),
  };
}

/** Where one execution stands. */
type Stage =
  | { readonly kind: 'Waiting' }
  | { readonly kind: 'Running'; readonly running: RunningExecution; readonly note?: string }
  | { readonly kind: 'Checking'; readonly running: RunningExecution; readonly sinceMs: number; readonly found: string }
  | { readonly kind: 'Done' }
  | { readonly kind: 'Failed'; readonly error: ParityError };

/** One sync, in as many executions as the manifest says. */
class ExternalSync {
  readonly #spec: ExternalPipelineSpec;
  readonly #executor: Executor;
  readonly #context: TaskContext;
  readonly #secrets: ExecutionSecrets;
  readonly #executions: readonly Execution[];
  readonly #stages: Stage[];
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    spec: ExternalPipelineSpec,
    executor: Executor,
    context: TaskContext,
    secrets: ExecutionSecrets,
    executions: readonly Execution[],
  ) {
    this.#spec = spec;
    this.#executor = executor;
    this.#context = context;
    this.#secrets = secrets;
    this.#executions = executions;
    this.#stages = executions.map(() => ({ kind: 'Waiting' }));
  }

  static async prepare(
    spec: ExternalPipelineSpec,
    executor: Executor,
    request: SyncRequest,
    context: TaskContext,
  ): Promise<ExternalSync> {
    const source = await sourceConnection(context, request.source);
    const secrets = { source, ...(await landingSecrets(spec, context)) };
    const executions = await executionsOf(spec, request, context, source);
    return new ExternalSync(spec, executor, context, secrets, executions);
  }

  /** Takes every execution one step further. Calls follow one another. */
  async advance(): Promise<SyncStatus> {
    const turn = this.#turn.then(() => this.#advance());
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }

  async cancel(why: string): Promise<void> {
    await this.#turn;
    await mapBounded(this.#stages, 64, async (stage) => {
      if (stage.kind === 'Running') await stage.running.cancel(why);
    });
  }

  async #advance(): Promise<SyncStatus> {
    const indices = this.#executions.map((_, index) => index);
    await mapBounded(indices, 16, async (index) => this.#observe(index));
    const failed = this.#stages.find((stage) => stage.kind === 'Failed');
    if (failed !== undefined) return { state: 'Failed', message: failed.error.message, error: failed.error };
    const running = this.#count('Running');
    const next = indices.filter((index) => this.#stages[index]?.kind === 'Waiting');
    await mapBounded(next.slice(0, Math.max(0, this.#executor.maxRunning - running)), 16, async (index) => {
      const execution = this.#executions[index];
      if (execution === undefined) return;
      const started = await this.#executor.start(execution, this.#secrets, this.#context);
      this.#stages[index] = { kind: 'Running', running: started };
    });
    return this.#count('Done') === indices.length ? { state: 'Succeeded', rows: 0 } : this.#progress();
  }

  async #observe(index: number): Promise<void> {
    const [stage, execution] = [this.#stages[index], this.#executions[index]];
    if (stage === undefined || execution === undefined) return;
    if (stage.kind === 'Running') this.#stages[index] = await this.#follow(stage, execution);
    else if (stage.kind === 'Checking') this.#stages[index] = await this.#check(stage, execution);
  }

  async #follow(stage: Extract<Stage, { kind: 'Running' }>, execution: Execution): Promise<Stage> {
    const { running } = stage;
    const state = await running.observe();
    switch (state.state) {
      case 'Succeeded':
        if (this.#spec.successWhen === undefined) return { kind: 'Done' };
        return await this.#check({ kind: 'Checking', running, sinceMs: performance.now(), found: '' }, execution);
      case 'Failed':
        return { kind: 'Failed', error: inTable(state.error, execution) };
      case 'Running': {
        const seconds = this.#spec.timeoutSeconds;
        const note = state.note ?? stage.note;
        const next: Stage = { kind: 'Running', running, ...(note === undefined ? {} : { note }) };
        if (Date.now() - running.startedAtMs < seconds * 1000) return next;
        await running.cancel(`it did not end within ${seconds} s`);
        const last = note === undefined ? '' : `; the last that was seen of it: ${note}`;
        const error = new ParityError('Timeout', `${execution.id} did not end within ${seconds} s${last}`, {
          advice: 'Find out what it waits for, or give it more time with spec.pipelines[].timeoutSeconds.',
        });
        return { kind: 'Failed', error: inTable(error, execution) };
      }
    }
  }

  async #check(stage: Extract<Stage, { kind: 'Checking' }>, execution: Execution): Promise<Stage> {
    const check = this.#spec.successWhen;
    if (check === undefined) return { kind: 'Done' };
    const answer = await isMet(check, {
      execution,
      secrets: this.#secrets,
      context: this.#context,
      spec: this.#spec,
      running: stage.running,
    });
    if (answer.isMet) return { kind: 'Done' };
    if (performance.now() - stage.sinceMs < check.timeoutSeconds * 1000) return { ...stage, found: answer.found };
    const error = new ParityError(
      'PipelineFailed',
      `${execution.id} ended well, but successWhen did not hold within ${check.timeoutSeconds} s: ${answer.found}`,
    );
    return { kind: 'Failed', error: inTable(error, execution) };
  }

  #count(kind: Stage['kind']): number {
    return this.#stages.filter((stage) => stage.kind === kind).length;
  }

  #progress(): SyncStatus {
    const notes = this.#stages.map((stage) => {
      if (stage.kind === 'Checking') return `waiting for successWhen: ${stage.found}`;
      return stage.kind === 'Running' ? stage.note : undefined;
    });
    const note = notes.find((text) => text !== undefined);
    if (this.#stages.length === 1) return { state: 'Running', ...(note === undefined ? {} : { note }) };
    const count = `${this.#count('Done')} of ${this.#stages.length} executions ended`;
    return { state: 'Running', note: note === undefined ? count : `${count}; ${note}` };
  }
}

/** What the pipeline lands with; makes the database that it lands in, where it is one of the run's own. */
async function landingSecrets(
  spec: ExternalPipelineSpec,
  context: TaskContext,
): Promise<Omit<ExecutionSecrets, 'source'>> {
  const { outputs } = spec;
  if (outputs.kind === 'files')
    return outputs.secretRef === undefined ? {} : { storage: await context.secret(outputs.secretRef.name) };
  if (outputs.server === undefined) return {};
  return { database: { ...(await landingDatabase(spec, outputs.server, context)), engine: outputs.server.engine } };
}

/** An error of an execution for one table is about that table. */
function inTable(error: ParityError, { request }: Execution): ParityError {
  const [table, ...others] = request.tables;
  if (error.subject !== undefined || table === undefined || others.length > 0) return error;
  const { code, message, advice, isRetryable } = error;
  const options = { subject: table.name, cause: error, isRetryable };
  return new ParityError(code, message, advice === undefined ? options : { ...options, advice });
}
