import { type ErrorCode, ParityError } from '../support/error.ts';
import type { Connection } from './source.ts';

/** What a driver knows of a failure, before it is put into words. */
export interface Failure {
  readonly engine: string;
  /** `loading flights`, `connecting`. */
  readonly doing: string;
  readonly connection: Connection;
  readonly table?: string;
}

/** How one engine's own codes read. `what` is a clause; it never repeats a value of the data. */
export interface Diagnosis {
  readonly code: ErrorCode;
  readonly what: string;
  readonly advice?: string;
  readonly isRetryable?: boolean;
}

/** The named error for anything that a database, its client or the network threw. */
export function toSourceError(
  error: unknown,
  failure: Failure,
  diagnose: (code: string, message: string) => Diagnosis | undefined,
): ParityError {
  if (error instanceof ParityError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  const { host, port } = failure.connection;
  const found = diagnoseNetwork(code, message) ??
    diagnose(code, message) ?? { code: 'Internal', what: withoutValues(message) };
  return new ParityError(
    found.code,
    `${failure.engine} at ${host}:${port}, ${failure.doing}: ${found.what}${code === '' ? '' : ` (${code})`}.`,
    {
      cause: error,
      isRetryable: found.isRetryable ?? false,
      ...(found.advice === undefined ? {} : { advice: found.advice }),
      ...(failure.table === undefined ? {} : { subject: failure.table }),
    },
  );
}

function diagnoseNetwork(code: string, message: string): Diagnosis | undefined {
  switch (code) {
    // No file of that name, where the host is a socket's path.
    case 'ENOENT':
    case 'ECONNREFUSED':
      return unreachable('nothing answers there');
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return unreachable('the host name is not known');
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return unreachable('no answer in time');
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ERR_STREAM_PREMATURE_CLOSE':
    case 'ERR_STREAM_DESTROYED':
    case 'PROTOCOL_CONNECTION_LOST':
    case 'ERR_STREAM_WRITE_AFTER_END':
      return unreachable('the connection was lost');
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
    case 'CERT_HAS_EXPIRED':
    case 'HANDSHAKE_SSL_ERROR':
      return {
        code: 'AccessDenied',
        what: "the server's certificate is not one that the given CA vouches for",
        advice: 'Check the key ca of the secret and the host name that the certificate is for.',
      };
  }
  if (/Connection terminated|closed state|not queryable|Connection lost|timeout expired|connect timeout/i.test(message))
    return unreachable('the connection was lost');
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT' || /does not support SSL/i.test(message))
    return {
      code: 'AccessDenied',
      what: 'the server does not speak TLS, which the key ca of the secret asks for',
      advice: 'Turn TLS on in the server, or take ca out of the secret.',
    };
  return undefined;
}

export function unreachable(what: string): Diagnosis {
  return { code: 'Unreachable', what, advice: 'Check that the server runs and can be reached.', isRetryable: true };
}

export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

/** Databases quote the value that they refuse; values of the data never reach a message. */
function withoutValues(message: string): string {
  return (
    message
      .replaceAll(/: ".*$/gs, '')
      .replaceAll(/'[^']*'/g, '…')
      .split('\n')[0]
      ?.slice(0, 300) ?? ''
  );
}
