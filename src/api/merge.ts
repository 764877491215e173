import { fieldOf, isList, isObject } from './json.ts';
import type { FieldSchema } from './schema.ts';

/**
 * The run's value laid over the plan's, as the schema says: objects merge by field, `map` lists by whole item (the plan's order,
 * then what is new), everything else (the scenario, sets, scalars) is the run's where the run has it.
 */
export function merge(schema: FieldSchema, plan: unknown, run: unknown): unknown {
  if (run === undefined) return plan;
  if (plan === undefined) return run;
  if (isObject(plan) && isObject(run)) return mergeObjects(schema, plan, run);
  const keys = schema['x-kubernetes-list-map-keys'];
  if (keys !== undefined && isList(plan) && isList(run)) return mergeItems(keys, plan, run);
  return run;
}

function mergeObjects(
  schema: FieldSchema,
  plan: Readonly<Record<string, unknown>>,
  run: Readonly<Record<string, unknown>>,
): unknown {
  const names = Object.keys(schema.properties ?? {}).filter(
    (name) => Object.hasOwn(plan, name) || Object.hasOwn(run, name),
  );
  return Object.fromEntries(
    names.map((name) => {
      const field = schema.properties?.[name];
      const [below, above] = [fieldOf(plan, name), fieldOf(run, name)];
      return [name, field === undefined ? (above ?? below) : merge(field, below, above)];
    }),
  );
}

function mergeItems(keys: readonly string[], plan: readonly unknown[], run: readonly unknown[]): readonly unknown[] {
  const identity = (item: unknown): string => JSON.stringify(keys.map((key) => fieldOf(item, key)));
  const own = new Map(run.map((item) => [identity(item), item]));
  const known = new Set(plan.map(identity));
  return [...plan.map((item) => own.get(identity(item)) ?? item), ...run.filter((item) => !known.has(identity(item)))];
}
