import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ExternalPipelineSpec, LandingEngine, ResolvedSource } from '../api/resolved.ts';
import { expandText, SECRET_VARIABLES, spellingsOf, type TemplateValue } from '../api/templates.ts';
import { sourceName } from '../kube/source-name.ts';
import { formatLocation } from '../lake/location.ts';
import type { ObjectStore } from '../lake/store.ts';
import { clickHouseUrl, formatConnection, sourceSecret } from '../sources/connection.ts';
import type { Connection, SnowflakeAccess } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';
import { registerSecret } from '../support/log.ts';
import type { TaskFile } from '../tasks/task.ts';
import type { SyncRequest } from './pipeline.ts';

/**
 * What somebody's pipeline is told when it is started: what a command and a Kubernetes Job find in their environment, and what the arguments of a workflow
 * are made of. docs/reference/pipelines.md describes it for those who write pipelines.
 */
export interface Execution {
  /** `parity-<uid>-<pipeline>-<step>-<source>[-<table>]`: the same whenever the same sync is asked for. */
  readonly id: string;
  readonly request: ExecutionRequest;
}

/** The request as JSON: what `PARITY_REQUEST` names, and `{{request}}` stands for. It holds no secret. */
export interface ExecutionRequest {
  readonly version: 1;
  readonly run: string;
  readonly pipeline: string;
  readonly step: string;
  readonly mode: 'Full' | 'Incremental';
  readonly source: {
    readonly name: string;
    readonly engine: ResolvedSource['engine'];
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
    /** Schema of Postgres, database of MySQL. */
    readonly schema: string;
    /** Name of the secret with the keys host, port, user, password, database and optionally ca. */
    readonly secret: string;
    /** Folder of that secret on this machine, one file for each key; null where there is none. */
    readonly secretDir: string | null;
  };
  /** The run's own folder for what this pipeline lands of this source. */
  readonly landing: string;
  readonly storage: { readonly endpoint: string | null; readonly region: string | null };
  readonly tables: readonly TableRequest[];
}

export interface TableRequest {
  readonly name: string;
  readonly key: readonly string[];
  readonly cursor: string | null;
  readonly output: TableOutput;
}

export type TableOutput =
  | { readonly format: 'Delta' | 'Iceberg' | 'Parquet'; readonly location: string }
  | { readonly format: 'Table'; readonly schema: string | null; readonly table: string };

/** What the contract follows from: a task has it all in its own context, and the operator knows it of a run. */
export interface ContractContext {
  readonly file: Pick<TaskFile, 'run' | 'spec'>;
  readonly workspace: Pick<ObjectStore, 'location'>;
  readonly runFolder?: string;
}

/** Ids of the executions of a sync, in the order of `executionsOf`. */
export function executionIds(
  { executions }: Pick<ExternalPipelineSpec, 'executions'>,
  { pipeline, step, source, tables }: SyncRequest,
  uid: string,
): readonly string[] {
  const name = [`parity-${uid}`, pipeline, step, source].join('-');
  return executions === 'PerSource' ? [name] : tables.map((table) => `${name}-${table}`);
}

/** Splits a sync into executions, as the manifest says: one for each table, or one for all. */
export async function executionsOf(
  pipeline: ExternalPipelineSpec,
  request: SyncRequest,
  context: ContractContext,
  connection: Connection,
  secret: Pick<ExecutionRequest['source'], 'secret' | 'secretDir'> = secretOf(context, request.source),
): Promise<readonly Execution[]> {
  const { uid } = context.file.run;
  const { step, source, mode } = request;
  const landing = landingOf(context, request.pipeline, source);
  const engine = sourceSpec(context, source).engine;
  const { host, port, user, database } = connection;
  const common = {
    version: 1,
    run: uid,
    pipeline: request.pipeline,
    step,
    mode,
    source: {
      ...{ name: source, engine, host, port, user, database },
      schema: engine === 'Postgres' ? 'public' : (connection.snowflake?.schema ?? database),
      ...secret,
    },
    landing,
    storage: storageOf(pipeline, context),
  } as const;
  const tables = request.tables.map((table) => tableRequest(pipeline, context, source, table));
  const split = pipeline.executions === 'PerSource' ? [tables] : tables.map((table) => [table]);
  const ids = executionIds(pipeline, request, uid);
  return split.map((tables, index) => ({ id: ids[index] ?? '', request: { ...common, tables } }));
}

/** Where others than the task find the connection: in the run's folder on this machine, else in the cluster's Secret. */
function secretOf({ file, runFolder }: ContractContext, source: string) {
  if (runFolder === undefined) return { secret: sourceName(file.run.uid, source), secretDir: null };
  const secret = sourceSecret(source);
  return { secret, secretDir: join(runFolder, 'secrets', secret) };
}

/** Where a table of a source lands. */
export function outputOf(
  pipeline: ExternalPipelineSpec,
  context: ContractContext,
  source: string,
  table: string,
): TableOutput {
  const names: Readonly<Record<string, TemplateValue>> = {
    ...spellingsOf(table),
    run: context.file.run.uid,
    pipeline: pipeline.name,
    source,
    landing: landingOf(context, pipeline.name, source),
  };
  const expand = (template: string): string => expandText(template, (name) => known(names, name));
  const { outputs } = pipeline;
  if (outputs.kind === 'files') return { format: outputs.format, location: expand(outputs.location) };
  const schema = outputs.schema === undefined ? null : expand(outputs.schema);
  return { format: 'Table', schema, table: expand(outputs.table) };
}

/** The run's own folder for what a pipeline lands of a source: `<workspace>/landed/<pipeline>/<source>`. */
export function landingOf(context: ContractContext, pipeline: string, source: string): string {
  return `${formatLocation(context.workspace.location).replace(/\/+$/, '')}/landed/${pipeline}/${source}`;
}

/** Where a run keeps what it has started on this machine: a folder for each execution, made before the execution begins. */
export function executionsFolder(runFolder: string): string {
  return join(runFolder, 'executions');
}

/** What must not be written down: the source's connection, and what the pipeline lands with. */
export interface ExecutionSecrets {
  readonly source: Connection;
  /** The database that the pipeline lands in, where it is not the source's own. */
  readonly database?: Connection & { readonly engine: LandingEngine };
  /** Keys of the object store that it lands in. */
  readonly storage?: Readonly<Record<string, string>>;
}

/** The value of each variable that a template may name; a function, so that a secret is only made into text where it is asked for. */
export function variablesOf(
  { id, request }: Execution,
  attempt: number,
  secrets: ExecutionSecrets,
): (name: string) => TemplateValue {
  const { source, tables, landing, storage } = request;
  const [table] = tables;
  const database = secrets.database;
  const values: Readonly<Record<string, TemplateValue>> = {
    run: request.run,
    pipeline: request.pipeline,
    step: request.step,
    mode: request.mode,
    attempt,
    execution: `${id}-${attempt}`,
    source: source.name,
    'source.engine': source.engine,
    'source.host': source.host,
    'source.port': source.port,
    'source.user': source.user,
    'source.database': source.database,
    'source.schema': source.schema,
    'source.secret': source.secret,
    'source.secretDir': source.secretDir,
    tables: tables.map(({ name }) => name),
    request: { ...request, attempt },
    landing,
    ...(table === undefined ? {} : tableVariables(table)),
    'output.format': table?.output.format ?? '',
    'output.endpoint': storage.endpoint,
    'output.region': storage.region,
    'output.engine': database?.engine ?? '',
    'output.host': database?.host ?? '',
    'output.port': database?.port ?? '',
    'output.user': database?.user ?? '',
    'output.database': database?.database ?? '',
  };
  return (name) => {
    if (!SECRET_VARIABLES.some((secret) => secret === name)) return known(values, name);
    const isOutput = name.startsWith('output.');
    const connection = isOutput ? database : secrets.source;
    if (connection === undefined) return '';
    const value = name.endsWith('.password')
      ? connection.password
      : connectionUrl(connection, isOutput ? (database?.engine ?? source.engine) : source.engine);
    registerSecret(value);
    return value;
  };
}

/** The connection as one URL, as most tools take it. It holds the password. */
export function connectionUrl(connection: Connection, engine: LandingEngine): string {
  const { host, port, user, password, database, snowflake, clickhouse } = connection;
  if (snowflake !== undefined) return snowflakeUrl(connection, snowflake);
  if (clickhouse !== undefined) return clickHouseLogin(connection);
  const scheme = engine === 'Postgres' ? 'postgresql' : 'mysql';
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
  const tls = connection.ca !== undefined && engine === 'Postgres' ? '?sslmode=verify-full' : '';
  return `${scheme}://${login}@${host.includes(':') ? `[${host}]` : host}:${port}/${encodeURIComponent(database)}${tls}`;
}

/** As the official clients take it. */
function clickHouseLogin(connection: Connection): string {
  const url = new URL(clickHouseUrl(connection));
  url.username = encodeURIComponent(connection.user);
  url.password = encodeURIComponent(connection.password);
  url.pathname = `/${encodeURIComponent(connection.database)}`;
  return url.href;
}

/** As SQLAlchemy takes it; a key pair or token has no place in it, and lies in the files beside it. */
function snowflakeUrl({ user, password, database }: Connection, access: SnowflakeAccess): string {
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
  const path = [access.account, database, access.schema ?? ''].map(encodeURIComponent).join('/');
  const { warehouse, role } = access;
  const query = new URLSearchParams({
    ...(warehouse === undefined ? {} : { warehouse }),
    ...(role === undefined ? {} : { role }),
  });
  return `snowflake://${login}@${path}?${query}`;
}

/** Writes what an execution is told as files, for this user only, into its own folder, and returns the environment that names them. */
export async function writeContract(
  execution: Execution,
  attempt: number,
  secrets: ExecutionSecrets,
  folder: string,
): Promise<Readonly<Record<string, string>>> {
  const { files, env } = contractOf(execution, attempt, secrets, folder);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, dirname(path)), { recursive: true, mode: 0o700 });
    await writeFile(join(folder, path), text, { mode: 0o600 });
  }
  return env;
}

export interface Contract {
  /** What is in each file, by its path below the folder. */
  readonly files: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
}

/** Variables of the contract that tell of a connection or a credential: a Job has them from a Secret. */
export const CONNECTION_VARIABLES =
  /^(PARITY_(SOURCE|OUTPUT)_(HOST|PORT|USER|DATABASE)|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN))$/;

/** What an execution is told, as the files of a folder and the environment that names them. */
export function contractOf(execution: Execution, attempt: number, secrets: ExecutionSecrets, folder: string): Contract {
  const { request } = execution;
  const { database } = secrets;
  const [sourceDir, outputDir] = [join(folder, 'source'), join(folder, 'output')];
  const files = {
    'request.json': JSON.stringify({ ...request, attempt }, null, 2),
    ...connectionFiles('source', secrets.source, request.source.engine),
    ...(database === undefined ? {} : connectionFiles('output', database, database.engine)),
  };
  const value = variablesOf(execution, attempt, secrets);
  const text = (name: string): string => expandText(`{{${name}}}`, value);
  const isOneTable = request.tables.length === 1;
  const env = {
    PARITY_REQUEST: join(folder, 'request.json'),
    PARITY_EXECUTION: text('execution'),
    PARITY_RUN: request.run,
    PARITY_PIPELINE: request.pipeline,
    PARITY_STEP: request.step,
    PARITY_MODE: request.mode,
    PARITY_ATTEMPT: String(attempt),
    PARITY_SOURCE: request.source.name,
    PARITY_SOURCE_ENGINE: request.source.engine,
    PARITY_SOURCE_HOST: request.source.host,
    PARITY_SOURCE_PORT: String(request.source.port),
    PARITY_SOURCE_USER: request.source.user,
    PARITY_SOURCE_DATABASE: request.source.database,
    PARITY_SOURCE_SCHEMA: request.source.schema,
    PARITY_SOURCE_DIR: sourceDir,
    PARITY_TABLES: request.tables.map(({ name }) => name).join(','),
    PARITY_LANDING: request.landing,
    PARITY_OUTPUT_FORMAT: text('output.format'),
    ...(isOneTable
      ? {
          PARITY_TABLE: text('table'),
          PARITY_KEY: text('key'),
          PARITY_CURSOR: text('cursor'),
          PARITY_OUTPUT: text('output'),
        }
      : {}),
    ...(database === undefined
      ? {}
      : {
          PARITY_OUTPUT_ENGINE: text('output.engine'),
          PARITY_OUTPUT_HOST: text('output.host'),
          PARITY_OUTPUT_PORT: text('output.port'),
          PARITY_OUTPUT_USER: text('output.user'),
          PARITY_OUTPUT_DATABASE: text('output.database'),
          PARITY_OUTPUT_DIR: outputDir,
        }),
    ...storageEnvironment(request, secrets.storage),
  };
  return { files, env };
}

/** The names that S3 libraries look for. */
function storageEnvironment(
  { storage }: ExecutionRequest,
  keys: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  return {
    ...(storage.endpoint === null ? {} : { AWS_ENDPOINT_URL: storage.endpoint }),
    ...(storage.region === null ? {} : { AWS_REGION: storage.region, AWS_DEFAULT_REGION: storage.region }),
    ...(keys?.accessKeyId === undefined ? {} : { AWS_ACCESS_KEY_ID: keys.accessKeyId }),
    ...(keys?.secretAccessKey === undefined ? {} : { AWS_SECRET_ACCESS_KEY: keys.secretAccessKey }),
    ...(keys?.sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: keys.sessionToken }),
  };
}

function connectionFiles(
  folder: string,
  connection: Connection,
  engine: LandingEngine,
): Readonly<Record<string, string>> {
  const url = connectionUrl(connection, engine);
  registerSecret(url);
  const keys = Object.entries({ ...formatConnection(connection), url });
  return Object.fromEntries(keys.map(([key, value]) => [`${folder}/${key}`, value]));
}

function tableVariables({ name, key, cursor, output }: TableRequest): Readonly<Record<string, TemplateValue>> {
  const place =
    output.format === 'Table'
      ? { schema: output.schema, table: output.table, text: [output.schema, output.table].filter(Boolean).join('.') }
      : { schema: null, table: name, text: output.location };
  return {
    ...spellingsOf(name),
    key,
    cursor,
    output: place.text,
    'output.schema': place.schema,
    'output.table': place.table,
  };
}

function tableRequest(
  pipeline: ExternalPipelineSpec,
  context: ContractContext,
  source: string,
  name: string,
): TableRequest {
  const table = context.file.spec.snapshot.tables.find((one) => one.name === name);
  if (table === undefined)
    throw new ParityError('InvalidSpec', `The run has no table ${name}.`, { subject: 'spec.snapshot.tables' });
  return { name, key: table.key, cursor: table.cursor ?? null, output: outputOf(pipeline, context, source, name) };
}

function storageOf({ outputs }: ExternalPipelineSpec, { file }: ContractContext): ExecutionRequest['storage'] {
  if (outputs.kind === 'database') return { endpoint: null, region: null };
  const place = isInWorkspace(outputs.location) ? file.spec.workspace : outputs;
  return { endpoint: place.endpoint ?? null, region: place.region ?? null };
}

/** Whether a location template means the run's own folder. */
export function isInWorkspace(template: string): boolean {
  return template.startsWith('{{landing}}');
}

function sourceSpec(context: ContractContext, name: string): ResolvedSource {
  const source = context.file.spec.sources.find((one) => one.name === name);
  if (source !== undefined) return source;
  throw new ParityError('InvalidSpec', `The run has no source ${name}.`, { subject: 'spec.sources' });
}

function known(values: Readonly<Record<string, TemplateValue>>, name: string): TemplateValue {
  const value = values[name];
  if (value !== undefined) return value;
  throw new ParityError('InvalidSpec', `{{${name}}} has no value here.`, { subject: 'spec.pipelines' });
}
