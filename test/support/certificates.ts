import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A CA and, signed by it, a certificate for 127.0.0.1. Returns the CA's. */
export async function makeCertificates(folder: string, name: string): Promise<string> {
  const openssl = (...args: string[]): Promise<unknown> => promisify(execFile)('openssl', args, { cwd: folder });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    `/CN=${name} CA`,
    '-keyout',
    `${name}-ca.key`,
    '-out',
    `${name}-ca.crt`,
  );
  await openssl(
    ...['req', '-x509', ...key, '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-addext', 'basicConstraints=critical,CA:FALSE', '-CA', `${name}-ca.crt`, '-CAkey', `${name}-ca.key`],
    ...['-keyout', `${name}.key`, '-out', `${name}.crt`],
  );
  return await readFile(join(folder, `${name}-ca.crt`), 'utf8');
}
