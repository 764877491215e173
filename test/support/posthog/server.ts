import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fieldOf, isList, isObject } from '../../../src/api/json.ts';
import { openEngine } from '../../../src/engine/chdb.ts';
import type { Engine } from '../../../src/engine/engine.ts';
import { openStore } from '../../../src/lake/open.ts';
import { openSource, type SourceConfig, type SourceTable } from './database.ts';
import { answer, ExposedError, type QueryResult } from './queries.ts';
import { type Defect, type Job, type Schema, type Source, type SyncType, type Table, Warehouse } from './state.ts';

/** What `startPostHog` passes on, as JSON, in the first argument. */
export interface ServerOptions {
  /** Where PostHog keeps what it lands: `s3://bucket/dlt` or `file:///dir`. */
  readonly bucket: { readonly location: string; readonly endpoint?: string };
  readonly bucketKeys?: Readonly<Record<string, string>>;
  readonly teamId: number;
  readonly key: string;
  /** A key that may read and not write. */
  readonly readOnlyKey: string;
  /** As on posthog.com: private hosts are refused. */
  readonly isCloud: boolean;
  readonly requiresTls: boolean;
  readonly defects: readonly Defect[];
  /** Tables of PostHog's own (`events`), each a SELECT. */
  readonly ownTables: Readonly<Record<string, string>>;
  /** HogQL by name. */
  readonly savedQueries: Readonly<Record<string, string>>;
  /** Query nodes by name: `{ kind: DataVisualizationNode, source: { kind: HogQLQuery, query } }`. */
  readonly insights: Readonly<Record<string, unknown>>;
}

/** The next `times` requests that begin so (`POST external_data_sources`) are answered so. */
export interface Fault {
  readonly request: string;
  readonly times: number;
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Whether what was asked is done before it is answered so. */
  readonly isDone?: boolean;
}

/** An answer that is an error, as Django REST with drf-exceptions-hog writes it, or the `message` that the views write by hand. */
class Refusal extends Error {
  readonly status: number;
  readonly body: unknown;
  constructor(status: number, body: unknown) {
    super(JSON.stringify(body));
    this.status = status;
    this.body = body;
  }
}

const options: ServerOptions = JSON.parse(process.argv[2] ?? '{}');
process.chdir('/');
const store = await openStore(options.bucket, options.bucketKeys);
const address = new URL(options.bucket.endpoint ?? 'https://bucket.s3.amazonaws.com');
const bucketPath = options.bucket.location.replace(/^(s3|file):\/\//, '').replace(/^\/+|\/+$/g, '');
const warehouse = new Warehouse({
  teamId: options.teamId,
  store,
  bucketUrl: `${address.origin}/${bucketPath}`,
  defects: new Set(options.defects),
});
const requests: string[] = [];
let faults: (Fault & { left: number })[] = [];
const asyncQueries = new Map<string, { result?: QueryResult; error?: string }>();
let engine: Promise<Engine> | undefined;
let queue: Promise<unknown> = Promise.resolve();

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    if (error instanceof Refusal) return send(response, error.status, error.body);
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    send(response, 500, { type: 'server_error', code: 'error', detail: 'A server error occurred.', attr: null });
  });
});
server.listen(0, '127.0.0.1', () => {
  const bound = server.address();
  process.stdout.write(`${JSON.stringify({ port: typeof bound === 'object' ? bound?.port : undefined })}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://posthog');
  const method = request.method ?? 'GET';
  const body = await bodyOf(request);
  if (url.pathname === '/_control') return control(method, body, response);

  const [, project = '', rest = ''] = /^\/api\/projects\/([^/]+)\/(.*)$/.exec(url.pathname) ?? [];
  const line = `${method} ${rest}`;
  requests.push(line);
  const fault = faults.find(({ request: begins, left }) => left > 0 && line.startsWith(begins));
  if (fault !== undefined) {
    fault.left--;
    if (fault.isDone === true) await route(method, rest, url, body, request, project).catch(() => undefined);
    for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value);
    if (fault.status === 0) {
      request.socket.destroy();
      return;
    }
    return send(response, fault.status, fault.body ?? {});
  }
  const { status, body: answered, raw } = await route(method, rest, url, body, request, project);
  send(response, status, answered, raw);
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** JSON text, where numbers must keep their digits. */
  readonly raw?: string;
}

async function route(
  method: string,
  rest: string,
  url: URL,
  body: unknown,
  request: IncomingMessage,
  project: string,
): Promise<Answer> {
  authenticate(method, rest, request, project);
  const [kind = '', id = '', action = ''] = rest.split('/');
  switch (kind) {
    case 'external_data_sources':
      return await sources(method, id, action, url, body);
    case 'external_data_schemas':
      return schemas(method, id, action, body);
    case 'warehouse_tables':
      return await tables(method, id, url, body);
    case 'warehouse_saved_queries':
      return savedQueries(method, id, url);
    case 'insights':
      return insights(method, id, url);
    case 'query':
      return await query(method, id, body);
    default:
      throw notFound();
  }
}

function authenticate(method: string, rest: string, request: IncomingMessage, project: string): void {
  const key = request.headers.authorization?.replace(/^Bearer /, '');
  const type = 'authentication_error';
  if (key === undefined)
    throw new Refusal(401, {
      type,
      code: 'not_authenticated',
      detail: 'Authentication credentials were not provided.',
      attr: null,
    });
  if (key !== options.key && key !== options.readOnlyKey) {
    const detail = 'Personal API key found in request Authorization header is invalid.';
    throw new Refusal(401, { type, code: 'authentication_failed', detail, attr: null });
  }
  if (project !== String(options.teamId))
    throw new Refusal(404, { type: 'invalid_request', code: 'not_found', detail: 'Project not found.', attr: null });
  const scope = rest.startsWith('warehouse_tables') ? 'warehouse_table' : 'external_data_source';
  if (key === options.readOnlyKey && method !== 'GET' && !rest.startsWith('query')) {
    const detail = `API key missing required scope '${scope}:write'`;
    throw new Refusal(403, { type, code: 'permission_denied', detail, attr: null });
  }
}

async function sources(method: string, id: string, action: string, url: URL, body: unknown): Promise<Answer> {
  if (method === 'GET' && id === '')
    return page(warehouse.sources.filter(({ isDeleted }) => !isDeleted).map(sourceJson), url);
  if (method === 'POST' && id === 'database_schema') return { status: 200, body: await databaseSchema(body) };
  if (method === 'POST' && id === '') return { status: 201, body: { id: await createSource(body) } };
  const source = warehouse.sources.find((one) => one.id === id && !one.isDeleted);
  if (source === undefined) throw notFound();
  if (method === 'GET' && action === '') return { status: 200, body: sourceJson(source) };
  if (method === 'GET' && action === 'jobs') {
    const names = url.searchParams.getAll('schemas');
    const jobs = warehouse.jobs.filter(
      ({ schema }) => source.schemas.includes(schema) && (names.length === 0 || names.includes(schema.name)),
    );
    const listed = jobs.reverse().map(jobJson);
    // Jobs of tables that are quicker are all newer.
    const others = warehouse.settings.defects.has('CrowdedJobs') && names.length === 0 ? jobs.flatMap(ofOthers) : [];
    return { status: 200, body: [...others, ...listed].slice(0, 50) };
  }
  if (method === 'DELETE' && action === '') {
    await warehouse.remove(source);
    return { status: 204, body: undefined };
  }
  throw notFound();
}

async function databaseSchema(body: unknown): Promise<unknown> {
  const { engine: kind, config } = configOf(body);
  const found = await discover(kind, config, body);
  return found.map((table) => ({
    table: table.name,
    label: null,
    should_sync: false,
    incremental_fields: incrementalFields(kind, table),
    incremental_available: incrementalFields(kind, table).length > 0,
    append_available: incrementalFields(kind, table).length > 0,
    cdc_available: null,
    incremental_field: incrementalFields(kind, table)[0]?.field ?? null,
    sync_type: null,
    rows: null,
    supports_webhooks: false,
    webhook_only: false,
    description: null,
    should_sync_default: true,
    available_columns: table.columns.map(({ name, type, isNullable }) => ({
      field: name,
      label: name,
      type,
      nullable: isNullable,
    })),
    detected_primary_keys: table.primaryKey.length === 0 ? null : table.primaryKey,
    permission_error: null,
    rls_warning: null,
  }));
}

async function createSource(body: unknown): Promise<string> {
  const prefix = String(fieldOf(body, 'prefix') ?? '');
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(prefix.replace(/^_+|_+$/g, '')))
    throw invalid('Prefix must contain only letters, numbers, and underscores, and start with a letter or underscore');
  const payload = fieldOf(body, 'payload');
  const { engine: kind, config } = configOf({
    ...(isObject(payload) ? payload : {}),
    source_type: fieldOf(body, 'source_type'),
  });
  const isTaken = (): boolean =>
    warehouse.sources.some((source) => !source.isDeleted && source.engine === kind && source.prefix === prefix);
  if (isTaken()) throw message('Prefix already exists');
  const found = await discover(kind, config, payload);
  const given = fieldOf(payload, 'schemas');
  if (!isList(given) || given.length === 0) throw message('Schemas not given');
  if (given.some((schema) => !found.some(({ name }) => name === fieldOf(schema, 'name'))))
    throw message('Schemas given do not exist in source');
  const source: Source = {
    id: randomUUID(),
    engine: kind,
    config,
    prefix,
    description: String(fieldOf(body, 'description') ?? ''),
    createdAt: new Date().toISOString(),
    isDeleted: false,
    schemas: given.map((schema) => ({
      id: randomUUID(),
      name: String(fieldOf(schema, 'name')),
      shouldSync: false,
      syncType: null,
      incrementalField: null,
      incrementalFieldType: null,
      primaryKeyColumns: null,
      syncFrequency: '6hour',
      lastValue: undefined,
      resetPipeline: false,
      hasSchedule: false,
      status: null,
      latestError: null,
      table: undefined,
    })),
  };
  for (const [index, schema] of source.schemas.entries()) configure(schema, given[index]);
  warehouse.sources.push(source);
  for (const [index, schema] of source.schemas.entries())
    if (fieldOf(given[index], 'should_sync') === true) enable(source, schema);
  return source.id;
}

function configure(schema: Schema, given: unknown): void {
  const type = syncTypeOf(fieldOf(given, 'sync_type'));
  const [field, fieldType, key] = ['incremental_field', 'incremental_field_type', 'primary_key_columns'].map((name) =>
    fieldOf(given, name),
  );
  if (type !== undefined) schema.syncType = type;
  if (typeof field === 'string') schema.incrementalField = field;
  if (typeof fieldType === 'string') schema.incrementalFieldType = fieldType;
  if (isList(key)) schema.primaryKeyColumns = key.map(String);
  const frequency = fieldOf(given, 'sync_frequency');
  if (typeof frequency === 'string') schema.syncFrequency = frequency;
}

function syncTypeOf(value: unknown): SyncType | undefined {
  return (['full_refresh', 'incremental', 'append'] as const).find((type) => type === value);
}

/** A schedule that is made begins with a run. */
function enable(source: Source, schema: Schema): void {
  schema.shouldSync = true;
  if (schema.hasSchedule) return;
  schema.hasSchedule = true;
  warehouse.trigger(source, schema);
}

function schemas(method: string, id: string, action: string, body: unknown): Answer {
  const source = warehouse.sources.find((one) => !one.isDeleted && one.schemas.some((schema) => schema.id === id));
  const schema = source?.schemas.find((one) => one.id === id);
  if (source === undefined || schema === undefined) throw notFound();
  if (method === 'GET' && action === '') return { status: 200, body: schemaJson(schema) };
  if (method === 'PATCH' && action === '') {
    const isToSync = fieldOf(body, 'should_sync') === true;
    if (isToSync && fieldOf(body, 'sync_type') === undefined && schema.syncType === null)
      throw invalid('Sync type must be set up first before enabling schema');
    configure(schema, body);
    if (isToSync) enable(source, schema);
    return { status: 200, body: schemaJson(schema) };
  }
  if (method !== 'POST') throw notFound();
  switch (action) {
    case 'reload':
      if (schema.hasSchedule) warehouse.trigger(source, schema);
      schema.status = 'Running';
      return { status: 200, body: undefined };
    case 'resync':
      warehouse.cancel(schema);
      schema.resetPipeline = true;
      if (schema.hasSchedule) warehouse.trigger(source, schema);
      return { status: 200, body: undefined };
    case 'cancel':
      if (!warehouse.cancel(schema)) throw new Refusal(400, { detail: 'No running sync to cancel.' });
      return { status: 200, body: undefined };
    default:
      throw notFound();
  }
}

async function tables(method: string, id: string, url: URL, body: unknown): Promise<Answer> {
  if (method === 'GET' && id === '') {
    const search = url.searchParams.get('search') ?? '';
    return page(
      warehouse
        .liveTables()
        .filter(({ name }) => name.includes(search))
        .map(tableJson),
      url,
    );
  }
  if (method === 'POST' && id === '') return { status: 201, body: tableJson(linkTable(body)) };
  const table = warehouse.liveTables().find((one) => one.id === id);
  if (table === undefined) throw notFound();
  if (method === 'GET') return { status: 200, body: tableJson(table) };
  if (method === 'DELETE') {
    if (table.path !== undefined) throw message("Can't delete a sourced table");
    table.isDeleted = true;
    return { status: 204, body: undefined };
  }
  throw notFound();
}

function linkTable(body: unknown): Table {
  const [name, format, urlPattern] = ['name', 'format', 'url_pattern'].map((field) =>
    String(fieldOf(body, field) ?? ''),
  );
  const [key, secret] = ['access_key', 'access_secret'].map((field) => fieldOf(fieldOf(body, 'credential'), field));
  if (typeof key !== 'string' || typeof secret !== 'string') throw invalid('Access key and secret are required');
  if (warehouse.liveTables().some((table) => table.name === name))
    throw invalid('A table with this name already exists.', 'name');
  const { hostname, protocol } = new URL(urlPattern ?? '');
  if (options.isCloud && protocol !== 'https:') throw invalid('URL pattern must use https.', 'url_pattern');
  if (options.isCloud && isPrivate(hostname))
    throw invalid('URL pattern hostname must not resolve to internal IP ranges.', 'url_pattern');
  const table: Table = {
    id: randomUUID(),
    name: name ?? '',
    format: format ?? '',
    urlPattern: urlPattern ?? '',
    path: undefined,
    credential: { key, secret },
    columns: [],
    rowCount: null,
    isDeleted: false,
  };
  warehouse.linked.push(table);
  return table;
}

/** Pages by number, as no other list here; a list leaves the queries themselves out. */
function savedQueries(method: string, id: string, url: URL): Answer {
  if (method !== 'GET') throw notFound();
  const all = Object.entries(options.savedQueries).map(([name, text], index) => ({
    id: String(index + 1),
    deleted: false,
    name,
    query: { kind: 'HogQLQuery', query: text },
    columns: [],
    status: null,
    is_materialized: false,
    origin: 'data_warehouse',
  }));
  if (id !== '') {
    const found = all.find((one) => one.id === id);
    if (found === undefined) throw notFound();
    return { status: 200, body: found };
  }
  const number = Number(url.searchParams.get('page') ?? 1);
  const results = all.slice((number - 1) * savedQueriesAPage, number * savedQueriesAPage);
  const next = number * savedQueriesAPage < all.length ? `http://posthog${url.pathname}?page=${number + 1}` : null;
  return {
    status: 200,
    body: { count: all.length, next, previous: null, results: results.map(({ query: _, ...rest }) => rest) },
  };
}

/** A thousand in PostHog; few here, so that a test sees a second page. */
const savedQueriesAPage = 2;

function insights(method: string, id: string, url: URL): Answer {
  if (method !== 'GET' || id !== '') throw notFound();
  const all = Object.entries(options.insights).map(([name, node], index) => ({
    id: index + 1,
    short_id: `short${index + 1}`,
    name,
    derived_name: null,
    filters: {},
    query: node,
    deleted: false,
    saved: true,
  }));
  return page(all, url);
}

async function query(method: string, id: string, body: unknown): Promise<Answer> {
  if (method === 'GET') {
    const known = asyncQueries.get(id);
    if (known === undefined)
      throw new Refusal(404, {
        type: 'invalid_request',
        code: 'not_found',
        detail: `Query ${id} not found for team ${options.teamId}`,
        attr: null,
      });
    const status = {
      id,
      team_id: options.teamId,
      query_async: true,
      complete: known.result !== undefined || known.error !== undefined,
    };
    if (known.error !== undefined)
      return {
        status: 400,
        body: { query_status: { ...status, complete: false, error: true, error_message: known.error, results: null } },
      };
    if (known.result === undefined)
      return { status: 202, body: { query_status: { ...status, error: false, results: null } } };
    const raw = JSON.stringify({ query_status: { ...status, error: false, error_message: null, results: '~' } });
    return { status: 200, body: undefined, raw: raw.replace('"~"', resultJson(known.result)) };
  }
  if (method === 'DELETE') {
    asyncQueries.delete(id);
    return { status: 200, body: { message: 'Query task revoked' } };
  }
  const asked = fieldOf(body, 'query');
  if (fieldOf(asked, 'kind') !== 'HogQLQuery') throw invalid('Unsupported query kind');
  const text = String(fieldOf(asked, 'query') ?? '');
  const isAsync = ['async', 'force_async'].includes(String(fieldOf(body, 'refresh')));
  if (!isAsync) {
    try {
      return { status: 200, body: undefined, raw: resultJson(await ask(text)) };
    } catch (error) {
      if (!(error instanceof ExposedError)) throw error;
      throw new Refusal(400, { type: 'validation_error', code: error.code, detail: error.message, attr: null });
    }
  }
  const given = fieldOf(body, 'client_query_id');
  const queryId = typeof given === 'string' ? given : randomUUID();
  const entry: { result?: QueryResult; error?: string } = {};
  asyncQueries.set(queryId, entry);
  void ask(text).then(
    (result) => Object.assign(entry, { result }),
    (error: unknown) => Object.assign(entry, { error: error instanceof Error ? error.message : String(error) }),
  );
  return {
    status: 202,
    body: { query_status: { id: queryId, team_id: options.teamId, query_async: true, complete: false, error: false } },
  };
}

/** One query after another: the engine has one session. */
async function ask(text: string): Promise<QueryResult> {
  const turn = queue.then(async () => {
    engine ??= mkdtemp(join(tmpdir(), 'posthog-engine-')).then(async (scratch) => {
      process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
      return await openEngine({ scratch, memoryBytes: 2 ** 30, threads: 2 });
    });
    return await answer(await engine, store, warehouse.liveTables(), text, options.ownTables);
  });
  queue = turn.catch(() => undefined);
  return await turn;
}

function resultJson({ columns, types, results, hasMore, limit }: QueryResult): string {
  const rest = JSON.stringify({
    columns,
    types,
    limit,
    offset: 0,
    is_cached: false,
    error: null,
    ...(hasMore === undefined ? {} : { hasMore }),
  });
  return `${rest.slice(0, -1)},"results":${results}}`;
}

function configOf(body: unknown): { readonly engine: 'Postgres' | 'MySQL'; readonly config: SourceConfig } {
  const kind = (['Postgres', 'MySQL'] as const).find((one) => one === fieldOf(body, 'source_type'));
  if (kind === undefined)
    throw invalid(`"${String(fieldOf(body, 'source_type'))}" is not a valid choice.`, 'source_type');
  const missing = ['host', 'port', 'user', 'password', 'database'].filter((name) => fieldOf(body, name) === undefined);
  if (missing.length > 0)
    throw message(`Invalid source config: ${missing.map((name) => `Missing required parameter: ${name}`).join(', ')}`);
  const value = (name: string): string => String(fieldOf(body, name) ?? '');
  const database = value('database');
  const schema = value('schema') === '' ? (kind === 'Postgres' ? 'public' : database) : value('schema');
  const config = {
    host: value('host'),
    port: Number(value('port')),
    user: value('user'),
    password: value('password'),
    database,
    schema,
  };
  return { engine: kind, config };
}

/** The host's check, the connection, and its tables. */
async function discover(
  kind: 'Postgres' | 'MySQL',
  config: SourceConfig,
  payload: unknown,
): Promise<readonly SourceTable[]> {
  const tunnel = fieldOf(payload, 'ssh_tunnel');
  const hasTunnel = fieldOf(tunnel, 'enabled') === true;
  const reached = hasTunnel ? String(fieldOf(tunnel, 'host')) : config.host;
  if (options.isCloud && isPrivate(reached))
    throw message(
      "This host points to an internal or private IP address, which PostHog can't reach. Use a host that's reachable from the public internet.",
    );
  if (hasTunnel) {
    const auth = fieldOf(tunnel, 'auth');
    if (fieldOf(auth, 'selection') === 'keypair' && typeof fieldOf(auth, 'private_key') !== 'string')
      throw message('Private key is required');
    if (fieldOf(auth, 'selection') === 'password' && typeof fieldOf(auth, 'password') !== 'string')
      throw message('Username and password required');
  }
  if (options.requiresTls)
    throw message(
      'SSL/TLS connection is required but your database does not support it. Please enable SSL/TLS on your PostgreSQL server.',
    );
  try {
    const database = await openSource(kind, config);
    try {
      return await database.tables();
    } finally {
      await database.close();
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (/password|Access denied/.test(text))
      throw message(
        'The database rejected the username or password. Check the user and password for this source and try again.',
      );
    if (/does not exist/.test(text))
      throw message(
        "The database named in your connection details doesn't exist on this server. Check the database name is correct and try again.",
      );
    throw message('Could not connect to the host on the port given');
  }
}

function isPrivate(host: string): boolean {
  return (
    host === 'localhost' || (isIP(host) !== 0 && /^(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|::1|fd)/.test(host))
  );
}

function incrementalFields(kind: 'Postgres' | 'MySQL', table: SourceTable) {
  return table.columns.flatMap(({ name, type, isNullable }) => {
    const fieldType =
      /^(big|small|medium|tiny)?int/.test(type) && type !== 'tinyint(1)' && !type.startsWith('interval')
        ? 'integer'
        : /^(numeric|decimal)/.test(type)
          ? kind === 'Postgres'
            ? undefined
            : 'integer'
          : /^(timestamp|datetime)/.test(type)
            ? 'timestamp'
            : type === 'date'
              ? 'date'
              : undefined;
    if (fieldType === undefined) return [];
    return [
      { label: name, type: fieldType, field: name, field_type: fieldType, nullable: isNullable, is_indexed: true },
    ];
  });
}

function sourceJson(source: Source): unknown {
  return {
    id: source.id,
    created_at: source.createdAt,
    created_by: null,
    created_via: 'api',
    status: source.schemas.some(({ status }) => status === 'Failed') ? 'Failed' : 'Running',
    source_type: source.engine,
    latest_error: source.schemas.find(({ latestError }) => latestError !== null)?.latestError ?? null,
    prefix: source.prefix,
    description: source.description,
    access_method: 'warehouse',
    last_run_at: null,
    schemas: source.schemas.map(schemaJson),
    job_inputs: {
      host: source.config.host,
      port: source.config.port,
      database: source.config.database,
      user: source.config.user,
    },
  };
}

function schemaJson(schema: Schema): unknown {
  const { table } = schema;
  return {
    id: schema.id,
    name: schema.name,
    label: null,
    table:
      table === undefined || table.isDeleted
        ? null
        : {
            id: table.id,
            name: table.name,
            columns: table.columns.map(({ name }) => ({ key: name, name })),
            row_count: table.rowCount,
          },
    should_sync: schema.shouldSync,
    last_synced_at: null,
    latest_error: schema.latestError,
    incremental: schema.syncType === 'incremental',
    status: schema.status,
    sync_type: schema.syncType,
    incremental_field: schema.incrementalField,
    incremental_field_type: schema.incrementalFieldType,
    sync_frequency: schema.syncFrequency,
    primary_key_columns: schema.primaryKeyColumns,
  };
}

function tableJson(table: Table): unknown {
  const credential = table.credential === undefined ? null : { id: randomUUID(), created_by: null };
  const { id, name, format, urlPattern, isDeleted } = table;
  return { id, deleted: isDeleted, name, format, created_by: null, url_pattern: urlPattern, credential, columns: [] };
}

/** Fifty jobs of another table that have ended. */
function ofOthers(job: Job): readonly unknown[] {
  const schema = { ...job.schema, id: randomUUID(), name: 'another' };
  return Array.from({ length: 50 }, () => jobJson({ ...job, id: randomUUID(), status: 'Completed', schema }));
}

function jobJson(job: Job): unknown {
  const { schema } = job;
  return {
    id: job.id,
    created_at: job.createdAt,
    created_by: null,
    finished_at: job.finishedAt,
    status: job.status,
    schema: {
      id: schema.id,
      name: schema.name,
      label: null,
      should_sync: schema.shouldSync,
      last_synced_at: null,
      sync_type: schema.syncType,
    },
    rows_synced: job.rowsSynced,
    latest_error: job.latestError,
    workflow_run_id: job.id,
    cdc_write_mode: null,
  };
}

/** Pages of a hundred, by `limit` and `offset`. */
function page(all: readonly unknown[], url: URL): Answer {
  const limit = Number(url.searchParams.get('limit') ?? 100);
  const offset = Number(url.searchParams.get('offset') ?? 0);
  const next =
    offset + limit < all.length ? `http://posthog${url.pathname}?limit=${limit}&offset=${offset + limit}` : null;
  return { status: 200, body: { count: all.length, next, previous: null, results: all.slice(offset, offset + limit) } };
}

function message(text: string): Refusal {
  return new Refusal(400, { message: text });
}

function invalid(detail: string, attr: string | null = null): Refusal {
  return new Refusal(400, { type: 'validation_error', code: 'invalid_input', detail, attr });
}

function notFound(): Refusal {
  return new Refusal(404, { type: 'invalid_request', code: 'not_found', detail: 'Not found.', attr: null });
}

function control(method: string, body: unknown, response: ServerResponse): void {
  if (method === 'POST') {
    const given = fieldOf(body, 'faults');
    faults = (isList(given) ? given : []).map((fault) => ({
      ...faultOf(fault),
      left: Number(fieldOf(fault, 'times')),
    }));
    send(response, 200, {});
    return;
  }
  send(response, 200, {
    requests,
    jobs: warehouse.jobs.map(jobJson),
    sources: warehouse.sources.filter(({ isDeleted }) => !isDeleted).map(sourceJson),
    linked: warehouse.linked.filter(({ isDeleted }) => !isDeleted).map(tableJson),
  });
}

function faultOf(fault: unknown): Fault {
  const headers = fieldOf(fault, 'headers');
  return {
    request: String(fieldOf(fault, 'request')),
    times: Number(fieldOf(fault, 'times')),
    status: Number(fieldOf(fault, 'status')),
    isDone: fieldOf(fault, 'isDone') === true,
    body: fieldOf(fault, 'body'),
    headers: isObject(headers)
      ? Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
      : {},
  };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? undefined : JSON.parse(text);
}

function send(response: ServerResponse, status: number, body: unknown, raw?: string): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.end(raw ?? (body === undefined ? '' : JSON.stringify(body)));
}
