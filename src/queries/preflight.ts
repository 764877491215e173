import { ParityError, toParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { readHogQl } from './posthog-rows.ts';
import { querySecrets } from './secrets.ts';

/** PostHog answers this at once, or somebody has to look. */
const timeoutSeconds = 60;

/** Asks every PostHog that a query will run in for one row: what is wrong with its secret is known before anything is copied. Throws what the client throws. */
export async function checkPostHog(context: TaskContext): Promise<void> {
  for (const secretName of querySecrets(context.file.spec)) {
    const request = { text: 'SELECT 1', pageBy: [], timeoutSeconds, secretName, signal: context.signal };
    try {
      await readHogQl({ ...request, keys: await context.secret(secretName) }, async () => undefined);
    } catch (thrown) {
      const { code, message, advice, isRetryable } = toParityError(thrown);
      throw new ParityError(code, `Trying the PostHog that queries run in: ${message}`, {
        subject: secretName,
        isRetryable,
        cause: thrown,
        ...(advice === undefined ? {} : { advice }),
      });
    }
  }
}
