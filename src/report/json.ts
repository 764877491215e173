import type { Report } from './model.ts';

/** The report as JSON, indented, with a newline at the end. Its schema is report.schema.json. */
export function toJson(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}
