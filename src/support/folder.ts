import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder and those above it; one that is there is no error. Throws the file system's error.
 *
 * Node's own recursive mkdir never returns where a parent is there and mkdir in it still answers ENOENT, as in /proc (seen with
 * Node 24).
 */
export async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    if (error.code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    if (error.code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path), mode);
    await mkdir(path, { mode }).catch(async (again) => {
      // Somebody else may have made it in between.
      if (!(await stat(path).catch(() => undefined))?.isDirectory()) throw again;
    });
  }
}
