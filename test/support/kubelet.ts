import { spawn } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { KubeClient } from '../../src/kube/client.ts';
import { isKubeError } from '../../src/kube/error.ts';
import { type Job, jobs, type Pod, pods, secrets } from '../../src/kube/objects.ts';
import { writeSecret } from '../../src/support/secrets.ts';

export interface KubeletOptions {
  readonly kube: KubeClient;
  readonly namespace: string;
  /** The program that stands for the image: what the container's `task …` arguments are given to. A container with a command runs that. */
  readonly program?: string;
  /** Carries a task out in this process in place of `program`: the container's arguments. */
  readonly task?: (args: readonly string[]) => Promise<void>;
  /** What becomes of a pod in place of running it: the status that a kubelet would write; undefined runs it. */
  /** Its node is lost: nobody says any more what becomes of it, nor that it is gone. */
  readonly isLost?: (pod: Pod) => boolean;
  readonly fate?: (job: Job) => NonNullable<Pod['status']> | undefined;
}

/**
 * Plays Job controller and kubelet for a test, where there is no node: makes the pod of each Job, mounts its Secrets as folders, runs the container's command as a
 * process, writes the statuses that the real ones write, and deletes the pods of deleted Jobs once their process has ended. What it does not play is a container.
 */
export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #stop = new AbortController();
  readonly #running = new Map<string, Promise<void>>();
  readonly #ended: Promise<void>;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
    await Promise.all(this.#running.values());
  }

  async #run(): Promise<void> {
    const { kube, namespace } = this.#options;
    while (!this.#stop.signal.aborted) {
      const found = (await kube.list(jobs, { namespace })).items;
      for (const job of found) {
        const { uid, deletionTimestamp } = job.metadata;
        if (deletionTimestamp === undefined && !this.#running.has(uid) && job.status?.conditions === undefined)
          this.#running.set(
            uid,
            this.#carryOut(job).catch((error: unknown) => {
              if (!isKubeError(error, 'NotFound', 'Conflict')) throw error;
            }),
          );
      }
      const alive = new Set(found.map(({ metadata }) => metadata.uid));
      for (const pod of (await kube.list(pods, { namespace })).items)
        if (pod.metadata.ownerReferences?.some(({ uid, kind }) => kind === 'Job' && !alive.has(uid)) === true)
          await this.#collect(pod);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** As the collector does: the pod ends first, then it is gone. */
  async #collect(pod: Pod): Promise<void> {
    if (this.#options.isLost?.(pod) === true) return;
    const owner = pod.metadata.ownerReferences?.[0]?.uid ?? '';
    this.#processes.get(owner)?.kill('SIGTERM');
    if (this.#processes.has(owner)) return;
    await this.#options.kube.delete(pods, pod.metadata, { gracePeriodSeconds: 0 });
  }

  readonly #processes = new Map<string, ReturnType<typeof spawn>>();

  async #carryOut(job: Job): Promise<void> {
    const { kube, namespace, fate } = this.#options;
    const { name, uid } = job.metadata;
    const template = job.spec?.template;
    const container = template?.spec?.containers[0];
    if (template?.spec === undefined || container === undefined) throw new Error(`Job ${name} has no container`);
    const pod = await kube.create(pods, {
      metadata: {
        name: `${name}-pod`,
        namespace,
        labels: { ...labelsOf(template), 'batch.kubernetes.io/job-name': name },
        ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name, uid, controller: true }],
      },
      spec: { ...template.spec, nodeName: 'node' },
    });
    const fixed = fate?.(job);
    if (fixed !== undefined) {
      await this.#say(pod, fixed);
      if (fixed.phase === 'Failed') await this.#finish(job, 'Failed');
      return;
    }
    const folder = await mkdtemp(join(tmpdir(), 'parity-kubelet-'));
    try {
      const ended = await this.#container(pod, uid, container.args ?? [], folder);
      await this.#say(pod, ended);
      await this.#finish(job, ended.phase === 'Succeeded' ? 'Complete' : 'Failed');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #container(
    pod: Pod,
    uid: string,
    args: readonly string[],
    folder: string,
  ): Promise<NonNullable<Pod['status']>> {
    const [program, ...rest] = pod.spec?.containers[0]?.command ?? [];
    const { task } = this.#options;
    if (program === undefined && task !== undefined) {
      await task(args);
      return { phase: 'Succeeded', ...containerStatus({ terminated: { exitCode: 0, finishedAt: timestamp() } }) };
    }
    await this.#mount(pod, folder);
    const startedAt = timestamp();
    await this.#say(pod, { phase: 'Running', ...containerStatus({ running: { startedAt } }) });
    const { child, said } =
      program === undefined
        ? { child: this.#task(args, folder), said: () => '' }
        : await this.#program(pod, [program, ...rest, ...args], folder);
    this.#processes.set(uid, child);
    const code = await new Promise<number>((resolve) =>
      child.once('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143))),
    );
    this.#processes.delete(uid);
    const written = await readFile(join(folder, 'termination-log'), 'utf8').catch(() => '');
    // As `FallbackToLogsOnError` has it.
    const message = written === '' && code !== 0 ? said().slice(-2048) : written;
    const terminated = {
      exitCode: code,
      reason: code === 0 ? 'Completed' : 'Error',
      message,
      startedAt,
      finishedAt: timestamp(),
    };
    return { phase: code === 0 ? 'Succeeded' : 'Failed', ...containerStatus({ terminated }) };
  }

  #task(args: readonly string[], folder: string): ReturnType<typeof spawn> {
    const own = args
      .slice(1)
      .map((argument) =>
        argument
          .replace('--scratch=/scratch', `--scratch=${folder}/scratch`)
          .replace('--secrets=/secrets', `--secrets=${folder}/secrets`)
          .replace('--termination-log=/dev/termination-log', `--termination-log=${folder}/termination-log`),
      );
    return spawn(process.execPath, [this.#options.program ?? '', ...own], { stdio: 'ignore' });
  }

  /** A program with the container's own environment and its mounts, which lie below the folder. */
  async #program(pod: Pod, argv: readonly string[], folder: string) {
    const here = (text: string): string =>
      (pod.spec?.containers[0]?.volumeMounts ?? []).reduce(
        (path, { mountPath }) => (path.startsWith(mountPath) ? join(folder, 'root', path) : path),
        text,
      );
    const env: Record<string, string> = { PATH: process.env.PATH ?? '' };
    for (const { name, value = '', valueFrom } of pod.spec?.containers[0]?.env ?? []) {
      const { name: secret = '', key = '' } = valueFrom?.secretKeyRef ?? {};
      env[name] = here(valueFrom === undefined ? expanded(value, env) : ((await this.#keys(secret)).get(key) ?? ''));
    }
    const [program = '', ...args] = argv.map((text) => expanded(text, env));
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    return { child, said: () => text };
  }

  async #keys(name: string): Promise<ReadonlyMap<string, string>> {
    const secret = await this.#options.kube.get(secrets, { namespace: this.#options.namespace, name });
    const data: Readonly<Record<string, unknown>> = { ...secret.data };
    return new Map(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(String(value), 'base64').toString()] as const),
    );
  }

  /** Each Secret that the container mounts: for a task as a folder of the same name, else where it is mounted. */
  async #mount(pod: Pod, folder: string): Promise<void> {
    for (const { name, mountPath } of pod.spec?.containers[0]?.volumeMounts ?? []) {
      const volume = pod.spec?.volumes?.find((each) => each.name === name);
      if (volume?.secret?.secretName === undefined) continue;
      const keys = await this.#keys(volume.secret.secretName);
      const { items } = volume.secret;
      if (items === undefined)
        await writeSecret(join(folder, 'secrets'), mountPath.replace('/secrets/', ''), Object.fromEntries(keys));
      for (const { key, path } of items ?? []) {
        const file = join(folder, 'root', mountPath, path);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, keys.get(key) ?? '');
      }
    }
    await access(folder);
  }

  async #say(pod: Pod, status: NonNullable<Pod['status']>): Promise<void> {
    await this.#options.kube.mergePatch(pods, pod.metadata, { status }, { subresource: 'status' });
  }

  async #finish(job: Job, type: 'Complete' | 'Failed'): Promise<void> {
    const at = timestamp();
    const last = { status: 'True', lastProbeTime: at, lastTransitionTime: at } as const;
    const [before, reason] =
      type === 'Complete' ? ['SuccessCriteriaMet', 'CompletionsReached'] : ['FailureTarget', 'BackoffLimitExceeded'];
    const conditions = [before, type].map((each) => ({
      type: each,
      ...last,
      reason,
      message: 'as the controller says',
    }));
    const counts = type === 'Complete' ? { succeeded: 1, completionTime: at } : { failed: 1 };
    const status = { startTime: job.metadata.creationTimestamp, conditions, ...counts };
    await this.#options.kube.mergePatch(jobs, job.metadata, { status }, { subresource: 'status' });
  }
}

/** `$(NAME)` is a variable that came before, and `$$` a `$`. */
function expanded(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$(\$|\((\w+)\))/g, (whole, what: string, name: string) =>
    what === '$' ? '$' : (env[name] ?? whole),
  );
}

function labelsOf(template: NonNullable<Job['spec']>['template']): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries({ ...template.metadata?.labels }).map(([key, value]) => [key, String(value)]),
  );
}

function containerStatus(state: object) {
  return { containerStatuses: [{ name: 'task', image: 'image', imageID: '', ready: false, restartCount: 0, state }] };
}

function timestamp(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}
