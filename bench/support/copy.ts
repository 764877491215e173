/**
 * Takes a snapshot of the table `table` from one bucket into a prefix of another by the project's own task, with the environment's AWS keys:
 *   node bench/support/copy.ts ENDPOINT FROM-BUCKET TO-LOCATION
 */
import { tableSpec, takeSnapshot } from '../../test/support/snapshot-run.ts';

const [endpoint = '', from, to] = process.argv.slice(2);
const region = 'us-east-1';
const detail = await takeSnapshot({
  lake: { location: `s3://${from}`, endpoint, region },
  workspace: { location: String(to), endpoint, region },
  tables: [tableSpec('table')],
});
const [copied] = detail.tables.map((table) => table.copied);
if (copied?.serverSide !== true) throw new Error('the copy was not made on the server');
