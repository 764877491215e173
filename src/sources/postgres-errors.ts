import type { Connection } from './source.ts';
import { type Diagnosis, unreachable } from './source-errors.ts';

/** What SQLSTATE codes mean for a user (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
export function diagnosePostgres({ user, database }: Connection): (code: string) => Diagnosis | undefined {
  return (code) => {
    switch (code) {
      case '28P01':
      case '28000':
        return {
          code: 'AccessDenied',
          what: `user ${user} was refused`,
          advice: "Check the keys user and password of the source's secret.",
        };
      case '42501':
        return {
          code: 'AccessDenied',
          what: `user ${user} lacks a privilege on database ${database}`,
          advice: 'Grant it, e.g. CREATEDB, or CREATE on the database.',
        };
      case '3D000':
        return {
          code: 'NotFound',
          what: `there is no database ${database}`,
          advice: 'Check the key database of the secret.',
        };
      case '42P01':
        return { code: 'NotFound', what: 'the table is not there', advice: 'Load the source again.' };
      case '53100':
        return { code: 'DiskFull', what: 'its disk is full', advice: 'Make room on the disk of the database server.' };
      case '53200':
        return { code: 'OutOfMemory', what: 'it has no memory left' };
      case '55P03':
      case '40P01':
        return { code: 'Unreachable', what: 'the table is locked by another session', isRetryable: true };
    }
    // 08: connection exception; 57P: shut down, crashed, starting; 53300: too many connections.
    if (/^(08|57P|53300)/.test(code)) return unreachable('the connection was lost');
    return undefined;
  };
}

/** The column that a value was refused for, from the context of a COPY; undefined where the error is not about a value. */
export function refusedColumn(error: unknown): { readonly column: string; readonly what: string } | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || typeof error.code !== 'string')
    return undefined;
  const what = valueErrors[error.code];
  const where = 'where' in error && typeof error.where === 'string' ? error.where : '';
  // `COPY flights, line 3, column note: "…"`: the value that follows is not for a message.
  const column = /^COPY .*?, line \d+, column ([^:]+?)(:|$)/s.exec(where)?.[1];
  return what === undefined ? undefined : { column: column ?? '(unknown)', what };
}

const valueErrors: Readonly<Record<string, string>> = {
  '22P02': 'a value that is not of its type',
  '22003': 'a number out of the range of its type',
  '22001': 'a value too long for its type',
  '22007': 'a date or time that is none',
  '22008': 'a date or time out of range',
  '22021': 'text that is not valid UTF-8',
  '22P03': 'a malformed binary value',
  '22P05': 'a character that its encoding lacks',
  '23502': 'NULL, which its type refuses',
};
