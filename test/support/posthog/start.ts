import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Fault, ServerOptions } from './server.ts';
import type { Defect } from './state.ts';

/** A PostHog of the test's own, written from its real routes and payloads (contract.md), in a process of its own. */
export interface PostHog {
  /** The keys of a secret that reaches it. */
  readonly secret: { readonly host: string; readonly project: string; readonly key: string };
  readonly readOnlyKey: string;
  /** What it has been asked, as `POST external_data_sources/`, and what it holds. */
  seen(): Promise<{
    readonly requests: readonly string[];
    readonly jobs: readonly SeenJob[];
    readonly sources: readonly unknown[];
    readonly linked: readonly unknown[];
  }>;
  answerWith(faults: readonly Fault[]): Promise<void>;
  stop(): Promise<void>;
}

export interface SeenJob {
  readonly id: string;
  readonly status: string;
  readonly schema: { readonly name: string };
}

export interface PostHogOptions {
  readonly bucket: ServerOptions['bucket'];
  readonly bucketKeys?: Readonly<Record<string, string>>;
  readonly isCloud?: boolean;
  readonly requiresTls?: boolean;
  readonly defects?: readonly Defect[];
  readonly ownTables?: ServerOptions['ownTables'];
  readonly savedQueries?: ServerOptions['savedQueries'];
  readonly insights?: ServerOptions['insights'];
}

export async function startPostHog({
  bucket,
  bucketKeys,
  isCloud = false,
  requiresTls = false,
  defects = [],
  ownTables = {},
  savedQueries = {},
  insights = {},
}: PostHogOptions): Promise<PostHog> {
  const [key, readOnlyKey] = ['phx_writer-of-the-test', 'phx_reader-of-the-test'];
  const options: ServerOptions = {
    ...{ bucket, isCloud, requiresTls, defects, key, readOnlyKey, teamId: 2, ownTables, savedQueries, insights },
    ...(bucketKeys === undefined ? {} : { bucketKeys }),
  };
  // It ends with this process: its standard input closes.
  const child = spawn(process.execPath, [join(import.meta.dirname, 'server.ts'), JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, 'line'),
    ended.then(([code]) => {
      throw new Error(`PostHog ended with code ${code} before it listened`);
    }),
  ]);
  const host = `http://127.0.0.1:${JSON.parse(String(line)).port}`;
  return {
    secret: { host, project: '2', key },
    readOnlyKey,
    async seen() {
      return JSON.parse(await (await fetch(`${host}/_control`)).text());
    },
    async answerWith(faults) {
      await fetch(`${host}/_control`, { method: 'POST', body: JSON.stringify({ faults }) });
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
}
