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
  const rest = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const isOver = () => failures.length > 0 || signal?.aborted === true;
  const worker = async () => {
    try {
      while (!isOver()) {
        const next = await rest.next();
        if (next.done === true) return;
        await work(next.value);
      }
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  // A generator that was not read to its end lets go of what it holds.
  if (isOver()) await rest.return?.();
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
