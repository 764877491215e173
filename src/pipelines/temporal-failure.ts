import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowFailedError,
} from '@temporalio/client';
import { redact } from '../support/log.ts';

/** A workflow's failure in words, from the outermost to what began it: `SyncFailed: … ← activity syncFull, after all its attempts ← Error: …`. */
export function failureChain(error: unknown): string {
  const links: string[] = [];
  const seen = new Set<unknown>();
  for (let link = error; link instanceof Error && !seen.has(link); link = link.cause) {
    seen.add(link);
    if (link instanceof WorkflowFailedError) continue;
    links.push(oneLine(inWords(link)));
  }
  return redact(links.length === 0 ? oneLine(String(error)) : links.join(' ← '));
}

function inWords(link: Error): string {
  if (link instanceof ActivityFailure) return `activity ${link.activityType}${attempts(link.retryState)}`;
  if (link instanceof ChildWorkflowFailure) return `child workflow ${link.workflowType}${attempts(link.retryState)}`;
  if (link instanceof TimeoutFailure)
    return `${timeouts[link.timeoutType ?? ''] ?? 'it took too long'}${aside(link.message)}`;
  if (link instanceof CancelledFailure) return `it was cancelled${aside(link.message)}`;
  if (link instanceof TerminatedFailure) return `it was terminated${aside(link.message)}`;
  if (link instanceof ApplicationFailure)
    return link.type && link.type !== 'Error' ? `${link.type}: ${link.message}` : link.message;
  return link.message;
}

const timeouts: Readonly<Record<string, string>> = {
  START_TO_CLOSE: 'it took longer than its startToCloseTimeout',
  SCHEDULE_TO_START: 'no worker took it within its scheduleToStartTimeout',
  SCHEDULE_TO_CLOSE: 'it took longer than its scheduleToCloseTimeout, all attempts together',
  HEARTBEAT: 'its worker gave no sign of life within its heartbeatTimeout',
};

function attempts(retryState: string | undefined): string {
  switch (retryState) {
    case 'MAXIMUM_ATTEMPTS_REACHED':
      return ', after all its attempts';
    case 'NON_RETRYABLE_FAILURE':
      return ', not to be retried';
    case 'TIMEOUT':
      return ', no time left for another attempt';
    default:
      return '';
  }
}

function aside(message: string): string {
  return message === '' ? '' : ` (${message})`;
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= 600 ? line : `${line.slice(0, 599)}…`;
}
