import { ParityError } from '../../support/error.ts';
import type { DataType, Field, PrimitiveName, StructType } from '../types.ts';
import { isRecord } from './json.ts';

const PRIMITIVES: readonly PrimitiveName[] = [
  'byte',
  'short',
  'integer',
  'long',
  'float',
  'double',
  'boolean',
  'string',
  'binary',
  'date',
  'timestamp',
  'timestamp_ntz',
];

/**
 * The columns that a `schemaString` of a table's metadata declares, with their physical names.
 * Throws `UnsupportedFeature` naming the column for a type that cannot be read, `CorruptTable` for text that is no schema.
 */
export function parseSchema(schemaString: string, url: string): StructType {
  let parsed: unknown;
  try {
    parsed = JSON.parse(schemaString);
  } catch (cause) {
    throw new ParityError('CorruptTable', `The schema of ${url} is not JSON`, { cause, subject: url });
  }
  const type = parseType(parsed, { url, column: '' });
  if (type.kind !== 'struct') throw malformed({ url, column: '' });
  return type;
}

/** The `schemaString` of the columns, as the protocol serializes it; physical names are kept where they differ. */
export function formatSchema(schema: StructType): string {
  return JSON.stringify(formatType(schema));
}

interface Where {
  readonly url: string;
  readonly column: string;
}

function parseType(raw: unknown, where: Where): DataType {
  if (typeof raw === 'string') return parsePrimitive(raw, where);
  if (!isRecord(raw)) throw malformed(where);
  switch (raw.type) {
    case 'struct':
      if (!Array.isArray(raw.fields)) throw malformed(where);
      return { kind: 'struct', fields: raw.fields.map((field: unknown) => parseField(field, where)) };
    case 'array':
      return {
        kind: 'array',
        element: parseType(raw.elementType, inside(where, 'element')),
        containsNull: raw.containsNull !== false,
      };
    case 'map':
      return {
        kind: 'map',
        key: parseType(raw.keyType, inside(where, 'key')),
        value: parseType(raw.valueType, inside(where, 'value')),
        valueContainsNull: raw.valueContainsNull !== false,
      };
    default:
      throw unsupported(String(raw.type), where);
  }
}

function parsePrimitive(name: string, where: Where): DataType {
  const kind = PRIMITIVES.find((primitive) => primitive === name);
  if (kind !== undefined) return { kind };
  const decimal = /^decimal\((\d+),\s*(\d+)\)$/.exec(name);
  if (decimal !== null) return { kind: 'decimal', precision: Number(decimal[1]), scale: Number(decimal[2]) };
  if (name === 'decimal') return { kind: 'decimal', precision: 10, scale: 0 };
  throw unsupported(name, where);
}

function parseField(raw: unknown, where: Where): Field {
  if (!isRecord(raw) || typeof raw.name !== 'string') throw malformed(where);
  const at = inside(where, raw.name);
  const physical = isRecord(raw.metadata) ? raw.metadata['delta.columnMapping.physicalName'] : undefined;
  return {
    name: raw.name,
    type: parseType(raw.type, at),
    nullable: raw.nullable !== false,
    physicalName: typeof physical === 'string' ? physical : raw.name,
  };
}

function formatType(type: DataType): unknown {
  switch (type.kind) {
    case 'struct':
      return { type: 'struct', fields: type.fields.map(formatField) };
    case 'array':
      return { type: 'array', elementType: formatType(type.element), containsNull: type.containsNull };
    case 'map':
      return {
        type: 'map',
        keyType: formatType(type.key),
        valueType: formatType(type.value),
        valueContainsNull: type.valueContainsNull,
      };
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`;
    default:
      return type.kind;
  }
}

function formatField(field: Field): unknown {
  const metadata = field.physicalName === field.name ? {} : { 'delta.columnMapping.physicalName': field.physicalName };
  return { name: field.name, type: formatType(field.type), nullable: field.nullable, metadata };
}

function inside(where: Where, name: string): Where {
  return { url: where.url, column: where.column === '' ? name : `${where.column}.${name}` };
}

function unsupported(type: string, where: Where): ParityError {
  return new ParityError(
    'UnsupportedFeature',
    `The column '${where.column}' of ${where.url} has the type ${type}, which cannot be read exactly`,
    { subject: where.column, advice: 'Test a copy of the table without that column' },
  );
}

function malformed(where: Where): ParityError {
  const place = where.column === '' ? '' : ` at '${where.column}'`;
  return new ParityError('CorruptTable', `The schema of ${where.url} is malformed${place}`, { subject: where.url });
}
