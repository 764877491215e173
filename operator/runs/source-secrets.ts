import { randomBytes } from 'node:crypto';
import type { DeployedServer, ResolvedSource } from '../../src/api/resolved.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Secret, secrets } from '../../src/kube/objects.ts';
import { formatConnection, parseConnection } from '../../src/sources/connection.ts';
import type { Connection } from '../../src/sources/source.ts';
import { ParityError } from '../../src/support/error.ts';
import { registerSecret } from '../../src/support/log.ts';
import { encodeKeys, keysOf } from './credentials.ts';
import { isOfRun, labels, ownedBy, runLabels, sourceName } from './names.ts';
import { serverKind } from './server-kinds.ts';
import type { Scope } from './types.ts';

/** How a server that the run deploys is reached. */
export interface Credentials {
  readonly connection: Connection;
  /** When the server began to be made: a deadline counts from here, whatever happens to the operator. */
  readonly createdAt: Date;
}

/**
 * The credentials of a server that the run deploys. Made once, before the server: the Secret of `sourceName` with a password that nobody has chosen,
 * which both the server and the run's tasks are given as files. Whoever comes second takes what is there: two passwords would lock everybody out.
 * Throws `AccessDenied` where another's Secret has that name.
 */
export async function ensureCredentials(scope: Scope, source: ResolvedSource): Promise<Credentials> {
  const { kube, hold } = scope;
  const name = sourceName(hold.run.uid, source.name);
  const { namespace } = hold;
  const found = (await kube.find(secrets, { namespace, name })) ?? (await makeSecret(scope, source, name, namespace));
  if (!isOfRun(found, hold.run)) throw notOurs(found);
  const connection = parseConnection(source.engine, keysOf(found), { name: source.name, secret: name });
  registerSecret(connection.password);
  return { connection, createdAt: new Date(found.metadata.creationTimestamp) };
}

/**
 * The connection with the CA that vouches for the server, where the source asks for TLS. Throws `NotFound` while the Secret of the certificate, or one of
 * its keys, is not there.
 */
export async function withAuthority(scope: Scope, connection: Connection, server: DeployedServer): Promise<Connection> {
  if (server.tls === undefined) return connection;
  const { name } = server.tls.secretRef;
  const { namespace } = scope.hold;
  const found = await scope.kube.find(secrets, { namespace, name });
  const keys = found === undefined ? {} : keysOf(found);
  const missing = ['tls.crt', 'tls.key', 'ca.crt'].filter((key) => (keys[key] ?? '') === '');
  if (missing.length > 0) {
    const what = found === undefined ? 'is not there' : `has no ${missing.join(', ')}`;
    throw new ParityError('NotFound', `the Secret ${namespace}/${name} with the certificate of the server ${what}`, {
      subject: name,
      advice: `Make it with the keys tls.crt, tls.key and ca.crt, for *.${namespace}.svc; the run goes on by itself.`,
    });
  }
  return { ...connection, ca: keys['ca.crt'] ?? '' };
}

async function makeSecret(scope: Scope, source: ResolvedSource, name: string, namespace: string): Promise<Secret> {
  const password = randomBytes(24).toString('base64url');
  registerSecret(password);
  const connection: Connection = {
    // Not down to the cluster's own domain, which not every cluster calls the same.
    host: `${name}.${namespace}.svc`,
    port: serverKind(source.engine).port,
    user: 'parity',
    password,
    database: 'parity',
  };
  const metadata = {
    name,
    namespace,
    labels: { ...runLabels(scope.hold.run), [labels.source]: source.name },
    ownerReferences: [ownedBy(scope.run)],
  };
  try {
    return await scope.kube.create(secrets, {
      metadata,
      type: 'Opaque',
      data: encodeKeys(formatConnection(connection)),
    });
  } catch (error) {
    if (isKubeError(error, 'AlreadyExists')) return await scope.kube.get(secrets, { namespace, name });
    throw error;
  }
}

function notOurs({ metadata }: Secret): ParityError {
  return new ParityError(
    'AccessDenied',
    `the Secret ${metadata.namespace}/${metadata.name} is there already and is not this run's`,
    {
      subject: metadata.name,
      advice: 'Nothing was changed. Rename or remove it, and start another run.',
    },
  );
}
