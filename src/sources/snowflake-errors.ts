import type { Connection } from './source.ts';
import { type Diagnosis, unreachable } from './source-errors.ts';

/** What the driver or the account said of a failure. */
export class SnowflakeFailure extends Error {
  /** Six digits of the account, or the driver's own number. */
  readonly code: string;
  readonly sqlState: string;

  constructor(message: string, about: { code: string; sqlState: string; cause?: unknown }) {
    super(message, { cause: about.cause });
    this.code = about.code;
    this.sqlState = about.sqlState;
  }
}

/** Whether the statement failed for a value that the type it was to have does not hold (SQLSTATE class 22). */
export function isValueError(error: unknown): boolean {
  return error instanceof SnowflakeFailure && error.sqlState.startsWith('22') && error.code.startsWith('1');
}

/** Whether an object that the statement names is not there, or hidden from the role: Snowflake does not tell these apart. */
export function isMissing({ code }: SnowflakeFailure): boolean {
  return ['002043', '002003', '000606', '090105', '090106'].includes(code);
}

/** Whether the role lacks a privilege that it is told of. */
export function isDenied({ code }: SnowflakeFailure): boolean {
  return code === '003001' || code === '003003';
}

/** Whether Time Travel does not go back as far as the statement asks for. */
export function isTooLongAgo({ code }: SnowflakeFailure): boolean {
  return code === '000707';
}

/** Whether the session is of no more use: the account does not answer, or has ended it. */
export function isLost(error: unknown): error is SnowflakeFailure {
  return error instanceof SnowflakeFailure && lostCodes.has(error.code);
}

/** https://github.com/snowflakedb/snowflake-connector-nodejs/blob/master/lib/constants/error_messages.js, and the account's own. */
const lostCodes: ReadonlySet<string> = new Set([
  ...['390104', '390111', '390114'],
  ...['401001', '401003', '402001', '405503', '407002'],
]);

/** What codes mean for a user. */
export function diagnoseSnowflake(connection: Connection): (code: string, message: string) => Diagnosis | undefined {
  const { user, database, snowflake } = connection;
  return (code, message) => {
    switch (code) {
      case '390100':
      case '390101':
      case '390102':
        return refused(`user ${user} was refused`, "Check the keys user and password of the source's secret.");
      case '390144':
        return refused(
          `the private key of user ${user} was refused`,
          "Check that the user's RSA_PUBLIC_KEY belongs to the key privateKey of the secret, and the keys account and user.",
        );
      case '390303':
      case '390318':
        return refused(`the OAuth token of user ${user} was refused`, 'Put a token that is valid into the key token.');
      case '390189':
        return refused(`user ${user} does not have the role ${snowflake?.role}`, 'Check the key role of the secret.');
      case '390422':
        return refused('a network policy keeps this address out', 'Have the address of this machine allowed.');
      case '003001':
      case '003003':
        return refused(
          `user ${user} lacks a privilege`,
          `Grant its role USAGE on the warehouse, and USAGE and CREATE SCHEMA on database ${database}.`,
        );
      case '000606':
        return {
          code: 'NotFound',
          what: `the session of user ${user} has no warehouse`,
          advice: 'Name one with the key warehouse of the secret, or give the user a default one.',
        };
      case '002003':
      case '002043':
        return { code: 'NotFound', what: 'the table is not there', advice: 'Load the source again.' };
      case '000604':
        return { code: 'Timeout', what: 'the statement was cancelled there', isRetryable: true };
      case '000630':
      case '000625':
        return { code: 'Timeout', what: 'the statement ran longer than the account allows', isRetryable: true };
      case '401002':
        return unanswered(connection, message);
    }
    if (lostCodes.has(code)) return unreachable('the connection was lost');
    return undefined;
  };
}

function refused(what: string, advice: string): Diagnosis {
  return { code: 'AccessDenied', what, advice };
}

/** An HTTP status that is not Snowflake's own answer: names of accounts that do not exist lead to one. */
function unanswered({ host, snowflake }: Connection, message: string): Diagnosis {
  if (/\b(403|404)\b/.test(message))
    return {
      code: 'NotFound',
      what: `no account ${snowflake?.account} answers at ${host}`,
      advice: 'Check the key account of the secret (and accessUrl, where it is there).',
    };
  return unreachable('the answer was no answer of Snowflake');
}
