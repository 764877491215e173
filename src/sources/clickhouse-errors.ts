import type { Connection } from './source.ts';
import { type Diagnosis, unreachable } from './source-errors.ts';

/** What a ClickHouse server said of a failure: the number of its error, and its words without version and stack. */
export class ClickHouseFailure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The exception that an answer ends with, or undefined. A server that fails half-way has sent its status already, and writes what went wrong after what it had
 * sent; since 25.11 between marks that carry the answer's own tag.
 */
export function exceptionIn(body: string, tag: string | string[] | undefined): ClickHouseFailure | undefined {
  const marked = typeof tag === 'string' ? body.lastIndexOf(`__exception__\r\n${tag}`) : -1;
  const end = marked === -1 ? body : body.slice(marked);
  const [, code, said = ''] = /Code: (\d+)\. DB::(?:Net|)Exception: ([\s\S]*)$/.exec(end) ?? [];
  if (code === undefined) return undefined;
  const message = said.replace(/\s*\(version [\s\S]*$/, '').split('\n')[0] ?? '';
  return new ClickHouseFailure(code, message.trim().slice(0, 1000));
}

/** What codes mean for a user (https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp). */
export function diagnoseClickHouse({
  user,
  clickhouse,
}: Connection): (code: string, message: string) => Diagnosis | undefined {
  return (code, message) => {
    switch (code) {
      case '516': // AUTHENTICATION_FAILED
      case '194': // REQUIRED_PASSWORD
      case '193': // WRONG_PASSWORD
      case '192': // UNKNOWN_USER
        return {
          code: 'AccessDenied',
          what: `user ${user} was refused`,
          advice: 'Check the keys user and password of the secret.',
        };
      case '497': // ACCESS_DENIED
        return { code: 'AccessDenied', what: message, advice: `Grant it to user ${user}.` };
      case '164': // READONLY
        return {
          code: 'AccessDenied',
          what: `user ${user} may only read, or not change settings`,
          advice: 'Give the run a user whose profile has readonly = 0.',
        };
      case '60': // UNKNOWN_TABLE
        return { code: 'NotFound', what: message };
      case '81': // UNKNOWN_DATABASE
        return { code: 'NotFound', what: message, advice: 'Check the key database of the secret.' };
      case '701': // CLUSTER_DOESNT_EXIST
      case '170': // BAD_GET, which older servers say
        return {
          code: 'NotFound',
          what: message,
          advice: `Check the key cluster of the secret (${clickhouse?.cluster ?? 'not given'}).`,
        };
      case '452': // SETTING_CONSTRAINT_VIOLATION
        return {
          code: 'AccessDenied',
          what: message,
          advice: `Let the profile of user ${user} change this setting.`,
        };
      case '115': // UNKNOWN_SETTING
        return { code: 'UnsupportedFeature', what: message, advice: 'Use a server of version 23.8 or later.' };
      case '394': // QUERY_WAS_CANCELLED
        return { code: 'Timeout', what: 'the statement was cancelled there', isRetryable: true };
      case '499': // S3_ERROR
        return ofBucket(message);
      case 'ENOSPC':
        return { code: 'DiskFull', what: 'the disk of this machine is full', advice: 'Make room where the run works.' };
      case 'EPROTO':
        return {
          code: 'Unreachable',
          what: 'the server does not speak TLS there',
          advice: 'Write http:// in the key url of the secret, or the port of HTTPS (8443).',
        };
    }
    const kind = kinds.get(code);
    if (kind !== undefined) return { what: message, ...kind };
    if (code.startsWith('HTTP ')) return noAnswer(code, message);
    if (/socket hang up/.test(message)) return unreachable('the connection was closed without an answer');
    // A statement's own fault: its words are what helps, and a value of the data may be in them no more than in the statement.
    return /^\d+$/.test(code) ? { code: 'Internal', what: message } : undefined;
  };
}

/** What says nothing about the statement or its data: it must never be taken for a difference. */
const kinds: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  // TIMEOUT_EXCEEDED, TOO_SLOW
  ...all(['159', '160'], { code: 'Timeout' }),
  // MEMORY_LIMIT_EXCEEDED, CANNOT_ALLOCATE_MEMORY
  ...all(['241', '173'], { code: 'OutOfMemory', advice: 'Give the user or the server more memory.' }),
  // NOT_ENOUGH_SPACE
  ...all(['243'], { code: 'DiskFull', advice: 'Make room on the disk of the database server.' }),
  // TOO_MANY_ROWS, SET_SIZE_LIMIT_EXCEEDED, QUOTA_EXCEEDED, LIMIT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
  ...all(['158', '191', '201', '290', '307', '396'], {
    code: 'LimitExceeded',
    advice: 'Raise the limit in the profile or the quota of the user.',
  }),
  // CANNOT_READ_FROM_FILE_DESCRIPTOR, CANNOT_OPEN_FILE, CANNOT_READ_FROM_SOCKET, CANNOT_WRITE_TO_SOCKET, DNS_ERROR, TOO_MANY_SIMULTANEOUS_QUERIES,
  // SOCKET_TIMEOUT, NETWORK_ERROR, TABLE_IS_DROPPED, NO_ZOOKEEPER, ABORTED, TABLE_IS_READ_ONLY, TOO_MANY_PARTS, ALL_CONNECTION_TRIES_FAILED,
  // TOO_FEW_LIVE_REPLICAS, UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, REPLICA_IS_NOT_IN_QUORUM, UNKNOWN_STATUS_OF_INSERT, ALL_REPLICAS_LOST, SYSTEM_ERROR, CANNOT_SCHEDULE_TASK,
  // USER_SESSION_LIMIT_EXCEEDED, SERVER_OVERLOADED, KEEPER_EXCEPTION, POCO_EXCEPTION
  ...all(
    [
      ...[
        '74',
        '76',
        '95',
        '96',
        '198',
        '202',
        '209',
        '210',
        '218',
        '225',
        '236',
        '242',
        '252',
        '279',
        '285',
        '286',
        '289',
      ],
      ...['319', '415', '425', '439', '700', '745', '999', '1000'],
    ],
    { code: 'Unreachable', isRetryable: true },
  ),
]);

type Kind = Omit<Diagnosis, 'what'>;

function all(codes: readonly string[], kind: Kind): readonly (readonly [string, Kind])[] {
  return codes.map((code) => [code, kind] as const);
}

function ofBucket(message: string): Diagnosis {
  if (/403|Access ?Denied|Forbidden|SignatureDoesNotMatch|InvalidAccessKeyId/i.test(message))
    return {
      code: 'AccessDenied',
      what: message,
      advice: 'Check the keys accessKeyId and secretAccessKey of the secret, which are to read the workspace.',
    };
  if (/404|NoSuchKey|NoSuchBucket/i.test(message)) return { code: 'NotFound', what: message };
  return { code: 'Unreachable', what: message, isRetryable: true };
}

function noAnswer(code: string, message: string): Diagnosis {
  if (message === 'native port')
    return {
      code: 'Unreachable',
      what: 'that is the port of the native protocol',
      advice: 'The key url of the secret names the HTTP interface: port 8123, or 8443 with https://.',
    };
  return unreachable(`the answer was no answer of ClickHouse (${code})`);
}
