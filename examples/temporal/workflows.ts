import { ActivityFailure, ApplicationFailure, proxyActivities } from '@temporalio/workflow';
import type * as activities from './activities.ts';
import type { SyncRequest, SyncResult } from './request.ts';

const { syncFull, syncIncremental } = proxyActivities<typeof activities>({
  startToCloseTimeout: '2 hours',
  heartbeatTimeout: '1 minute',
  retry: { maximumAttempts: 3, nonRetryableErrorTypes: ['NoSuchTable'] },
});

/** Syncs one table. Each activity ends in one atomic commit, so that a worker may die at any moment and another one start over. */
export async function syncTable(request: SyncRequest): Promise<SyncResult> {
  const [table] = request.tables;
  try {
    return request.mode === 'Full' ? await syncFull(request) : await syncIncremental(request);
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    throw ApplicationFailure.create({ message: `${table.name} was not synced`, type: 'SyncFailed', cause: error });
  }
}
