import type { ResolvedSource } from '../../src/api/resolved.ts';
import { KubeError } from '../../src/kube/error.ts';
import { type Secret, secrets } from '../../src/kube/objects.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import type { Connection } from '../../src/sources/source.ts';
import { ParityError } from '../../src/support/error.ts';
import { isOfRun, labels, ownedBy, runLabels, sourceName } from './names.ts';
import type { Scope } from './types.ts';

/**
 * Lays down how tasks reach a source: the Secret `sourceName(run, source)` in the run's namespace, owned by the run, with the keys host, port, user,
 * password, database and ca. Again it changes nothing, unless the connection has changed. Throws `AccessDenied` where another's Secret has that name.
 */
export async function publishConnection(scope: Scope, source: ResolvedSource, connection: Connection): Promise<void> {
  const { kube, run, hold } = scope;
  const name = sourceName(hold.run.uid, source.name);
  const namespace = run.metadata.namespace ?? '';
  const data = encode(formatConnection(connection));
  const found = (await kube.find(secrets, { namespace, name })) ?? (await created());
  if (found === undefined) return;
  if (!isOfRun(found, hold.run)) throw notOurs(found);
  if (!sameData(found.data ?? {}, data)) await kube.mergePatch(secrets, { namespace, name }, { data });

  /** undefined once it is created; what is there already, if somebody was faster. */
  async function created(): Promise<Secret | undefined> {
    const metadata = {
      name,
      namespace,
      labels: { ...runLabels(hold.run), [labels.source]: source.name },
      ownerReferences: [ownedBy(run)],
    };
    try {
      await kube.create(secrets, { metadata, type: 'Opaque', data });
      return undefined;
    } catch (error) {
      if (error instanceof KubeError && error.reason === 'AlreadyExists')
        return await kube.get(secrets, { namespace, name });
      throw error;
    }
  }
}

function encode(keys: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
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
