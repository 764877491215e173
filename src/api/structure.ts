import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { PipelineParityPlan, PipelineParityRun } from './generated/types.ts';
import { isObject } from './json.ts';
import { valueAt } from './paths.ts';
import { inWords } from './patterns.ts';
import { type Finding, type Path, shown } from './problem.ts';
import { type FieldSchema, propertyOf, schemaOf } from './schema.ts';
import { suggestion } from './suggest.ts';

/** Whether a value has the structure of a run, and what is wrong with it otherwise. */
export function checkRun(value: unknown): Checked<PipelineParityRun> {
  runValidator ??= compile<PipelineParityRun>(schemaOf('PipelineParityRun'));
  return check(runValidator, schemaOf('PipelineParityRun'), value);
}

/** Whether a value has the structure of a plan, and what is wrong with it otherwise. */
export function checkPlan(value: unknown): Checked<PipelineParityPlan> {
  planValidator ??= compile<PipelineParityPlan>(schemaOf('PipelineParityPlan'));
  return check(planValidator, schemaOf('PipelineParityPlan'), value);
}

export type Checked<T> =
  | { readonly isValid: true; readonly value: T }
  | { readonly isValid: false; readonly findings: readonly Finding[] };

let runValidator: ValidateFunction<PipelineParityRun> | undefined;
let planValidator: ValidateFunction<PipelineParityPlan> | undefined;

/**
 * The schema as plain JSON Schema. Unknown fields are errors here, where an API server would prune them: what is written and
 * ignored is worse than what is refused. Metadata is Kubernetes' own.
 */
export function toJsonSchema(schema: FieldSchema): Record<string, unknown> {
  const { description: _, format: __, default: ___, ...rest } = schema;
  const plain: Record<string, unknown> = Object.fromEntries(
    Object.entries(rest).filter(([keyword]) => !keyword.startsWith('x-')),
  );
  if (schema.items !== undefined) plain.items = toJsonSchema(schema.items);
  if (schema['x-kubernetes-list-type'] === 'set') plain.uniqueItems = true;
  if (schema.type !== 'object') return plain;
  const fields = Object.entries(schema.properties ?? {});
  plain.properties = Object.fromEntries(
    fields.map(([name, field]) => [name, name === 'metadata' ? { type: 'object' } : toJsonSchema(field)]),
  );
  plain.additionalProperties = false;
  return plain;
}

function compile<T>(schema: FieldSchema): ValidateFunction<T> {
  return new Ajv({ allErrors: true, strict: true, strictRequired: false }).compile<T>(toJsonSchema(schema));
}

function check<T>(validate: ValidateFunction<T>, schema: FieldSchema, value: unknown): Checked<T> {
  if (validate(value)) return { isValid: true, value };
  return { isValid: false, findings: (validate.errors ?? []).map((error) => toFinding(error, schema, value)) };
}

function toFinding(error: ErrorObject, root: FieldSchema, document: unknown): Finding {
  const path = pathOf(error.instancePath, document);
  const schema = schemaAt(root, path);
  const found = valueAt(document, path);
  switch (error.keyword) {
    case 'required':
      return missing(path, String(error.params.missingProperty), schema);
    case 'additionalProperties':
      return unknownField(path, String(error.params.additionalProperty), schema);
    default:
      return { path, message: describe(error, schema, found) };
  }
}

function missing(path: Path, field: string, schema: FieldSchema | undefined): Finding {
  const described = schema === undefined ? undefined : propertyOf(schema, field)?.description;
  const message = described === undefined ? 'missing; add it' : `missing; add it: ${described}`;
  return { path: [...path, field], message };
}

function unknownField(path: Path, field: string, schema: FieldSchema | undefined): Finding {
  const known = Object.keys(schema?.properties ?? {});
  return { path: [...path, field], message: `unknown field; ${suggestion(field, known)}`, isAboutName: true };
}

function describe(error: ErrorObject, schema: FieldSchema | undefined, found: unknown): string {
  switch (error.keyword) {
    case 'type':
      return wrongType(schema, found);
    case 'enum':
      return `found ${shown(found)}; it must be one of ${(schema?.enum ?? []).join(', ')}${didYouMean(found, schema)}`;
    case 'pattern':
      return `found ${shown(found)}; it must be ${inWords(String(error.params.pattern))}`;
    case 'minLength':
      return found === ''
        ? 'is empty; give it a value or leave it out'
        : `found ${shown(found)}; it must have at least ${error.params.limit} characters`;
    case 'maxLength':
      return `has ${String(found).length} characters; at most ${error.params.limit} are allowed`;
    case 'minimum':
      return `found ${shown(found)}; it must be at least ${error.params.limit}`;
    case 'maximum':
      return `found ${shown(found)}; it must be at most ${error.params.limit}`;
    case 'minItems':
      return 'is an empty list; add an item or leave the field out';
    case 'maxItems':
      return `has ${Array.isArray(found) ? found.length : 'too many'} items; at most ${error.params.limit} are allowed`;
    case 'uniqueItems':
      return `lists ${shown(Array.isArray(found) ? found[Number(error.params.i)] : found)} twice; list it once`;
    default:
      return `found ${shown(found)}; it ${error.message ?? 'is not allowed'}`;
  }
}

function didYouMean(found: unknown, schema: FieldSchema | undefined): string {
  if (typeof found !== 'string') return '';
  const text = suggestion(found, schema?.enum ?? []);
  return text.startsWith('did you mean') ? `; ${text}` : '';
}

function wrongType(schema: FieldSchema | undefined, found: unknown): string {
  const wanted = schema?.type ?? 'object';
  if (wanted === 'string' && (typeof found === 'number' || typeof found === 'boolean')) {
    return `found ${shown(found)}, a ${typeof found}; it is text: write it in quotes, "${found}"`;
  }
  if (wanted === 'object' && found === null) return 'found nothing; write {} or its fields';
  if (found === null) return `found nothing; give it ${NOUN[wanted]} or leave it out`;
  return `found ${nounOf(found)}; it must be ${NOUN[wanted]}`;
}

const NOUN: Readonly<Record<FieldSchema['type'], string>> = {
  object: 'an object (field: value)',
  array: 'a list',
  string: 'text',
  integer: 'a whole number',
  boolean: 'true or false',
};

function nounOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (isObject(value)) return 'an object';
  return shown(value);
}

/** Ajv's JSON pointer, with numbers for what are list indices in this document. */
function pathOf(pointer: string, document: unknown): Path {
  const path: (string | number)[] = [];
  for (const part of pointer.split('/').slice(1)) {
    const field = part.replaceAll('~1', '/').replaceAll('~0', '~');
    path.push(Array.isArray(valueAt(document, path)) ? Number(field) : field);
  }
  return path;
}

function schemaAt(root: FieldSchema, path: Path): FieldSchema | undefined {
  let schema: FieldSchema | undefined = root;
  for (const step of path) {
    if (schema === undefined) return undefined;
    schema = typeof step === 'number' ? schema.items : propertyOf(schema, step);
  }
  return schema;
}
