import { canonicalJsonFromText } from '../lake/nested.ts';
import { isNested } from '../lake/relation-types.ts';
import type { SourceTableColumn } from './source.ts';

/**
 * The canonical value of a column that is read from a source. Nested values come back as they went in from types that keep text;
 * a type that does not (`jsonb` orders keys anew) has its text made canonical again.
 */
export function castNested({ field, sqlType }: SourceTableColumn, value: string): string {
  return isNested(field.type) && !keepsText(sqlType) ? canonicalJsonFromText(value, field.type) : value;
}

function keepsText(sqlType: string): boolean {
  return /^(json|text|longtext|mediumtext|string|varchar\b.*)$/i.test(sqlType);
}
