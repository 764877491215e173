import { type RunningOperator, type StartOptions, startOperator } from '../../operator/operator.ts';
import { applications } from '../../operator/runs/application.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import {
  configMaps,
  jobs,
  type MetadataOnly,
  namespaces,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  secrets,
  services,
  statefulSets,
} from '../../src/kube/objects.ts';
import { labels, plans, type RunObject, runs } from '../../src/kube/runs.ts';
import { Mirror, objectsOf } from '../../src/kube/watch.ts';
import { openStore } from '../../src/lake/open.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { ParityError } from '../../src/support/error.ts';
import { within } from '../../src/support/retry.ts';
import {
  type ApiProxy,
  type Decide,
  type Fault,
  type FaultProxy,
  type ProxiedRequest,
  startApiProxy,
  startFaultProxy,
} from './api-proxy.ts';
import type { Blow, Blows } from './blows.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { databasesOf, sharedServer } from './databases.ts';
import { type OperatorProcess, startOperatorProcess } from './operator-process.ts';
import { argocd, installApplications, playArgoCD } from './played-argocd.ts';
import { keysOf, playCluster } from './played-cluster.ts';
import { type SeaweedFs, startSeaweedFs } from './seaweedfs.ts';
import { reporting } from './small-run.ts';

/** A run from its creation until nothing more happens to it, with what its user does meanwhile. */
export interface Scenario {
  readonly name: string;
  readonly spec: object | ((lane: Lane) => object);
  readonly plan?: object;
  /** What the user does once the Job of that task is there. The task then goes on until somebody ends it, unless it `isCarriedOut`. */
  readonly meanwhile?: {
    readonly at: RegExp;
    readonly isCarriedOut?: boolean;
    readonly act: (kube: KubeClient, name: { readonly namespace: string; readonly name: string }) => Promise<unknown>;
  };
  /** Writes before the user acted, or after the first that matches, are not struck: other scenarios have them too. */
  readonly from?: 'Meanwhile';
  readonly upTo?: RegExp;
  readonly isOver: (run: RunObject | undefined) => boolean;
}

/** What befalls a run besides: blows, and whatever the proxies do to requests. */
export interface Trouble {
  readonly blows?: Blows;
  readonly meddle?: Decide;
  /** The same for the proxy before S3. */
  readonly meddleS3?: Decide;
  /** The run is there before the operator is. */
  readonly isLate?: boolean;
  /** The operator is a process of its own, and a blow that kills it is a SIGKILL. */
  readonly isProcess?: boolean;
}

/** What came of a run. */
export interface Carried {
  /** The operator's writes that may be struck, in their order; the run's uid and namespace are replaced by words. */
  readonly writes: readonly string[];
  readonly outcome: Outcome;
}

/** What must be the same, whatever befell the operator. */
export interface Outcome {
  readonly verdict: string | undefined;
  /** How many digests its spec has had: it is frozen once. */
  readonly specDigests: number;
  readonly run: { readonly conditions: readonly string[]; readonly finalizers: readonly string[] } | undefined;
  readonly created: readonly string[];
  readonly deleted: readonly string[];
  /** What was made or removed, or was not: the operator was killed while the server may have been at it. */
  readonly perhaps: readonly string[];
  /** Objects of the cluster and of the workspace, and databases. */
  readonly left: readonly string[];
}

export const installation = 'crashed';
export const isGone = (run: RunObject | undefined) => run === undefined;
export const isClean = (run: RunObject | undefined) =>
  run !== undefined &&
  run.status?.conditions?.some(({ type, status }) => type === 'CleanedUp' && status === 'True') === true &&
  (run.metadata.finalizers ?? []).length === 0;

const runName = 'run';
/** Long enough for a busy machine; a run that hangs is what the tests look for. */
const hangMs = 120_000;

/** An API server and an S3 server that several lanes share. */
export class Stage implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly s3: SeaweedFs;
  readonly kube: KubeClient;
  readonly #lanes = new Map<string, Lane>();
  readonly #runs: Mirror<RunObject, RunObject>;
  readonly #played: AsyncDisposable[] = [];

  private constructor(controlPlane: ControlPlane, s3: SeaweedFs, kube: KubeClient) {
    this.controlPlane = controlPlane;
    this.s3 = s3;
    this.kube = kube;
    this.#runs = new Mirror({
      source: objectsOf(kube, runs),
      keep: (run) => run,
      onChange: (key) => this.#lanes.get(key.split('/')[0] ?? '')?.seen(this.#runs.get(key)),
    });
  }

  static async open(): Promise<Stage> {
    const [controlPlane, s3] = await Promise.all([startControlPlane(), startSeaweedFs(), sharedServer('Postgres')]);
    const { kubeconfig } = controlPlane;
    const stage = new Stage(controlPlane, s3, await connect({ kubeconfig, requestsPerSecond: 500, burst: 500 }));
    await s3.createBucket('workspaces');
    await stage.kube.create(namespaces, { metadata: { name: argocd.namespace } });
    await installApplications(stage.kube);
    const keys = { metadata: { namespace: 'default', name: 'keys' }, stringData: keysOf(s3.admin) };
    await stage.kube.create(secrets, keys);
    const carriesOut = (namespace: string, taskId: string) => stage.#lanes.get(namespace)?.taskBegins(taskId) ?? true;
    stage.#played.push(await playCluster({ kubeconfig, s3, carriesOut }), await playArgoCD(stage.kube));
    stage.#runs.start();
    return stage;
  }

  /** An operator for one namespace, beside the lanes. */
  operator(namespace: string, kubeconfig: string, more: Partial<StartOptions>): Promise<RunningOperator> {
    return startOperator({ ...this.options(namespace, kubeconfig, this.s3.endpoint), ...more });
  }

  options(namespace: string, kubeconfig: string, s3: string): StartOptions {
    return {
      installation,
      namespace: 'default',
      namespaces: [namespace],
      image: 'parity.example/parity@sha256:0',
      imagePullSecrets: [],
      executor: 'Jobs',
      allow: { command: false, embedded: false, fileLocations: true },
      argocd,
      defaultWorkspace: { location: `s3://workspaces/${namespace}`, endpoint: s3, secretRef: { name: 'keys' } },
      parallelRuns: 10,
      nodeSelector: {},
      tolerations: [],
      access: { kubeconfig },
      client: { requestsPerSecond: 500, burst: 500 },
      stateDir: '/nowhere',
      reach: async () => (await sharedServer('Postgres')).connection,
      retryBaseMs: 20,
      retryMaxMs: 500,
      graceMs: 10_000,
      lookAgainMs: 250,
    };
  }

  async lane(name: string): Promise<Lane> {
    const lane = await Lane.open(this, name);
    this.#lanes.set(name, lane);
    return lane;
  }

  /** What is left of a run, and of anything else of this installation in its namespace: objects, buckets, what lies in its workspace, databases. */
  async leftOf(namespace: string, uid: string): Promise<readonly string[]> {
    const { kube, s3 } = this;
    const labelSelector = `${labels.installation}=${installation}`;
    const kinds = [jobs, pods, secrets, statefulSets, services, networkPolicies, configMaps, persistentVolumeClaims];
    const objects = await Promise.all(
      kinds.map(async (kind) => (await kube.listMetadata(kind, { namespace, labelSelector })).items),
    );
    const left = objects.flatMap((items, index) =>
      items.map(({ metadata }) => `${kinds[index]?.kind} ${metadata.name}`),
    );
    const ofArgoCD = await kube.listMetadata(applications, { namespace: argocd.namespace, labelSelector });
    left.push(...ofArgoCD.items.filter(isOf(uid)).map(({ metadata }) => `Application ${metadata.name}`));
    left.push(...(await databasesOf(uid)).map((name) => `database ${name}`));
    left.push(...(await s3.buckets()).filter((name) => name.includes(uid)).map((name) => `bucket ${name}`));
    for (const location of [`s3://workspaces/${namespace}`, `s3://parity-${uid}`]) {
      const store = await openStore({ location, endpoint: s3.endpoint }, keysOf(s3.admin));
      try {
        for await (const { key } of store.list('')) left.push(`${location}/${key}`);
      } catch (error) {
        if (!(error instanceof ParityError && error.code === 'NotFound')) throw error;
      } finally {
        store.close();
      }
    }
    return left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const lane of this.#lanes.values()) await lane[Symbol.asyncDispose]();
    await this.#runs.stop();
    for (const played of this.#played) await played[Symbol.asyncDispose]();
    this.kube.close();
    await this.s3.stop();
    await this.controlPlane.stop();
  }
}

type Server = 'API' | 'S3';

/** A namespace with proxies before both servers, in which one run after another is carried out. */
export class Lane implements AsyncDisposable {
  readonly namespace: string;
  readonly #stage: Stage;
  readonly #api: ApiProxy;
  readonly #s3: FaultProxy;
  readonly #options: StartOptions;
  #course: Course | undefined;
  #process: OperatorProcess | undefined;
  /** Set while the operator that is being carried to its grave still tries to say something. */
  #isDead = false;

  private constructor(stage: Stage, namespace: string, api: ApiProxy, s3: FaultProxy) {
    this.#stage = stage;
    this.namespace = namespace;
    this.#api = api;
    this.#s3 = s3;
    api.decideBy((request) => this.#decide('API', request));
    s3.decideBy((request) => this.#decide('S3', request));
    this.#options = stage.options(namespace, api.kubeconfig, s3.url);
  }

  static async open(stage: Stage, namespace: string): Promise<Lane> {
    await stage.kube.create(namespaces, { metadata: { name: namespace } });
    const { connection } = await sharedServer('Postgres');
    const handed = { keys: keysOf(stage.s3.admin), database: formatConnection(connection) };
    for (const [name, stringData] of Object.entries(handed))
      await stage.kube.create(secrets, { metadata: { namespace, name }, stringData });
    const api = await startApiProxy({ kubeconfig: stage.controlPlane.kubeconfig });
    return new Lane(stage, namespace, api, await startFaultProxy({ server: new URL(stage.s3.endpoint) }));
  }

  /** Address of the S3 server as the operator knows it. */
  get endpoint(): string {
    return this.#s3.url;
  }

  /** Carries out a run to its end, with one blow at the write of that index. Throws where it comes to no end. */
  async carryOut(scenario: Scenario, trouble: Trouble = {}): Promise<Carried> {
    const course = new Course(scenario, trouble);
    this.#course = course;
    const { kube } = this.#stage;
    const name = { namespace: this.namespace, name: runName };
    if (scenario.plan !== undefined)
      await kube.create(plans, { metadata: { ...name, name: 'plan' }, spec: scenario.plan });
    const start = () => (trouble.isProcess === true ? this.#spawn() : this.#start());
    let operator = trouble.isLate === true ? undefined : await start();
    try {
      const spec = typeof scenario.spec === 'function' ? scenario.spec(this) : scenario.spec;
      const { metadata } = await kube.create(runs, { metadata: name, spec: { ...reporting, ...spec } });
      operator ??= await start();
      const late = () => new ParityError('Timeout', `${scenario.name}: no end: ${JSON.stringify(course.last?.status)}`);
      while ((await within(hangMs, Promise.race([course.died, course.over]), late)) === 'Died') {
        await operator.stop();
        this.#isDead = false;
        course.revive();
        operator = await start();
      }
      return { writes: course.writes, outcome: await this.#outcome(course, metadata.uid) };
    } finally {
      await operator?.stop();
      this.#isDead = false;
      this.#course = undefined;
      await this.#clear();
    }
  }

  /** Whether the task of a Job is carried out. */
  taskBegins(taskId: string): boolean {
    const meanwhile = this.#course?.scenario.meanwhile;
    if (meanwhile === undefined || !meanwhile.at.test(taskId) || this.#course?.hasActed === true) return true;
    this.#course?.act(() => meanwhile.act(this.#stage.kube, { namespace: this.namespace, name: runName }));
    return meanwhile.isCarriedOut === true;
  }

  /** Hears of each state of the run; undefined: it is gone. */
  seen(run: RunObject | undefined): void {
    this.#course?.seen(run);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api[Symbol.asyncDispose]();
    await this.#s3[Symbol.asyncDispose]();
  }

  #start(): Promise<{ stop(): Promise<void> }> {
    return startOperator(this.#options);
  }

  async #spawn(): Promise<{ stop(): Promise<void> }> {
    this.#process = await startOperatorProcess(this.#options);
    return this.#process;
  }

  async #decide(server: Server, request: ProxiedRequest): Promise<Fault | undefined> {
    if (this.#isDead) return unheard;
    const course = this.#course;
    // Events are told aside: nothing depends on them.
    if (course === undefined || /\/(events|leases)(\/|$)/.test(request.path)) return undefined;
    const { meddle: meddleApi, meddleS3 } = course.trouble;
    const meddle = () => (server === 'API' ? meddleApi?.(request) : meddleS3?.(request));
    if (!request.isWrite) return meddle();
    const body = (await request.body()).toString();
    const write = { server, request, body };
    switch (course.next(write, inWords(nameOf(write), this.namespace))) {
      case undefined:
        return meddle();
      case 'Before':
        await this.#kill(course);
        return unheard;
      case 'After':
        return {
          kind: 'Afterwards',
          decide: async () => {
            await this.#kill(course);
            return 'Lose' as const;
          },
        };
      case 'ReplyLost':
        return { kind: 'LoseReply' };
    }
  }

  /** A SIGKILL, or, where the operator is in this process, as one: from here on no word of it reaches anybody. */
  async #kill(course: Course): Promise<void> {
    this.#isDead = true;
    if (course.trouble.isProcess === true) await this.#process?.stop();
    for (const proxy of [this.#api, this.#s3]) proxy.cut(() => true);
    course.die();
  }

  async #outcome(course: Course, uid: string): Promise<Outcome> {
    const { last, written } = course;
    const inWords = wordsFor(uid, this.namespace);
    const done = written.filter(({ request: { status = 0 } }) => status >= 200 && status < 300);
    const unknown = written.filter(({ request }) => request.status === undefined);
    const status = last?.status;
    return {
      verdict: course.verdict,
      specDigests: course.specDigests.size,
      run:
        last === undefined
          ? undefined
          : {
              conditions: (status?.conditions ?? []).map(({ type, status, reason }) => `${type}=${status} ${reason}`),
              finalizers: last.metadata.finalizers ?? [],
            },
      created: sorted(done.flatMap(createdBy).map(inWords)),
      deleted: sorted(done.flatMap(deletedBy).map(inWords)),
      perhaps: sorted(unknown.flatMap((write) => [...createdBy(write), ...deletedBy(write)]).map(inWords)),
      left: sorted((await this.#stage.leftOf(this.namespace, uid)).map(inWords)),
    };
  }

  /** Removes the run and plan, whatever became of them: the next one has their names. */
  async #clear(): Promise<void> {
    const { kube } = this.#stage;
    const { namespace } = this;
    const run = { namespace, name: runName };
    await kube.mergePatch(runs, run, { metadata: { finalizers: [] } }).catch(unlessGone);
    await kube.delete(runs, run);
    await kube.delete(plans, { namespace, name: 'plan' });
    const labelSelector = `${labels.installation}=${installation}`;
    for (const kind of [jobs, secrets, statefulSets, services, networkPolicies, configMaps])
      for (const { metadata } of (await kube.listMetadata(kind, { namespace, labelSelector })).items) {
        if ((metadata.finalizers ?? []).length > 0)
          await kube.mergePatch(kind, metadata, { metadata: { finalizers: [] } }).catch(unlessGone);
        await kube.delete(kind, metadata);
      }
  }
}

interface Write {
  readonly server: Server;
  readonly request: ProxiedRequest;
  readonly body: string;
}

/** One run on its way. */
class Course {
  readonly scenario: Scenario;
  readonly trouble: Trouble;
  readonly written: Write[] = [];
  /** Those that may be struck. */
  readonly writes: string[] = [];
  last: RunObject | undefined;
  verdict: string | undefined;
  readonly specDigests = new Set<string>();
  hasActed = false;
  #died = Promise.withResolvers<'Died'>();
  readonly #over = Promise.withResolvers<'Over'>();
  #counts: boolean;
  #wasThere = false;
  #last = 'nothing';

  constructor(scenario: Scenario, trouble: Trouble) {
    this.scenario = scenario;
    this.trouble = trouble;
    this.#counts = scenario.from === undefined;
  }

  get died(): Promise<'Died'> {
    return this.#died.promise;
  }

  get over(): Promise<'Over'> {
    return this.#over.promise;
  }

  die(): void {
    this.#died.resolve('Died');
  }

  revive(): void {
    this.#died = Promise.withResolvers();
  }

  /** The blow that falls on this write, if any. */
  next(write: Write, name: string): Blow | undefined {
    this.written.push(write);
    if (!this.#counts) return undefined;
    if (this.scenario.upTo?.test(name) === true) this.#counts = false;
    // Many a status is written: each is told by what was done before it.
    const isStatus = isOfStatus(name);
    if (!isStatus) this.#last = name;
    const said = isStatus ? `${name} after ${this.#last}` : name;
    this.writes.push(said);
    return this.trouble.blows?.strike(said);
  }

  act(act: () => Promise<unknown>): void {
    if (this.hasActed) return;
    this.hasActed = true;
    this.#counts = true;
    act().catch((error: unknown) => this.#over.reject(error));
  }

  seen(run: RunObject | undefined): void {
    // The one before it in this lane may still be on its way out.
    if (run === undefined && !this.#wasThere) return;
    this.#wasThere = true;
    this.last = run;
    this.verdict = run?.status?.result?.verdict ?? this.verdict;
    const { specDigest } = run?.status ?? {};
    if (specDigest !== undefined) this.specDigests.add(specDigest);
    if (this.scenario.isOver(run)) this.#over.resolve('Over');
  }
}

/** What a process that is dead hears does not matter: this ends its requests soonest. */
const unheard: Fault = { kind: 'Answer', status: 403, body: '{}' };

function nameOf({ server, request, body }: Write): string {
  const { method, path, query } = request;
  if (server === 'S3') return `S3 ${query.has('delete') ? 'DELETE of many below' : method} ${path}`;
  if (method === 'POST') return `POST ${path}/${nameIn(body)}`;
  return `${method} ${path}${method === 'PATCH' && !path.endsWith('/status') ? ` ${Object.keys(JSON.parse(body).metadata ?? {}).sort()}` : ''}`;
}

function createdBy({ server, request, body }: Write): readonly string[] {
  const { method, path, query } = request;
  if (server === 'API') return method === 'POST' ? [`${path}/${nameIn(body)}`] : [];
  return method === 'PUT' && query.size === 0 ? [`S3 ${path}`] : [];
}

function deletedBy({ server, request, body }: Write): readonly string[] {
  const { method, path, query } = request;
  if (method === 'DELETE') return [`${server === 'S3' ? 'S3 ' : ''}${path}`];
  if (server !== 'S3' || !query.has('delete')) return [];
  return [...body.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => `S3 ${path.replace(/\/$/, '')}/${key}`);
}

function nameIn(body: string): string {
  const { metadata }: { metadata: { name: string } } = JSON.parse(body);
  return metadata.name;
}

/** Whether a write, in words, is one of the run's status: how often it is written depends on how fast things happen. */
export function isOfStatus(write: string): boolean {
  return /^PATCH \S*\/status( |$)/.test(write);
}

/** The same for every run, whatever its uid. */
function inWords(text: string, namespace: string): string {
  return withoutAttempt(
    text
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UID')
      .replaceAll(/parity-[0-9a-f]{8}-/g, 'parity-UID8-')
      .replaceAll(namespace, 'NAMESPACE'),
  );
}

/** The same for every run: attempts may differ, and names hold uids and namespaces. */
function wordsFor(uid: string, namespace: string): (text: string) => string {
  return (text) =>
    withoutAttempt(
      text
        .replaceAll(uid, 'UID')
        .replaceAll(uid.replaceAll('-', '_'), 'UID')
        .replaceAll(uid.slice(0, 8), 'UID8')
        .replaceAll(namespace, 'NAMESPACE'),
    );
}

function withoutAttempt(text: string): string {
  return text.replace(/(\/jobs\/.*)-\d+$/, '$1-ATTEMPT');
}

function sorted(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)].sort();
}

function isOf(uid: string): (object: MetadataOnly) => boolean {
  return ({ metadata }) => metadata.labels?.[labels.runUid] === uid;
}

function unlessGone(error: unknown): void {
  if (!isKubeError(error, 'NotFound')) throw error;
}

/** What one outcome has and the other has not. */
export function differences(calm: Outcome, other: Outcome): readonly string[] {
  const perhaps = new Set(other.perhaps.flatMap((what) => [`made ${what}`, `removed ${what}`]));
  const lines = ({ created, deleted, perhaps: _, left, run, ...rest }: Outcome) => [
    ...created.map((what) => `made ${what}`),
    ...deleted.map((what) => `removed ${what}`),
    ...left.map((what) => `left ${what}`),
    ...(run === undefined ? ['the run is gone'] : [...run.conditions, ...run.finalizers]),
    JSON.stringify(rest),
  ];
  const [before, after] = [lines(calm), lines(other)];
  return [
    ...after.filter((line) => !before.includes(line)).map((line) => `more: ${line}`),
    ...before.filter((line) => !after.includes(line) && !perhaps.has(line)).map((line) => `less: ${line}`),
  ];
}
