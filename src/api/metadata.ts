import { fieldOf, isObject } from './json.ts';
import { type Finding, shown } from './problem.ts';

export interface Metadata {
  readonly name: string;
  /** `default` where the manifest names none. */
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What an API server would refuse in the metadata of a run or plan. */
export function checkMetadata(manifest: unknown): Finding[] {
  const metadata = fieldOf(manifest, 'metadata');
  if (metadata === undefined) return [{ path: ['metadata', 'name'], message: 'missing; give the object a name' }];
  // Anything but an object is reported by the structure check already.
  if (!isObject(metadata)) return [];
  return [
    ...checkName(fieldOf(metadata, 'name')),
    ...checkNamespace(fieldOf(metadata, 'namespace')),
    ...checkTexts('labels', fieldOf(metadata, 'labels')),
    ...checkTexts('annotations', fieldOf(metadata, 'annotations')),
  ];
}

/** The metadata of a manifest that passed `checkMetadata`. */
export function readMetadata(manifest: unknown): Metadata {
  const metadata = fieldOf(manifest, 'metadata');
  return {
    name: textOf(fieldOf(metadata, 'name'), ''),
    namespace: textOf(fieldOf(metadata, 'namespace'), 'default'),
    labels: textsOf(fieldOf(metadata, 'labels')),
    annotations: textsOf(fieldOf(metadata, 'annotations')),
  };
}

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names */
function checkName(name: unknown): Finding[] {
  const path = ['metadata', 'name'];
  if (name === undefined || name === null || name === '') return [{ path, message: 'missing; give the object a name' }];
  if (
    typeof name === 'string' &&
    name.length <= 253 &&
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)
  ) {
    return [];
  }
  const rule =
    "at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit";
  return [{ path, message: `found ${shown(name)}; it must be ${rule}` }];
}

function checkNamespace(namespace: unknown): Finding[] {
  if (namespace === undefined) return [];
  if (typeof namespace === 'string' && namespace.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(namespace))
    return [];
  const rule = "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit";
  return [{ path: ['metadata', 'namespace'], message: `found ${shown(namespace)}; it must be ${rule}` }];
}

function checkTexts(field: 'labels' | 'annotations', texts: unknown): Finding[] {
  if (texts === undefined) return [];
  if (!isObject(texts))
    return [{ path: ['metadata', field], message: `found ${shown(texts)}; it must be an object of texts` }];
  return Object.entries(texts)
    .filter(([, text]) => typeof text !== 'string')
    .map(([name, text]) => ({
      path: ['metadata', field, name],
      message: `found ${shown(text)}; it is text: write it in quotes`,
    }));
}

function textOf(value: unknown, fallback: string): string {
  return typeof value === 'string' ? value : fallback;
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  const entries = isObject(value) ? Object.entries(value) : [];
  return Object.fromEntries(
    entries.flatMap(([name, text]) => (typeof text === 'string' ? [[name, text] as const] : [])),
  );
}
