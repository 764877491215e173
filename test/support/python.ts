import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { env } from '../../src/support/env.ts';

const run = promisify(execFile);

/** Python with the independent readers of requirements.txt: what `make test` has set up, else made in the cache folder on first use. */
export async function pythonPath(): Promise<string> {
  const venv = join(env.cacheDir(), 'python');
  const python = join(venv, 'bin', 'python');
  if (existsSync(python)) return python;
  await run('python3', ['-m', 'venv', venv]);
  await run(python, [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '-r',
    'test/support/requirements.txt',
  ]);
  return python;
}
