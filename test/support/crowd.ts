import { startOperator } from '../../operator/operator.ts';
import { publishConnection } from '../../operator/runs/connections.ts';
import { hasEnded } from '../../operator/runs/status.ts';
import type { SourceProvider } from '../../operator/runs/types.ts';
import { connect } from '../../src/kube/client.ts';
import { namespaces, secrets } from '../../src/kube/objects.ts';
import { cleanupFinalizer, type RunObject, runs } from '../../src/kube/runs.ts';
import { Mirror, objectsOf } from '../../src/kube/watch.ts';
import { ParityError } from '../../src/support/error.ts';
import { within } from '../../src/support/retry.ts';
import type { ControlPlane } from './control-plane.ts';
import { keysOf, playCluster } from './played-cluster.ts';
import type { SeaweedFs } from './seaweedfs.ts';
import { reporting, smallRun } from './small-run.ts';

/** A source that is there at once. */
export const readySources: SourceProvider = {
  ensure: async (scope, source) => {
    const connection = { host: 'h', port: 1, user: 'u', password: 'words of a source', database: 'd' };
    await publishConnection(scope, source, connection);
    return { state: 'Ready' };
  },
  remove: async () => ({ isGone: true, waitingFor: '' }),
};

export interface CrowdOptions {
  readonly controlPlane: ControlPlane;
  readonly s3: SeaweedFs;
  /** Made for it, and left with the runs. */
  readonly namespace: string;
  readonly count: number;
  readonly parallel: number;
  readonly timeoutMs: number;
}

/** What became of runs that were all there before the operator was. */
export interface Crowd {
  /** Oldest first; those of one second in the order of their uids. */
  readonly runs: readonly {
    readonly name: string;
    /** 0: the first that began. */
    readonly place: number;
    readonly waitedMs: number;
    readonly lastedMs: number;
    readonly verdict: string | undefined;
  }[];
  /** Runs that had begun and not ended, at most. */
  readonly mostAtOnce: number;
}

/** Applies so many runs and has an operator carry them out, so many at once; a played cluster does their tasks. Throws where they come to no end in that time. */
export async function carryOutCrowd(options: CrowdOptions): Promise<Crowd> {
  const { controlPlane, s3, namespace, count, parallel, timeoutMs } = options;
  const { kubeconfig } = controlPlane;
  const client = { requestsPerSecond: 500, burst: 500 };
  const kube = await connect({ kubeconfig, ...client });
  const watched = watchRuns(count);
  const mirror: Mirror<RunObject, RunObject> = new Mirror({
    source: objectsOf(kube, runs, { namespace }),
    keep: (run) => run,
    onChange: (key) => watched.see(mirror.get(key)),
  });
  await kube.create(namespaces, { metadata: { name: namespace } });
  for (const place of [namespace, 'default'])
    await kube.create(secrets, {
      metadata: { namespace: place, name: `${namespace}-keys` },
      stringData: keysOf(s3.admin),
    });
  for (let number = 0; number < count; number++) {
    const metadata = { namespace, name: `run-${number}` };
    await kube.create(runs, { metadata, spec: { ...smallRun, ...reporting } });
  }
  const played = await playCluster({ kubeconfig, s3, carriesOut: () => true });
  mirror.start();
  await mirror.synced;
  const operator = await startOperator({
    installation: namespace,
    namespace: 'default',
    namespaces: [namespace],
    image: 'parity.example/parity@sha256:0',
    imagePullSecrets: [],
    executor: 'Jobs',
    allow: { command: false, embedded: false, fileLocations: true },
    defaultWorkspace: { location: 's3://', endpoint: s3.endpoint, secretRef: { name: `${namespace}-keys` } },
    parallelRuns: parallel,
    nodeSelector: {},
    tolerations: [],
    access: { kubeconfig },
    client,
    stateDir: '/nowhere',
    providers: { kubernetes: readySources },
  });
  try {
    const late = () => new ParityError('Timeout', `${watched.ended()} of ${count} runs have ended`);
    await within(timeoutMs, watched.allEnded, late);
    return watched.crowd();
  } finally {
    await operator.stop();
    await mirror.stop();
    await played[Symbol.asyncDispose]();
    kube.close();
  }
}

/** Notes when each run begins and ends, as the server's watch tells it. */
function watchRuns(count: number) {
  const all = Promise.withResolvers<void>();
  const began = new Map<string, number>();
  const ended = new Map<string, number>();
  const last = new Map<string, RunObject>();
  const startedAt = performance.now();
  let mostAtOnce = 0;
  return {
    allEnded: all.promise,
    ended: () => ended.size,
    see(run: RunObject | undefined): void {
      if (run === undefined) return;
      const { uid, finalizers = [] } = run.metadata;
      last.set(uid, run);
      if (finalizers.includes(cleanupFinalizer) && !began.has(uid)) began.set(uid, performance.now());
      if (hasEnded(run) && !ended.has(uid)) ended.set(uid, performance.now());
      mostAtOnce = Math.max(mostAtOnce, began.size - ended.size);
      if (ended.size === count) all.resolve();
    },
    crowd(): Crowd {
      const places = new Map([...began.keys()].map((uid, place) => [uid, place]));
      const age = ({ metadata }: RunObject) => `${metadata.creationTimestamp} ${metadata.uid}`;
      const oldestFirst = [...last.values()].sort((a, b) => (age(a) < age(b) ? -1 : 1));
      return {
        mostAtOnce,
        runs: oldestFirst.map(({ metadata: { name, uid }, status }) => ({
          name,
          place: places.get(uid) ?? Number.NaN,
          waitedMs: (began.get(uid) ?? Number.NaN) - startedAt,
          lastedMs: (ended.get(uid) ?? Number.NaN) - (began.get(uid) ?? Number.NaN),
          verdict: status?.result?.verdict,
        })),
      };
    },
  };
}
