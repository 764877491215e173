import type { ResolvedSource } from '../../src/api/resolved.ts';
import { openStore } from '../../src/lake/open.ts';
import { taskId } from '../../src/run/task-id.ts';
import { readOutput } from '../../src/tasks/records.ts';
import type { Resolution } from '../../src/tasks/task.ts';
import { storageKeys } from './memory.ts';
import type { Scope } from './types.ts';

/** What becomes of a table's compressed files in a database, with indexes and log: a guess on the safe side. */
const growth = 4;
const leastMi = 256;

/**
 * The room on a node that the source's tables will take, as a quantity: what the lake was found to hold, grown. So a pod is placed where it is not evicted
 * half-way, or it is said that no node has the room.
 */
export async function roomFor({ hold }: Scope, source: ResolvedSource): Promise<string> {
  const store = await openStore(hold.workspace.storage, storageKeys(hold));
  try {
    // Sources are provisioned after it; where it is not there, nothing is known of the tables.
    const output = await readOutput<Resolution>(store, taskId('resolve'));
    const tables = output?.outcome === 'Succeeded' ? output.detail.tables : [];
    const sizeBytes = tables
      .filter(({ name }) => source.tables.includes(name))
      .reduce((sum, table) => sum + table.sizeBytes, 0);
    return `${Math.max(leastMi, Math.ceil((sizeBytes * growth) / 2 ** 20))}Mi`;
  } finally {
    store.close();
  }
}
