import type { ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Secret, secrets } from '../../src/kube/objects.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import type { Connection } from '../../src/sources/source.ts';
import { ParityError } from '../../src/support/error.ts';
import { encodeKeys } from './credentials.ts';
import { isOfRun, labels, ownedBy, runLabels, sourceName } from './names.ts';
import type { Scope } from './types.ts';

/**
 * Lays down how tasks reach a source: the Secret `sourceName(run, source)` in the run's namespace, owned by the run, with the keys host, port, user,
 * password, database and ca. Again it changes nothing, unless the connection has changed. Throws `AccessDenied` where another's Secret has that name.
 */
export async function publishConnection(scope: Scope, source: ResolvedSource, connection: Connection): Promise<void> {
  const name = sourceName(scope.hold.run.uid, source.name);
  await ensureSecret(scope, name, formatConnection(connection), { [labels.source]: source.name });
}

/** Makes a Secret of the run's own hold these keys. Throws `AccessDenied` where another's has its name. */
export async function ensureSecret(
  { kube, run, hold }: Scope,
  name: string,
  keys: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>>,
): Promise<void> {
  const { namespace } = hold;
  const data = encodeKeys(keys);
  const found = (await kube.find(secrets, { namespace, name })) ?? (await created());
  if (found === undefined) return;
  if (!isOfRun(found, hold.run)) throw notOurs(found);
  if (!sameData(found.data ?? {}, data)) await kube.mergePatch(secrets, { namespace, name }, { data });

  /** undefined once it is created; what is there already, if somebody was faster. */
  async function created(): Promise<Secret | undefined> {
    const ownerReferences = [ownedBy(run)];
    const metadata = { name, namespace, labels: { ...runLabels(hold.run), ...more }, ownerReferences };
    try {
      await kube.create(secrets, { metadata, type: 'Opaque', data });
      return undefined;
    } catch (error) {
      if (isKubeError(error, 'AlreadyExists')) return await kube.get(secrets, { namespace, name });
      throw error;
    }
  }
}

function sameData(found: object, wanted: Readonly<Record<string, string>>): boolean {
  const held = new Map<string, unknown>(Object.entries(found));
  return Object.entries(wanted).every(([key, value]) => held.get(key) === value);
}

function notOurs(found: Secret): ParityError {
  const { name, namespace } = found.metadata;
  return new ParityError('AccessDenied', `the Secret ${namespace}/${name} is there already and is not this run's`, {
    subject: name,
    advice: 'Nothing was changed. Rename or remove it, and start another run.',
  });
}
