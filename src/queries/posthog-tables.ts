import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldOf } from '../api/json.ts';
import { type TableReference, viewName } from '../compare/query-sql.ts';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import type { Location } from '../lake/store.ts';
import { type PostHogClient, postHogClient, textOf } from '../pipelines/posthog-client.ts';
import { runPrefix } from '../pipelines/posthog-source.ts';
import { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { addressOf, uploadRows } from './workspace-rows.ts';

/** Keys of an S3 server that PostHog is given to read with. */
export interface ReadKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** The keys by which PostHog may read the run's workspace, or why it cannot be read by it. */
export function readKeys(
  workspace: Location,
  keys: Readonly<Record<string, string>>,
  secretName: string,
): ReadKeys | { readonly cannot: string } {
  if (workspace.scheme === 'file') return { cannot: 'the workspace is a folder, which PostHog cannot read' };
  const { accessKeyId, secretAccessKey } = keys;
  if (accessKeyId !== undefined && secretAccessKey !== undefined) return { accessKeyId, secretAccessKey };
  return {
    cannot: `the secret ${secretName} has no accessKeyId and secretAccessKey, by which PostHog could read the workspace`,
  };
}

/** Name in PostHog of what a reference stands for, the same at every try: `parity_<uid8>_base_<task>_<table>`. */
export function linkedName(context: TaskContext, word: 'baseline' | 'candidate', reference: TableReference): string {
  const { id, run } = context.file;
  const view = viewName(reference);
  const plain = `${id}_${view}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .slice(0, 80);
  // Names that differ in what was replaced or cut off stay apart.
  const mark = createHash('sha256').update(`${id}\n${view}`).digest('hex').slice(0, 6);
  return `${runPrefix(run.uid)}${word === 'baseline' ? 'base' : 'cand'}_${plain}_${mark}`;
}

/**
 * Puts rows where PostHog can read them, as Parquet in the run's workspace, and links them there as a table. They are the very rows that the comparison reads: not the
 * copied table, whose older versions, deleted rows and left-out columns another reader may see in another way. Throws `PostHogRefusal` where PostHog does not take
 * them. What an earlier try has linked is linked anew.
 */
export async function linkTable(
  context: TaskContext,
  engine: Engine,
  client: PostHogClient,
  { name, relation, keys }: { readonly name: string; readonly relation: Relation; readonly keys: ReadKeys },
): Promise<void> {
  const folder = `queries/${context.file.id}/${context.attempt}/${name}`;
  await uploadRows(context, engine, folder, relation);
  await intendLinks(context);
  for (const table of await linkedTables(client, name)) {
    if (!isOfRun(table, context.file.run.uid))
      throw new ParityError('AccessDenied', `PostHog has a table ${name} that is not this run's`, { subject: name });
    await client.delete(`warehouse_tables/${textOf(table, 'id')}/`);
  }
  const url = addressOf(context.workspace.location, `${folder}/*.parquet`);
  const credential = { access_key: keys.accessKeyId, access_secret: keys.secretAccessKey };
  try {
    await client.post('warehouse_tables/', { name, format: 'Parquet', url_pattern: url, credential });
  } catch (error) {
    // The answer may be lost, and the table there.
    if (!(error instanceof ParityError) || !error.isRetryable) throw error;
    const made = (await linkedTables(client, name)).some((table) => fieldOf(table, 'url_pattern') === url);
    if (!made) throw error;
  }
}

/** Removes what the run has linked in the PostHog of a secret: what stands under its prefix and reads a folder of its own. */
export async function removeLinkedTables(about: {
  readonly uid: string;
  readonly runFolder: string | undefined;
  readonly secretName: string;
  readonly secret: (name: string) => Promise<Readonly<Record<string, string>>>;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { uid, runFolder, secretName, secret, signal } = about;
  if (runFolder !== undefined && !existsSync(linksMark(runFolder))) return;
  const client = postHogClient(await secret(secretName), secretName, signal);
  for (const table of await client.list(`warehouse_tables/?search=${runPrefix(uid)}`))
    if (isOfRun(table, uid)) await client.delete(`warehouse_tables/${textOf(table, 'id')}/`);
}

/** The name's eight characters are no proof; the folder that it reads has the whole uid in its address. */
function isOfRun(table: unknown, uid: string): boolean {
  const name = String(fieldOf(table, 'name'));
  const isLinked = ['base', 'cand'].some((side) => name.startsWith(`${runPrefix(uid)}${side}_`));
  return isLinked && String(fieldOf(table, 'url_pattern')).includes(uid);
}

async function linkedTables(client: PostHogClient, name: string): Promise<readonly unknown[]> {
  return (await client.list(`warehouse_tables/?search=${name}`)).filter((table) => fieldOf(table, 'name') === name);
}

/** The file that is there if the run may have linked something. */
function linksMark(runFolder: string): string {
  return join(runFolder, 'posthog.linked');
}

/** Notes, before anything is made, that there will be something to remove. */
async function intendLinks({ runFolder }: TaskContext): Promise<void> {
  if (runFolder !== undefined) await writeFile(linksMark(runFolder), '', { mode: 0o600 });
}
