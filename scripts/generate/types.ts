import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { parse } from 'yaml';
import { type FieldSchema, rootSchema } from '../../src/api/schema.ts';

const BANNER = '// Generated from crds/ by scripts/generate.ts. Do not edit.';

/** Names of the types of fields that code speaks of; other objects are written where they stand. */
const TYPE_NAMES: Readonly<Record<string, string>> = {
  spec: 'RunSpec',
  status: 'RunStatus',
  'spec.snapshot': 'SnapshotSpec',
  'spec.snapshot.tables[]': 'TableSpec',
  'spec.workspace': 'WorkspaceSpec',
  'spec.sources[]': 'SourceSpec',
  'spec.pipelines[]': 'PipelineSpec',
  'spec.scenario[]': 'StepSpec',
  'spec.scenario[].compare.baseline': 'SideSpec',
  'spec.comparison': 'ComparisonSpec',
  'spec.queries[]': 'QuerySpec',
  'spec.execution': 'ExecutionSpec',
  'spec.reports': 'ReportsSpec',
};

/** Enums that code needs as lists. */
const ENUM_NAMES: Readonly<Record<string, string>> = {
  'spec.pipelines[].reference.bug': 'BUGS',
  'spec.reports.formats[]': 'REPORT_FORMATS',
  'spec.sources[].engine': 'SOURCE_ENGINES',
};

/** TypeScript types of a run and a plan. */
export async function typeDeclarations(run: string): Promise<string> {
  const schema = titled(rootSchema(parse(run)), '', 'PipelineParityRun');
  const types = await compile(schema, 'PipelineParityRun', {
    bannerComment: BANNER,
    additionalProperties: false,
    ignoreMinAndMaxItems: true,
    format: true,
    style: { singleQuote: true, printWidth: 120 },
  });
  return `${types}${PLAN}`;
}

const PLAN = `
/** The same fields as in a run, without planRef. */
export type PlanSpec = Omit<RunSpec, 'planRef'>;

/** A reusable spec that runs take over by planRef, kept in Git. */
export interface PipelineParityPlan {
  apiVersion?: string;
  kind?: string;
  metadata?: PipelineParityRun['metadata'];
  spec: PlanSpec;
}
`;

/** The values of enums, as constant lists with a type of the same name. */
export function enumConstants(run: string): string {
  const schema = rootSchema(parse(run));
  const constants = Object.entries(ENUM_NAMES).map(([path, name]) => {
    const values = schemaAt(schema, path).enum ?? [];
    const list = values.map((value) => `  '${value}',\n`).join('');
    return `/** The values of \`${path}\`. */\nexport const ${name} = [\n${list}] as const;\nexport type ${typeName(name)} = (typeof ${name})[number];\n`;
  });
  return [BANNER, ...constants].join('\n');
}

/** `SOURCE_ENGINES` → `SourceEngine`. */
function typeName(constant: string): string {
  const words = constant.split('_').map((word) => `${word.slice(0, 1)}${word.slice(1).toLowerCase()}`);
  return words.join('').replace(/s$/, '');
}

/** The schema with a title wherever a type gets a name, and without what is no part of a type. */
function titled(schema: FieldSchema, path: string, title?: string): JSONSchema {
  const name = title ?? TYPE_NAMES[path];
  const common = {
    ...(schema.description === undefined ? {} : { description: schema.description }),
    ...(name === undefined ? {} : { title: name }),
  };
  switch (schema.type) {
    case 'array':
      return { ...common, type: 'array', items: schema.items === undefined ? {} : titled(schema.items, `${path}[]`) };
    case 'object': {
      const fields = Object.entries(schema.properties ?? {});
      const properties = fields.map(([field, child]) => [
        field,
        titled(child, path === '' ? field : `${path}.${field}`),
      ]);
      return {
        ...common,
        type: 'object',
        properties: Object.fromEntries(properties),
        required: [...(schema.required ?? [])],
        additionalProperties: path === 'metadata',
      };
    }
    case 'string':
      return { ...common, type: 'string', ...(schema.enum === undefined ? {} : { enum: [...schema.enum] }) };
    case 'integer':
    case 'boolean':
      return { ...common, type: schema.type };
  }
}

function schemaAt(root: FieldSchema, path: string): FieldSchema {
  let schema = root;
  for (const step of path.replaceAll('[]', '.[]').split('.')) {
    const next = step === '[]' ? schema.items : schema.properties?.[step];
    if (next === undefined) throw new Error(`the definition of runs has no ${path}`);
    schema = next;
  }
  return schema;
}
