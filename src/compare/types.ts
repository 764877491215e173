import type { DataType } from '../lake/types.ts';

/** A type as schemas and reports spell it, e.g. `decimal(10,2)`, `struct<a:long>`; nullability inside nested types is left out. */
export function typeText(type: DataType): string {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision},${type.scale})`;
    case 'struct':
      return `struct<${type.fields.map((field) => `${field.name}:${typeText(field.type)}`).join(',')}>`;
    case 'array':
      return `array<${typeText(type.element)}>`;
    case 'map':
      return `map<${typeText(type.key)},${typeText(type.value)}>`;
    default:
      return type.kind;
  }
}

/** How the engine holds values of a compared column: the canonical types of src/lake/relation.ts, and wider ones for pairs of types. */
export type ValueType =
  | { readonly kind: 'int'; readonly bits: 8 | 16 | 32 | 64 }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'float'; readonly bits: 32 | 64 }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'string' }
  | { readonly kind: 'binary' }
  | { readonly kind: 'json' }
  | { readonly kind: 'date' }
  | { readonly kind: 'timestamp' };

/** How a relation holds a column of this type (the table in src/lake/relation.ts). */
export function valueTypeOf(type: DataType): ValueType {
  switch (type.kind) {
    case 'byte':
      return { kind: 'int', bits: 8 };
    case 'short':
      return { kind: 'int', bits: 16 };
    case 'integer':
      return { kind: 'int', bits: 32 };
    case 'long':
      return { kind: 'int', bits: 64 };
    case 'float':
      return { kind: 'float', bits: 32 };
    case 'double':
      return { kind: 'float', bits: 64 };
    case 'boolean':
      return { kind: 'boolean' };
    case 'string':
      return { kind: 'string' };
    case 'binary':
      return { kind: 'binary' };
    case 'date':
      return { kind: 'date' };
    case 'timestamp':
    case 'timestamp_ntz':
      return { kind: 'timestamp' };
    case 'decimal':
      return { kind: 'decimal', precision: type.precision, scale: type.scale };
    case 'struct':
    case 'array':
    case 'map':
      return { kind: 'json' };
  }
}

/** The engine's type of a compared column. */
export function engineType(type: ValueType): string {
  switch (type.kind) {
    case 'int':
      return `Nullable(Int${type.bits})`;
    case 'decimal':
      return `Nullable(Decimal(${type.precision}, ${type.scale}))`;
    case 'float':
      return `Nullable(Float${type.bits})`;
    case 'boolean':
      return 'Nullable(Bool)';
    case 'string':
    case 'binary':
    case 'json':
      return 'Nullable(String)';
    case 'date':
      return 'Nullable(Int32)';
    case 'timestamp':
      return 'Nullable(Int64)';
  }
}

/**
 * The type that holds every value of both types exactly, or undefined where there is none (`long` and `double`, `decimal` and `float`,
 * anything and `string` but for nested values, which are compared as JSON text).
 */
export function commonType(a: ValueType, b: ValueType): ValueType | undefined {
  if (rank(a) > rank(b)) return commonType(b, a);
  switch (a.kind) {
    case 'boolean':
      return b.kind === 'boolean' ? a : b.kind === 'int' ? b : undefined;
    case 'int':
      switch (b.kind) {
        case 'int':
          return a.bits >= b.bits ? a : b;
        case 'decimal':
          return decimal(Math.max(intDigits[a.bits], b.precision - b.scale), b.scale);
        case 'float':
          return a.bits <= 16 ? b : a.bits === 32 ? { kind: 'float', bits: 64 } : undefined;
        default:
          return undefined;
      }
    case 'decimal':
      return b.kind === 'decimal'
        ? decimal(Math.max(a.precision - a.scale, b.precision - b.scale), Math.max(a.scale, b.scale))
        : undefined;
    case 'float':
      return b.kind === 'float' ? (a.bits >= b.bits ? a : b) : undefined;
    case 'binary':
      return b.kind === 'binary' || b.kind === 'string' ? a : undefined;
    case 'json':
      return b.kind === 'json' || b.kind === 'string' ? a : undefined;
    case 'string':
    case 'date':
    case 'timestamp':
      return a.kind === b.kind ? a : undefined;
  }
}

/** Whether values of the type have a difference that can be measured against a tolerance. */
export function isNumeric(type: ValueType): boolean {
  return type.kind === 'int' || type.kind === 'decimal' || type.kind === 'float';
}

const intDigits = { 8: 3, 16: 5, 32: 10, 64: 19 } as const;

function decimal(integerDigits: number, scale: number): ValueType | undefined {
  // 76 digits are what the engine's widest decimal holds.
  return integerDigits + scale > 76 ? undefined : { kind: 'decimal', precision: integerDigits + scale, scale };
}

function rank(type: ValueType): number {
  return order.indexOf(type.kind);
}
const order: readonly ValueType['kind'][] = [
  'boolean',
  'int',
  'decimal',
  'float',
  'binary',
  'json',
  'string',
  'date',
  'timestamp',
];
