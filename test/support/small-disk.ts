import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Makes the folder a file system of a few MiB, which fills up; `unmount` it before it is removed. Mounting takes root, as CI has. */
export async function mountSmallDisk(folder: string, mebibytes: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0755`, 'parity-test', folder]);
  } catch (error) {
    throw new Error(
      'a full disk needs a small one: run this test as root, where it may mount (docker run --cap-add SYS_ADMIN)',
      { cause: error },
    );
  }
}

export async function unmount(folder: string): Promise<void> {
  await run('umount', [folder]);
}
