import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedSource, ResolvedSpec } from '../../api/resolved.ts';
import { formatConnection, parseConnection, sourceSecret } from '../../sources/connection.ts';
import type { RunMark } from '../../sources/run-database.ts';
import type { Connection } from '../../sources/source.ts';
import { ParityError } from '../../support/error.ts';
import { throwIfAborted } from '../../support/retry.ts';
import { readSecret, writeSecret } from '../../support/secrets.ts';
import type { RunFolders } from './state-dir.ts';

/** The file that is there if the run may have made a database on the source's server: without it there is nothing to drop, and no need to ask. */
export function databaseMark(folders: RunFolders, source: string): string {
  return join(folders.sources, `${source}.database`);
}

/** A server that lives as long as the run's driver. */
export interface RunningServer {
  readonly connection: Connection;
  /** Settles when it ends, wanted or not. */
  readonly exited: Promise<unknown>;
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly dir: string;
  readonly name: string;
  readonly signal: AbortSignal;
}

export type StartServer = (engine: ResolvedSource['engine'], options: ServerOptions) => Promise<RunningServer>;

/** The error for a source that this machine has no means to deploy. */
export function needsCluster({ name, provider }: ResolvedSource): ParityError {
  return new ParityError(
    'InvalidSpec',
    `source "${name}" is deployed in a cluster (${provider.kind}), and this run is carried out on one machine`,
    {
      subject: `spec.sources[${name}]`,
      advice: `Run it in a cluster with --cluster, or use another server here: embedded: {}, or external.`,
    },
  );
}

export interface SourcesOptions {
  readonly spec: ResolvedSpec;
  readonly run: RunMark;
  readonly folders: RunFolders;
  readonly secretFolders: readonly string[];
  /** What starts an embedded server. Default: the project's own. */
  readonly startServer?: StartServer;
}

/** The sources of one run: servers that this process started, and databases on servers that were there. */
export class Sources {
  readonly #options: SourcesOptions;
  readonly #servers = new Map<string, RunningServer>();
  /** Sources whose server ended although nobody asked it to. */
  readonly #lost = new Set<string>();

  constructor(options: SourcesOptions) {
    this.#options = options;
  }

  /**
   * Makes the source reachable for tasks: starts its server, or makes the run's own database on the one that the manifest names, and
   * writes its connection as a secret. Done again it ends in the same state.
   */
  async provision(name: string, signal: AbortSignal): Promise<void> {
    const source = this.#source(name);
    switch (source.provider.kind) {
      case 'embedded': {
        const server = await this.#start(source, signal);
        return await this.#publish(source, server.connection);
      }
      case 'external': {
        const { createRunDatabase } = await import('../../sources/run-database.ts');
        const connection = await this.#external(source, source.provider.secretRef.name);
        throwIfAborted(signal);
        const { folders, run } = this.#options;
        const intend = () => writeFile(databaseMark(folders, name), '', { mode: 0o600 });
        return await this.#publish(source, await createRunDatabase(connection, source.engine, run, name, intend));
      }
      case 'argocd':
      case 'kubernetes':
        throw needsCluster(source);
    }
  }

  /**
   * Makes a source reachable again whose tasks have run before: the same server on the same content.
   * Throws `NotFound` where the content is gone, rather than go on with an empty database.
   */
  async reopen(name: string, signal: AbortSignal): Promise<void> {
    const source = this.#source(name);
    if (source.provider.kind === 'embedded') {
      const content = await readdir(join(this.#folder(name), 'data')).catch(() => []);
      if (content.length === 0) {
        throw new ParityError('NotFound', `the database of source "${name}" is gone from ${this.#folder(name)}`, {
          subject: name,
          advice: 'This run cannot be continued: start a new one.',
        });
      }
    }
    await this.provision(name, signal);
  }

  /** Whether the source's server has ended by itself. */
  isLost(name: string): boolean {
    return this.#lost.has(name);
  }

  /** Ends the servers; their folders stay. Never throws: what does not end is killed by its own guard when this process ends. */
  async stop(): Promise<void> {
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    await Promise.allSettled(servers.map((server) => server.stop()));
  }

  async #start(source: ResolvedSource, signal: AbortSignal): Promise<RunningServer> {
    const start = this.#options.startServer ?? (await import('../../sources/embedded.ts')).startEmbedded;
    const server = await start(source.engine, { dir: this.#folder(source.name), name: source.name, signal });
    this.#servers.set(source.name, server);
    this.#lost.delete(source.name);
    void server.exited.then(() => {
      if (this.#servers.get(source.name) === server) this.#lost.add(source.name);
    });
    return server;
  }

  async #external(source: ResolvedSource, secretName: string): Promise<Connection> {
    const keys = await readSecret(secretName, this.#options.secretFolders);
    // Kept with the run from before anything is made: whoever removes the run needs it, and may not know where it came from.
    await writeSecret(this.#options.folders.secrets, secretName, keys);
    return parseConnection(source.engine, keys, { name: source.name, secret: secretName });
  }

  async #publish(source: ResolvedSource, connection: Connection): Promise<void> {
    if (source.engineVersion !== undefined) {
      const { askServer, checkVersion } = await import('../../sources/server-version.ts');
      checkVersion(source, await askServer(source.engine, connection));
    }
    await writeSecret(this.#options.folders.secrets, sourceSecret(source.name), formatConnection(connection));
  }

  #folder(name: string): string {
    return join(this.#options.folders.sources, name);
  }

  #source(name: string): ResolvedSource {
    const source = this.#options.spec.sources.find((source) => source.name === name);
    if (source === undefined) throw new ParityError('Internal', `the spec has no source "${name}"`);
    return source;
  }
}
