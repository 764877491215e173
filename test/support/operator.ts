import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { kubeEvents } from '../../operator/kube/events.ts';
import { type RunningOperator, type StartOptions, startOperator } from '../../operator/operator.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { jobs, pods, secrets } from '../../src/kube/objects.ts';
import { labels, plans, type RunObject, runs } from '../../src/kube/runs.ts';
import type { Report } from '../../src/report/model.ts';
import type { ControlPlane } from './control-plane.ts';
import { eventually } from './eventually.ts';

/** An installation of the operator for one test: its own id, folders and reports, beside a real API server. */
export class Installation {
  readonly kube: KubeClient;
  readonly folder: string;
  readonly reports: string;
  readonly workspaces: string;
  readonly stateDir: string;
  readonly options: StartOptions;
  #operator: RunningOperator | undefined;

  private constructor(kube: KubeClient, folder: string, kubeconfig: string, options: Partial<StartOptions>) {
    this.kube = kube;
    this.folder = folder;
    this.reports = join(folder, 'reports');
    this.workspaces = join(folder, 'workspaces');
    this.stateDir = join(folder, 'state');
    this.options = {
      installation: `test-${folder.slice(-6).toLowerCase()}`,
      namespace: 'default',
      image: 'parity.example/parity@sha256:0',
      imagePullSecrets: [],
      executor: 'Process',
      allow: { command: false, embedded: true, fileLocations: true },
      defaultWorkspace: { location: pathToFileURL(this.workspaces).href },
      parallelRuns: 10,
      nodeSelector: {},
      tolerations: [],
      access: { kubeconfig },
      stateDir: this.stateDir,
      retryBaseMs: 50,
      retryMaxMs: 1_000,
      ...options,
    };
  }

  static async open(controlPlane: ControlPlane, options: Partial<StartOptions> = {}): Promise<Installation> {
    const kube = await connect({ kubeconfig: controlPlane.kubeconfig });
    const folder = await mkdtemp(join(tmpdir(), 'parity-operator-'));
    return new Installation(kube, folder, controlPlane.kubeconfig, options);
  }

  /** Starts the operator; `more` replaces options for this start. */
  async start(more: Partial<StartOptions> = {}): Promise<RunningOperator> {
    this.#operator = await startOperator({ ...this.options, ...more });
    return this.#operator;
  }

  async stop(): Promise<void> {
    await this.#operator?.stop();
    this.#operator = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    this.kube.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Applies a run; its reports go to this installation's folder unless the spec says otherwise. */
  async apply(
    name: string,
    spec: object,
    namespace = 'default',
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<RunObject> {
    const reports = { location: pathToFileURL(this.reports).href, formats: ['JSON' as const] };
    return await this.kube.create(runs, { metadata: { name, namespace, annotations }, spec: { reports, ...spec } });
  }

  async applyPlan(name: string, spec: object): Promise<void> {
    await this.kube.create(plans, { metadata: { name, namespace: 'default' }, spec });
  }

  async changePlan(name: string, spec: object): Promise<void> {
    await this.kube.mergePatch(plans, { namespace: 'default', name }, { spec });
  }

  /** Deletes every run and plan, with all that they left: for the end of a test, whatever became of it. */
  async removeRuns(): Promise<void> {
    for (const kind of [runs, plans])
      for (const { metadata } of (await this.kube.listMetadata(kind)).items) {
        await this.kube.mergePatch(kind, metadata, { metadata: { finalizers: [] } }).catch(ignoreMissing);
        await this.kube.delete(kind, metadata);
      }
    const labelSelector = `${labels.installation}=${this.options.installation}`;
    for (const { metadata } of (await this.kube.listMetadata(secrets, { labelSelector })).items) {
      await this.kube.mergePatch(secrets, metadata, { metadata: { finalizers: [] } }).catch(ignoreMissing);
      await this.kube.delete(secrets, metadata);
    }
  }

  /** Stops the operator and starts it again. */
  async restart(more: Partial<StartOptions> = {}): Promise<RunningOperator> {
    await this.stop();
    return await this.start(more);
  }

  /** Has the run's workspace marked as another's, until it is restored: nothing of it may be removed then. */
  async replaceMark(uid: string): Promise<{ restore(): Promise<void> }> {
    const file = join(this.workspaces, `parity-${uid}`, '.parity.json');
    const own = await readFile(file, 'utf8');
    await writeFile(file, own.replaceAll(uid, randomUUID()));
    return { restore: () => writeFile(file, own) };
  }

  /** The reasons of the Events about an object. */
  async eventsOf(uid: string): Promise<readonly string[]> {
    const { items } = await this.kube.list(kubeEvents, { namespace: 'default' });
    return items.filter(({ regarding }) => regarding?.uid === uid).map(({ reason }) => reason ?? '');
  }

  /** The one report of this installation. */
  async report(): Promise<Report> {
    const [folder = ''] = await readdir(this.reports);
    return JSON.parse(await readFile(join(this.reports, folder, 'report.json'), 'utf8'));
  }

  async get(name: string, namespace = 'default'): Promise<RunObject> {
    return await this.kube.get(runs, { namespace, name });
  }

  async change(name: string, spec: object, namespace = 'default'): Promise<void> {
    await this.kube.mergePatch(runs, { namespace, name }, { spec });
  }

  async delete(name: string, namespace = 'default', propagation: 'Foreground' | 'Background' = 'Background') {
    await this.kube.delete(runs, { namespace, name }, { propagation });
  }

  /** The run once the condition is there with that status (and reason). */
  async until(
    name: string,
    type: string,
    status = 'True',
    namespace = 'default',
    timeoutMs = 120_000,
  ): Promise<RunObject> {
    return await eventually(async () => {
      const run = await this.get(name, namespace);
      const condition = run.status?.conditions?.find((each) => each.type === type);
      if (condition?.status !== status)
        throw new Error(`${type} is ${JSON.stringify(condition)}: ${JSON.stringify(run.status)}`);
      return run;
    }, timeoutMs);
  }

  async untilGone(name: string, namespace = 'default', timeoutMs = 60_000): Promise<void> {
    await eventually(async () => {
      const run = await this.kube.find(runs, { namespace, name });
      if (run !== undefined)
        throw new Error(`it is still there: ${JSON.stringify([run.metadata, run.status?.conditions])}`);
    }, timeoutMs);
  }

  /** Everything that runs of this installation have left but their reports. */
  async leftovers(): Promise<readonly string[]> {
    const labelSelector = `${labels.installation}=${this.options.installation}`;
    const kinds = [jobs, pods, secrets] as const;
    const objects = await Promise.all(
      kinds.map(async (kind) =>
        (await this.kube.listMetadata(kind, { labelSelector })).items.map(
          ({ metadata }) => `${kind.kind} ${metadata.name}`,
        ),
      ),
    );
    const entries = async (folder: string) => (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
    const folders = await Promise.all([this.workspaces, join(this.stateDir, 'runs')].map(entries));
    return [...objects, ...folders].flat();
  }
}

function ignoreMissing(error: unknown): void {
  if (!isKubeError(error, 'NotFound')) throw error;
}
