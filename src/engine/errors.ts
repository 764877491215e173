import { type ErrorCode, ParityError } from '../support/error.ts';

/**
 * The named error for what the engine threw. Codes are ClickHouse's (`system.errors`); its version suffix and stack are cut, because a user can
 * do nothing with them.
 */
export function toEngineError(error: unknown, doing: string): ParityError {
  if (error instanceof ParityError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const number = Number(/Code: (\d+)\./.exec(text)?.[1] ?? Number.NaN);
  const name = /\(([A-Z0-9_]+)\)\s*(?:\(version[^)]*\))?\s*$/.exec(text)?.[1];
  const said = saidIn(text);
  const code = codeOf(number, text);
  const advice = adviceFor[code];
  const file = /\(in file\/uri (.+?)\)/.exec(text)?.[1];
  const reason = said.replace(/:? \(in file\/uri .*$/, '');
  const isFile = (code === 'CorruptTable' || code === 'NotFound') && file !== undefined;
  return new ParityError(
    code,
    isFile ? `The file ${file} cannot be read: ${reason}` : `While ${doing}, the engine said: ${said || text}`,
    {
      cause: error,
      isRetryable: code === 'Unreachable',
      ...(advice === undefined ? {} : { advice }),
      ...(name === undefined ? {} : { subject: name }),
    },
  );
}

/** The first line that says something. Where no structure could be made out, that is the next one, which says why. */
function saidIn(text: string): string {
  const [first = '', next = ''] = text.replace(/^[\s\S]*?DB::\w*Exception: /, '').split('\n');
  const said = /cannot be extracted from a \w+ format file\. Error:\s*$/.test(first) && next !== '' ? next : first;
  return said
    .replace(/^.*?DB::\w*Exception: /, '')
    .replace(/\s*\(version [^)]*\)\.?\s*$/, '')
    .replace(/ \((INCORRECT_DATA|STD_EXCEPTION)\)$/, '')
    .replace(/^The table structure cannot be extracted from a \w+ format file: /, '')
    .replace(/^parquet::\w+: Invalid: /, '')
    .replace(/^Cannot stat file .*errno: 2,.*?(?= \(in file\/uri |$)/, 'it is not there')
    .trim()
    .replace(/\.$/, '');
}

function codeOf(number: number, text: string): ErrorCode {
  if (/no space left on device|Cannot reserve|NOT_ENOUGH_SPACE/i.test(text) || number === 243) return 'DiskFull';
  switch (number) {
    case 241: // MEMORY_LIMIT_EXCEEDED
      return 'OutOfMemory';
    case 159: // TIMEOUT_EXCEEDED
      return 'Timeout';
    case 394: // QUERY_WAS_CANCELLED
      return 'Cancelled';
    case 395: // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO: a guard of ours on values, or on files that lack what the log says of them
      return /a data file without/.test(text) ? 'CorruptTable' : 'UnrepresentableValue';
    case 107: // FILE_DOESNT_EXIST
    case 400: // CANNOT_STAT
      return 'NotFound';
    case 210: // NETWORK_ERROR
    case 209: // SOCKET_TIMEOUT
      return 'Unreachable';
    case 499: // S3_ERROR
      return /403|Access ?Denied|Forbidden|SignatureDoesNotMatch|InvalidAccessKeyId/i.test(text)
        ? 'AccessDenied'
        : /404|NoSuchKey|NoSuchBucket/i.test(text)
          ? 'NotFound'
          : 'Unreachable';
    case 636: // CANNOT_EXTRACT_TABLE_STRUCTURE
    case 117: // INCORRECT_DATA
    case 33: // CANNOT_READ_ALL_DATA
    case 271: // CANNOT_DECOMPRESS
      return 'CorruptTable';
    default:
      return /parquet|magic bytes|Not a Parquet/i.test(text) &&
        /corrupt|invalid|magic|footer|truncat|unexpected/i.test(text)
        ? 'CorruptTable'
        : 'Internal';
  }
}

const adviceFor: Partial<Record<ErrorCode, string>> = {
  CorruptTable:
    'A file was truncated, overwritten or damaged: restore it where the run read it, or name a version without it.',
  OutOfMemory: 'Raise spec.execution.memory, or lower spec.execution.threads.',
  DiskFull: 'Free disk space where the run keeps its scratch files, or set PARITY_STATE_DIR to a larger disk.',
};
