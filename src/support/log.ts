import { createLogger, format, type Logger, transports } from 'winston';
import { env } from './env.ts';
import type { ErrorRecord } from './error.ts';

/** What stands in place of a secret. */
const redacted = '[redacted]';
/** Shorter texts occur by chance in every line; nothing that short protects anything. */
const shortestSecret = 3;

const secrets = new Set<string>();

/**
 * From now on the value never appears in a log line, nor in its JSON, URL and base64 spellings. Whoever reads a credential from
 * anywhere registers it before using it.
 */
export function registerSecret(value: string): void {
  if (value.length < shortestSecret) return;
  for (const spelling of spellings(value)) secrets.add(spelling);
}

/** The text with every registered secret replaced. */
export function redact(text: string): string {
  let safe = text;
  // The longest first: a secret may be a part of another one.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) safe = safe.replaceAll(secret, redacted);
  return safe;
}

/** The error as it may be kept and shown. */
export function redactError(error: ErrorRecord): ErrorRecord {
  return {
    ...error,
    message: redact(error.message),
    ...(error.advice === undefined ? {} : { advice: redact(error.advice) }),
  };
}

/** The one logger: lines on stderr (stdout is for results), at the level of PARITY_LOG_LEVEL. */
export const log: Logger = createLogger({
  level: env.logLevel(),
  format: format.combine(
    format.timestamp(),
    format.printf(({ timestamp, level, message, ...rest }) => {
      const details = Object.entries(rest).map(([name, value]) => ` ${name}=${show(value)}`);
      return redact(`${String(timestamp)} ${level} ${String(message)}${details.join('')}`);
    }),
  ),
  transports: [new transports.Stream({ stream: process.stderr })],
});

function spellings(value: string): readonly string[] {
  return [
    value,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    Buffer.from(value).toString('base64'),
    Buffer.from(value).toString('base64url'),
  ];
}

function show(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message);
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
}
