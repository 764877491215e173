import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { type LoadedManifest, loadManifest } from '../../api/manifest.ts';
import { env } from '../../support/env.ts';
import { ParityError } from '../../support/error.ts';
import { defaultWorkspace } from '../driver/state-dir.ts';
import type { Io } from './io.ts';

export interface LoadFlags {
  readonly set?: readonly string[];
  readonly plan?: string;
  readonly reports?: string;
}

/** What the command does with the manifest, where that decides what is right. */
export interface LoadPurpose {
  /** Whether this process carries the run out. */
  readonly isCarriedOutHere?: boolean;
}

/** The manifest in a file (`-`: standard input) with what the command line adds. Throws `BadUsage` and `InvalidSpec`. */
export async function load(file: string, flags: LoadFlags, io: Io, purpose: LoadPurpose = {}): Promise<LoadedManifest> {
  const manifest = await readText(file, io);
  const set = [...(flags.set ?? []), ...reportsSetting(flags.reports, io)];
  return loadManifest(manifest, {
    ...purpose,
    set,
    file: file === '-' ? undefined : file,
    cwd: io.cwd,
    defaultWorkspace: defaultWorkspace(resolve(env.stateDir())),
    ...(flags.plan === undefined ? {} : { planText: await readText(flags.plan, io), planFile: flags.plan }),
  });
}

/** `--reports DIR` is a setting like any other, so it is checked like any other. */
function reportsSetting(reports: string | undefined, io: Io): string[] {
  if (reports === undefined) return [];
  const location = /^(s3:\/\/|file:)/.test(reports) ? reports : pathToFileURL(resolve(io.cwd, reports)).href;
  return [`spec.reports.location=${JSON.stringify(location)}`];
}

/** The text of a file, or of standard input for `-`. Throws `BadUsage`. */
export async function readText(file: string, io: Pick<Io, 'cwd'>): Promise<string> {
  if (file === '-') return await text(process.stdin);
  try {
    return await readFile(resolve(io.cwd, file), 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const found =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : `it cannot be read (${code})`;
    throw new ParityError('BadUsage', `reading ${file}: ${found}`, {
      cause: error,
      advice: 'Name a YAML file with a PipelineParityRun, for example examples/flights/run.yaml.',
    });
  }
}
