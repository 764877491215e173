import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldOf, isList } from '../api/json.ts';
import type { PostHogPipelineSpec, ResolvedSource } from '../api/resolved.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';
import type { RunIdentity, TaskContext } from '../tasks/task.ts';
import { type PostHogClient, PostHogRefusal, textOf } from './posthog-client.ts';

/** One of the run's sources as PostHog knows it. */
export interface PostHogSource {
  readonly id: string;
  readonly schemas: ReadonlyMap<string, PostHogSchema>;
}

/** A table of such a source, which PostHog calls a schema. */
export interface PostHogSchema {
  readonly id: string;
  readonly table: string;
}

/** What PostHog's preflight says of a table. */
export interface DiscoveredTable {
  readonly name: string;
  /** Types of the columns that can be a cursor. */
  readonly cursors: ReadonlyMap<string, string>;
}

interface SourceRequest {
  readonly spec: PostHogPipelineSpec;
  readonly source: ResolvedSource;
  readonly connection: Connection;
  readonly context: TaskContext;
}

/** The prefix of a source's tables, which is the intent: `parity_<uid8>_<pipeline>_<source>_`. It proves nothing; the description does. */
export function sourcePrefix(uid: string, pipeline: string, source: string): string {
  return `${runPrefix(uid)}${[pipeline, source].join('_').replaceAll('-', '_')}_`;
}

/** How everything begins that a run makes in PostHog. */
export function runPrefix(uid: string): string {
  return `parity_${uid.slice(0, 8)}_`;
}

/** The mark that a source carries, with the run's whole uid. */
export function sourceMark({ uid, installation }: RunIdentity, pipeline: string, source?: string): string {
  const mark = `Pipeline Parity: run ${uid} of installation ${installation}, pipeline ${pipeline}, source `;
  return source === undefined ? mark : `${mark}${source}`;
}

/** The file that is there if the run may have made something in PostHog. */
export function postHogMark(runFolder: string, pipeline: string): string {
  return join(runFolder, `posthog-${pipeline}.source`);
}

/** Notes, before anything is made, that there will be something to remove. */
export async function intendPostHog(context: TaskContext, pipeline: string): Promise<void> {
  if (context.runFolder !== undefined) await writeFile(postHogMark(context.runFolder, pipeline), '', { mode: 0o600 });
}

/**
 * The source that stands for one of the run's in PostHog: found by its prefix and mark, or made with all of its tables and none of them syncing yet. PostHog looks
 * at the database first (host, TLS, password, tables), so that what it refuses is said before anything is made.
 */
export async function ensureSource(client: PostHogClient, request: SourceRequest): Promise<PostHogSource> {
  const known = await find(client, request);
  if (known !== undefined) return known;
  const tables = await preflight(client, request);
  const missing = request.source.tables.filter((table) => !tables.some(({ name }) => name === table));
  if (missing.length > 0)
    throw new ParityError(
      'PipelineFailed',
      `PostHog sees no table ${missing.join(', ')} in source ${request.source.name} (it sees ${tables.map(({ name }) => name).join(', ') || 'none'}).`,
      { subject: missing[0] ?? '' },
    );
  await intendPostHog(request.context, request.spec.name);
  await create(client, request);
  const made = await find(client, request);
  if (made !== undefined) return made;
  throw new ParityError(
    'PipelineFailed',
    `PostHog says that it has made a source for ${request.source.name}, and has none.`,
    {
      subject: request.source.name,
      isRetryable: true,
    },
  );
}

/** What PostHog finds in the database. Throws what it refuses: a private host, no TLS, a wrong password. */
export async function preflight(client: PostHogClient, request: SourceRequest): Promise<readonly DiscoveredTable[]> {
  const { source, context } = request;
  const body = { source_type: source.engine, ...(await configOf(request)) };
  const found = await refusable(request, () =>
    client.post('external_data_sources/database_schema/', body, { isRepeatable: true }),
  );
  context.signal.throwIfAborted();
  return (isList(found) ? found : []).map((table) => {
    const fields = fieldOf(table, 'incremental_fields');
    return {
      name: textOf(table, 'table'),
      cursors: new Map(
        (isList(fields) ? fields : []).map((field) => [textOf(field, 'field'), textOf(field, 'field_type')]),
      ),
    };
  });
}

/** Of several that two processes have made at once, the first stays. */
async function find(
  client: PostHogClient,
  { spec, source, context }: SourceRequest,
): Promise<PostHogSource | undefined> {
  const { run } = context.file;
  const mark = sourceMark(run, spec.name, source.name);
  const prefix = sourcePrefix(run.uid, spec.name, source.name);
  const ours = (await client.list('external_data_sources/'))
    .filter((one) => fieldOf(one, 'prefix') === prefix && fieldOf(one, 'description') === mark)
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const [first, ...others] = ours;
  for (const other of others) await client.delete(`external_data_sources/${textOf(other, 'id')}/`);
  if (first === undefined) return undefined;
  const id = textOf(first, 'id');
  await context.workspace.put(`posthog/${spec.name}/${source.name}/source.json`, JSON.stringify({ id }));
  const schemas = fieldOf(await client.get(`external_data_sources/${id}/`), 'schemas');
  const known = (isList(schemas) ? schemas : []).map((schema) => ({
    id: textOf(schema, 'id'),
    table: textOf(schema, 'name'),
  }));
  return { id, schemas: new Map(known.map((schema) => [schema.table, schema])) };
}

function keyOf(source: unknown): string {
  return `${String(fieldOf(source, 'created_at'))} ${String(fieldOf(source, 'id'))}`;
}

async function create(client: PostHogClient, request: SourceRequest): Promise<void> {
  const { spec, source, context } = request;
  const { run } = context.file;
  const schemas = source.tables.map((name) => ({ name, should_sync: false, sync_type: 'full_refresh' }));
  try {
    const made = await refusable(request, async () =>
      client.post('external_data_sources/', {
        source_type: source.engine,
        prefix: sourcePrefix(run.uid, spec.name, source.name),
        description: sourceMark(run, spec.name, source.name),
        access_method: 'warehouse',
        created_via: 'api',
        payload: { ...(await configOf(request)), schemas },
      }),
    );
    // Recorded before anything is done with it.
    await context.workspace.put(
      `posthog/${spec.name}/${source.name}/source.json`,
      JSON.stringify({ id: textOf(made, 'id') }),
    );
  } catch (error) {
    // It may have been made, by this request or by another process: whoever looks for it next will see.
    const mayBeThere =
      error instanceof ParityError &&
      (error.code === 'Unreachable' ? error.isRetryable : /prefix already exists/i.test(error.message));
    if (!mayBeThere || (await find(client, request)) === undefined) throw error;
  }
}

async function configOf({
  spec,
  source,
  connection,
  context,
}: SourceRequest): Promise<Readonly<Record<string, unknown>>> {
  const { sourceHost, sourcePort, sshTunnel, secretRef } = spec.posthog;
  const { host, port, user, password, database, ca } = connection;
  const keys = sshTunnel === undefined ? {} : await context.secret(secretRef.name);
  return {
    host: sourceHost ?? host,
    port: String(sourcePort ?? port),
    user,
    password,
    database,
    schema: source.engine === 'Postgres' ? 'public' : database,
    ...(source.engine === 'MySQL' ? { using_ssl: ca === undefined ? 'false' : 'true' } : {}),
    ...(sshTunnel === undefined ? {} : { ssh_tunnel: tunnelOf(sshTunnel, keys, secretRef.name) }),
  };
}

function tunnelOf(
  { host, port, user }: NonNullable<PostHogPipelineSpec['posthog']['sshTunnel']>,
  keys: Readonly<Record<string, string>>,
  secretName: string,
): unknown {
  const { sshPassword, sshPrivateKey, sshPassphrase } = keys;
  if (sshPassword === undefined && sshPrivateKey === undefined)
    throw new ParityError(
      'AccessDenied',
      `the secret "${secretName}" of PostHog has no key "sshPrivateKey" or "sshPassword"`,
      {
        subject: secretName,
        advice: 'A tunnel takes one of them, and optionally sshPassphrase.',
      },
    );
  const auth =
    sshPrivateKey === undefined
      ? { selection: 'password', username: user, password: sshPassword }
      : { selection: 'keypair', username: user, private_key: sshPrivateKey, passphrase: sshPassphrase ?? '' };
  return { enabled: true, host, port: String(port), auth, require_tls: { enabled: false } };
}

/** PostHog's refusals of a database, each with what to do about it. */
async function refusable<T>({ spec, source, connection }: SourceRequest, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof PostHogRefusal)) throw error;
    const host = spec.posthog.sshTunnel?.host ?? spec.posthog.sourceHost ?? connection.host;
    const [code, advice] = explained(error.message);
    throw new ParityError(code, `PostHog refuses the database of source ${source.name} at ${host}: ${error.message}`, {
      subject: source.name,
      cause: error,
      advice,
    });
  }
}

function explained(words: string): readonly ['Unreachable' | 'AccessDenied' | 'PipelineFailed', string] {
  if (/internal or private IP|internal IP ranges|not allowed/i.test(words))
    return [
      'Unreachable',
      'Its cloud connects to public addresses only: give the address that it is to use by posthog.sourceHost, go through posthog.sshTunnel, or use a PostHog of your own.',
    ];
  if (/SSL|TLS/i.test(words))
    return [
      'Unreachable',
      'Give the source a certificate: argocd.tls, kubernetes.tls, or a server of your own that serves TLS.',
    ];
  if (/password|credentials|Access denied/i.test(words)) return ['AccessDenied', "See the source's user and password."];
  if (/could not connect|resolve|reach|timed out/i.test(words))
    return ['Unreachable', 'See that PostHog reaches the source: posthog.sourceHost and posthog.sourcePort say where.'];
  return ['PipelineFailed', 'Make the same source by hand in PostHog to see what it dislikes.'];
}
