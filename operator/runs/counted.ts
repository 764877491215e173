import type { Metrics } from '../kube/metrics.ts';
import { conditionOf, hasEnded } from './status.ts';
import type { RunObject } from './types.ts';

/** Counts what a run has come to between two of its statuses. */
export function countRun(metrics: Metrics, before: RunObject, after: RunObject): void {
  if (!hasEnded(before) && hasEnded(after)) {
    metrics.runsFinished.inc({ verdict: after.status?.result?.verdict ?? 'Errored' });
    metrics.rowsCompared.inc(after.status?.result?.tables?.rows ?? 0);
  }
  const copied = (after.status?.snapshot?.tables?.bytes ?? 0) - (before.status?.snapshot?.tables?.bytes ?? 0);
  if (copied > 0) metrics.bytesCopied.inc(copied);
  const isNew = (reason: string) =>
    conditionOf(before, 'CleanedUp')?.reason !== reason && conditionOf(after, 'CleanedUp')?.reason === reason;
  if (isNew('Incomplete')) metrics.cleanupFailures.inc({ kind: 'run' });
}
