/** A `{{table}}` or `{{source.table}}` in a query. */
export interface Placeholder {
  /** As written, braces included. */
  readonly text: string;
  /** Index of its first character in the query. */
  readonly start: number;
  readonly source: string | undefined;
  readonly table: string;
}

/**
 * The placeholders of a query, in order. Text between braces that is neither a table nor source.table comes back as a table of
 * that name, which nobody has: whoever looks it up finds that out.
 */
export function placeholdersOf(sql: string): readonly Placeholder[] {
  return [...sql.matchAll(/\{\{([^{}]*)\}\}/g)].map((match) => {
    const name = (match[1] ?? '').trim();
    const dot = name.indexOf('.');
    return {
      text: match[0],
      start: match.index,
      source: dot === -1 ? undefined : name.slice(0, dot).trim(),
      table: dot === -1 ? name : name.slice(dot + 1).trim(),
    };
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
