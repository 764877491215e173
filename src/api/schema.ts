import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { ParityError } from '../support/error.ts';

/** The kinds of the API group `pipelineparity.io`. */
export type Kind = 'PipelineParityRun' | 'PipelineParityPlan';

export const GROUP_VERSION = 'pipelineparity.io/v1alpha1';

/** A structural schema as CustomResourceDefinitions write it, as far as ours use it. */
export interface FieldSchema {
  /** On every field but metadata, where Kubernetes forbids it. */
  readonly description?: string;
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly format?: string;
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly required?: readonly string[];
  readonly items?: FieldSchema;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly default?: unknown;
  readonly 'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
}

export interface CelRule {
  readonly rule: string;
  readonly message: string;
  /** Field that the rule is about, relative to where it stands: `.baseVersion`. */
  readonly fieldPath?: string;
}

export interface CustomResourceDefinition {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly names: { readonly kind: Kind; readonly plural: string; readonly shortNames: readonly string[] };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: FieldSchema } }[];
  };
}

const FILES: Readonly<Record<Kind, string>> = {
  PipelineParityRun: 'pipelineparity.io_pipelineparityruns.yaml',
  PipelineParityPlan: 'pipelineparity.io_pipelineparityplans.yaml',
};

const loaded = new Map<Kind, FieldSchema>();

/** The schema of a kind, from its CRD; the file is read once. Throws `Internal` where the installation lacks it. */
export function schemaOf(kind: Kind): FieldSchema {
  const known = loaded.get(kind);
  if (known !== undefined) return known;
  const schema = rootSchema(parse(readFileSync(crdFile(kind), 'utf8')));
  loaded.set(kind, schema);
  return schema;
}

/** The schema inside a definition that has one version, as ours do. */
export function rootSchema(definition: CustomResourceDefinition): FieldSchema {
  const [version] = definition.spec.versions;
  if (version === undefined) {
    throw new ParityError('Internal', `The definition ${definition.metadata.name} has no version`);
  }
  return version.schema.openAPIV3Schema;
}

/** Absolute path of a kind's CRD: `crds/` lies in the package's root, whether this runs from src/ or from dist/. */
export function crdFile(kind: Kind): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const candidate = join(folder, 'crds', FILES[kind]);
    if (existsSync(candidate)) return candidate;
    if (folder === dirname(folder)) {
      throw new ParityError(
        'Internal',
        `The definition of ${kind} (crds/${FILES[kind]}) is missing from this installation`,
        {
          advice: 'Install the package again.',
        },
      );
    }
  }
}

/** The schema of a field of `schema`, `undefined` where it has none of that name. Never fooled by inherited names. */
export function propertyOf(schema: FieldSchema, field: string): FieldSchema | undefined {
  return schema.properties !== undefined && Object.hasOwn(schema.properties, field)
    ? schema.properties[field]
    : undefined;
}

/** The fields by which items of a list are told apart: its map keys, or `name` where items have one; empty for plain lists. */
export function identityFields(list: FieldSchema): readonly string[] {
  const keys = list['x-kubernetes-list-map-keys'];
  if (keys !== undefined) return keys;
  return list.items !== undefined && propertyOf(list.items, 'name') !== undefined ? ['name'] : [];
}
