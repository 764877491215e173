import { count } from '../../report/words.ts';
import type { Io } from './io.ts';
import { type LoadFlags, load } from './load.ts';

/** `parity validate`: checks a manifest without touching anything else. Throws `InvalidSpec` with all problems. */
export async function validateCommand(manifest: string, flags: LoadFlags, io: Io): Promise<number> {
  const { name, spec, specDigest } = await load(manifest, flags, io);
  const tables = count(spec.snapshot.tables.length, 'table');
  const sources = count(spec.sources.length, 'source');
  const steps = count(spec.scenario.length, 'step');
  io.out(`${name} is valid: ${tables}, ${sources}, ${steps}; digest ${specDigest.slice(0, 16)}\n`);
  return 0;
}
