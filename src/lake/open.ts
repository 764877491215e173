import type { ResolvedStorage } from '../api/resolved.ts';
import { FileStore } from './file.ts';
import { FileReader } from './file-reader.ts';
import { parseLocation } from './location.ts';
import { Requests } from './requests.ts';
import { S3Store } from './s3.ts';
import { s3Client, secretCredentials } from './s3-client.ts';
import { S3Reader } from './s3-reader.ts';
import type { ObjectReader, ObjectStore } from './store.ts';

/** A secret's keys: `accessKeyId`, `secretAccessKey`, optional `sessionToken`. Undefined: the environment's credentials. */
type Secret = Readonly<Record<string, string>>;

/**
 * Read access to a lake: production, a corpus, a table to compare. The object has no verb that writes.
 * `requests` counts what was asked of it and can hold it to a rate. Connects on first use; throws `InvalidSpec` for a malformed
 * location and `AccessDenied` for an incomplete secret.
 */
export async function openReader(
  storage: ResolvedStorage,
  secret?: Secret,
  requests: Requests = new Requests(),
): Promise<ObjectReader> {
  const location = parseLocation(storage.location, storage);
  switch (location.scheme) {
    case 'file':
      return new FileReader(location, requests);
    case 's3':
      return new S3Reader(location, s3Client(location, secretCredentials(secret, location), requests));
  }
}

/** Read and write access, for what a run owns: its workspace, reports, a corpus. Never for production. */
export async function openStore(
  storage: ResolvedStorage,
  secret?: Secret,
  requests: Requests = new Requests(),
): Promise<ObjectStore> {
  const location = parseLocation(storage.location, storage);
  switch (location.scheme) {
    case 'file':
      return new FileStore(location, requests);
    case 's3':
      return new S3Store(location, s3Client(location, secretCredentials(secret, location), requests), requests);
  }
}
