import { parse } from 'yaml';
import { DOCUMENTED_DEFAULTS } from '../../src/api/defaults.ts';
import { inWords } from '../../src/api/patterns.ts';
import { type FieldSchema, rootSchema } from '../../src/api/schema.ts';

/** docs/reference/manifest.md: every field with type, bounds, default, description and rules. */
export function manifestReference(run: string): string {
  const schema = rootSchema(parse(run));
  const { spec, status } = schema.properties ?? {};
  if (spec === undefined || status === undefined) throw new Error('the definition of runs has no spec or no status');
  return [INTRODUCTION, section('spec', spec), STATUS, section('status', status)].join('\n');
}

const INTRODUCTION = `<!-- Generated from crds/ by scripts/generate.ts. Do not edit. -->

# The manifest

Every field of a \`PipelineParityRun\`. A \`PipelineParityPlan\` has the same \`spec\`, without \`planRef\`, \`suspend\` and \`cancel\`, and no status.

    apiVersion: pipelineparity.io/v1alpha1
    kind: PipelineParityRun
    metadata: { name: flights-round-trip }
    spec: { … }

A run that names a plan takes over the plan's spec: objects merge by field, named lists (tables, sources, pipelines, queries,
comparison.columns) by whole item, the scenario and all other lists as a whole. Then defaults are applied, then everything is
checked. Unknown fields are errors. **Needed** is what a run has to have after merging.

The same from the command line: \`parity explain spec.snapshot.tables\`.

## Spec
`;

const STATUS = '## Status\n\nWritten by the operator. Nobody else writes it.\n';

/** What validation asks for although the schema does not, because a plan may supply it. */
const NEEDED_AFTER_MERGING: ReadonlySet<string> = new Set([
  'spec.snapshot',
  'spec.snapshot.location',
  'spec.snapshot.tables',
]);

/** A table of an object's own fields, then a section for each object or list of objects among them. */
function section(path: string, schema: FieldSchema): string {
  const fields = Object.entries(objectOf(schema).properties ?? {});
  const rows = fields.map(([name, field]) => row(name, field, `${path}.${name}`, objectOf(schema)));
  const nested = fields.filter(([, field]) => Object.keys(objectOf(field).properties ?? {}).length > 0);
  return [
    `### ${path}\n`,
    `${schema.description ?? ''}\n`,
    ...rules(schema),
    '| Field | Type | Default | Description |',
    '|---|---|---|---|',
    ...rows,
    '',
    ...nested.map(([name, field]) => section(`${path}.${name}${field.type === 'array' ? '[]' : ''}`, field)),
  ].join('\n');
}

function row(name: string, field: FieldSchema, path: string, parent: FieldSchema): string {
  const isNeeded = (parent.required ?? []).includes(name) || NEEDED_AFTER_MERGING.has(path);
  const fallback = isNeeded ? '**needed**' : (DOCUMENTED_DEFAULTS[path] ?? '');
  const hasFields = Object.keys(objectOf(field).properties ?? {}).length > 0;
  const notes = hasFields ? [] : (field['x-kubernetes-validations'] ?? []).map(({ message }) => `Rule: ${message}.`);
  const cells = [
    `\`${name}\``,
    typeOf(field),
    fallback === '' ? '' : code(fallback),
    [field.description ?? '', ...notes].join(' '),
  ];
  return `| ${cells.map(cell).join(' | ')} |`;
}

function code(fallback: string): string {
  return fallback.startsWith('**') || fallback.includes(' ') ? fallback : `\`${fallback}\``;
}

function rules(schema: FieldSchema): string[] {
  const all = [...(schema['x-kubernetes-validations'] ?? []), ...(schema.items?.['x-kubernetes-validations'] ?? [])];
  return all.length === 0 ? [] : [...all.map(({ message }) => `- Rule: ${message}.`), ''];
}

/** `text, one of A, B`, `whole number 1 … 64`, `list of text, at most 16`. */
function typeOf(field: FieldSchema): string {
  switch (field.type) {
    case 'object':
      return 'object';
    case 'boolean':
      return 'true or false';
    case 'integer':
      return field.minimum === undefined ? 'whole number' : `whole number, ${range(field.minimum, field.maximum)}`;
    case 'array':
      return `list of ${field.items === undefined ? 'anything' : plain(field.items)}, ${range(field.minItems ?? 0, field.maxItems)}${identity(field)}`;
    case 'string':
      return text(field);
  }
}

function text(field: FieldSchema): string {
  if (field.enum !== undefined) return `one of ${field.enum.map((value) => `\`${value}\``).join(', ')}`;
  const length = field.maxLength === undefined ? '' : `, at most ${field.maxLength} characters`;
  return field.pattern === undefined ? `text${length}` : `${inWords(field.pattern)}${length}`;
}

function plain(items: FieldSchema): string {
  if (items.enum !== undefined) return items.enum.map((value) => `\`${value}\``).join(', ');
  return items.type === 'object' ? 'objects' : `text of at most ${items.maxLength} characters`;
}

function identity(field: FieldSchema): string {
  const keys = field['x-kubernetes-list-map-keys'];
  if (keys !== undefined) return `, told apart by ${keys.map((key) => `\`${key}\``).join(' and ')}`;
  return field['x-kubernetes-list-type'] === 'set' ? ', no item twice' : '';
}

function range(from: number, to: number | undefined): string {
  if (to === undefined) return `at least ${from}`;
  return from === 0 ? `at most ${to}` : `${from} to ${to}`;
}

function objectOf(schema: FieldSchema): FieldSchema {
  return schema.type === 'array' && schema.items !== undefined ? schema.items : schema;
}

function cell(value: string): string {
  return value.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
