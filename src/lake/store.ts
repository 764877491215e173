import type { Readable } from 'node:stream';
import type { Requests } from './requests.ts';

/** Where objects are. `root` of an S3 location may be '' (the whole bucket); a file location's `root` is an absolute folder. */
export type Location =
  | {
      readonly scheme: 's3';
      readonly bucket: string;
      /** Key prefix without leading or trailing slash. */
      readonly root: string;
      /** `http(s)://host[:port]` of an S3-compatible server; undefined for AWS. */
      readonly endpoint: string | undefined;
      readonly region: string;
    }
  | { readonly scheme: 'file'; readonly root: string };

export interface ObjectInfo {
  /** Key relative to the store's root, `/`-separated, never starting with a slash. */
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** The server's tag, without quotes. An MD5 of the content only in simple cases: equal tags prove, different ones do not. */
  readonly etag?: string;
}

/**
 * Read access: GET, HEAD and LIST. This is all that code holding production's credentials ever gets: there is no write verb to call.
 * Errors: `NotFound` (bucket or object), `AccessDenied`, `Unreachable`, each naming the location.
 */
export interface ObjectReader {
  readonly location: Location;
  /** Objects under a key prefix, in key order, paged. */
  list(prefix: string, options?: { startAfter?: string }): AsyncIterable<ObjectInfo>;
  /** undefined where there is no such object. */
  head(key: string): Promise<ObjectInfo | undefined>;
  get(key: string): Promise<Buffer>;
  stream(key: string, range?: { startByte: number; endByteInclusive: number }): Promise<Readable>;
  /** `s3://bucket/root/key` or `file:///root/key`, for messages. */
  url(key: string): string;
  /** Keys for the engine's own S3 reader (never logged, never in SQL text); undefined for files and anonymous access. */
  credentials(): Promise<S3Credentials | undefined>;
  close(): void;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Read and write access, for what a run owns. */
export interface ObjectStore extends ObjectReader {
  put(key: string, body: Uint8Array | string): Promise<void>;
  /** Creates the object unless it exists; returns whether it was created. Atomic. */
  putIfAbsent(key: string, body: Uint8Array | string): Promise<boolean>;
  /** Streams an object of known size into the store (multipart where large). Readers never see half of it. */
  putStream(key: string, body: Readable, sizeBytes: number): Promise<void>;
  /**
   * Copies on the server's side from another bucket or key of the same endpoint; CRC or size checked by the caller. `requests`: the source's,
   * which are asked before each request that reads it.
   */
  copyFrom(source: Location, sourceKey: string, key: string, sizeBytes: number, requests: Requests): Promise<void>;
  /** Deletes the objects, 1,000 a request, checking each key's own error. A missing object is no error. */
  delete(keys: readonly string[]): Promise<void>;
}
