import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { ResolvedStorage } from '../../api/resolved.ts';
import { isKubeError } from '../../kube/error.ts';
import { secrets } from '../../kube/objects.ts';
import { plans, type RunObject } from '../../kube/runs.ts';
import { openReader } from '../../lake/open.ts';
import type { ObjectReader } from '../../lake/store.ts';
import { env } from '../../support/env.ts';
import { ParityError } from '../../support/error.ts';
import { makeFolder } from '../../support/folder.ts';
import { registerSecret } from '../../support/log.ts';
import { within } from '../../support/retry.ts';
import { readSecret } from '../../support/secrets.ts';
import type { Cluster } from './access.ts';

/** A server that does not answer from here must not hold up a verdict. */
const readTimeoutMs = 60_000;

/** Folder of the run's reports, as its status says. Throws `NotFound` where there is none. */
export function reportFolder(run: RunObject): string {
  const { name } = run.metadata;
  const report = run.status?.result?.report;
  if (report === undefined || report === '') {
    throw new ParityError('NotFound', `run ${name} has no report`, {
      subject: name,
      advice: `Its report is written at its end; see how far it is with: parity describe ${name}`,
    });
  }
  return report.replace(/\/?(report\.[a-z]+)?$/, '');
}

export interface ReportFile {
  /** `report.json`, `report.html`, … */
  readonly name: string;
  readonly content: Buffer;
}

/**
 * The run's reports, read from where the operator wrote them with the credentials at hand: the Secret of `spec.reports` from
 * PARITY_SECRETS_DIR or, for an account that may read it, from the cluster; else the environment's. Throws what the store throws.
 */
export async function readReports(
  cluster: Cluster,
  run: RunObject,
  options: { readonly endpoint?: string },
): Promise<readonly ReportFile[]> {
  const folder = reportFolder(run);
  const own = await reportsSpec(cluster, run);
  const endpoint = options.endpoint ?? own.endpoint;
  const storage: ResolvedStorage = {
    location: folder,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(own.region === undefined ? {} : { region: own.region }),
  };
  const secret = own.secretRef === undefined ? undefined : await secretOf(cluster, own.secretRef.name);
  const store = await openReader(storage, secret);
  try {
    return await within(readTimeoutMs, filesIn(store), () => unanswered(folder));
  } finally {
    store.close();
  }
}

/** Writes the files into the folder, made where it is missing; returns their paths. */
export async function saveReports(files: readonly ReportFile[], folder: string, cwd: string): Promise<string[]> {
  const target = resolve(cwd, folder);
  await makeFolder(target, 0o755);
  const paths: string[] = [];
  for (const { name, content } of files) {
    const path = join(target, name);
    await writeFile(path, content);
    paths.push(path);
  }
  return paths;
}

async function filesIn(store: ObjectReader): Promise<readonly ReportFile[]> {
  const files: ReportFile[] = [];
  for await (const { key } of store.list('report.')) {
    if (/^report\.[a-z]{1,8}$/.test(key)) files.push({ name: key, content: await store.get(key) });
  }
  if (files.length > 0) return files;
  throw new ParityError('NotFound', `there is no report at ${store.url('')}`, {
    advice: 'It may have been removed since, or the credentials at hand do not show it.',
  });
}

/** What the run, or its plan as it is now, says of the place. */
async function reportsSpec({ client, namespace }: Cluster, run: RunObject) {
  const own = run.spec.reports ?? {};
  const name = run.spec.planRef?.name;
  if (name === undefined || own.location !== undefined) return own;
  const plan = await client.find(plans, { namespace, name }).catch(() => undefined);
  return { ...plan?.spec.reports, ...own };
}

async function secretOf(
  { client, namespace }: Cluster,
  name: string,
): Promise<Readonly<Record<string, string>> | undefined> {
  const folder = env.secretsDir();
  const local = folder === undefined ? undefined : await readSecret(name, [resolve(folder)]).catch(unless('NotFound'));
  if (local !== undefined) return local;
  const stored = await client.find(secrets, { namespace, name }).catch((error: unknown) => {
    if (isKubeError(error, 'Forbidden')) return undefined;
    throw error;
  });
  if (stored === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(stored.data ?? {}).map(([key, value]) => {
      const text = Buffer.from(value, 'base64').toString();
      registerSecret(text);
      return [key, text];
    }),
  );
}

function unless(code: ParityError['code']): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof ParityError && error.code === code) return undefined;
    throw error;
  };
}

function unanswered(folder: string): ParityError {
  return new ParityError('Timeout', `reading ${folder}: no answer in ${readTimeoutMs / 1000} s`, {
    advice: 'Where the cluster reaches the store by a name of its own, say another one with --endpoint.',
  });
}
