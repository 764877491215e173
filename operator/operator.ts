import type { ResolvedSource } from '../src/api/resolved.ts';
import type { StartServer } from '../src/cli/driver/provision.ts';
import { type ClientOptions, connect, type KubeClient } from '../src/kube/client.ts';
import { isKubeError } from '../src/kube/error.ts';
import type { AccessOptions } from '../src/kube/kubeconfig.ts';
import { jobs, type KubeObject, keyOf, type MetadataOnly, nameOf, pods, type Resource } from '../src/kube/objects.ts';
import { Mirror, metadataOf, objectsOf } from '../src/kube/watch.ts';
import { ParityError, toParityError } from '../src/support/error.ts';
import { log } from '../src/support/log.ts';
import { delay, within } from '../src/support/retry.ts';
import { Recorder } from './kube/events.ts';
import { type HealthServer, startHealthServer } from './kube/health.ts';
import { type Leadership, leadOnce, leaseStore } from './kube/lease.ts';
import { countQueue, countRequests, createMetrics, type Metrics } from './kube/metrics.ts';
import { type Outcome, WorkQueue } from './kube/queue.ts';
import { Admission, type KnownRun } from './runs/admission.ts';
import { applicationSources } from './runs/applications.ts';
import type { RunContext } from './runs/context.ts';
import { countRun } from './runs/counted.ts';
import { EmbeddedSources } from './runs/embedded.ts';
import { externalSources } from './runs/external.ts';
import type { FreezeOptions } from './runs/freeze.ts';
import { JobExecutor } from './runs/jobs.ts';
import { RunMemory } from './runs/memory.ts';
import { labels } from './runs/names.ts';
import { releaseOwnAccess } from './runs/own-access.ts';
import { PipelineJobs } from './runs/pipeline-jobs.ts';
import { ProcessExecutor } from './runs/process-executor.ts';
import { reconcile } from './runs/reconcile.ts';
import type { Hands } from './runs/removals.ts';
import type { Reach } from './runs/server-state.ts';
import { statefulSetSources } from './runs/statefulsets.ts';
import { hasEnded } from './runs/status.ts';
import { type Hold, type RunObject, runs, type SourceProvider } from './runs/types.ts';
import { sweep } from './sweep/sweep.ts';

export interface StartOptions extends FreezeOptions {
  /** How the cluster is reached: kubeconfig, context, or this pod's own account. */
  readonly access?: AccessOptions;
  readonly client?: Pick<ClientOptions, 'requestsPerSecond' | 'burst' | 'deadlineMs'>;
  /** Folder of processes and servers beside the operator; with the process executor. */
  readonly stateDir: string;
  /** The Lease in the operator's namespace by which replicas agree on who works; left out: this is the only one. */
  readonly lease?: {
    readonly name: string;
    readonly leaseMs?: number;
    readonly renewWithinMs?: number;
    readonly retryMs?: number;
  };
  /** Port of health checks and metrics; left out: none. 0: any. */
  readonly healthPort?: number;
  /** Runs that are looked at at once. Default 8. */
  readonly concurrency?: number;
  /** Time between two looks for what belongs to no living run, in ms; left out: never. */
  readonly sweepMs?: number;
  /** First and longest wait after a reconcile that failed, in ms. Default 500 and 300,000. */
  readonly retryBaseMs?: number;
  readonly retryMaxMs?: number;
  /** How long the image of tasks may be pulled in vain, in ms: its registry may be restarting. Default 120,000. */
  readonly pullPatienceMs?: number;
  /** Time that work has to end when the operator is stopped, in ms. Default 10,000. */
  readonly graceMs?: number;
  /** Where servers in the cluster are reached from this process. Default: by their own address, as from any pod. */
  readonly reach?: Reach;
  /** For tests: the program that a task process runs, what starts an embedded server, and further kinds of sources. */
  readonly taskEntry?: string;
  readonly startServer?: StartServer;
  readonly providers?: Partial<Record<ResolvedSource['provider']['kind'], SourceProvider>>;
  /** Told before each reconcile. */
  readonly onReconcile?: (key: string) => void;
}

export interface RunningOperator {
  /** Ends work within its grace, gives the lease back, and closes all. */
  stop(): Promise<void>;
  /** Settles when the operator can't go on by itself: it has lost its lease. Rejects with what ended it. */
  readonly ended: Promise<void>;
  readonly metrics: Metrics;
  readonly healthPort: number | undefined;
}

/** Starts the operator in this process and returns at once; it works as soon as it leads and has listed all. Throws where no cluster is known. */
export async function startOperator(options: StartOptions): Promise<RunningOperator> {
  const operator = new Operator(options);
  await operator.start();
  return operator;
}

/** Twice what 50 runs that wait take (4 requests every 5 s each): a reconcile is not to wait for its turn. The server's own fairness bounds the rest. */
const defaultRate = { requestsPerSecond: 100, burst: 200 };

class Operator implements RunningOperator {
  readonly metrics = createMetrics();
  readonly #options: StartOptions;
  readonly #stop = new AbortController();
  #kube: KubeClient | undefined;
  #health: HealthServer | undefined;
  #work: Work | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: StartOptions) {
    this.#options = options;
  }

  get ended(): Promise<void> {
    return this.#ended;
  }

  get healthPort(): number | undefined {
    return this.#health?.port;
  }

  async start(): Promise<void> {
    const { access, client, healthPort } = this.#options;
    const kube = await connect({ ...access, ...defaultRate, ...client, onRequest: countRequests(this.metrics) });
    this.#kube = kube;
    if (healthPort !== undefined) {
      this.#health = await startHealthServer({
        port: healthPort,
        metrics: this.metrics.registry,
        live: { mirrors: () => this.#work?.silence() },
        // A replica that does not lead is ready to.
        ready: { lists: () => (this.#work?.hasSynced === false ? 'the first list is under way' : undefined) },
      });
    }
    this.#ended = this.#lead(kube);
    this.#ended.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended.catch(() => undefined);
    await this.#health?.[Symbol.asyncDispose]();
    this.#kube?.close();
  }

  async #lead(kube: KubeClient): Promise<void> {
    const { lease, namespace } = this.#options;
    if (lease === undefined) return await this.#carryOut(kube, this.#stop.signal, undefined);
    const { name, ...terms } = lease;
    const store = leaseStore(kube, { namespace, name });
    const end = await leadOnce({ store, ...terms }, this.#stop.signal, (leadership) =>
      this.#carryOut(kube, this.#stop.signal, leadership),
    );
    // What it remembers may be old by the time it leads again: a new process begins clean.
    if (end === 'Lost') throw new ParityError('Cancelled', 'this replica does not lead any more');
  }

  async #carryOut(kube: KubeClient, stop: AbortSignal, leadership: Leadership | undefined): Promise<void> {
    this.metrics.isLeader.set(1);
    const work = new Work(kube, this.#options, this.metrics, leadership);
    this.#work = work;
    try {
      work.start();
      await aborted(stop, leadership?.signal);
    } finally {
      await work.stop();
      this.#work = undefined;
      this.metrics.isLeader.set(0);
    }
  }
}

/** What a leader does: mirrors, queue, executors, sweeps. */
class Work {
  readonly #options: StartOptions;
  readonly #metrics: Metrics;
  readonly #kube: KubeClient;
  readonly #abort = new AbortController();
  readonly #recorder: Recorder;
  readonly #queue: WorkQueue;
  readonly #runs: readonly Mirror<RunObject, KnownRun>[];
  readonly #children: readonly Mirror<MetadataOnly, string | undefined>[];
  readonly #admission = new Admission();
  readonly #memories = new Map<string, RunMemory>();
  readonly #processes: ProcessExecutor;
  readonly #embedded: EmbeddedSources;
  readonly #hands: Hands;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(kube: KubeClient, options: StartOptions, metrics: Metrics, leadership: Leadership | undefined) {
    this.#options = options;
    this.#metrics = metrics;
    this.#recorder = new Recorder({
      client: kube,
      component: 'pipelineparity.io/operator',
      onDropped: () => metrics.eventsDropped.inc(),
    });
    leadership?.signal.addEventListener('abort', () => this.#abort.abort(), { once: true });
    this.#kube = kube.with({
      signal: this.#abort.signal,
      ...(leadership === undefined ? {} : { mayWrite: leadership.check }),
    });
    this.#queue = new WorkQueue({
      process: (key, signal) => this.#process(key, signal),
      concurrency: options.concurrency ?? 8,
      ...(options.retryBaseMs === undefined ? {} : { baseMs: options.retryBaseMs }),
      ...(options.retryMaxMs === undefined ? {} : { maxMs: options.retryMaxMs }),
      hooks: this.#queueHooks(),
    });
    const places = options.namespaces ?? [undefined];
    this.#runs = places.map((namespace) => this.#mirrorRuns(namespace));
    this.#children = places.flatMap((namespace) => [jobs, pods].map((kind) => this.#mirrorChildren(kind, namespace)));
    const onChange = (key: string) => this.#queue.add(key);
    const { stateDir, taskEntry, startServer } = options;
    this.#processes = new ProcessExecutor({ stateDir, onChange, ...(taskEntry === undefined ? {} : { taskEntry }) });
    this.#embedded = new EmbeddedSources({ stateDir, onChange, ...(startServer === undefined ? {} : { startServer }) });
    this.#hands = {
      executor: new PipelineJobs(options.executor === 'Jobs' ? new JobExecutor(options) : this.#processes),
      providerOf: ({ provider }) => this.#providerOf(provider.kind),
    };
  }

  get hasSynced(): boolean {
    return [...this.#runs, ...this.#children].every((mirror) => mirror.hasSynced);
  }

  /** Which mirror has heard nothing for far too long, if any. */
  silence(): string | undefined {
    const silent = [...this.#runs, ...this.#children].find(({ silentMs }) => silentMs > 900_000);
    return silent === undefined
      ? undefined
      : `nothing was heard of the API server for ${Math.round(silent.silentMs / 1000)} s`;
  }

  start(): void {
    for (const mirror of [...this.#runs, ...this.#children]) mirror.start();
    // Nothing is decided before all runs are known: whether there is room for another one depends on them.
    void Promise.all(this.#runs.map((mirror) => mirror.synced)).then(() => {
      this.#queue.start();
      for (const namespace of this.#options.namespaces ?? []) void this.#releaseOwnAccess(namespace);
    });
    const { sweepMs } = this.#options;
    if (sweepMs !== undefined) this.#sweeping = this.#sweepEvery(sweepMs);
  }

  async stop(): Promise<void> {
    const graceMs = this.#options.graceMs ?? 10_000;
    await this.#queue.drain(this.#abort.signal.aborted ? 0 : graceMs);
    this.#abort.abort();
    await this.#sweeping;
    await Promise.all([...this.#runs, ...this.#children].map((mirror) => mirror.stop()));
    await this.#processes.close();
    await this.#embedded.close();
    for (const memory of this.#memories.values()) memory.close();
    const late = () => new ParityError('Timeout', 'events were not stored in time');
    await within(5_000, this.#recorder.flush(), late).catch(() => undefined);
  }

  /** Of runs whose finalization was cut off at its last step: nothing else tells of them. */
  async #releaseOwnAccess(namespace: string): Promise<void> {
    await releaseOwnAccess({ kube: this.#kube, options: this.#options }, namespace).catch((error: unknown) =>
      log.warn("what runs that are gone keep of the operator's access is looked at again later", { namespace, error }),
    );
  }

  async #process(key: string, signal: AbortSignal): Promise<Outcome> {
    this.#options.onReconcile?.(key);
    const phase = this.#known(key)?.phase ?? 'Pending';
    const startedAt = performance.now();
    const took = (outcome: string) =>
      this.#metrics.reconcileSeconds.observe({ phase, outcome }, (performance.now() - startedAt) / 1000);
    try {
      const outcome = await reconcile(this.#contextFor(signal), nameOf(key));
      took('Done');
      return outcome;
    } catch (error) {
      took(isKubeError(error, 'Conflict') ? 'Conflict' : 'Failed');
      if (!isKubeError(error, 'Conflict'))
        this.#metrics.reconcileErrors.inc({ phase, code: toParityError(error).code });
      throw error;
    }
  }

  #contextFor(signal: AbortSignal): RunContext {
    return {
      kube: this.#kube,
      options: this.#options,
      hands: this.#hands,
      events: this.#recorder,
      signal,
      now: () => new Date(),
      remember: (hold) => {
        const known = this.#memories.get(hold.run.uid) ?? new RunMemory(hold, this.#onEarlyEnd(hold));
        this.#memories.set(hold.run.uid, known);
        return known;
      },
      recall: (uid) => this.#memories.get(uid),
      forget: (uid) => {
        this.#memories.get(uid)?.close();
        this.#memories.delete(uid);
      },
      admits: (run) => this.#admission.admits(run, this.#options.parallelRuns),
      onStatus: (before, after) => {
        countRun(this.#metrics, before, after);
        if (!hasEnded(before) && hasEnded(after)) this.#admitNext(after);
      },
    };
  }

  /** Processes beside the operator are seen to end at once, pods are not. */
  #onEarlyEnd({ namespace, run: { name } }: Hold): (() => void) | undefined {
    return this.#options.executor === 'Jobs' ? () => this.#queue.add(keyOf({ namespace, name })) : undefined;
  }

  #mirrorRuns(namespace: string | undefined): Mirror<RunObject, KnownRun> {
    const mirror: Mirror<RunObject, KnownRun> = new Mirror({
      source: objectsOf(this.#kube, runs, namespace === undefined ? {} : { namespace }),
      keep: (run) => this.#admission.note(run),
      onChange: (key) => {
        if (!mirror.has(key)) for (const next of this.#admission.forget(key)) this.#queue.add(next);
        this.#countPhases();
        this.#queue.add(key);
      },
      hooks: { onRestart: () => this.#metrics.mirrorRestarts.inc({ source: 'runs' }) },
    });
    return mirror;
  }

  #mirrorChildren(kind: Resource<KubeObject>, namespace: string | undefined): Mirror<MetadataOnly, string | undefined> {
    const labelSelector = `${labels.installation}=${this.#options.installation}`;
    const mirror: Mirror<MetadataOnly, string | undefined> = new Mirror({
      source: metadataOf(this.#kube, kind, { labelSelector, ...(namespace === undefined ? {} : { namespace }) }),
      keep: ({ metadata }) => metadata.labels?.[labels.runUid],
      onChange: (key) => {
        const uid = mirror.get(key);
        const run = uid === undefined ? undefined : this.#admission.keyOf(uid);
        if (run !== undefined) this.#queue.add(run);
      },
      hooks: { onRestart: () => this.#metrics.mirrorRestarts.inc({ source: kind.plural }) },
    });
    return mirror;
  }

  #known(key: string): KnownRun | undefined {
    return this.#runs.map((mirror) => mirror.get(key)).find((known) => known !== undefined);
  }

  #countPhases(): void {
    const counts = new Map<string, number>();
    for (const mirror of this.#runs)
      for (const { phase } of mirror.values()) counts.set(phase, (counts.get(phase) ?? 0) + 1);
    this.#metrics.runs.reset();
    for (const [phase, count] of counts) this.#metrics.runs.set({ phase }, count);
  }

  /** A run has ended: the one that has waited longest may begin. */
  #admitNext(ended: RunObject): void {
    for (const key of this.#admission.ended(keyOf(ended.metadata))) this.#queue.add(key);
  }

  #providerOf(kind: ResolvedSource['provider']['kind']): SourceProvider {
    const own = this.#options.providers?.[kind];
    if (own !== undefined) return own;
    switch (kind) {
      case 'external':
        return externalSources;
      case 'embedded':
        return this.#embedded;
      case 'argocd':
        return applicationSources(this.#options.reach);
      case 'kubernetes':
        return statefulSetSources(this.#options.reach);
    }
  }

  async #sweepEvery(ms: number): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      // Some sooner, some later: installations of one cluster don't look all at once.
      await delay(ms * (0.9 + Math.random() * 0.2), signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        for (const { kind, outcome } of await sweep(this.#contextFor(signal))) {
          this.#metrics.leakedObjects.inc({ kind });
          if (typeof outcome === 'object') this.#metrics.cleanupFailures.inc({ kind });
        }
      } catch (error) {
        if (!signal.aborted) log.warn('a look for what was left failed', { error });
      }
    }
  }

  #queueHooks() {
    const counted = countQueue(this.#metrics);
    return {
      ...counted,
      onFailure: (key: string, _durationMs: number, error: unknown, failures: number, retryAfterMs: number) => {
        this.#metrics.queueRetries.inc();
        // Both are in the order of things: somebody was faster, or the operator is stopping.
        const isUsual = isKubeError(error, 'Conflict') || toParityError(error).code === 'Cancelled';
        const level = isUsual ? 'debug' : 'warn';
        log[level]('a reconcile failed', { run: key, failures, retryAfterMs: Math.round(retryAfterMs), error });
      },
    };
  }
}

/** Resolves as soon as one of the signals aborts. */
function aborted(...signals: readonly (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of signals) {
      if (signal?.aborted === true) resolve();
      signal?.addEventListener('abort', () => resolve(), { once: true });
    }
  });
}
