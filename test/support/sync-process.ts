import { contextFor, fakeSource, openBench, untilEnd } from '../../src/pipelines/reference.fixture.ts';
import { referencePipeline } from '../../src/pipelines/reference.ts';

/**
 * A sync in a process of its own, to be killed: `sync-process.ts FOLDER MODE FROM ROWS` lands the table `t` of ROWS rows, numbered from FROM, in the workspace
 * under FOLDER, and prints how it ended.
 */
const [folder = '', mode = '', from = '0', rows = '0'] = process.argv.slice(2);
const bench = await openBench(folder);
const column = (name: string, kind: 'long' | 'string') => ({
  name,
  type: { kind },
  nullable: true,
  physicalName: name,
});
const sql = `SELECT toNullable(toInt64(number + ${from})) AS id, toNullable(hex(sipHash128(number))) AS value FROM numbers(${rows})`;
const source = fakeSource(
  new Map([['t', { fields: [column('id', 'long'), column('value', 'string')], cursor: 'id', sql }]]),
);
const pipeline = { name: 'candidate', cursorBound: 'Inclusive', reference: { bug: 'None' } } as const;
const request = {
  pipeline: pipeline.name,
  step: mode.toLowerCase(),
  source: 'shop',
  mode: mode === 'Full' ? 'Full' : 'Incremental',
  tables: ['t'],
  at: 'Base',
} as const;
const context = contextFor(bench, request, { pipeline, keys: { t: ['id'] } });
const status = await untilEnd(referencePipeline(pipeline, source), request, context);
await bench.close();
process.stdout.write(`${JSON.stringify(status)}\n`);
