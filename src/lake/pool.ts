import { throwIfAborted } from '../support/retry.ts';

/**
 * Runs `work` for each item, at most `limit` at once, and resolves when all are done. After the first failure nothing new is
 * started; the running ones are awaited, then the first failure is thrown: nothing goes on behind the caller's back.
 */
export async function forEachBounded<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
  limit: number,
  work: (item: Item) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const failures: unknown[] = [];
  const running = new Set<Promise<void>>();
  for await (const item of items) {
    if (failures.length > 0 || signal?.aborted === true) break;
    const done = work(item).then(
      () => void running.delete(done),
      (error: unknown) => {
        running.delete(done);
        failures.push(error);
      },
    );
    running.add(done);
    if (running.size >= limit) await Promise.race(running);
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
  throwIfAborted(signal);
}

/** Like `forEachBounded`, with the results in the items' order. */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result[]> {
  const results = new Map<number, Result>();
  await forEachBounded(
    items.entries(),
    limit,
    async ([index, item]) => {
      results.set(index, await work(item));
    },
    signal,
  );
  return [...results.entries()].sort(([a], [b]) => a - b).map(([, result]) => result);
}
