import { fieldOf, isList } from '../api/json.ts';
import type { PostHogPipelineSpec } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import { redact } from '../support/log.ts';
import type { TaskContext } from '../tasks/task.ts';
import type { Execution, TableRequest } from './contract.ts';
import { syncTypeOf } from './cursor-bound.ts';
import { type ExecutionState, type Executor, externalPipeline, type RunningExecution } from './external.ts';
import { landedRelation, onlySource } from './outputs.ts';
import type { Pipeline } from './pipeline.ts';
import { type PostHogClient, PostHogRefusal, postHogClient, textOf } from './posthog-client.ts';
import { ensureSource, type PostHogSchema, type PostHogSource, preflight } from './posthog-source.ts';

/** PostHog's sync of a data warehouse, by its API: a source for each of the run's, a schema for each table, judged by the status of its jobs. */
export function postHogPipeline(spec: PostHogPipelineSpec): Pipeline {
  const pipeline = externalPipeline(spec, postHogExecutor(spec));
  return {
    ...pipeline,
    async output(table, engine, context, source) {
      const from = source ?? onlySource(context, table);
      const { path } = await landedIn(spec, context, from, table);
      if (spec.outputs.kind !== 'files') throw new ParityError('Internal', 'PostHog lands files');
      const location = `${spec.outputs.location.replace(/\/+$/, '')}/${path}`;
      return await landedRelation(spec, engine, context, table, from, { format: 'Delta', location });
    },
  };
}

/** Where a table of the run has landed, as PostHog's API said once its sync had ended. */
export interface LandedTable {
  /** PostHog's id of the table. */
  readonly id: string;
  /** Its name in queries. */
  readonly name: string;
  /** `team_<team>_<type>_<schema>/<name>`, below the bucket. */
  readonly path: string;
}

/** Throws `PipelineFailed` where no sync has landed the table. */
export async function landedIn(
  spec: PostHogPipelineSpec,
  context: TaskContext,
  source: string,
  table: string,
): Promise<LandedTable> {
  const key = landedKey(spec, source, table);
  if ((await context.workspace.head(key)) === undefined)
    throw new ParityError('PipelineFailed', `Pipeline ${spec.name} has landed no table ${table} of source ${source}.`, {
      subject: table,
    });
  return JSON.parse((await context.workspace.get(key)).toString('utf8'));
}

/** Two jobs of one source cost PostHog no more than its own schedules do; more would wait there. */
const maxRunning = 16;
/** A sync that was accepted and of which no job is seen after this has nobody who works on it. */
const noJobMs = 60_000;

export function postHogExecutor(spec: PostHogPipelineSpec): Executor {
  const remotes = new Map<string, Promise<Remote>>();
  return {
    maxRunning,
    async start(execution, { source: connection }, context) {
      const name = execution.request.source.name;
      const open = async (): Promise<Remote> => {
        const source = context.file.spec.sources.find((one) => one.name === name);
        if (source === undefined) throw new ParityError('InvalidSpec', `The run has no source ${name}.`);
        const keys = await context.secret(spec.posthog.secretRef.name);
        const client = postHogClient(keys, spec.posthog.secretRef.name, context.signal);
        const request = { spec, source, connection, context };
        const known = await ensureSource(client, request);
        return {
          client,
          source: known,
          jobs: new JobList(client, known.id),
          jobsOf: tableJobs(client, known.id),
          cursors: new Map(),
          discover: () => preflight(client, request),
        };
      };
      const opening = remotes.get(name) ?? open();
      remotes.set(name, opening);
      const remote = await opening.catch((error: unknown) => {
        remotes.delete(name);
        throw error;
      });
      return await startSync(spec, remote, execution, context);
    },
  };
}

interface Remote {
  readonly client: PostHogClient;
  readonly source: PostHogSource;
  readonly jobs: JobList;
  /** Those of one table. */
  jobsOf(table: string): JobList;
  discover(): ReturnType<typeof preflight>;
  readonly cursors: Map<string, string>;
}

/** What is written down before a sync is asked for: whoever asks again knows which jobs were there before. */
interface SyncRecord {
  readonly startedAtMs: number;
  readonly knownJobs: readonly string[];
}

async function startSync(
  spec: PostHogPipelineSpec,
  remote: Remote,
  { id, request }: Execution,
  context: TaskContext,
): Promise<RunningExecution> {
  const [table] = request.tables;
  if (table === undefined || request.tables.length > 1)
    throw new ParityError('Internal', 'PostHog syncs table by table');
  const schema = remote.source.schemas.get(table.name);
  if (schema === undefined)
    throw new ParityError(
      'PipelineFailed',
      `PostHog's source for ${request.source.name} has no schema ${table.name}.`,
      {
        subject: table.name,
      },
    );
  const { client, jobs } = remote;
  const ownJobs = remote.jobsOf(table.name);
  const isOwn = ({ schemaId }: Job): boolean => schemaId === schema.id;
  const key = `posthog/${spec.name}/${request.source.name}/syncs/${request.step}/${table.name}.json`;
  const before: SyncRecord = {
    startedAtMs: Date.now(),
    knownJobs: (await ownJobs.fresh()).filter(isOwn).map((job) => job.id),
  };
  const isNew = await context.workspace.putIfAbsent(key, JSON.stringify(before));
  const record: SyncRecord = isNew ? before : JSON.parse((await context.workspace.get(key)).toString('utf8'));
  const triggeredKey = `${key}.triggered`;
  let triggeredAtMs = (await context.workspace.head(triggeredKey)) === undefined ? undefined : performance.now();

  const observe = async (): Promise<ExecutionState> => {
    const isMine = (job: Job): boolean => isOwn(job) && !record.knownJobs.includes(job.id);
    const listed = await jobs.latest();
    // Where other tables are quick, their jobs push a long one off the list of all.
    const all = listed.length >= mostListed && !listed.some(isMine) ? await ownJobs.latest() : listed;
    // The newest come first: the one that this sync began is the oldest of those that are new.
    const mine = all.findLast(isMine);
    if (mine !== undefined) return await ended(mine);
    if (triggeredAtMs === undefined) {
      if (all.some((job) => isOwn(job) && job.status === 'Running'))
        return { state: 'Running', note: `${table.name}: PostHog is at a sync that it began itself` };
      await trigger(spec, remote, schema, table, request.mode);
      jobs.hasChanged();
      ownJobs.hasChanged();
      triggeredAtMs = performance.now();
      await context.workspace.put(triggeredKey, '');
    } else if (performance.now() - triggeredAtMs > noJobMs) {
      const message = `PostHog has accepted the sync of ${table.name} and has begun no job within ${noJobMs / 1000} s`;
      const advice = "See whether a worker of PostHog's polls its queue data-warehouse-task-queue.";
      return { state: 'Failed', error: new ParityError('PipelineFailed', message, { subject: table.name, advice }) };
    }
    return { state: 'Running', note: `${table.name}: waiting for PostHog to begin a job` };
  };

  /** The job's status is the truth: a workflow of PostHog's may end well without having synced. */
  const ended = async (job: Job): Promise<ExecutionState> => {
    switch (job.status) {
      case 'Running':
        return { state: 'Running', note: `${table.name}: ${job.rows} rows` };
      case 'Completed':
        return await landed(spec, client, schema, request.source.name, context);
      default: {
        const said = job.error === undefined ? '' : `: ${redact(job.error)}`;
        const message = `PostHog's job ${job.id} for ${table.name} ended as ${job.status}${said}`;
        return {
          state: 'Failed',
          error: new ParityError('PipelineFailed', message, { subject: table.name, ...adviceOf(job) }),
        };
      }
    }
  };

  return {
    startedAtMs: record.startedAtMs,
    observe,
    async cancel() {
      await client
        .post(`external_data_schemas/${schema.id}/cancel/`, {}, { isRepeatable: true })
        .catch((error: unknown) => {
          // Nothing runs any more.
          if (!(error instanceof PostHogRefusal)) throw error;
        });
    },
    ask: () => Promise.reject(new ParityError('InvalidSpec', `${id} cannot be asked anything.`)),
  };
}

/** Has PostHog sync the table: for the first time by enabling it, from the start again by resync, from where it is by reload. */
async function trigger(
  spec: PostHogPipelineSpec,
  remote: Remote,
  schema: PostHogSchema,
  table: TableRequest,
  mode: 'Full' | 'Incremental',
): Promise<void> {
  const { client } = remote;
  const path = `external_data_schemas/${schema.id}/`;
  const refused = (error: unknown): never => {
    if (!(error instanceof PostHogRefusal)) throw error;
    throw new ParityError('PipelineFailed', `PostHog refuses to sync ${table.name}: ${error.message}`, {
      subject: table.name,
      cause: error,
    });
  };
  if (fieldOf(await client.get(path), 'should_sync') !== true) {
    await client.patch(path, { should_sync: true, ...(await settingsOf(spec, remote, table)) }).catch(refused);
    return;
  }
  await client.post(`${path}${mode === 'Full' ? 'resync' : 'reload'}/`, {}, { isRepeatable: true }).catch(refused);
}

/** How PostHog is to sync the table. Its own schedule is put far off: the run says when. */
async function settingsOf(spec: PostHogPipelineSpec, remote: Remote, table: TableRequest): Promise<object> {
  const wanted = syncTypeOf(spec, { name: table.name, key: table.key, hasCursor: table.cursor !== null });
  const schedule = { sync_frequency: '30day' };
  if (wanted === 'FullRefresh') return { sync_type: 'full_refresh', ...schedule };
  const wrong = (found: string, advice: string): ParityError =>
    new ParityError('InvalidSpec', `PostHog cannot sync ${table.name} as ${wanted}: ${found}.`, {
      subject: table.name,
      advice,
    });
  const otherwise = 'Give the table syncType: FullRefresh in posthog.tables, or name another cursor.';
  if (table.cursor === null) throw wrong('it has no cursor', otherwise);
  if (wanted === 'Incremental' && table.key.length === 0) throw wrong('it has no key to merge by', otherwise);
  const cursors = (await remote.discover()).find(({ name }) => name === table.name)?.cursors;
  const type = cursors?.get(table.cursor);
  if (type === undefined)
    throw wrong(
      `it does not take ${table.cursor} as a cursor (it takes ${[...(cursors?.keys() ?? [])].join(', ') || 'none of its columns'})`,
      otherwise,
    );
  return {
    sync_type: wanted === 'Append' ? 'append' : 'incremental',
    incremental_field: table.cursor,
    incremental_field_type: type,
    ...(wanted === 'Incremental' ? { primary_key_columns: table.key } : {}),
    ...schedule,
  };
}

/** Where it landed, from the API; a job that has completed and shows no table has not. */
async function landed(
  spec: PostHogPipelineSpec,
  client: PostHogClient,
  schema: PostHogSchema,
  source: string,
  context: TaskContext,
): Promise<ExecutionState> {
  const failed = (found: string): ExecutionState => ({
    state: 'Failed',
    error: new ParityError('PipelineFailed', `PostHog's job for ${schema.table} is Completed, but ${found}`, {
      subject: schema.table,
    }),
  });
  const table = fieldOf(await client.get(`external_data_schemas/${schema.id}/`), 'table');
  if (table === null || table === undefined) return failed('there is no table of it to query');
  const id = textOf(table, 'id');
  const url = textOf(await client.get(`warehouse_tables/${id}/`), 'url_pattern');
  const [, path, folder = ''] = /\/((team_[^/]+)\/[^/]+)\/*$/.exec(decodeURIComponent(new URL(url).pathname)) ?? [];
  // Never another's: the folder's name ends with the id of the schema that this run has made.
  if (path === undefined || !folder.replaceAll('_', '-').endsWith(schema.id.replaceAll('_', '-')))
    return failed(`its table lies at ${url}, which is not a folder of this schema's`);
  const found: LandedTable = { id, name: textOf(table, 'name'), path };
  await context.workspace.put(landedKey(spec, source, schema.table), JSON.stringify(found));
  return { state: 'Succeeded' };
}

function landedKey(spec: PostHogPipelineSpec, source: string, table: string): string {
  return `posthog/${spec.name}/${source}/landed/${table}.json`;
}

function adviceOf({ status }: Job): { readonly advice?: string } {
  return /billing/i.test(status) ? { advice: "Raise the project's limit of synced rows, or sync fewer." } : {};
}

interface Job {
  readonly id: string;
  readonly schemaId: string;
  readonly status: string;
  readonly rows: number;
  readonly error: string | undefined;
}

/** How many of the newest jobs PostHog lists. */
const mostListed = 50;

/** The list of each table, kept for as long as the source is followed. */
function tableJobs(client: PostHogClient, sourceId: string): (table: string) => JobList {
  const lists = new Map<string, JobList>();
  return (table) => {
    const list = lists.get(table) ?? new JobList(client, sourceId, table);
    lists.set(table, list);
    return list;
  };
}

/** The last fifty jobs of a source, asked for once for all of its tables, or those of one table; the seldomer the longer nothing changes. */
class JobList {
  readonly #client: PostHogClient;
  readonly #path: string;
  #asked: Promise<readonly Job[]> | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #pauseMs = firstPauseMs;
  #last = '';

  constructor(client: PostHogClient, sourceId: string, table?: string) {
    this.#client = client;
    const only = table === undefined ? '' : `?schemas=${encodeURIComponent(table)}`;
    this.#path = `external_data_sources/${sourceId}/jobs/${only}`;
  }

  async latest(): Promise<readonly Job[]> {
    const isStale = performance.now() - this.#askedAtMs >= this.#pauseMs;
    return await (isStale || this.#asked === undefined ? this.#ask() : this.#asked);
  }

  async fresh(): Promise<readonly Job[]> {
    return await this.#ask();
  }

  hasChanged(): void {
    this.#pauseMs = firstPauseMs;
    this.#askedAtMs = Number.NEGATIVE_INFINITY;
  }

  async #ask(): Promise<readonly Job[]> {
    this.#askedAtMs = performance.now();
    const asked = this.#client.get(this.#path).then(jobsOf);
    this.#asked = asked;
    asked.catch(() => {
      if (this.#asked === asked) this.#asked = undefined;
    });
    const jobs = await asked;
    const text = JSON.stringify(jobs);
    this.#pauseMs = text === this.#last ? Math.min(longestPauseMs, this.#pauseMs * 1.5) : firstPauseMs;
    this.#last = text;
    return jobs;
  }
}

const firstPauseMs = 250;
const longestPauseMs = 5_000;

function jobsOf(value: unknown): readonly Job[] {
  return (isList(value) ? value : []).map((job) => {
    const [rows, error] = [fieldOf(job, 'rows_synced'), fieldOf(job, 'latest_error')];
    return {
      id: textOf(job, 'id'),
      schemaId: textOf(fieldOf(job, 'schema'), 'id'),
      status: textOf(job, 'status'),
      rows: typeof rows === 'number' ? rows : 0,
      error: typeof error === 'string' && error !== '' ? error : undefined,
    };
  });
}
