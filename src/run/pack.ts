import type { ResolvedTableVersion } from '../tasks/task.ts';

/** A table at least this large has a task of its own. */
export const largeTableBytes = 256 * 2 ** 20;
/** Small tables share a task up to this sum of bytes, and up to `packTables` tables. */
export const packBytes = 256 * 2 ** 20;
export const packTables = 64;

/**
 * Tables in groups, one task each: large ones alone, small ones together by bytes, so that 1,000 small tables do not cost 1,000
 * process starts. Keeps the order of `tables`, so the same tables give the same groups. A table of unknown size counts as large.
 */
export function pack(
  tables: readonly string[],
  versions: ReadonlyMap<string, ResolvedTableVersion>,
): readonly (readonly string[])[] {
  const groups: string[][] = [];
  let open: { names: string[]; bytes: number } | undefined;
  for (const name of tables) {
    const bytes = versions.get(name)?.sizeBytes ?? largeTableBytes;
    if (bytes >= largeTableBytes) {
      groups.push([name]);
      continue;
    }
    if (open === undefined || open.names.length >= packTables || open.bytes + bytes > packBytes) {
      open = { names: [], bytes: 0 };
      groups.push(open.names);
    }
    open.names.push(name);
    open.bytes += bytes;
  }
  return groups;
}
