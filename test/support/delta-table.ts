import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { addAction, type DeltaAction, formatCommit, initialCommit } from '../../src/lake/delta/commit.ts';
import type { StructType } from '../../src/lake/types.ts';

export const ID_ONLY: StructType = {
  kind: 'struct',
  fields: [{ name: 'id', type: { kind: 'long' }, nullable: true, physicalName: 'id' }],
};

/** Writes log entries, by file name, into a table's `_delta_log`; a list of actions becomes a commit. */
export async function writeLog(table: string, entries: Readonly<Record<string, string | readonly DeltaAction[]>>) {
  for (const [name, entry] of Object.entries(entries)) {
    const path = join(table, '_delta_log', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, typeof entry === 'string' ? entry : formatCommit(entry, 'WRITE', 0));
  }
}

/** A table of one version whose files hold any bytes at all: for what copies, and does not read, them. */
export async function writeOpaqueTable(table: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  await mkdir(table, { recursive: true });
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(table, path)), { recursive: true });
    await writeFile(join(table, path), bytes);
  }
  const adds = [...files].map(([path, bytes]) => addAction({ path, sizeBytes: bytes.length, numRecords: 1 }));
  await writeLog(table, { [commitName(0)]: [...initialCommit({ schema: ID_ONLY }), ...adds] });
}

export function commitName(version: number): string {
  return `${String(version).padStart(20, '0')}.json`;
}
