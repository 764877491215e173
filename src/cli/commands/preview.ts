import { resolve } from 'node:path';
import type { ResolvedSpec } from '../../api/resolved.ts';
import { align, clean } from '../../report/terminal.ts';
import { bytes, count, number } from '../../report/words.ts';
import { buildGraph } from '../../run/graph.ts';
import type { Task } from '../../run/types.ts';
import { env } from '../../support/env.ts';
import { readSecret } from '../../support/secrets.ts';
import { previewSnapshot, type SnapshotPreview } from '../../tasks/resolve.ts';
import { taskTitle } from '../../tasks/title.ts';
import { listenForInterrupts } from '../driver/interrupts.ts';
import { installationSecrets } from '../driver/state-dir.ts';
import type { Io } from './io.ts';
import { type LoadFlags, load } from './load.ts';

export interface PreviewFlags extends LoadFlags {
  readonly json?: boolean;
}

/** `parity preview`: what a run would read, copy and do. Only the lake's logs are read; nothing is made. */
export async function previewCommand(manifest: string, flags: PreviewFlags, io: Io): Promise<number> {
  const { name, spec, specDigest } = await load(manifest, flags, io);
  const interrupts = listenForInterrupts(() => process.exit(3));
  try {
    const snapshot = await previewSnapshot(spec, await lakeSecret(spec), interrupts.signal);
    const { tasks } = buildGraph(spec, { tables: snapshot.tables });
    const rows = snapshot.tables.reduce((sum, table) => sum + table.rows, 0);
    if (flags.json === true) {
      io.out(`${JSON.stringify({ name, specDigest, rows, snapshot, limits: spec.snapshot.limits, tasks })}\n`);
    } else {
      io.out(
        `${[...overview(name, spec, snapshot, rows), '', ...tables(snapshot, io), '', ...taskLines(tasks, io)].join('\n')}\n`,
      );
    }
    return 0;
  } finally {
    interrupts.dispose();
  }
}

async function lakeSecret(spec: ResolvedSpec): Promise<Readonly<Record<string, string>> | undefined> {
  const { secretRef } = spec.snapshot;
  if (secretRef === undefined) return undefined;
  const ofUser = env.secretsDir();
  const folders = [...(ofUser === undefined ? [] : [resolve(ofUser)]), installationSecrets(resolve(env.stateDir()))];
  return await readSecret(secretRef.name, folders);
}

function overview(name: string, spec: ResolvedSpec, snapshot: SnapshotPreview, rows: number): string[] {
  const { maxBytes, maxRequestsPerSecond } = spec.snapshot.limits;
  const over = maxBytes !== undefined && snapshot.bytes > maxBytes;
  const limit =
    maxBytes === undefined
      ? 'no limit'
      : `limit ${bytes(maxBytes)}${over ? ': OVER THE LIMIT, the run would be Errored' : ''}`;
  const rate = maxRequestsPerSecond === undefined ? '' : `, at most ${number(maxRequestsPerSecond)} a second`;
  const region = snapshot.crossRegionBytes;
  return align(
    [
      ['Run', clean(name)],
      ['Reads', `${clean(spec.snapshot.location)}: ${count(snapshot.tables.length, 'table')}, ${count(rows, 'row')}`],
      [
        'Copies',
        `${bytes(snapshot.bytes)} in ${count(snapshot.files, 'object')} (${limit}) to ${clean(spec.workspace.location)}`,
      ],
      ['Requests', `${number(snapshot.requests)} to production (GET, HEAD and LIST only${rate})`],
      ['Cross-region', region === null ? 'not known: no two regions are named' : region === 0 ? 'none' : bytes(region)],
      ['Sources', spec.sources.map(({ name, engine, provider }) => `${name} (${engine}, ${provider.kind})`).join(', ')],
      ['Reports', clean(spec.reports.location)],
    ],
    new Set(),
  );
}

function tables(snapshot: SnapshotPreview, io: Io): string[] {
  const header = ['TABLE', 'VERSION', 'FROM', 'ROWS', 'SIZE', 'TO COPY', 'OBJECTS', 'REQUESTS', 'WAY'];
  const rows = snapshot.tables.map((table) => [
    clean(table.name),
    String(table.version),
    table.baseVersion === null ? '-' : String(table.baseVersion),
    number(table.rows),
    bytes(table.sizeBytes),
    bytes(table.copyBytes),
    number(table.files),
    number(table.requests),
    ways[table.way],
  ]);
  const [first = '', ...rest] = align([header, ...rows], new Set([1, 2, 3, 4, 5, 6, 7]));
  return [io.paint('dim', first), ...rest];
}

const ways: Readonly<Record<SnapshotPreview['tables'][number]['way'], string>> = {
  ServerSide: 'copied where it lies',
  Streamed: 'streamed through this machine',
  Rewritten: 'rewritten (sampled or masked)',
};

function taskLines(tasks: readonly Task[], io: Io): string[] {
  const rows = tasks.map((task) => [clean(task.id), clean(taskTitle(task))]);
  return [io.paint('dim', count(tasks.length, 'task')), ...align(rows, new Set()).map((line) => `  ${line}`)];
}
