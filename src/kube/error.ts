import { type ErrorCode, ParityError } from '../support/error.ts';

/** Why the API server, or the way to it, refused. */
export type KubeReason =
  | 'NotFound' // the object
  | 'NoSuchKind' // its CustomResourceDefinition is not installed
  | 'AlreadyExists'
  | 'Conflict' // changed since it was read, or a precondition does not hold
  | 'Gone' // the resource version or the continue token is too old
  | 'Invalid' // the object breaks its schema or a rule
  | 'Unauthorized'
  | 'Forbidden'
  | 'NamespaceTerminating' // nothing can be created there any more
  | 'TooManyRequests'
  | 'Server' // 5xx
  | 'Unreachable' // no connection, or it broke
  | 'Timeout'; // our deadline, or the server's own

/**
 * What went wrong with one request. After `Unreachable`, `Timeout` and `Server` a write may have happened all the same: whoever sent
 * it reads again.
 */
export class KubeError extends ParityError {
  readonly reason: KubeReason;
  /** The HTTP status; none where no answer came. */
  readonly status: number | undefined;
  /** How long the server asks to be left alone, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    reason: KubeReason,
    message: string,
    options: {
      readonly status?: number | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly subject?: string;
      readonly cause?: unknown;
      readonly advice?: string;
    } = {},
  ) {
    const { code, isRetryable, advice = options.advice } = { ...natures[reason] };
    super(code, message, {
      isRetryable,
      ...(advice === undefined ? {} : { advice }),
      ...(options.subject === undefined ? {} : { subject: options.subject }),
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.name = 'KubeError';
    this.reason = reason;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Whether the error is one of the API server's with one of these reasons. */
export function isKubeError(error: unknown, ...reasons: readonly KubeReason[]): error is KubeError {
  return error instanceof KubeError && (reasons.length === 0 || reasons.includes(error.reason));
}

/** What is read from an answer that refuses: the status line, the body and the header `Retry-After`. */
export interface Refusal {
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
}

/** The error for an answer that refuses. `doing` says what was asked, e.g. `reading Pod shop/db-0`. */
export function refused(doing: string, subject: string, refusal: Refusal): KubeError {
  const status = statusIn(refusal.body);
  const said = status?.message ?? firstLine(refusal.body);
  return new KubeError(reasonOf(refusal.status, status), `${doing}: ${said || `HTTP ${refusal.status}`}`, {
    status: refusal.status,
    subject,
    retryAfterMs: retryAfterMs(refusal.retryAfter, status),
  });
}

/** The error for an ERROR event of a watch, whose object is a Status. */
export function watchRefused(doing: string, subject: string, object: unknown): KubeError {
  const status: Status = isRecord(object) ? object : {};
  const code = status.code ?? 500;
  return refused(doing, subject, { status: code, body: JSON.stringify(status), retryAfter: undefined });
}

interface Status {
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string }[];
  };
}

function reasonOf(code: number, status: Status | undefined): KubeReason {
  switch (code) {
    case 401:
      return 'Unauthorized';
    case 403:
      return status?.details?.causes?.some((cause) => cause.reason === 'NamespaceTerminating') === true
        ? 'NamespaceTerminating'
        : 'Forbidden';
    case 404:
      // The server names the object it misses; for a path that it does not serve it has plain text only.
      return status?.reason === 'NotFound' && status.details !== undefined && Object.keys(status.details).length > 0
        ? 'NotFound'
        : 'NoSuchKind';
    case 408:
    case 504:
      return 'Timeout';
    case 409:
      return status?.reason === 'AlreadyExists' ? 'AlreadyExists' : 'Conflict';
    case 410:
      return 'Gone';
    case 429:
      return 'TooManyRequests';
    default:
      return code >= 500 ? 'Server' : 'Invalid';
  }
}

const natures: Readonly<
  Record<KubeReason, { readonly code: ErrorCode; readonly isRetryable: boolean; readonly advice?: string }>
> = {
  NotFound: { code: 'NotFound', isRetryable: false },
  NoSuchKind: {
    code: 'NotFound',
    isRetryable: false,
    advice: 'Install the CustomResourceDefinition of this kind, or the version of it that is asked for.',
  },
  AlreadyExists: { code: 'Internal', isRetryable: false },
  Conflict: { code: 'Internal', isRetryable: true },
  Gone: { code: 'Internal', isRetryable: true },
  Invalid: { code: 'InvalidSpec', isRetryable: false },
  Unauthorized: { code: 'AccessDenied', isRetryable: false, advice: 'Renew the credentials of the kubeconfig.' },
  Forbidden: {
    code: 'AccessDenied',
    isRetryable: false,
    advice: 'Give the account a Role with that verb on that resource.',
  },
  NamespaceTerminating: { code: 'Cancelled', isRetryable: false },
  TooManyRequests: { code: 'Unreachable', isRetryable: true },
  Server: { code: 'Unreachable', isRetryable: true },
  Unreachable: { code: 'Unreachable', isRetryable: true },
  Timeout: { code: 'Timeout', isRetryable: true },
};

function statusIn(body: string): Status | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    return isRecord(parsed) && parsed.kind === 'Status' ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function retryAfterMs(header: string | undefined, status: Status | undefined): number | undefined {
  const seconds = header === undefined ? status?.details?.retryAfterSeconds : Number(header);
  if (seconds !== undefined && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = header === undefined ? Number.NaN : Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function firstLine(body: string): string {
  return body.trim().split('\n', 1)[0]?.slice(0, 300) ?? '';
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
