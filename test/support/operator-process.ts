import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StartOptions } from '../../operator/operator.ts';
import { env } from '../../src/support/env.ts';
import { root } from './runs.ts';

/** The operator as a program of its own, which ends as a lost machine ends it. */
export interface OperatorProcess {
  /** SIGKILL; resolves when it is gone, and again at once. */
  stop(): Promise<void>;
}

/** Starts `operator/main.ts` with these options, as far as a file can say them: it is the only replica, and never sweeps. */
export async function startOperatorProcess(options: StartOptions): Promise<OperatorProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'parity-operator-process-'));
  const { installation, namespace, namespaces, image, imagePullSecrets, executor, allow, argocd } = options;
  const { defaultWorkspace, parallelRuns, nodeSelector, tolerations } = options;
  const file = join(folder, 'options.yaml');
  const told = { installation, namespace, namespaces, image, imagePullSecrets, executor, allow, argocd };
  await writeFile(file, JSON.stringify({ ...told, defaultWorkspace, parallelRuns, nodeSelector, tolerations }));
  const child = spawn(
    process.execPath,
    [
      join(root, 'operator/main.ts'),
      `--options=${file}`,
      `--kubeconfig=${options.access?.kubeconfig}`,
      `--state-dir=${folder}`,
      '--lease=',
      '--port=0',
      '--sweep-seconds=0',
    ],
    {
      // What it says while it dies is nobody's business; that it cannot start is.
      stdio: ['ignore', 'ignore', 'ignore'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(env.cacheDir(), 'compiled') },
    },
  );
  const gone = ended(child);
  return {
    stop: async () => {
      child.kill('SIGKILL');
      await gone;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}
