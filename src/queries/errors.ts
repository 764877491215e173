import { unrepresentableColumn } from '../compare/query-sql.ts';
import { type ErrorCode, ParityError } from '../support/error.ts';
import type { PlacedQuery, QuerySide } from './place.ts';

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

/** The same for ClickHouse, embedded or a server, where a view of ours may refuse a value. */
export function inEngine(error: ParityError, query: PlacedQuery, { word }: QuerySide): ParityError {
  const column = unrepresentableColumn(error.message);
  if (column === undefined) return inQuery(error, query, word);
  return new ParityError(
    'UnrepresentableValue',
    `Query ${query.name} on the ${word}: the column ${column} has a date or time before 1900 or after 2299, which queries cannot hold.`,
    {
      subject: query.name,
      advice: 'Leave the column out of the query; comparisons of tables hold every date.',
      cause: error,
    },
  );
}
