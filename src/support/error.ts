/**
 * Errors that people can act on.
 *
 * `message` is one sentence: what was being done, on which object, what was found. `advice` says what to do next. `code` is
 * stable and for machines. The cause is kept for logs and never printed to users unless they ask for it.
 */
export class ParityError extends Error {
  readonly code: ErrorCode;
  readonly advice: string | undefined;
  /** The field, table, column or object the error is about, e.g. `spec.snapshot.tables[flights].path`. */
  readonly subject: string | undefined;
  /** Whether trying the same thing again can help (a lost connection: yes; a missing table: no). */
  readonly isRetryable: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    options: { advice?: string; subject?: string; cause?: unknown; isRetryable?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ParityError';
    this.code = code;
    this.advice = options.advice;
    this.subject = options.subject;
    this.isRetryable = options.isRetryable ?? false;
  }

  toJSON(): ErrorRecord {
    return {
      code: this.code,
      message: this.message,
      ...(this.advice === undefined ? {} : { advice: this.advice }),
      ...(this.subject === undefined ? {} : { subject: this.subject }),
      isRetryable: this.isRetryable,
    };
  }
}

/** An error as it is kept in task outputs, reports and status. */
export interface ErrorRecord {
  readonly code: ErrorCode;
  readonly message: string;
  readonly advice?: string;
  readonly subject?: string;
  readonly isRetryable: boolean;
}

export type ErrorCode =
  | 'BadUsage' // exit 64: command line or manifest
  | 'InvalidSpec'
  | 'AccessDenied' // wrong or missing credentials
  | 'NotFound' // bucket, table, version, object, database missing
  | 'VersionGone' // vacuumed or never existed
  | 'UnsupportedFeature' // protocol feature, type, engine: named in the message
  | 'CorruptTable' // unreadable log, truncated data file, size or checksum wrong
  | 'LimitExceeded' // snapshot.limits
  | 'UnrepresentableValue' // a source or reader cannot hold a value exactly: names the column
  | 'ProofFailed' // a source's content does not equal the snapshot's
  | 'Unreachable' // server or endpoint gone, timeouts of connections
  | 'Timeout'
  | 'OutOfMemory'
  | 'DiskFull'
  | 'Crashed' // a child process died by a signal
  | 'Cancelled'
  | 'PipelineFailed' // the pipeline under test reported a failure
  | 'QueryFailed'
  | 'CleanupIncomplete'
  | 'Internal';

/** The `ParityError` for anything thrown; an unknown error becomes `Internal` with its message kept. */
export function toParityError(error: unknown): ParityError {
  if (error instanceof ParityError) return error;
  // What an AbortSignal throws where nobody said why: https://dom.spec.whatwg.org/#aborting-ongoing-activities
  if (error instanceof Error && error.name === 'AbortError')
    return new ParityError('Cancelled', 'it was stopped on request', { cause: error });
  if (error instanceof Error) return new ParityError('Internal', error.message, { cause: error });
  return new ParityError('Internal', String(error));
}
