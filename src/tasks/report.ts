import { fingerprint } from '../compare/fingerprint.ts';
import { openStore } from '../lake/open.ts';
import type { ObjectStore } from '../lake/store.ts';
import { buildReport } from '../report/build.ts';
import type { Report } from '../report/model.ts';
import { parityVersion } from '../report/version.ts';
import { type WrittenReport, writeReports } from '../report/write.ts';
import { ParityError } from '../support/error.ts';
import { gather } from './gather.ts';
import { readRunRecord } from './records.ts';
import type { TaskContext, TaskHandler } from './task.ts';

/** Detail of the `report` task: the report itself, for whoever shows it, and where it was written. */
export interface ReportDetail {
  readonly report: Report;
  readonly written: readonly WrittenReport[];
}

/**
 * Makes the report of the run from what its tasks recorded, whatever its end, and writes it to `spec.reports.location`.
 * Throws what the location's store throws, and `Internal` where what was found contradicts the verdict: a report that says Passed
 * above a difference, or above a table that nobody compared, must not exist.
 */
export const runReport: TaskHandler<ReportDetail> = async (context) => {
  const record = await readRunRecord(context.workspace);
  const gathered = await gather(context.workspace, record, { now: new Date(), signal: context.signal });
  const report = buildReport({
    ...record,
    ...gathered,
    parityVersion: parityVersion(),
    fingerprintOf: (verdict, { comparisons, queries }) => fingerprint(verdict, comparisons, queries),
  });
  refuseContradiction(report);
  const written = await write(context, report);
  return {
    summary: { tables: report.counts.comparisons, headline: report.headline },
    detail: { report, written },
  };
};

function refuseContradiction({ verdict, counts }: Report): void {
  const found = counts.differing + counts.queriesDiffering;
  const isWrong =
    (verdict === 'Passed' && found > 0) ||
    (verdict === 'Failed' && found === 0) ||
    ((verdict === 'Passed' || verdict === 'Failed') && counts.notCompared + counts.errors > 0) ||
    (verdict === 'Passed' && counts.comparisons + counts.queries === 0);
  if (!isWrong) return;
  throw new ParityError(
    'Internal',
    `the verdict ${verdict} contradicts the findings: ${found} comparisons and queries differ, ${counts.notCompared} were not made, ${counts.errors} tasks failed`,
    { advice: 'This is a defect of parity: please report it, with the manifest.' },
  );
}

async function write(context: TaskContext, report: Report): Promise<readonly WrittenReport[]> {
  return await withReports(context, (store) => writeReports(store, report, context.file.spec.reports.formats));
}

/** Opens the run's report location for a moment. */
export async function withReports<T>(context: TaskContext, work: (store: ObjectStore) => Promise<T>): Promise<T> {
  const { reports } = context.file.spec;
  const secret = reports.secretRef === undefined ? undefined : await context.secret(reports.secretRef.name);
  const store = await openStore(reports, secret);
  try {
    return await work(store);
  } finally {
    store.close();
  }
}
