import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import { ParityError } from '../../src/support/error.ts';

/** What differs between database engines where a run deploys a server. */
export interface ServerKind {
  /** Name of the engine's chart in argocd/sources, and of container and port. */
  readonly name: 'postgres' | 'mysql';
  readonly port: number;
  /** The official image of a version; of the newest that is known to work where none is asked for. */
  image(version: string | undefined): string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  /** What ends the server where a signal does not do it well. */
  readonly stopCommand?: readonly string[];
  /** Whether it shares memory between its processes. */
  readonly needsSharedMemory: boolean;
}

/** The user of the official images; others need not know it. */
export const serverUser = 999;

/** How a server of this engine is deployed. Throws `UnsupportedFeature` for Snowflake, which is nobody's to deploy: such sources are external. */
export function serverKind(engine: ResolvedSource['engine']): ServerKind {
  switch (engine) {
    case 'Postgres':
      return {
        name: 'postgres',
        port: 5432,
        image: (version = '18') => `docker.io/library/postgres:${version}`,
        env: [{ name: 'PGDATA', value: '/data/postgres' }],
        stopCommand: ['pg_ctl', 'stop', '-D', '/data/postgres', '-m', 'fast', '-W'],
        needsSharedMemory: true,
      };
    case 'MySQL':
      return {
        name: 'mysql',
        port: 3306,
        image: (version = '8.4') => `docker.io/library/mysql:${version}`,
        env: [],
        needsSharedMemory: false,
      };
    case 'Snowflake':
      throw new ParityError('UnsupportedFeature', 'Deploying Snowflake: there is no server of it to deploy.', {
        advice: 'Name an account with sources[].external.',
      });
  }
}

/** A script of the engine's chart, which the operator's own servers run as well. Throws `Internal` where the installation lacks it. */
export function serverScript(kind: ServerKind, script: 'start.sh' | 'ready.sh'): string {
  const path = join('argocd', 'sources', kind.name, 'files', script);
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, path))) return readFileSync(join(folder, path), 'utf8');
    if (folder === dirname(folder)) {
      throw new ParityError('Internal', `${path} is missing from this installation`, {
        advice: 'Install the package or image again.',
      });
    }
  }
}
