import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { FinishedRequest } from '../../src/kube/client.ts';
import type { QueueHooks } from './queue.ts';

/** What the operator counts. One per process; dashboards and alerts go by these names. */
export type Metrics = ReturnType<typeof createMetrics>;

/** The operator's metrics in a registry of their own. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    /** A reconcile by the phase that it found the run in and how it ended: `Done`, `Failed`, `Conflict`. */
    reconcileSeconds: new Histogram({
      name: 'parity_reconcile_duration_seconds',
      help: 'Time of one reconcile of a run, by the phase it found and how it ended',
      labelNames: ['phase', 'outcome'] as const,
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    reconcileErrors: new Counter({
      name: 'parity_reconcile_errors_total',
      help: 'Reconciles that failed, by the phase of the run and the code of the error',
      labelNames: ['phase', 'code'] as const,
      registers,
    }),
    queueDepth: new Gauge({ name: 'parity_queue_depth', help: 'Runs that wait for a reconcile', registers }),
    queueWaitSeconds: new Histogram({
      name: 'parity_queue_wait_seconds',
      help: 'Time that a run waited for its reconcile',
      buckets: [0.001, 0.01, 0.1, 1, 10, 60],
      registers,
    }),
    queueRetries: new Counter({
      name: 'parity_queue_retries_total',
      help: 'Reconciles that are tried again after a failure',
      registers,
    }),
    runs: new Gauge({
      name: 'parity_runs',
      help: 'Runs in the cluster, by phase',
      labelNames: ['phase'] as const,
      registers,
    }),
    runsFinished: new Counter({
      name: 'parity_runs_finished_total',
      help: 'Runs that ended, by verdict',
      labelNames: ['verdict'] as const,
      registers,
    }),
    rowsCompared: new Counter({
      name: 'parity_rows_compared_total',
      help: 'Rows of baselines that were compared',
      registers,
    }),
    bytesCopied: new Counter({
      name: 'parity_bytes_copied_total',
      help: 'Bytes that were copied into snapshots',
      registers,
    }),
    cleanupFailures: new Counter({
      name: 'parity_cleanup_failures_total',
      help: 'Attempts to remove something of a run that failed, by kind of thing',
      labelNames: ['kind'] as const,
      registers,
    }),
    leakedObjects: new Counter({
      name: 'parity_leaked_objects_found_total',
      help: 'Things found that belong to no living run, by kind of thing',
      labelNames: ['kind'] as const,
      registers,
    }),
    apiRequests: new Counter({
      name: 'parity_api_requests_total',
      help: 'Requests to the Kubernetes API, by verb, resource and answer',
      labelNames: ['verb', 'resource', 'code'] as const,
      registers,
    }),
    apiRequestSeconds: new Histogram({
      name: 'parity_api_request_duration_seconds',
      help: 'Time of requests to the Kubernetes API other than watches, by verb',
      labelNames: ['verb'] as const,
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    mirrorRestarts: new Counter({
      name: 'parity_mirror_restarts_total',
      help: 'Lists and watches that failed and were begun again, by source',
      labelNames: ['source'] as const,
      registers,
    }),
    eventsDropped: new Counter({
      name: 'parity_events_dropped_total',
      help: 'Kubernetes Events that were not recorded',
      registers,
    }),
    isLeader: new Gauge({ name: 'parity_leader', help: '1 while this replica leads', registers }),
  };
}

/** Counts the client's requests: for its `onRequest`. */
export function countRequests(metrics: Metrics): (request: FinishedRequest) => void {
  return ({ verb, resource, code, durationMs }) => {
    metrics.apiRequests.inc({ verb, resource, code: String(code) });
    // A watch lasts as long as it is watched: its time says nothing.
    if (verb !== 'watch') metrics.apiRequestSeconds.observe({ verb }, durationMs / 1000);
  };
}

/** Counts what the queue does: for its `hooks`. */
export function countQueue(metrics: Metrics): QueueHooks {
  return {
    onDepth: (waiting) => metrics.queueDepth.set(waiting),
    onStart: (_key, waitedMs) => metrics.queueWaitSeconds.observe(waitedMs / 1000),
    onFailure: () => metrics.queueRetries.inc(),
  };
}
