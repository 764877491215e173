import type { Connection } from './source.ts';
import { type Diagnosis, unreachable } from './source-errors.ts';

/** What error names mean for a user (https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html). */
export function diagnoseMysql({
  user,
  database,
}: Connection): (code: string, message: string) => Diagnosis | undefined {
  return (code, message) => {
    switch (code) {
      case 'ER_ACCESS_DENIED_ERROR':
      case 'ER_ACCESS_DENIED_NO_PASSWORD_ERROR':
      case 'ER_ACCESS_DENIED_CHANGE_USER_ERROR':
      case 'ER_HOST_NOT_PRIVILEGED':
        return {
          code: 'AccessDenied',
          what: `user ${user} was refused`,
          advice: "Check the keys user and password of the source's secret.",
        };
      case 'ER_DBACCESS_DENIED_ERROR':
      case 'ER_TABLEACCESS_DENIED_ERROR':
      case 'ER_SPECIFIC_ACCESS_DENIED_ERROR':
        return {
          code: 'AccessDenied',
          what: `user ${user} lacks a privilege on database ${database}`,
          advice:
            'Grant it: CREATE, DROP, ALTER, INDEX, SELECT, INSERT, DELETE and CREATE TEMPORARY TABLES on `parity\\_%`.*',
        };
      case 'ER_BAD_DB_ERROR':
        return {
          code: 'NotFound',
          what: `there is no database ${database}`,
          advice: 'Check the key database of the secret.',
        };
      case 'ER_NO_SUCH_TABLE':
        return { code: 'NotFound', what: 'the table is not there', advice: 'Load the source again.' };
      case 'ER_LOAD_INFILE_CAPABILITY_DISABLED':
      case 'ER_CLIENT_LOCAL_FILES_DISABLED':
      case 'ER_NOT_ALLOWED_COMMAND':
        return {
          code: 'UnsupportedFeature',
          what: 'LOAD DATA LOCAL is turned off',
          advice: 'Set local_infile=ON in the server.',
        };
      case 'ER_RECORD_FILE_FULL':
      case 'ER_DISK_FULL':
        return { code: 'DiskFull', what: 'its disk is full', advice: 'Make room on the disk of the database server.' };
      case 'ER_LOCK_WAIT_TIMEOUT':
      case 'ER_LOCK_DEADLOCK':
        return { code: 'Unreachable', what: 'the table is locked by another session', isRetryable: true };
      case 'ER_SERVER_SHUTDOWN':
      case 'ER_NEW_ABORTING_CONNECTION':
      case 'ER_CON_COUNT_ERROR':
        return unreachable('the connection was lost');
    }
    if (/server has gone away|Lost connection|Can't connect/i.test(message))
      return unreachable('the connection was lost');
    return undefined;
  };
}
