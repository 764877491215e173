import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { ExecutionRequest } from '../../src/pipelines/contract.ts';

/**
 * A pipeline for a pod of the project's own image, which holds the engine: reads the source's tables, all rows or by their cursor, and lands Parquet on S3.
 * The argument `DropsRows` has it lose the rows of one carrier.
 */
const { Session }: typeof import('chdb') = createRequire('/app/')('chdb');

const {
  PARITY_REQUEST = '',
  PARITY_SOURCE_DIR = '',
  AWS_ENDPOINT_URL,
  AWS_ACCESS_KEY_ID,
  AWS_SECRET_ACCESS_KEY,
} = process.env;
const request: ExecutionRequest = JSON.parse(readFileSync(PARITY_REQUEST, 'utf8'));
const { host, port, database, user } = request.source;
const password = readFileSync(`${PARITY_SOURCE_DIR}/password`, 'utf8');
const lost = process.argv[2] === 'DropsRows' ? " WHERE carrier != 'AA'" : '';

const session = new Session();
session.query("SET session_timezone = 'UTC', s3_truncate_on_insert = 1");
for (const { name, key, cursor, output } of request.tables) {
  if (output.format !== 'Parquet') throw new Error('only Parquet is landed here');
  const place = `s3(${list(output.location.replace('s3:/', AWS_ENDPOINT_URL ?? '').concat('/rows.parquet'), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, 'Parquet')})`;
  const source = `(SELECT * FROM postgresql(${list(`${host}:${port}`, database, name, user, password)})${lost})`;
  const isNew = `${cursor} >= (SELECT max(${cursor}) FROM ${place})`;
  const rows =
    request.mode === 'Full'
      ? `SELECT * FROM ${source}`
      : `SELECT * FROM ${source} WHERE ${isNew} UNION ALL
         SELECT * FROM ${place} WHERE (${key.join()}) NOT IN (SELECT ${key.join()} FROM ${source} WHERE ${isNew})`;
  session.query(`CREATE TABLE default.rows ENGINE = Memory AS ${rows}`);
  session.query(`INSERT INTO FUNCTION ${place} SELECT * FROM default.rows`);
  session.query('DROP TABLE default.rows');
  console.log(`${request.mode}: ${name} is landed`);
}
session.cleanup();

function list(...texts: readonly (string | undefined)[]): string {
  return texts.map((text = '') => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`).join(', ');
}
