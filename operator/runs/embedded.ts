import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import type { RunningServer, StartServer } from '../../src/cli/driver/provision.ts';
import { runFolders } from '../../src/cli/driver/state-dir.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { publishConnection } from './connections.ts';
import type { Hold, Removed, Scope, SourceProvider, SourceState } from './types.ts';

export interface EmbeddedSourcesOptions {
  readonly stateDir: string;
  /** Told the run, by `namespace/name`, of which a server has started or ended. */
  readonly onChange: (key: string) => void;
  /** Default: the project's own. */
  readonly startServer?: StartServer;
}

/** Servers beside the operator, with the process executor: they end with it, and the next operator starts them again on the same content. */
export class EmbeddedSources implements SourceProvider {
  readonly #options: EmbeddedSourcesOptions;
  readonly #servers = new Map<string, Server>();

  constructor(options: EmbeddedSourcesOptions) {
    this.#options = options;
  }

  async ensure(scope: Scope, source: ResolvedSource): Promise<SourceState> {
    const dir = this.#dir(scope.hold, source);
    const server = this.#servers.get(dir) ?? this.#start(scope.hold, source, dir);
    switch (server.state.kind) {
      case 'Starting':
        return { state: 'Progressing', message: `the ${source.engine} server of ${source.name} is starting` };
      case 'Ended':
        // Forgotten, so that another attempt begins anew.
        this.#servers.delete(dir);
        return { state: 'Failed', error: server.state.error };
      case 'Ready':
        await publishConnection(scope, source, server.state.server.connection);
        return { state: 'Ready' };
    }
  }

  /** As `ensure`, but never on an empty folder: what had been loaded would be missing without a word. */
  async keep(scope: Scope, source: ResolvedSource): Promise<SourceState> {
    const dir = this.#dir(scope.hold, source);
    const isKnown = this.#servers.has(dir);
    if (!isKnown && (await readdir(join(dir, 'data')).catch(() => [])).length === 0) {
      const error = new ParityError('NotFound', `the database of source "${source.name}" is gone from ${dir}`, {
        subject: source.name,
        advice: 'This run cannot be continued: start a new one.',
      });
      return { state: 'Failed', error };
    }
    return await this.ensure(scope, source);
  }

  async remove({ hold }: Scope, source: ResolvedSource): Promise<Removed> {
    const dir = this.#dir(hold, source);
    const server = this.#servers.get(dir);
    this.#servers.delete(dir);
    server?.stop.abort();
    await server?.started;
    if (server?.state.kind === 'Ready') await server.state.server.stop();
    await (await import('../../src/sources/server-process.ts')).stopStray(dir);
    await rm(dir, { recursive: true, force: true });
    // The folders above go with the last source.
    for (const folder of [dirname(dir), dirname(dirname(dir))]) await rmdir(folder).catch(() => undefined);
    return { isGone: true, waitingFor: '' };
  }

  /** Ends every server; their folders stay. */
  async close(): Promise<void> {
    const all = [...this.#servers.values()];
    this.#servers.clear();
    await Promise.all(
      all.map(async (server) => {
        server.stop.abort();
        await server.started;
        if (server.state.kind === 'Ready') await server.state.server.stop();
      }),
    );
  }

  #start(hold: Hold, source: ResolvedSource, dir: string): Server {
    const stop = new AbortController();
    const server: Server = { state: { kind: 'Starting' }, stop, started: Promise.resolve() };
    const changed = () => this.#options.onChange(`${hold.namespace}/${hold.run.name}`);
    server.started = this.#launch(source, dir, stop.signal)
      .then((running) => {
        server.state = { kind: 'Ready', server: running };
        void running.exited.then(() => {
          server.state = { kind: 'Ended', error: lost(source, dir) };
          changed();
        });
      })
      .catch((error: unknown) => {
        server.state = { kind: 'Ended', error: toParityError(error) };
      })
      .finally(changed);
    this.#servers.set(dir, server);
    return server;
  }

  async #launch(source: ResolvedSource, dir: string, signal: AbortSignal): Promise<RunningServer> {
    const start = this.#options.startServer ?? (await import('../../src/sources/embedded.ts')).startEmbedded;
    // Database servers run as a user of their own and must be able to pass through.
    await mkdir(dirname(dir), { recursive: true, mode: 0o711 });
    return await start(source.engine, { dir, name: source.name, signal });
  }

  #dir({ run }: Hold, { name }: ResolvedSource): string {
    return join(runFolders(this.#options.stateDir, run.uid).sources, name);
  }
}

interface Server {
  state:
    | { readonly kind: 'Starting' }
    | { readonly kind: 'Ready'; readonly server: RunningServer }
    | { readonly kind: 'Ended'; readonly error: ParityError };
  readonly stop: AbortController;
  /** Settles when it is known whether it started. */
  started: Promise<void>;
}

function lost({ name, engine }: ResolvedSource, dir: string): ParityError {
  return new ParityError('Crashed', `the ${engine} server of source "${name}" ended by itself`, {
    subject: name,
    advice: `Read ${join(dir, 'server.log')} with the cleanup policy Never.`,
  });
}
