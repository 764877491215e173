import { writeFile } from 'node:fs/promises';
import type { TaskSummary } from '../run/types.ts';
import type { ErrorRecord } from '../support/error.ts';
import { redact, redactError } from '../support/log.ts';

/** How a task ended, as its pod's termination message says it. The truth is what it recorded; this is for when it could not. */
export type TerminationMessage =
  | { readonly outcome: 'Succeeded'; readonly summary: TaskSummary }
  | { readonly outcome: 'Failed'; readonly error: ErrorRecord; readonly table?: string };

/** Kubernetes keeps no more of it. */
const mostBytes = 4096;

/** Writes the message where Kubernetes looks for it. Throws the file system's error. */
export async function writeTerminationMessage(file: string, message: TerminationMessage): Promise<void> {
  await writeFile(file, formatTerminationMessage(message));
}

/** The message as JSON of at most 4 KiB, without secrets: what is too long for that is cut. */
export function formatTerminationMessage(message: TerminationMessage): string {
  const safe = message.outcome === 'Failed' ? { ...message, error: redactError(message.error) } : message;
  for (let length = mostBytes; ; length = Math.floor(length / 2)) {
    const text = redact(JSON.stringify(shortened(safe, length)));
    if (Buffer.byteLength(text) <= mostBytes) return text;
  }
}

/** The message that a pod left; undefined for anything else that stands there. */
export function parseTerminationMessage(text: string): TerminationMessage | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isMessage(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function shortened(message: TerminationMessage, length: number): TerminationMessage {
  const cut = (text: string) => (text.length <= length ? text : `${text.slice(0, Math.max(0, length - 1))}…`);
  if (message.outcome === 'Succeeded') {
    const { headline } = message.summary;
    return headline === undefined ? message : { ...message, summary: { ...message.summary, headline: cut(headline) } };
  }
  const { advice, subject } = message.error;
  const error = {
    ...message.error,
    message: cut(message.error.message),
    ...(advice === undefined ? {} : { advice: cut(advice) }),
    ...(subject === undefined ? {} : { subject: cut(subject) }),
  };
  return { ...message, error };
}

function isMessage(value: unknown): value is TerminationMessage {
  if (typeof value !== 'object' || value === null || !('outcome' in value)) return false;
  if (value.outcome === 'Succeeded')
    return 'summary' in value && typeof value.summary === 'object' && value.summary !== null;
  if (value.outcome !== 'Failed' || !('error' in value)) return false;
  const { error } = value;
  return typeof error === 'object' && error !== null && 'code' in error && 'message' in error;
}
