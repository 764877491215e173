import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type RunningOperator, type StartOptions, startOperator } from '../../operator/operator.ts';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { jobs, pods, secrets } from '../../src/kube/objects.ts';
import { labels, type RunObject, runs } from '../../src/kube/runs.ts';
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
  async apply(name: string, spec: object, namespace = 'default'): Promise<RunObject> {
    const reports = { location: pathToFileURL(this.reports).href, formats: ['JSON' as const] };
    return await this.kube.create(runs, { metadata: { name, namespace }, spec: { reports, ...spec } });
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
