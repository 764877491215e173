import { readFile } from 'node:fs/promises';
import type { TaskKind } from '../../run/types.ts';

const MiB = 2 ** 20;

/** What the runtime, the engine's code and buffers take beside the data, before anything is read. */
const allowanceBytes = 384 * MiB;

/** How a task process shares its bound (`spec.execution.memoryBytes`) out. */
export interface MemoryPlan {
  /** Bound of the JavaScript heap, in MiB, for --max-old-space-size. */
  readonly heapMiB: number;
  /** Bound on one statement of the engine, in bytes. */
  readonly engineBytes: number;
  /** The process is ended beyond this many bytes of its own memory. */
  readonly killBytes: number;
}

/** The plan for a bound in bytes. The engine gets most: rows live there. */
export function memoryPlan(memoryBytes: number): MemoryPlan {
  return {
    heapMiB: Math.min(2048, Math.max(128, Math.floor(memoryBytes / 4 / MiB))),
    engineBytes: Math.max(128 * MiB, Math.floor((memoryBytes * 3) / 4)),
    killBytes: memoryBytes + allowanceBytes,
  };
}

/**
 * The runtime's own arguments for a task's process. What a copy makes is short-lived: with the room that the runtime would give it, the process
 * would be twice as large for the same time.
 */
export function runtimeArguments(kind: TaskKind, memoryBytes: number): readonly string[] {
  const heap = `--max-old-space-size=${memoryPlan(memoryBytes).heapMiB}`;
  return kind === 'resolve' || kind === 'snapshot' ? [heap, '--max-semi-space-size=16'] : [heap];
}

/**
 * Bytes of memory that are the process's own: anonymous and shared pages, not the pages of files that it maps (the engine's library
 * alone is half a gigabyte, and the system can drop those). undefined where the process is gone or the system does not say (no /proc).
 */
export async function ownMemoryBytes(pid: number): Promise<number | undefined> {
  let status: string;
  try {
    status = await readFile(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
  const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return (kib('RssAnon') + kib('RssShmem')) * 1024;
}
