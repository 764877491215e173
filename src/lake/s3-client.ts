import { S3Client } from '@aws-sdk/client-s3';
import { ParityError } from '../support/error.ts';
import { formatLocation, type S3Location } from './location.ts';
import type { Requests } from './requests.ts';
import type { S3Credentials } from './store.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Until the answer begins; bodies have their own idle bound (see S3Reader.stream). A server-side copy answers when it is done. */
export const ANSWER_TIMEOUT_MS = 120_000;
const MAX_CONNECTIONS = 256;
const MAX_ATTEMPTS = 4;

/**
 * A client of the location's endpoint. `credentials` undefined: the default chain (environment, profile, role).
 * Checksums are sent only where S3 demands them: SeaweedFS, MinIO and others do not know the newer ones.
 */
export function s3Client(location: S3Location, credentials: S3Credentials | undefined, requests: Requests): S3Client {
  const client = new S3Client({
    region: location.region,
    maxAttempts: MAX_ATTEMPTS,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: ANSWER_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: { maxSockets: MAX_CONNECTIONS, keepAlive: true },
      httpsAgent: { maxSockets: MAX_CONNECTIONS, keepAlive: true },
    },
    ...(location.endpoint === undefined
      ? { followRegionRedirects: true }
      : { endpoint: location.endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
  });
  // Inside the SDK's retries, so that each attempt is counted and held back. The context is one for all attempts of a command.
  const unanswered = new WeakSet<object>();
  client.middlewareStack.add(
    (next, context) => async (args) => {
      await requests.take();
      try {
        return await next(args);
      } catch (error) {
        if (mayHaveArrived(error)) unanswered.add(context);
        if (unanswered.has(context) && error instanceof Error) doubtful.add(error);
        throw error;
      }
    },
    { step: 'finalizeRequest', priority: 'low', name: 'parityRequests' },
  );
  return client;
}

const doubtful = new WeakSet<Error>();

/** Whether an attempt of the command that ended with this error of the SDK may have been carried out, although its last one was not. */
export function mayHaveBeenDone(error: unknown): boolean {
  return error instanceof Error && doubtful.has(error);
}

/** An answer that was lost, or says that the server failed: neither tells that nothing was done. */
function mayHaveArrived(error: unknown): boolean {
  const status = statusOf(error);
  if (status !== undefined) return status >= 500;
  return !NEVER_SENT.has(nameOf(error)) && !NEVER_SENT.has(codeOf(error));
}

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'CredentialsProviderError',
  'TokenProviderError',
]);

/** Keys from a secret (`accessKeyId`, `secretAccessKey`, optional `sessionToken`); undefined where there is no secret. */
export function secretCredentials(
  secret: Readonly<Record<string, string>> | undefined,
  location: S3Location,
): S3Credentials | undefined {
  if (secret === undefined) return undefined;
  const { accessKeyId, secretAccessKey, sessionToken } = secret;
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const missing = accessKeyId === undefined ? 'accessKeyId' : 'secretAccessKey';
    throw new ParityError('AccessDenied', `The secret for ${formatLocation(location)} has no key '${missing}'`, {
      advice: 'Give the secret the keys accessKeyId and secretAccessKey, and sessionToken where there is one',
    });
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** The error people can act on for what S3 or the network reported while `doing` something with `url`. */
export function s3Error(error: unknown, doing: string, url: string, location: S3Location): ParityError {
  if (error instanceof ParityError) return error;
  const at = location.endpoint ?? `AWS (${location.region})`;
  const { code, advice, found, isRetryable } = classify(error, at, location);
  return new ParityError(code, `${doing} ${url} failed: ${found}`, {
    cause: error,
    subject: url,
    ...(advice === undefined ? {} : { advice }),
    isRetryable,
  });
}

/** Whether S3 answered that there is no such object (not: no such bucket). */
export function isMissingObject(error: unknown): boolean {
  const name = nameOf(error);
  return name === 'NoSuchKey' || name === 'NotFound' || (statusOf(error) === 404 && name !== 'NoSuchBucket');
}

interface Classified {
  readonly code: 'AccessDenied' | 'NotFound' | 'CorruptTable' | 'Timeout' | 'Unreachable' | 'Internal';
  readonly found: string;
  readonly advice?: string;
  readonly isRetryable: boolean;
}

function classify(error: unknown, at: string, location: S3Location): Classified {
  const name = nameOf(error);
  const status = statusOf(error);
  if (name === 'NoSuchBucket') {
    return {
      code: 'NotFound',
      found: `there is no bucket '${location.bucket}' at ${at}`,
      advice: 'Check the bucket, the endpoint and the region',
      isRetryable: false,
    };
  }
  if (isMissingObject(error)) return { code: 'NotFound', found: `it does not exist at ${at}`, isRetryable: false };
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') {
    return {
      code: 'AccessDenied',
      found: 'no credentials were found',
      advice: 'Name a secret by secretRef, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
      isRetryable: false,
    };
  }
  if (status === 401 || status === 403 || DENIED.has(name)) {
    return {
      code: 'AccessDenied',
      found: `${at} refused these credentials (${name})`,
      advice: 'Check the access key, and that it may do this on that bucket',
      isRetryable: false,
    };
  }
  if (status === 301 || name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed') {
    const advice = 'Set the region of the bucket beside its location';
    return {
      code: 'NotFound',
      found: `the bucket is in another region than ${location.region}`,
      advice,
      isRetryable: false,
    };
  }
  if (status === 416) {
    return { code: 'CorruptTable', found: 'it is shorter than the log says', isRetryable: false };
  }
  if (name === 'TimeoutError' || name === 'RequestTimeout') {
    return { code: 'Timeout', found: `${at} did not answer in time`, isRetryable: true };
  }
  if (
    CONNECTION.has(codeOf(error)) ||
    name === 'NetworkingError' ||
    (status !== undefined && (status >= 500 || status === 429))
  ) {
    const answered = status === undefined ? codeOf(error) : `HTTP ${status} ${name}`;
    return {
      code: 'Unreachable',
      found: `no usable answer from ${at} (${answered})`,
      advice: 'Check that the endpoint is right and running',
      isRetryable: true,
    };
  }
  return {
    code: 'Internal',
    found: error instanceof Error ? `${name}: ${error.message}` : String(error),
    isRetryable: false,
  };
}

const DENIED = new Set(['AccessDenied', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken']);
const CONNECTION = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'EPROTO',
  'ERR_SSL_WRONG_VERSION_NUMBER',
]);

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}
