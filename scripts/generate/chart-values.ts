import { parse } from 'yaml';
import { fieldOf } from '../../src/api/json.ts';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly enum?: readonly string[];
}

/** docs/reference/chart.md: each value of the chart, what it means and what it is where nobody sets it. */
export function chartReference(schemaJson: string, valuesYaml: string): string {
  const schema: Schema = JSON.parse(schemaJson);
  return [
    '# Helm chart',
    '',
    "Values of `charts/pipeline-parity`. Generated from the chart's own schema and values by `npm run generate`.",
    '',
    '| value | default | |',
    '|---|---|---|',
    ...rows(schema, parse(valuesYaml), ''),
    '',
  ].join('\n');
}

function rows(schema: Schema, value: unknown, above: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const path = `${above}${name}`;
    const own = fieldOf(value, name);
    if (path === 'global') return [];
    // What is left out altogether by default is described by itself, and what it may have below it.
    if (field.properties !== undefined) return rows(field, own, `${path}.`);
    const choices = field.enum === undefined ? '' : ` One of ${field.enum.join(', ')}.`;
    return [`| \`${path}\` | ${shown(own)} | ${field.description ?? ''}${choices} |`];
  });
}

function shown(value: unknown): string {
  if (value === undefined || value === '') return '';
  return `\`${JSON.stringify(value)}\``;
}
