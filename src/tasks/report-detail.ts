import type { ReportDetail } from './report.ts';

/** Whether a task's detail, read again from the workspace, is the report's. */
export function isReportDetail(value: unknown): value is ReportDetail {
  return typeof value === 'object' && value !== null && 'report' in value && 'written' in value;
}
