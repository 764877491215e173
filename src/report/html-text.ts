/** Markup that is safe to place in a page. Only this file makes it, so nothing unescaped gets in by mistake. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A template whose every value is escaped, except what is `Html` already. */
export function html(strings: TemplateStringsArray, ...values: readonly (string | number | Html)[]): Html {
  const parts = strings.map((text, index) => {
    const value = values[index];
    if (value === undefined) return text;
    return text + (value instanceof Html ? value.text : escapeHtml(String(value)));
  });
  return new Html(parts.join(''));
}

/** Pieces one after the other. */
export function list(items: readonly Html[]): Html {
  return new Html(items.map(({ text }) => text).join(''));
}

/** A constant of this project's own that is no markup (a style sheet). Never for anything that comes from outside. */
export function raw(text: string): Html {
  return new Html(text);
}

/** An element with escaped text inside. */
export function tag(name: 'pre' | 'code' | 'del' | 'ins', text: string): Html {
  return new Html(`<${name}>${escapeHtml(text)}</${name}>`);
}

/** Text for HTML content and quoted attributes. Control and direction characters are made visible: they could disguise a name. */
export function escapeHtml(text: string): string {
  return text
    .toWellFormed()
    .replace(
      /(?![\t\n])[\p{Cc}\p{Bidi_Control}\u200b\ufeff]/gu,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
    .replaceAll('`', '&#96;');
}
