import { toParityError } from '../../support/error.ts';
import { redactError } from '../../support/log.ts';
import type { CompareAnswer, CompareOrder } from './compare-child.ts';

/** What `parity compare` starts: gets one order over IPC, answers it, ends. Dies with its parent. */
process.once('disconnect', () => process.exit(1));
process.once('message', (message) => {
  void answer(message).then((result) => {
    process.send?.(result, () => process.exit(result.kind === 'Compared' ? 0 : 1));
  });
});

async function answer(message: unknown): Promise<CompareAnswer> {
  try {
    if (!isOrder(message)) throw new TypeError('the order is not understood');
    return { kind: 'Compared', comparison: await compare(message) };
  } catch (error) {
    return { kind: 'Failed', error: redactError(toParityError(error).toJSON()) };
  }
}

async function compare(order: CompareOrder) {
  // The engine reads only files inside the current folder: from here, all.
  process.chdir('/');
  const { openEngine } = await import('../../engine/chdb.ts');
  const { openRelation } = await import('../../lake/format-files.ts');
  const { compareRelations } = await import('../../compare/compare.ts');
  const { memoryPlan } = await import('../driver/memory.ts');
  const { scratch, threads, memoryBytes, folder, endpoint, region, key, columns, samples, values } = order;
  const engine = await openEngine({ scratch, threads, memoryBytes: memoryPlan(memoryBytes).engineBytes });
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  try {
    const options = {
      folder,
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
    };
    const ignored = columns.filter(({ ignore }) => ignore === true).map(({ column }) => column);
    /** Without the ignored columns where one of them cannot be read, which is often why it is ignored. */
    const open = async (place: string) => {
      try {
        return { relation: await openRelation(engine, place, options), isWhole: true };
      } catch (error) {
        const { subject } = toParityError(error);
        if (subject === undefined || !ignored.includes(subject)) throw error;
        return { relation: await openRelation(engine, place, { ...options, omit: ignored }), isWhole: false };
      }
    };
    const [baseline, candidate] = [await open(order.baseline), await open(order.candidate)];
    const isThere = (name: string): boolean =>
      [baseline, candidate].some(({ relation }) => relation.columns.some((column) => column.name === name));
    const isWhole = baseline.isWhole && candidate.isWhole;
    return await compareRelations(engine, baseline.relation, candidate.relation, {
      table: 'table',
      key,
      columns: columns.filter(({ column, ignore }) => isWhole || ignore !== true || isThere(column)),
      samples,
      values,
      signal: stop.signal,
    });
  } finally {
    await engine.close();
  }
}

function isOrder(message: unknown): message is CompareOrder {
  return typeof message === 'object' && message !== null && 'baseline' in message && 'scratch' in message;
}
