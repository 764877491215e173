import { Environment, type ParseResult } from '@marcbachmann/cel-js';
import { fieldOf, isList, isObject } from './json.ts';
import type { Finding, Path } from './problem.ts';
import type { CelRule, FieldSchema } from './schema.ts';

/**
 * Evaluates what a structural schema says beyond JSON Schema, as an API server does: the CEL rules of
 * `x-kubernetes-validations`, and that items of `map` lists differ in their keys. `blocked` are fields whose structure is wrong
 * already: a rule above or at one of them is not evaluated, because what it would see is not what it was written for.
 * Rules about a change (`oldSelf`) do not apply to a file. Source:
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
 */
export function checkRules(schema: FieldSchema, value: unknown, path: Path, blocked: readonly Path[] = []): Finding[] {
  const findings = blocked.some((bad) => isAtOrBelow(bad, path)) ? [] : brokenRules(schema, value, path);
  if (isObject(value)) {
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      const child = fieldOf(value, name);
      if (child !== undefined) findings.push(...checkRules(field, child, [...path, name], blocked));
    }
  }
  if (isList(value) && schema.items !== undefined) {
    const { items } = schema;
    findings.push(...repeatedItems(schema, value, path));
    value.forEach((item, index) => {
      findings.push(...checkRules(items, item, [...path, index], blocked));
    });
  }
  return findings;
}

function brokenRules(schema: FieldSchema, value: unknown, path: Path): Finding[] {
  return (schema['x-kubernetes-validations'] ?? [])
    .filter(({ rule }) => !rule.includes('oldSelf'))
    .filter((rule) => !holds(rule, toCel(schema, value)))
    .map((rule) => ({ path: [...path, ...fieldPathOf(rule)], message: rule.message }));
}

const environment = new Environment({ unlistedVariablesAreDyn: false }).registerVariable('self', 'dyn');
const compiled = new Map<string, ParseResult>();

/** An API server takes a rule that cannot be evaluated for a broken one; so do we. */
function holds({ rule }: CelRule, self: unknown): boolean {
  const evaluate = compiled.get(rule) ?? environment.parse(rule);
  compiled.set(rule, evaluate);
  try {
    return evaluate({ self }) === true;
  } catch {
    return false;
  }
}

/** CEL tells int from double by the type, JavaScript does not: the schema says which numbers are ints. */
function toCel(schema: FieldSchema | undefined, value: unknown): unknown {
  if (schema?.type === 'integer' && Number.isInteger(value)) return BigInt(Number(value));
  if (isList(value)) return value.map((item) => toCel(schema?.items, item));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name, toCel(schema?.properties?.[name], field)]),
  );
}

function fieldPathOf(rule: CelRule): string[] {
  return rule.fieldPath === undefined ? [] : rule.fieldPath.split('.').filter((part) => part !== '');
}

function repeatedItems(schema: FieldSchema, list: readonly unknown[], path: Path): Finding[] {
  const keys = schema['x-kubernetes-list-map-keys'];
  if (keys === undefined) return [];
  const seen = new Set<string>();
  return list.flatMap((item, index) => {
    const identity = JSON.stringify(keys.map((key) => fieldOf(item, key)));
    if (!isObject(item) || !seen.has(identity)) {
      seen.add(identity);
      return [];
    }
    return [{ path: [...path, index], message: `another item has the same ${keys.join(' and ')}; keep one of them` }];
  });
}

function isAtOrBelow(path: Path, ancestor: Path): boolean {
  return ancestor.every((step, index) => path[index] === step);
}
