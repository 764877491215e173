import { type ErrorCode, ParityError } from '../support/error.ts';
import type { PlacedQuery } from './place.ts';

/** Codes that say nothing about the query or the data. */
const surroundings: readonly ErrorCode[] = [
  'AccessDenied',
  'Unreachable',
  'Timeout',
  'OutOfMemory',
  'DiskFull',
  'Cancelled',
  'CorruptTable',
  'NotFound',
  'LimitExceeded',
  'InvalidSpec',
];

/** The error with the query's name and side; `QueryFailed` where it is about the query or its data. */
export function inQuery(error: ParityError, query: PlacedQuery, side: 'baseline' | 'candidate'): ParityError {
  const code = surroundings.includes(error.code) ? error.code : 'QueryFailed';
  const said = error.code === 'Timeout' ? `it did not end within ${query.timeoutSeconds} s` : error.message;
  const advice = error.code === 'Timeout' ? 'Raise its timeoutSeconds, or make it read less.' : error.advice;
  return new ParityError(code, `Query ${query.name} on the ${side}: ${said}`, {
    subject: query.name,
    cause: error,
    isRetryable: error.isRetryable,
    ...(advice === undefined ? {} : { advice }),
  });
}
