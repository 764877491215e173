import { ParityError } from '../support/error.ts';
import { DOCUMENTED_DEFAULTS } from './defaults.ts';
import { inWords } from './patterns.ts';
import { type FieldSchema, GROUP_VERSION, type Kind, propertyOf, schemaOf } from './schema.ts';
import { suggestion } from './suggest.ts';

/**
 * What the CRD says about a field, as text for a terminal, in the manner of `kubectl explain`. A path is written
 * `spec.snapshot.tables`, with or without items' brackets, and may begin with a kind (`ppr`, `pipelineparityplan.spec`).
 * Throws `BadUsage` with a suggestion where there is no such field.
 */
export function explain(fieldPath: string): string {
  const { kind, steps } = parsePath(fieldPath);
  const { schema, path } = descend(kind, steps);
  const heading = [
    `KIND:     ${kind}`,
    `VERSION:  ${GROUP_VERSION}`,
    ...(path === '' ? [] : [`FIELD:    ${path} <${typeOf(schema)}>`]),
  ];
  return [
    heading.join('\n'),
    `DESCRIPTION:\n${indent(schema.description ?? "Kubernetes' own object metadata.", 4)}`,
    ...valueSection(schema, path),
    ...ruleSection(schema),
    ...fieldSection(objectOf(schema)),
  ]
    .join('\n\n')
    .concat('\n');
}

/** The paths of all fields that `explain` knows, for shell completion: `spec`, `spec.snapshot`, … */
export function fieldPaths(): readonly string[] {
  const walk = (schema: FieldSchema, path: string): string[] =>
    Object.entries(objectOf(schema).properties ?? {}).flatMap(([name, field]) => {
      const here = path === '' ? name : `${path}.${name}`;
      return [here, ...walk(field, here)];
    });
  return walk(schemaOf('PipelineParityRun'), '');
}

const KINDS: Readonly<Record<string, Kind>> = {
  ppr: 'PipelineParityRun',
  pipelineparityrun: 'PipelineParityRun',
  pipelineparityruns: 'PipelineParityRun',
  ppp: 'PipelineParityPlan',
  pipelineparityplan: 'PipelineParityPlan',
  pipelineparityplans: 'PipelineParityPlan',
};

function parsePath(fieldPath: string): { readonly kind: Kind; readonly steps: readonly string[] } {
  const steps = fieldPath
    .replace(/\[[^\]]*\]/g, '')
    .split('.')
    .filter((step) => step !== '');
  const first = steps[0]?.toLowerCase() ?? '';
  const kind = Object.hasOwn(KINDS, first) ? KINDS[first] : undefined;
  return kind === undefined ? { kind: 'PipelineParityRun', steps } : { kind, steps: steps.slice(1) };
}

function descend(kind: Kind, steps: readonly string[]): { readonly schema: FieldSchema; readonly path: string } {
  let schema = schemaOf(kind);
  let path = '';
  for (const step of steps) {
    const field = propertyOf(objectOf(schema), step);
    if (field === undefined) throw unknownField(kind, path, step, schema);
    path = path === '' ? step : `${path}.${step}`;
    schema = field;
  }
  return { schema, path };
}

function unknownField(kind: Kind, path: string, step: string, schema: FieldSchema): ParityError {
  const known = Object.keys(objectOf(schema).properties ?? {});
  const hint = known.length === 0 ? 'it has no fields' : suggestion(step, known);
  const where = path === '' ? kind : path;
  return new ParityError('BadUsage', `${where} has no field "${step}"; ${hint}`, {
    advice: `Run: parity explain ${path === '' ? 'spec' : path}`,
    subject: path === '' ? step : `${path}.${step}`,
  });
}

function valueSection(schema: FieldSchema, path: string): string[] {
  const lines: string[] = [];
  const fallback = defaultOf(path);
  if (schema.enum !== undefined) lines.push(`one of ${schema.enum.join(', ')}`);
  if (schema.items?.enum !== undefined) lines.push(`items: one of ${schema.items.enum.join(', ')}`);
  if (schema.pattern !== undefined) lines.push(inWords(schema.pattern));
  if (schema.minimum !== undefined) lines.push(`from ${schema.minimum} to ${schema.maximum}`);
  if (schema.maxLength !== undefined && schema.enum === undefined) lines.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) lines.push(`at most ${schema.maxItems} items`);
  const keys = schema['x-kubernetes-list-map-keys'];
  if (keys !== undefined) lines.push(`items differ in ${keys.join(' and ')}`);
  if (fallback !== undefined) lines.push(`default: ${fallback}`);
  return lines.length === 0 ? [] : [`VALUE:\n${lines.map((line) => indent(line, 4)).join('\n')}`];
}

/** Defaults are kept under paths that show lists (`spec.queries[].timeoutSeconds`). */
function defaultOf(path: string): string | undefined {
  const key = Object.keys(DOCUMENTED_DEFAULTS).find((candidate) => candidate.replaceAll('[]', '') === path);
  return key === undefined ? undefined : DOCUMENTED_DEFAULTS[key];
}

function ruleSection(schema: FieldSchema): string[] {
  const rules = [...(schema['x-kubernetes-validations'] ?? []), ...(schema.items?.['x-kubernetes-validations'] ?? [])];
  return rules.length === 0 ? [] : [`RULES:\n${rules.map(({ message }) => indent(`- ${message}`, 4)).join('\n')}`];
}

function fieldSection(schema: FieldSchema): string[] {
  const fields = Object.entries(schema.properties ?? {});
  if (fields.length === 0) return [];
  const texts = fields.map(([name, field]) => {
    const required = (schema.required ?? []).includes(name) ? ' -required-' : '';
    const description = field.description ?? "Kubernetes' own object metadata.";
    return `${indent(`${name} <${typeOf(field)}>${required}`, 4)}\n${indent(description, 6)}`;
  });
  return [`FIELDS:\n${texts.join('\n\n')}`];
}

function typeOf(schema: FieldSchema): string {
  return schema.type === 'array' ? `[]${schema.items?.type ?? 'object'}` : schema.type;
}

function objectOf(schema: FieldSchema): FieldSchema {
  return schema.type === 'array' && schema.items !== undefined ? schema.items : schema;
}

/** The text wrapped to a terminal of 80 columns and indented. */
function indent(text: string, spaces: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > 80 - spaces) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((part) => `${' '.repeat(spaces)}${part}`).join('\n');
}
