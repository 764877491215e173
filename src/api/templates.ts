/** Names of variables that the place of a landed table may depend on: it is the same in every step. */
export const NAMING_VARIABLES = [
  'run',
  'pipeline',
  'source',
  'table',
  'table.lower',
  'table.upper',
  'table.snake',
] as const;

/** Variables with a value only where one execution syncs one table. */
export const TABLE_VARIABLES = [
  'table',
  'table.lower',
  'table.upper',
  'table.snake',
  'key',
  'cursor',
  'output',
  'output.schema',
  'output.table',
] as const;

/** Variables that hold a password. */
export const SECRET_VARIABLES = ['source.password', 'source.url', 'output.password', 'output.url'] as const;

/** What an execution can be told, by arguments and environment. */
export const EXECUTION_VARIABLES = [
  ...NAMING_VARIABLES,
  'step',
  'mode',
  'attempt',
  'execution',
  'tables',
  'key',
  'cursor',
  'request',
  'landing',
  'source.engine',
  'source.host',
  'source.port',
  'source.user',
  'source.database',
  'source.schema',
  'source.secret',
  'source.secretDir',
  'output',
  'output.format',
  'output.endpoint',
  'output.region',
  'output.engine',
  'output.host',
  'output.port',
  'output.user',
  'output.database',
  'output.schema',
  'output.table',
] as const;

/** A value of a variable; lists and objects are JSON where they stand inside a text. */
export type TemplateValue = string | number | null | readonly string[] | { readonly [name: string]: unknown };

/** The names between `{{` and `}}` in a template, in order. */
export function variablesIn(template: string): readonly string[] {
  return [...template.matchAll(placeholder)].map(([, name = '']) => name.trim());
}

/** The template with every placeholder replaced by its value as text; `null` is ''. */
export function expandText(template: string, lookUp: (name: string) => TemplateValue): string {
  return template.replace(placeholder, (_, name: string) => textOf(lookUp(name.trim())));
}

/**
 * A JSON value with the placeholders in its strings replaced. A string that is nothing but a placeholder takes the value as it is, so what is put in can
 * never change the shape of what is around it.
 */
export function expandJson(value: unknown, lookUp: (name: string) => TemplateValue): unknown {
  if (typeof value === 'string') {
    const [, only] = /^\{\{([^{}]*)\}\}$/.exec(value) ?? [];
    return only === undefined ? expandText(value, lookUp) : lookUp(only.trim());
  }
  if (Array.isArray(value)) return value.map((item) => expandJson(item, lookUp));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, expandJson(item, lookUp)]));
}

/** The spellings of a table's name that templates know. */
export function spellingsOf(
  table: string,
): Readonly<Record<'table' | 'table.lower' | 'table.upper' | 'table.snake', string>> {
  return {
    table,
    'table.lower': table.toLowerCase(),
    'table.upper': table.toUpperCase(),
    'table.snake': table.toLowerCase().replaceAll('-', '_'),
  };
}

const placeholder = /\{\{([^{}]*)\}\}/g;

function textOf(value: TemplateValue): string {
  if (value === null) return '';
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  return JSON.stringify(value);
}
