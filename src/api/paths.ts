import { fieldOf, isList, isObject } from './json.ts';
import type { Path } from './problem.ts';

/** A path as people write it: `spec.snapshot.tables[flights].path`; items without a name show their index. */
export function formatPath(path: Path, root: unknown): string {
  let value: unknown = root;
  let text = '';
  for (const step of path) {
    const next = child(value, step);
    if (typeof step === 'number') text += `[${itemName(next) ?? step}]`;
    else text += text === '' ? step : `.${step}`;
    value = next;
  }
  return text;
}

/** The value at a path, `undefined` where there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  return path.reduce(child, root);
}

/**
 * The same field in another document: list items are found by their name rather than their index, as merging does. Ends early
 * where the other document has no such field.
 */
export function translatePath(path: Path, from: unknown, to: unknown): Path {
  const translated: (string | number)[] = [];
  let source = from;
  let target = to;
  for (const step of path) {
    source = child(source, step);
    const there = typeof step === 'number' ? indexOfItem(target, itemName(source), step) : step;
    if (there === undefined || child(target, there) === undefined) return translated;
    translated.push(there);
    target = child(target, there);
  }
  return translated;
}

/** What an item of a named list is called: its `name`, `table.column`, or `column`. */
export function itemName(item: unknown): string | undefined {
  const name = fieldOf(item, 'name');
  if (typeof name === 'string') return name;
  const [table, column] = [fieldOf(item, 'table'), fieldOf(item, 'column')];
  if (typeof column !== 'string') return undefined;
  return typeof table === 'string' ? `${table}.${column}` : column;
}

function indexOfItem(list: unknown, name: string | undefined, index: number): number | undefined {
  if (!isList(list)) return undefined;
  if (name === undefined || itemName(list[index]) === name) return index;
  const found = list.findIndex((item) => itemName(item) === name);
  return found === -1 ? undefined : found;
}

function child(value: unknown, step: string | number): unknown {
  if (typeof step === 'number') return isList(value) ? value[step] : undefined;
  return isObject(value) ? fieldOf(value, step) : undefined;
}
