import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { env } from '../support/env.ts';
import { makeFolder } from '../support/folder.ts';

/**
 * Keeps compiled code in the cache folder, for this process and those it starts: compiling is half of a short process's time. Called before
 * the rest of the program is loaded. Not while coverage is measured, which kept code would blur; where the folder cannot be made, nothing is
 * kept and nothing else changes.
 */
export async function keepCompiledCode(): Promise<void> {
  if (env.hasOwnCompileCache()) return;
  const folder = join(env.cacheDir(), 'compiled');
  try {
    // Not left to the runtime, whose recursive mkdir may never return: see makeFolder.
    await makeFolder(folder, 0o755);
  } catch {
    return;
  }
  enableCompileCache(folder);
  env.passCompileCache(folder);
}
