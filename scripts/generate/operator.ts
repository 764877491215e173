import { parse } from 'yaml';
import { createMetrics } from '../../operator/kube/metrics.ts';
import { usage } from '../../operator/options.ts';

/** docs/reference/operator.md: the operator's flags, the metrics that the operator counts, and the alerts that the chart makes of them. */
export async function operatorReference(alertsYaml: string): Promise<string> {
  const metrics = (await createMetrics().registry.getMetricsAsJSON()).filter(({ name }) => name.startsWith('parity_'));
  const rows = metrics
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => `| \`${name}\` | ${String(type)} | ${cell(help)} |`);
  const alerts: readonly Alert[] = parse(alertsYaml);
  const sections = alerts.map(
    ({ alert, labels, annotations }) =>
      `| \`${alert}\` | ${labels.severity} | ${cell(annotations.summary)}. ${cell(annotations.description)} |`,
  );
  return [
    '# Operator',
    '',
    'Generated from the code and the chart by `npm run generate`.',
    '',
    '## Flags',
    '',
    'The chart writes the file of `--options`.',
    '',
    '```',
    usage.trimEnd(),
    '```',
    '',
    '## Endpoints',
    '',
    '`/healthz`, `/readyz` and `/metrics` on one port (8080). A replica that does not lead is ready to.',
    '',
    '## Metrics',
    '',
    '| metric | type | |',
    '|---|---|---|',
    ...rows,
    '',
    'And those of the process, as every Node program has them (`process_…`, `nodejs_…`).',
    '',
    '## Alerts',
    '',
    'With `metrics.prometheusRule.enabled` of the chart.',
    '',
    '| alert | severity | |',
    '|---|---|---|',
    ...sections,
    '',
  ].join('\n');
}

interface Alert {
  readonly alert: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ').replace(/\.$/, '');
}
