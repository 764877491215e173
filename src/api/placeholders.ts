/** A `{{table}}` or `{{source.table}}` in a query. */
export interface Placeholder {
  /** As written, braces included. */
  readonly text: string;
  /** Index of its first character in the query. */
  readonly start: number;
  readonly source: string | undefined;
  readonly table: string;
}

/** A placeholder, or what may hold its braces without being one: a text, a quoted name, a comment. */
const pattern =
  /\{\{(?<name>[^{}]*)\}\}|'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`(?:[^`\\]|\\[\s\S]|``)*`|--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?\*\//g;

/**
 * The placeholders of a query, in order; those in texts and comments are none, for nothing would be read there. Text between braces that is neither a table nor source.table comes back as a table of
 * that name, which nobody has: whoever looks it up finds that out.
 */
export function placeholdersOf(sql: string): readonly Placeholder[] {
  return [...sql.matchAll(pattern)].flatMap((match) => {
    const name = match.groups?.name?.trim();
    if (name === undefined) return [];
    const dot = name.indexOf('.');
    const source = dot === -1 ? undefined : name.slice(0, dot).trim();
    return [{ text: match[0], start: match.index, source, table: dot === -1 ? name : name.slice(dot + 1).trim() }];
  });
}

/** The query with every placeholder replaced by what `sqlOf` gives for it. */
export function replacePlaceholders(sql: string, sqlOf: (placeholder: Placeholder) => string): string {
  let text = '';
  let end = 0;
  for (const placeholder of placeholdersOf(sql)) {
    text += sql.slice(end, placeholder.start) + sqlOf(placeholder);
    end = placeholder.start + placeholder.text.length;
  }
  return text + sql.slice(end);
}
