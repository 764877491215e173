import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ParityError } from '../support/error.ts';

let known: string | undefined;

/** Version of this package, e.g. `0.1.0`, from its package.json: the nearest above this file, in src/ as in dist/. */
export function parityVersion(): string {
  known ??= readVersion();
  return known;
}

function readVersion(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (!existsSync(file)) continue;
    const { version }: { version?: unknown } = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof version === 'string') return version;
  }
  throw new ParityError('Internal', 'package.json is missing from this installation', {
    advice: 'Install the package again.',
  });
}
