import { expect } from 'chai';
import type { Pipeline, SyncRequest, SyncStatus } from '../pipelines/pipeline.ts';
import { type Bench, contextFor, openBench } from '../pipelines/reference.fixture.ts';
import { type ErrorCode, ParityError } from '../support/error.ts';
import { runSync, syncWith } from './sync.ts';
import type { TaskContext } from './task.ts';

const declared = { name: 'candidate', cursorBound: 'Inclusive', reference: { bug: 'None' } } as const;
const request: SyncRequest = {
  pipeline: 'candidate',
  step: 'first',
  source: 'shop',
  mode: 'Full',
  tables: ['flights'],
  at: 'Target',
};

describe('the sync task', () => {
  let bench: Bench;
  before(async () => {
    bench = await openBench();
  });
  after(() => bench.close());

  const contextOf = (signal?: AbortSignal): TaskContext =>
    contextFor(bench, request, { pipeline: declared, keys: {}, ...(signal === undefined ? {} : { signal }) });

  /** A pipeline that says what it is told to, and lands three rows. */
  function scripted(statuses: SyncStatus[], landed: { rows?: number } = {}): Pipeline & { readonly calls: string[] } {
    const calls: string[] = [];
    return {
      calls,
      start: async () => void calls.push('start'),
      observe: async () => {
        calls.push('observe');
        return statuses.shift() ?? { state: 'Running' };
      },
      cancel: async () => void calls.push('cancel'),
      output: async (table) => {
        calls.push(`output ${table}`);
        return { columns: [], sql: 'SELECT 1 FROM numbers(3)', rows: landed.rows, name: table, sizeBytes: undefined };
      },
    };
  }

  const errorOf = async (attempt: Promise<unknown>): Promise<ParityError> => {
    const error: unknown = await attempt.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (error instanceof ParityError) return error;
    throw new Error(`expected a ParityError, got ${String(error)}`);
  };

  it('waits for the end, then looks at what has landed', async () => {
    const pipeline = scripted([
      { state: 'Running' },
      { state: 'Running', note: 'half' },
      { state: 'Succeeded', rows: 3 },
    ]);
    const detail = await syncWith(pipeline, request, contextOf());
    expect(detail.tables).to.deep.equal([{ table: 'flights', mode: 'Full', rows: 3 }]);
    expect(pipeline.calls).to.deep.equal(['start', 'observe', 'observe', 'observe', 'output flights']);
  });

  it('names pipeline, source and table of a failure', async () => {
    const error = new ParityError('Internal', 'no such column', { subject: 'flights', advice: 'look' });
    const pipeline = scripted([{ state: 'Failed', message: 'table flights: no such column', error }]);
    expect(await errorOf(syncWith(pipeline, request, contextOf()))).to.include({
      code: 'PipelineFailed',
      message: 'Pipeline candidate failed on source shop, table flights: no such column',
      subject: 'flights',
      advice: 'look',
      isRetryable: false,
    });
  });

  for (const code of ['Unreachable', 'DiskFull', 'OutOfMemory', 'AccessDenied'] satisfies ErrorCode[])
    it(`keeps the code ${code} of a failure that is not the pipeline's own`, async () => {
      const error = new ParityError(code, 'gone', { isRetryable: true });
      const pipeline = scripted([{ state: 'Failed', message: 'gone', error }]);
      expect(await errorOf(syncWith(pipeline, request, contextOf()))).to.include({ code, isRetryable: true });
    });

  it('cancels the pipeline when it is stopped itself', async () => {
    const stop = new AbortController();
    const pipeline = scripted([]);
    const attempt = errorOf(syncWith(pipeline, request, contextOf(stop.signal)));
    stop.abort();
    expect((await attempt).code).to.equal('Cancelled');
    expect(pipeline.calls.at(-1)).to.equal('cancel');
  });

  it('does not believe in a table with fewer rows than its log says', async () => {
    const pipeline = scripted([{ state: 'Succeeded', rows: 5 }], { rows: 5 });
    expect(await errorOf(syncWith(pipeline, request, contextOf()))).to.include({
      code: 'PipelineFailed',
      subject: 'flights',
    });
  });

  it('names the table that a succeeded pipeline has not landed', async () => {
    const pipeline: Pipeline = {
      ...scripted([{ state: 'Succeeded', rows: 0 }]),
      output: () =>
        Promise.reject(new ParityError('PipelineFailed', 'Pipeline candidate has landed no table flights.')),
    };
    expect((await errorOf(syncWith(pipeline, request, contextOf()))).message).to.contain('flights');
  });

  it('refuses a pipeline that the run does not have', async () => {
    const context = contextFor(bench, { ...request, pipeline: 'other' }, { pipeline: declared, keys: {} });
    expect(await errorOf(runSync(context))).to.include({ code: 'InvalidSpec' });
  });
});
