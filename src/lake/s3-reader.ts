import { Readable } from 'node:stream';
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { ParityError } from '../support/error.ts';
import { formatLocation, type S3Location } from './location.ts';
import { isMissingObject, s3Error } from './s3-client.ts';
import type { ObjectInfo, ObjectReader, S3Credentials } from './store.ts';

/** A body from which nothing came for this long is given up. */
const IDLE_TIMEOUT_MS = 60_000;

/** Objects of a bucket, read only: this module imports GET, HEAD and LIST and nothing that writes. */
export class S3Reader implements ObjectReader {
  readonly location: S3Location;
  readonly #client: S3Client;

  constructor(location: S3Location, client: S3Client) {
    this.location = location;
    this.#client = client;
  }

  async *list(prefix: string, options: { startAfter?: string } = {}): AsyncIterable<ObjectInfo> {
    let continuation: string | undefined;
    do {
      const page = await this.#page(prefix, options.startAfter, continuation);
      for (const object of page.Contents ?? []) {
        if (object.Key === undefined || object.Key.endsWith('/')) continue; // folder markers are no objects of ours
        yield {
          key: this.#relative(object.Key),
          sizeBytes: object.Size ?? 0,
          modifiedMs: object.LastModified?.getTime() ?? 0,
          ...etagOf(object.ETag),
        };
      }
      continuation = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (continuation !== undefined);
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    try {
      const found = await this.#client.send(
        new HeadObjectCommand({ Bucket: this.location.bucket, Key: this.objectKey(key) }),
      );
      const modifiedMs = found.LastModified?.getTime() ?? 0;
      return { key, sizeBytes: found.ContentLength ?? 0, modifiedMs, ...etagOf(found.ETag) };
    } catch (error) {
      if (isMissingObject(error)) return undefined;
      throw this.fail(error, 'Looking at', key);
    }
  }

  async get(key: string): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await this.stream(key)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async stream(key: string, range?: { startByte: number; endByteInclusive: number }): Promise<Readable> {
    const bytes = range === undefined ? {} : { Range: `bytes=${range.startByte}-${range.endByteInclusive}` };
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({ Bucket: this.location.bucket, Key: this.objectKey(key), ...bytes }),
      );
      const body = answer.Body;
      if (!(body instanceof Readable)) throw new Error('the answer has no body');
      const guarded = Readable.from(this.#guarded(body, key, answer.ContentLength), {
        objectMode: false,
        highWaterMark: 256 * 1024,
      });
      // A body that is given up before its first byte was read would keep its connection.
      return guarded.once('close', () => body.destroy());
    } catch (error) {
      throw this.fail(error, 'Reading', key);
    }
  }

  url(key: string): string {
    return `${formatLocation(this.location)}/${key}`;
  }

  async credentials(): Promise<S3Credentials | undefined> {
    try {
      const { accessKeyId, secretAccessKey, sessionToken } = await this.#client.config.credentials();
      return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
    } catch (error) {
      throw this.fail(error, 'Finding credentials for', '');
    }
  }

  close(): void {
    this.#client.destroy();
  }

  /** The key inside the bucket. */
  protected objectKey(key: string): string {
    return this.location.root === '' ? key : `${this.location.root}/${key}`;
  }

  protected fail(error: unknown, doing: string, key: string): ParityError {
    return s3Error(error, doing, this.url(key), this.location);
  }

  async #page(prefix: string, startAfter: string | undefined, continuation: string | undefined) {
    try {
      return await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.location.bucket,
          Prefix: this.objectKey(prefix),
          ...(startAfter === undefined ? {} : { StartAfter: this.objectKey(startAfter) }),
          ...(continuation === undefined ? {} : { ContinuationToken: continuation }),
        }),
      );
    } catch (error) {
      throw this.fail(error, 'Listing', prefix);
    }
  }

  #relative(key: string): string {
    return this.location.root === '' ? key : key.slice(this.location.root.length + 1);
  }

  /** The body's chunks: an idle connection ends in `Timeout`, a cut one in `Unreachable`, a short one never passes as whole. */
  async *#guarded(body: Readable, key: string, sizeBytes: number | undefined): AsyncIterable<Uint8Array> {
    let received = 0;
    const idle = setTimeout(() => {
      body.destroy(
        new ParityError('Timeout', `Reading ${this.url(key)} stalled: no bytes for ${IDLE_TIMEOUT_MS / 1000} s`, {
          isRetryable: true,
          subject: this.url(key),
        }),
      );
    }, IDLE_TIMEOUT_MS);
    try {
      for await (const chunk of body) {
        received += chunk.length;
        yield chunk;
        idle.refresh();
      }
    } catch (error) {
      throw this.fail(error, 'Reading', key);
    } finally {
      clearTimeout(idle);
    }
    if (sizeBytes !== undefined && received !== sizeBytes) {
      throw new ParityError('Unreachable', `Reading ${this.url(key)} ended after ${received} of ${sizeBytes} bytes`, {
        isRetryable: true,
        subject: this.url(key),
      });
    }
  }
}

function etagOf(header: string | undefined): { readonly etag?: string } {
  return header === undefined ? {} : { etag: header.replaceAll('"', '') };
}
