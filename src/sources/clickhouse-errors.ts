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
      case '159': // TIMEOUT_EXCEEDED
      case '160': // TOO_SLOW
        return { code: 'Timeout', what: message };
      case '241': // MEMORY_LIMIT_EXCEEDED
        return { code: 'OutOfMemory', what: message, advice: 'Give the user or the server more memory.' };
      case 'ENOSPC':
        return { code: 'DiskFull', what: 'the disk of this machine is full', advice: 'Make room where the run works.' };
      case '243': // NOT_ENOUGH_SPACE
        return { code: 'DiskFull', what: message, advice: 'Make room on the disk of the database server.' };
      case '394': // QUERY_WAS_CANCELLED
        return { code: 'Timeout', what: 'the statement was cancelled there', isRetryable: true };
      case '202': // TOO_MANY_SIMULTANEOUS_QUERIES
      case '209': // SOCKET_TIMEOUT
      case '210': // NETWORK_ERROR
      case '242': // TABLE_IS_READ_ONLY
      case '279': // ALL_CONNECTION_TRIES_FAILED
      case '999': // KEEPER_EXCEPTION
        return { code: 'Unreachable', what: message, isRetryable: true };
      case 'EPROTO':
        return {
          code: 'Unreachable',
          what: 'the server does not speak TLS there',
          advice: 'Write http:// in the key url of the secret, or the port of HTTPS (8443).',
        };
    }
    if (code.startsWith('HTTP ')) return noAnswer(code, message);
    if (/socket hang up/.test(message)) return unreachable('the connection was closed without an answer');
    // A statement's own fault: its words are what helps, and a value of the data may be in them no more than in the statement.
    return /^\d+$/.test(code) ? { code: 'Internal', what: message } : undefined;
  };
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
