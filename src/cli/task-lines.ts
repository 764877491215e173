import type { ErrorRecord } from '../support/error.ts';
import type { Progress } from '../tasks/task.ts';

/** One line of a task's stdout. The end of a task is what it recorded; `failure` is for when it could not record it. */
export type TaskLine =
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'failure'; readonly error: ErrorRecord; readonly table?: string };

/** The line, or undefined for anything else that a library in the process printed. */
export function parseTaskLine(text: string): TaskLine | undefined {
  if (!text.startsWith('{"type":"')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isTaskLine(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Passes progress on at most once per table and interval; the latest value is never lost, only late. `flush` hands over what is
 * still held back.
 */
export function throttle(
  emit: (progress: Progress) => void,
  intervalMs: number,
  now: () => number = () => performance.now(),
): { progress(progress: Progress): void; flush(): void } {
  const tables = new Map<string, { sentMs: number; held: Progress | undefined }>();
  return {
    progress(progress) {
      const table = progress.table ?? '';
      const last = tables.get(table);
      if (last !== undefined && now() - last.sentMs < intervalMs) {
        last.held = progress;
        return;
      }
      tables.set(table, { sentMs: now(), held: undefined });
      emit(progress);
    },
    flush() {
      for (const entry of tables.values()) {
        if (entry.held === undefined) continue;
        emit(entry.held);
        entry.held = undefined;
        entry.sentMs = now();
      }
    },
  };
}

function isTaskLine(value: unknown): value is TaskLine {
  if (typeof value !== 'object' || value === null || !('type' in value)) return false;
  const has = (name: 'progress' | 'error') => {
    const part: unknown = name in value ? Reflect.get(value, name) : undefined;
    return typeof part === 'object' && part !== null;
  };
  return (value.type === 'progress' && has('progress')) || (value.type === 'failure' && has('error'));
}
