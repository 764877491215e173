import { parseDocument } from 'yaml';
import { isObject } from './json.ts';

/** What the run says itself to the chart of a source (argocd/sources): values of these names are not the manifest's to give. */
export const OWN_CHART_VALUES = [
  'name',
  'labels',
  'image',
  'auth',
  'size',
  'storageRequest',
  'tls',
  'allowFrom',
  'runUid',
  'operator',
] as const;

/** The values of a chart from YAML text, which `chartValuesProblem` has nothing to say about. */
export function chartValues(text: string): Readonly<Record<string, unknown>> {
  const values: unknown = parseDocument(text).toJS();
  return isObject(values) ? { ...values } : {};
}

/** What is wrong with a chart's values, and what to do; undefined where nothing is. */
export function chartValuesProblem(text: string): string | undefined {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) return `is not YAML: ${error.message.split('\n')[0]}`;
  const values: unknown = document.toJS();
  if (!isObject(values)) return 'must be an object (name: value) as YAML text';
  const taken = OWN_CHART_VALUES.find((name) => Object.hasOwn(values, name));
  if (taken === undefined) return undefined;
  const field = ['image', 'size', 'tls', 'allowFrom'].includes(taken)
    ? `write the source's field ${taken}`
    : 'take it out';
  return `"${taken}" is what the run says to the chart itself; ${field}`;
}
