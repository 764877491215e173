import { ManifestError } from '../../api/problem.ts';
import { clean } from '../../report/terminal.ts';
import { env } from '../../support/env.ts';
import { type ErrorCode, type ErrorRecord, ParityError, toParityError } from '../../support/error.ts';
import { redact } from '../../support/log.ts';
import { badUsageCode, type Io } from './io.ts';

/** Says on `err` what went wrong, in one sentence, and returns the exit code. The cause is printed at PARITY_LOG_LEVEL=debug only. */
export function report(thrown: unknown, io: Io): number {
  const error = isAbort(thrown) ? new ParityError('Cancelled', 'stopped on request') : toParityError(thrown);
  if (error instanceof ManifestError) {
    const lines = error.problems.length === 1 ? '1 problem' : `${error.problems.length} problems`;
    const text = error.message.split('\n').map((line) => `  ${clean(line)}`);
    io.err(redact(`parity: the manifest has ${lines} — ${error.advice ?? ''}\n${text.join('\n')}\n`));
  } else {
    io.err(redact(`${errorLine(error)}\n`));
  }
  if (env.logLevel() === 'debug') io.err(redact(`${causes(error)}\n`));
  return exitCode(error.code);
}

/** `parity: <message> — <advice>` */
export function errorLine({
  message,
  advice,
}: Pick<ErrorRecord, 'message'> & { readonly advice?: string | undefined }): string {
  const sentence = clean(message.replace(/\s*\n\s*/g, '; ').replace(/\.$/, ''));
  return `parity: ${sentence}${advice === undefined ? '' : ` — ${clean(advice.replace(/\s*\n\s*/g, '; '))}`}`;
}

/** What an aborted signal throws by itself. */
function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'AbortError';
}

function exitCode(code: ErrorCode): number {
  switch (code) {
    case 'BadUsage':
    case 'InvalidSpec':
      return badUsageCode;
    case 'Cancelled':
      return 3;
    case 'AccessDenied':
    case 'NotFound':
    case 'VersionGone':
    case 'UnsupportedFeature':
    case 'CorruptTable':
    case 'LimitExceeded':
    case 'UnrepresentableValue':
    case 'ProofFailed':
    case 'Unreachable':
    case 'Timeout':
    case 'OutOfMemory':
    case 'DiskFull':
    case 'Crashed':
    case 'PipelineFailed':
    case 'QueryFailed':
    case 'CleanupIncomplete':
    case 'Internal':
      return 2;
  }
}

function causes(error: unknown): string {
  const lines: string[] = [];
  for (let current = error; current instanceof Error; current = current.cause)
    lines.push(current.stack ?? current.message);
  return lines.join('\ncaused by: ');
}
