import { type PlannedColumn, scaleOf } from './schema.ts';
import type { ValueType } from './types.ts';

/** SQL (0 or 1) for whether two values of a column are the same value, or within its tolerance. NULL equals NULL. */
export function isEqualCell(column: PlannedColumn, a: string, b: string): string {
  const exact = isSameValue(column.type, a, b);
  return column.tolerance === undefined ? exact : `(${exact} OR ${isWithin(column.type, column.tolerance, a, b)})`;
}

/** As the row hash sees it: floats by their bits, so that -0.0 is not 0.0 and NaN is NaN. */
export function isSameValue(type: ValueType, a: string, b: string): string {
  if (type.kind !== 'float') return `(${a} <=> ${b})`;
  const bits = (x: string): string => `reinterpretAsUInt${type.bits}(ifNull(${x}, toFloat${type.bits}(0)))`;
  return `(isNull(${a}) = isNull(${b}) AND ${bits(a)} = ${bits(b)})`;
}

/** SQL for `abs(a - b)`, NULL where one is NULL: exact for integers and decimals, the engine's own subtraction for floats. */
export function absoluteDifference(type: ValueType, a: string, b: string, extraScale = 0): string {
  switch (type.kind) {
    case 'int':
    case 'date':
    case 'timestamp':
    case 'decimal': {
      // Widened, because the difference of two extremes does not fit their own type.
      const scale = Math.max(type.kind === 'decimal' ? type.scale : 0, extraScale);
      return `abs(toDecimal256(${a}, ${scale}) - toDecimal256(${b}, ${scale}))`;
    }
    case 'float':
      return `abs(toFloat64(${a}) - toFloat64(${b}))`;
    case 'boolean':
    case 'string':
    case 'binary':
    case 'json':
      return 'NULL';
  }
}

function isWithin(type: ValueType, tolerance: string, a: string, b: string): string {
  const scale = Math.max(type.kind === 'decimal' ? type.scale : 0, scaleOf(tolerance));
  const bound = type.kind === 'float' ? `toFloat64('${tolerance}')` : `toDecimal256('${tolerance}', ${scale})`;
  return `ifNull(${absoluteDifference(type, a, b, scale)} <= ${bound}, 0)`;
}
