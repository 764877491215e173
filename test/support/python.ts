import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { env } from '../../src/support/env.ts';

const run = promisify(execFile);

/** Python with the independent readers of requirements.txt: what `make test` has set up, else made in the cache folder on first use. */
export async function pythonPath(): Promise<string> {
  const ready = join(env.cacheDir(), 'python', 'bin', 'python');
  if (existsSync(ready)) return ready;
  return join(await environmentOf('test/support/requirements.txt'), 'python');
}

/** The `bin` folder of a Python environment with what a file requires, kept in the cache folder by the file's content. */
export async function environmentOf(requirements: string): Promise<string> {
  const key = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 12);
  const venv = join(env.cacheDir(), `python-${key}`);
  const complete = join(venv, '.complete');
  if (!existsSync(complete)) {
    await mkdir(env.cacheDir(), { recursive: true });
    await rm(venv, { recursive: true, force: true });
    await run('python3', ['-m', 'venv', venv]);
    const quietly = ['--quiet', '--disable-pip-version-check'];
    await run(join(venv, 'bin', 'python'), ['-m', 'pip', 'install', ...quietly, '-r', requirements]);
    await run('touch', [complete]);
  }
  return join(venv, 'bin');
}
