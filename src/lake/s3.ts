import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { ParityError } from '../support/error.ts';
import { formatLocation, isSameEndpoint, type S3Location } from './location.ts';
import { mapBounded } from './pool.ts';
import type { Requests } from './requests.ts';
import { encodeKey, ObjectCopies } from './s3-copy.ts';
import { S3Reader } from './s3-reader.ts';
import type { Location, ObjectStore } from './store.ts';

const MiB = 1024 * 1024;
/** Larger objects are uploaded in parts of this size; an upload never holds more than one part in memory. */
const PART_BYTES = 16 * MiB;
/** One CopyObject takes 5 GiB at most; large ones are copied in parts side by side long before. */
const COPY_PARTS_FROM_BYTES = 1024 * MiB;
const COPY_PART_BYTES = 256 * MiB;
const MAX_PARTS = 10_000;
const DELETE_BATCH = 1000;

/** Objects of a bucket that a run owns. */
export class S3Store extends S3Reader implements ObjectStore {
  readonly #client: S3Client;
  readonly #copies: ObjectCopies;

  /** `requests`: what the client counts by. */
  constructor(location: S3Location, client: S3Client, requests: Requests) {
    super(location, client);
    this.#client = client;
    this.#copies = new ObjectCopies(client, location.bucket, requests);
  }

  async put(key: string, body: Uint8Array | string): Promise<void> {
    await this.#attempt('Writing', key, () =>
      this.#client.send(new PutObjectCommand({ ...this.#at(key), ...sized(body) })),
    );
  }

  async putIfAbsent(key: string, body: Uint8Array | string): Promise<boolean> {
    try {
      await this.#client.send(new PutObjectCommand({ ...this.#at(key), ...sized(body), IfNoneMatch: '*' }));
      return true;
    } catch (error) {
      // 412: it is there (perhaps our own, from an attempt whose answer was lost). 409: another writer is creating it.
      const name = error instanceof Error ? error.name : '';
      if (name === 'PreconditionFailed' || name === 'ConditionalRequestConflict') return false;
      throw this.fail(error, 'Writing', key);
    }
  }

  async putStream(key: string, body: Readable, sizeBytes: number): Promise<void> {
    try {
      if (sizeBytes <= PART_BYTES) await this.#putWhole(key, body, sizeBytes);
      else await this.#inParts(key, (upload) => this.#uploadParts(key, upload, body, sizeBytes));
    } finally {
      body.destroy();
    }
  }

  async copyFrom(
    source: Location,
    sourceKey: string,
    key: string,
    sizeBytes: number,
    requests: Requests,
  ): Promise<void> {
    if (source.scheme !== 's3' || !isSameEndpoint(source, this.location)) {
      throw new ParityError('Internal', `${formatLocation(source)} is not on the endpoint of ${this.url(key)}`);
    }
    const from = copySource(source, sourceKey);
    const doing = `Copying ${formatLocation(source)}/${sourceKey} to`;
    if (sizeBytes < COPY_PARTS_FROM_BYTES) {
      const asked = () => requests.take();
      await this.#attempt(doing, key, () => this.#copies.copy(from, this.objectKey(key), asked));
    } else {
      await this.#inParts(key, (upload) => this.#copyParts(key, upload, from, sizeBytes, requests));
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (let start = 0; start < keys.length; start += DELETE_BATCH) {
      const batch = keys.slice(start, start + DELETE_BATCH);
      const Delete = { Quiet: true, Objects: batch.map((key) => ({ Key: this.objectKey(key) })) };
      const answer = await this.#attempt('Deleting', batch[0] ?? '', () =>
        this.#client.send(new DeleteObjectsCommand({ Bucket: this.location.bucket, Delete })),
      );
      const refused = (answer.Errors ?? []).filter((error) => error.Code !== 'NoSuchKey');
      const [first] = refused;
      if (first === undefined) continue;
      throw new ParityError(
        first.Code === 'AccessDenied' ? 'AccessDenied' : 'Unreachable',
        `Deleting ${refused.length} of ${batch.length} objects in ${formatLocation(this.location)} was refused, the first ${first.Key}: ${first.Code} ${first.Message ?? ''}`,
        { isRetryable: first.Code !== 'AccessDenied' },
      );
    }
  }

  /** One request; by its MD5 the server refuses what did not arrive as it was sent. */
  async #putWhole(key: string, body: Readable, sizeBytes: number): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (bytes.length !== sizeBytes) throw wrongSize(this.url(key), bytes.length, sizeBytes);
    const ContentMD5 = createHash('md5').update(bytes).digest('base64');
    await this.#attempt('Writing', key, () =>
      this.#client.send(new PutObjectCommand({ ...this.#at(key), Body: bytes, ContentMD5 })),
    );
  }

  /** Runs `send` within a multipart upload, which is aborted if anything fails: open uploads cost money and are hard to see. */
  async #inParts(key: string, send: (uploadId: string) => Promise<UploadedPart[]>): Promise<void> {
    const { UploadId } = await this.#attempt('Writing', key, () =>
      this.#client.send(new CreateMultipartUploadCommand(this.#at(key))),
    );
    try {
      const Parts = await send(UploadId ?? '');
      await this.#client.send(
        new CompleteMultipartUploadCommand({ ...this.#at(key), UploadId, MultipartUpload: { Parts } }),
      );
    } catch (error) {
      // What failed first is what people need to see; an abort that fails too is left to the workspace's cleanup.
      await this.#client.send(new AbortMultipartUploadCommand({ ...this.#at(key), UploadId })).catch(() => undefined);
      throw this.fail(error, 'Writing', key);
    }
  }

  async #uploadParts(key: string, UploadId: string, body: Readable, sizeBytes: number): Promise<UploadedPart[]> {
    const parts: UploadedPart[] = [];
    let sent = 0;
    for await (const bytes of partsOf(body, Math.max(PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS)))) {
      const PartNumber = parts.length + 1;
      const ContentMD5 = createHash('md5').update(bytes).digest('base64');
      const upload = { ...this.#at(key), UploadId, PartNumber, Body: bytes, ContentMD5 };
      const { ETag } = await this.#client.send(new UploadPartCommand(upload));
      parts.push({ PartNumber, ETag });
      sent += bytes.length;
    }
    if (sent !== sizeBytes) throw wrongSize(this.url(key), sent, sizeBytes);
    return parts;
  }

  async #copyParts(
    key: string,
    UploadId: string,
    CopySource: string,
    sizeBytes: number,
    requests: Requests,
  ): Promise<UploadedPart[]> {
    const partBytes = Math.max(COPY_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS));
    const starts = Array.from({ length: Math.ceil(sizeBytes / partBytes) }, (_, index) => index * partBytes);
    return mapBounded(starts, 4, async (start) => {
      const PartNumber = start / partBytes + 1;
      const CopySourceRange = `bytes=${start}-${Math.min(start + partBytes, sizeBytes) - 1}`;
      const copy = new UploadPartCopyCommand({ ...this.#at(key), UploadId, PartNumber, CopySource, CopySourceRange });
      await requests.take();
      const answer = await this.#client.send(copy);
      return { PartNumber, ETag: answer.CopyPartResult?.ETag };
    });
  }

  async #attempt<Answer>(doing: string, key: string, send: () => Promise<Answer>): Promise<Answer> {
    try {
      return await send();
    } catch (error) {
      throw this.fail(error, doing, key);
    }
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.location.bucket, Key: this.objectKey(key) };
  }
}

interface UploadedPart {
  readonly PartNumber: number;
  readonly ETag: string | undefined;
}

/** The stream cut into buffers of `partBytes`; the last one is shorter. */
async function* partsOf(body: Readable, partBytes: number): AsyncIterable<Buffer> {
  let part = Buffer.allocUnsafe(partBytes);
  let filled = 0;
  for await (const chunk of body) {
    let rest: Uint8Array = chunk;
    while (rest.length > 0) {
      const taken = rest.subarray(0, partBytes - filled);
      part.set(taken, filled);
      filled += taken.length;
      rest = rest.subarray(taken.length);
      if (filled === partBytes) {
        yield part;
        part = Buffer.allocUnsafe(partBytes);
        filled = 0;
      }
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}

/** The length is said: the SDK does not know that of nothing, and warns on the terminal. */
function sized(body: Uint8Array | string) {
  return { Body: body, ContentLength: Buffer.byteLength(body) };
}

/** As the x-amz-copy-source header wants it: each part of the key percent-encoded. */
function copySource(source: S3Location, key: string): string {
  const path = source.root === '' ? key : `${source.root}/${key}`;
  return `${source.bucket}/${encodeKey(path)}`;
}

function wrongSize(url: string, found: number, expected: number): ParityError {
  return new ParityError('CorruptTable', `Writing ${url} got ${found} bytes where ${expected} were expected`, {
    subject: url,
  });
}
