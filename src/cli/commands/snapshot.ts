import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ResolvedStorage } from '../../api/resolved.ts';
import { type KeptSnapshot, keepSnapshot, listKept, verifyKept } from '../../lake/corpus.ts';
import { isInside, parseLocation } from '../../lake/location.ts';
import { openReader, openStore } from '../../lake/open.ts';
import { openLake } from '../../lake/snapshot-lake.ts';
import { align, clean } from '../../report/terminal.ts';
import { bytes, count, number } from '../../report/words.ts';
import { env } from '../../support/env.ts';
import { ParityError } from '../../support/error.ts';
import { readSecret } from '../../support/secrets.ts';
import { listenForInterrupts } from '../driver/interrupts.ts';
import { installationId, installationSecrets } from '../driver/state-dir.ts';
import type { Io } from './io.ts';
import { keepProgress } from './keep-progress.ts';
import { type LoadFlags, load } from './load.ts';

export interface CorpusFlags extends LoadFlags {
  readonly endpoint?: string;
  readonly region?: string;
  readonly secret?: string;
  readonly json?: boolean;
}

/** `parity snapshot keep`: stores the manifest's tables in a corpus and prints what a manifest says to read them there. */
export async function keepCommand(manifest: string, location: string, flags: CorpusFlags, io: Io): Promise<number> {
  const { spec } = await load(manifest, flags, io);
  const storage = corpusStorage(location, flags, io);
  refuseOverlap(storage, spec.snapshot);
  const stateDir = resolve(env.stateDir());
  // Masks are made with the installation's secret, which is made with its id.
  await installationId(stateDir);
  const { secretRef } = spec.snapshot;
  const lake = await openLake(spec.snapshot, secretRef === undefined ? undefined : await secretNamed(secretRef.name));
  const corpus = await openStore(storage, await corpusSecret(flags));
  const scratch = await mkdtemp(join(tmpdir(), 'parity-keep-'));
  const interrupts = listenForInterrupts(() => process.exit(3));
  const { memoryBytes, threads } = spec.execution;
  const progress = keepProgress(io);
  try {
    const kept = await keepSnapshot({
      lake,
      snapshot: spec.snapshot,
      corpus,
      rewrite: {
        scratch,
        memoryBytes,
        threads,
        maskSecret: () => secretNamed(spec.snapshot.maskSecretRef?.name ?? 'mask'),
      },
      signal: interrupts.signal,
      onProgress: progress.update,
      now: new Date(),
    });
    progress.stop();
    io.out(flags.json === true ? `${JSON.stringify(kept)}\n` : keptText(kept, storage));
    return 0;
  } finally {
    progress.stop();
    interrupts.dispose();
    lake.reader.close();
    corpus.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** `parity snapshot list`: what a corpus keeps, oldest first. */
export async function listCommand(location: string, flags: CorpusFlags, io: Io): Promise<number> {
  const corpus = await openReader(corpusStorage(location, flags, io), await corpusSecret(flags));
  try {
    const kept = await listKept(corpus);
    io.out(flags.json === true ? `${JSON.stringify({ snapshots: kept })}\n` : listText(kept));
    return 0;
  } finally {
    corpus.close();
  }
}

/** `parity snapshot verify`: reads a kept snapshot again. Throws `CorruptTable` naming what is wrong. */
export async function verifyCommand(location: string, digest: string, flags: CorpusFlags, io: Io): Promise<number> {
  const corpus = await openReader(corpusStorage(location, flags, io), await corpusSecret(flags));
  const interrupts = listenForInterrupts(() => process.exit(3));
  try {
    const kept = await verifyKept(corpus, digest, interrupts.signal);
    const rows = kept.tables.reduce((sum, table) => sum + table.rows, 0);
    io.out(
      flags.json === true
        ? `${JSON.stringify(kept)}\n`
        : `${kept.digest} is whole: ${count(kept.tables.length, 'table')}, ${count(rows, 'row')}\n`,
    );
    return 0;
  } finally {
    interrupts.dispose();
    corpus.close();
  }
}

/** A location or a plain path. */
function corpusStorage(location: string, { endpoint, region }: CorpusFlags, io: Io): ResolvedStorage {
  const isLocation = /^(s3:\/\/|file:\/\/)/.test(location);
  return {
    location: isLocation ? location : pathToFileURL(resolve(io.cwd, location.replace(/^file:/, ''))).href,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
  };
}

/** Nothing is ever written where production lies. */
function refuseOverlap(corpus: ResolvedStorage, lake: ResolvedStorage): void {
  const [inner, outer] = [parseLocation(corpus.location, corpus), parseLocation(lake.location, lake)];
  if (!isInside(inner, outer)) return;
  throw new ParityError(
    'BadUsage',
    `the corpus ${corpus.location} lies inside the snapshot's location ${lake.location}`,
    {
      advice: 'Keep snapshots in another bucket or folder: production is only read.',
    },
  );
}

async function corpusSecret({ secret }: CorpusFlags): Promise<Readonly<Record<string, string>> | undefined> {
  return secret === undefined ? undefined : await secretNamed(secret);
}

async function secretNamed(name: string): Promise<Readonly<Record<string, string>>> {
  const ofUser = env.secretsDir();
  const folders = [...(ofUser === undefined ? [] : [resolve(ofUser)]), installationSecrets(resolve(env.stateDir()))];
  return await readSecret(name, folders);
}

function keptText(kept: KeptSnapshot, corpus: ResolvedStorage): string {
  const tables = kept.tables.map(({ name, version, baseVersion }) => {
    const base = baseVersion === null ? '' : `, baseVersion: "${baseVersion}"`;
    return `      - { name: ${name}, path: ${name}, version: "${version}"${base} }`;
  });
  return [
    `Kept ${count(kept.tables.length, 'table')} as ${kept.digest}. A manifest reads them with:`,
    '',
    '  snapshot:',
    `    location: ${corpus.location.replace(/\/$/, '')}/${kept.digest}`,
    '    tables:',
    ...tables.map(clean),
    '',
  ].join('\n');
}

function listText(kept: readonly KeptSnapshot[]): string {
  if (kept.length === 0) return 'Nothing is kept there.\n';
  const header = ['DIGEST', 'KEPT', 'TABLES', 'ROWS', 'SIZE', 'FROM'];
  const rows = kept.map(({ digest, createdAt, from, tables }) => [
    digest,
    createdAt,
    number(tables.length),
    number(tables.reduce((sum, table) => sum + table.rows, 0)),
    bytes(tables.reduce((sum, table) => sum + table.sizeBytes, 0)),
    clean(from),
  ]);
  return `${align([header, ...rows], new Set([2, 3, 4])).join('\n')}\n`;
}
