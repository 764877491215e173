import { ParityError } from '../support/error.ts';
import type { DataType } from './types.ts';

/** A column whose values stand in the names of folders (`day=2024-01-01/part-0.parquet`), as Hive, Spark and DuckDB partition files. */
export interface FolderColumn {
  readonly name: string;
  /** `long` or `date` where all values are, else `string`. */
  readonly type: DataType;
  readonly inFolderOf: (key: string) => string | null;
}

/**
 * Columns that the folders between `path` (a folder or a pattern) and the files say. Without them a row in the wrong partition would be equal.
 * Throws `CorruptTable` where the files are not all in folders of the same names.
 */
export function folderColumns(keys: readonly string[], path: string, name: string): FolderColumn[] {
  const root = /[*?]/.test(path) ? path.slice(0, path.slice(0, path.search(/[*?]/)).lastIndexOf('/') + 1) : `${path}/`;
  const found = new Map(keys.map((key) => [key, valuesIn(key.startsWith(root) ? key.slice(root.length) : '')]));
  const namesOf = (key: string): string[] => [...(found.get(key)?.keys() ?? [])].sort();
  const [first = ''] = keys;
  const odd = keys.find((key) => namesOf(key).join('\n') !== namesOf(first).join('\n'));
  if (odd !== undefined)
    throw new ParityError(
      'CorruptTable',
      `Reading ${name}, ${first} and ${odd} are in folders of different partitions.`,
      {
        subject: odd,
        advice: 'Name the files of one table only, for example by a pattern with *.',
      },
    );
  return namesOf(first).map((column) => {
    const inFolderOf = (key: string): string | null => found.get(key)?.get(column) ?? null;
    const values = keys.flatMap((key) => inFolderOf(key) ?? []);
    return { name: column, type: typeOf(values), inFolderOf };
  });
}

function valuesIn(below: string): Map<string, string | null> {
  return new Map(
    below
      .split('/')
      .slice(0, -1)
      .flatMap((folder): [string, string | null][] => {
        const split = folder.indexOf('=');
        if (split < 1) return [];
        const value = unescaped(folder.slice(split + 1));
        const isNull = value === '' || value === '__HIVE_DEFAULT_PARTITION__';
        return [[unescaped(folder.slice(0, split)), isNull ? null : value]];
      }),
  );
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function typeOf(values: readonly string[]): DataType {
  const all = (is: (value: string) => boolean): boolean => values.length > 0 && values.every(is);
  if (all((value) => /^(0|-?[1-9]\d{0,17})$/.test(value))) return { kind: 'long' };
  if (all(isDate)) return { kind: 'date' };
  return { kind: 'string' };
}

function isDate(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}
