import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves with what `check` returns, once it returns without throwing; after the time, in ms, it throws what `check` threw last. */
export async function eventually<T>(check: () => T | Promise<T>, timeMs = 20_000): Promise<T> {
  const until = performance.now() + timeMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > until) throw error;
      await sleep(10);
    }
  }
}
