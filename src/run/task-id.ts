import { createHash } from 'node:crypto';
import type { TaskId } from './types.ts';

/** Longest task id: it becomes part of Kubernetes names, which end at 63. */
export const maxTaskIdLength = 60;

/**
 * A readable id of the parts, e.g. `first-sync-candidate-shop-0`: lower-case letters, digits and dashes, at most 60 characters.
 * Parts that had to be changed or cut to fit add a digest of the originals, so different parts never give the same id by cutting.
 */
export function taskId(...parts: readonly (string | number)[]): TaskId {
  const wanted = parts.join('-');
  const readable = wanted
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  if (readable === wanted && readable.length <= maxTaskIdLength) return brand(readable);
  const digest = createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 8);
  return brand(`${readable.slice(0, maxTaskIdLength - 9).replace(/-+$/, '')}-${digest}`);
}

/** Whether a text can be a task's id, as this module makes them. */
export function isTaskId(text: string): text is TaskId {
  return /^[a-z0-9][a-z0-9-]{0,59}$/.test(text);
}

function brand(text: string): TaskId {
  if (!isTaskId(text)) throw new TypeError(`not a task id: ${JSON.stringify(text)}`);
  return text;
}
