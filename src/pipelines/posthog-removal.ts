import { existsSync } from 'node:fs';
import { fieldOf, isList } from '../api/json.ts';
import type { PostHogPipelineSpec } from '../api/resolved.ts';
import { openReader } from '../lake/open.ts';
import type { ObjectReader } from '../lake/store.ts';
import { ParityError } from '../support/error.ts';
import { delay } from '../support/retry.ts';
import type { RunIdentity } from '../tasks/task.ts';
import { type PostHogClient, PostHogRefusal, postHogClient, textOf } from './posthog-client.ts';
import { postHogMark, runPrefix, sourceMark } from './posthog-source.ts';

export interface PostHogRemoval {
  readonly pipeline: PostHogPipelineSpec;
  readonly run: RunIdentity;
  readonly runFolder: string | undefined;
  readonly secret: (name: string) => Promise<Readonly<Record<string, string>>>;
  readonly signal: AbortSignal;
}

/**
 * Removes the sources that a run has made in PostHog, with what they landed. Only what begins with the run's prefix and carries its whole uid is touched. Throws `CleanupIncomplete` naming the folder where PostHog has left files behind.
 */
export async function removeFromPostHog({ pipeline, run, runFolder, secret, signal }: PostHogRemoval): Promise<void> {
  if (runFolder !== undefined && !existsSync(postHogMark(runFolder, pipeline.name))) return;
  const name = pipeline.posthog.secretRef.name;
  const client = postHogClient(await secret(name), name, signal);
  const isOurs = (one: unknown): boolean =>
    String(fieldOf(one, 'prefix')).startsWith(runPrefix(run.uid)) &&
    String(fieldOf(one, 'description')).startsWith(sourceMark(run, pipeline.name));
  const folders: string[] = [];
  const project = (await secret(name)).project ?? '';
  for (const source of (await client.list('external_data_sources/')).filter(isOurs)) {
    const id = textOf(source, 'id');
    const schemas = fieldOf(source, 'schemas');
    const ids = (isList(schemas) ? schemas : []).map((schema) => textOf(schema, 'id'));
    await endJobs(client, id, ids, signal);
    const type = textOf(source, 'source_type');
    folders.push(...ids.map((schema) => `team_${project}_${type}_${schema}`.toLowerCase().replaceAll('-', '_')));
    await client.delete(`external_data_sources/${id}/`);
  }
  await expectNoFiles(pipeline, folders, secret, signal);
}

/** What still runs would write after its files are gone. */
async function endJobs(
  client: PostHogClient,
  source: string,
  schemas: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const running = async (): Promise<readonly string[]> => {
    const jobs = await client.get(`external_data_sources/${source}/jobs/`);
    return (isList(jobs) ? jobs : [])
      .filter((job) => fieldOf(job, 'status') === 'Running')
      .map((job) => textOf(fieldOf(job, 'schema'), 'id'));
  };
  for (let waitedMs = 0; waitedMs < longestEndMs; waitedMs += 500) {
    const found = (await running()).filter((id) => schemas.includes(id));
    if (found.length === 0) return;
    if (waitedMs === 0) for (const id of found) await cancel(client, id);
    await delay(500, signal);
  }
}

const longestEndMs = 30_000;

async function cancel(client: PostHogClient, schema: string): Promise<void> {
  try {
    await client.post(`external_data_schemas/${schema}/cancel/`, {}, { isRepeatable: true });
  } catch (error) {
    if (!(error instanceof PostHogRefusal)) throw error;
  }
}

/** PostHog deletes files as well as it can, and says nothing where it cannot. */
async function expectNoFiles(
  { name, outputs }: PostHogPipelineSpec,
  folders: readonly string[],
  secret: PostHogRemoval['secret'],
  signal: AbortSignal,
): Promise<void> {
  if (folders.length === 0 || outputs.kind !== 'files') return;
  const keys = outputs.secretRef === undefined ? undefined : await secret(outputs.secretRef.name);
  const reader = await openReader(outputs, keys);
  try {
    for (let waitedMs = 0; ; waitedMs += 1000) {
      const left: string[] = [];
      for (const folder of folders) if (await holdsFiles(reader, folder)) left.push(folder);
      if (left.length === 0) return;
      if (waitedMs >= longestFilesMs)
        throw new ParityError(
          'CleanupIncomplete',
          `PostHog has deleted the source of pipeline ${name}, but not what it landed in ${left.join(', ')}`,
          { advice: left.map((folder) => `aws s3 rm --recursive ${reader.url(folder)}/`).join('\n') },
        );
      await delay(1000, signal);
    }
  } finally {
    reader.close();
  }
}

async function holdsFiles(reader: ObjectReader, folder: string): Promise<boolean> {
  for await (const _ of reader.list(`${folder}/`)) return true;
  return false;
}

const longestFilesMs = 10_000;
