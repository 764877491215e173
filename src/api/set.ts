import { isAlias, isScalar, parseDocument } from 'yaml';
import { fieldOf, isList, isObject } from './json.ts';
import { itemName } from './paths.ts';
import type { ManifestProblem, Path } from './problem.ts';
import { type FieldSchema, propertyOf } from './schema.ts';
import { suggestion } from './suggest.ts';

/** A `--set` that was applied: where to, and how it was written. */
export interface AppliedSet {
  readonly path: Path;
  readonly text: string;
}

/**
 * The run with `spec.path.to[name].field=value` assignments applied, left to right. A value is YAML; where the field is text it is
 * taken as it stands, so that `version=12` needs no quotes; nothing at all (`endpoint=`) removes the field or item. `[name]` finds an item of a named list by its name, `[0]` of any list
 * by its index. An item that only the plan has is taken over into the run first, as merging would.
 */
export function applySets(
  schema: FieldSchema,
  run: unknown,
  plan: unknown,
  assignments: readonly string[],
): { readonly value: unknown; readonly applied: readonly AppliedSet[]; readonly problems: readonly ManifestProblem[] } {
  let value = run;
  const applied: AppliedSet[] = [];
  const problems: ManifestProblem[] = [];
  for (const text of assignments) {
    try {
      const { steps, right } = splitAssignment(text);
      const path: (string | number)[] = [];
      value = assigned({ schema, below: plan, steps, right, path }, value);
      applied.push({ path, text: `--set ${text}` });
    } catch (error) {
      const [field, message] = error instanceof Unassignable ? [error.field, error.message] : ['', unreadable(error)];
      problems.push({ message, path: field, file: `--set ${text}` });
    }
  }
  return { value, applied, problems };
}

/** Why an assignment cannot be carried out. */
class Unassignable extends Error {
  readonly field: string;
  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

/** Where one assignment stands on its way down. */
interface Descent {
  readonly schema: FieldSchema;
  /** The plan's value at this place. */
  readonly below: unknown;
  readonly steps: readonly Step[];
  readonly right: string;
  /** Filled on the way: the path with indices, for finding the field again. */
  readonly path: (string | number)[];
}

interface Step {
  readonly kind: 'field' | 'item';
  readonly text: string;
  /** The whole path up to and with this step, as written. */
  readonly soFar: string;
}

function assigned(descent: Descent, value: unknown): unknown {
  const [step] = descent.steps;
  if (step === undefined) return parsedValue(descent);
  return step.kind === 'field' ? inObject(descent, step, value) : inList(descent, step, value);
}

function inObject(descent: Descent, step: Step, value: unknown): unknown {
  const field = propertyOf(descent.schema, step.text);
  if (field === undefined) {
    const known = Object.keys(descent.schema.properties ?? {});
    const hint =
      descent.schema.type === 'array' ? 'name an item first, as in tables[flights]' : suggestion(step.text, known);
    throw new Unassignable(step.soFar, `unknown field; ${hint}`);
  }
  if (value !== undefined && !isObject(value)) {
    throw new Unassignable(step.soFar, 'cannot be set, because what is above it in the manifest is no object');
  }
  descent.path.push(step.text);
  const below = fieldOf(descent.below, step.text);
  const next = { ...descent, schema: field, below, steps: descent.steps.slice(1) };
  const assignedValue = assigned(next, fieldOf(value, step.text));
  // A place that moves to a file leaves its object store's server behind, as it does when a run is laid over a plan.
  const left = isFileLocation(step.text, assignedValue) ? ['endpoint', 'region', 'secretRef'] : [];
  const others = Object.entries(value ?? {}).filter(([name]) => name !== step.text && !left.includes(name));
  return Object.fromEntries(assignedValue === undefined ? others : [...others, [step.text, assignedValue]]);
}

function isFileLocation(field: string, value: unknown): boolean {
  return field === 'location' && typeof value === 'string' && value.startsWith('file:');
}

function inList(descent: Descent, step: Step, value: unknown): unknown {
  const { items } = descent.schema;
  if (items === undefined) throw new Unassignable(step.soFar, 'is not in a list; leave the brackets out');
  if (value !== undefined && !isList(value)) {
    throw new Unassignable(step.soFar, 'cannot be set, because what is above it in the manifest is no list');
  }
  const inherited = isList(descent.below) ? descent.below : [];
  const isMergedByItem = descent.schema['x-kubernetes-list-type'] === 'map';
  const own = value ?? (isMergedByItem ? [] : inherited);
  const index = indexOf(own, step.text);
  const inheritedItem = isMergedByItem ? inherited[indexOf(inherited, step.text) ?? -1] : undefined;
  if (index === undefined && inheritedItem === undefined) throw noItem(step, [...own, ...inherited]);
  const at = index ?? own.length;
  descent.path.push(at);
  const next = { ...descent, schema: items, below: undefined, steps: descent.steps.slice(1) };
  const item = assigned(next, index === undefined ? inheritedItem : own[index]);
  if (item === undefined && index === undefined)
    throw new Unassignable(step.soFar, "is the plan's; a run cannot remove it");
  return [...own.slice(0, at), ...(item === undefined ? [] : [item]), ...own.slice(at + 1)];
}

function indexOf(list: readonly unknown[], name: string): number | undefined {
  const named = list.findIndex((item) => itemName(item) === name || item === name);
  if (named !== -1) return named;
  return /^[0-9]{1,6}$/.test(name) && Number(name) < list.length ? Number(name) : undefined;
}

function noItem(step: Step, items: readonly unknown[]): Unassignable {
  const names = [...new Set(items.map((item) => itemName(item)).filter((name) => name !== undefined))];
  return new Unassignable(step.soFar, `there is no such item in the run or its plan; ${suggestion(step.text, names)}`);
}

/** `spec.snapshot.tables[flights].version=12` → its steps and what stands right of the first `=` outside brackets. */
function splitAssignment(text: string): { readonly steps: readonly Step[]; readonly right: string } {
  const match = /^((?:[^=[\]]|\[[^\]]*\])+)=([\s\S]*)$/.exec(text);
  if (match === null) throw new Unassignable('', 'is no assignment; write it as --set spec.path.to[name].field=value');
  const left = match[1] ?? '';
  const steps: Step[] = [];
  const grammar = /\.?([^.[\]]+)|\[([^\]]*)\]/y;
  while (grammar.lastIndex < left.length) {
    const at = grammar.lastIndex;
    const part = grammar.exec(left);
    if (part === null)
      throw new Unassignable(left, `cannot be read at "${left.slice(at)}"; write it as spec.path.to[name].field`);
    const [item, field] = [part[2], part[1]];
    const soFar = left.slice(0, grammar.lastIndex);
    steps.push(field === undefined ? { kind: 'item', text: item ?? '', soFar } : { kind: 'field', text: field, soFar });
  }
  if (steps[0]?.text !== 'spec' || steps.length < 2) throw new Unassignable(left, 'only fields of spec can be set');
  return { steps, right: match[2] ?? '' };
}

/** The YAML library throws for values that it cannot turn into JSON (aliases, too deep). */
function unreadable(error: unknown): string {
  return `the value cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

function parsedValue({ schema, right, path }: Descent): unknown {
  if (right === '') return undefined;
  const document = parseDocument(right, { prettyErrors: false, logLevel: 'silent' });
  const isText = schema.type === 'string';
  if (
    isText &&
    !(isScalar(document.contents) && typeof document.contents.value === 'string' && document.errors.length === 0)
  ) {
    return right;
  }
  if (document.errors[0] !== undefined || isAlias(document.contents)) {
    throw new Unassignable(path.join('.'), `the value is not valid YAML: ${document.errors[0]?.message ?? 'an alias'}`);
  }
  return document.toJS({ maxAliasCount: 0 });
}
