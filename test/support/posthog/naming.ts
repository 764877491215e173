/** PostHog's name for a column or a folder: snake case of ASCII letters, digits and single underscores (contract.md, "Names"). */
export function normalized(name: string): string {
  const reduced = name.trim().replace(/[+*]/g, 'x').replaceAll('-', '_').replaceAll('@', 'a').replaceAll('|', 'l');
  const snake = reduced
    .replace(/[^a-zA-Z\d_]+/g, '_')
    .replace(/([^_])([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase();
  const led = /^\d/.test(snake) ? `_${snake}` : snake;
  return led.replace(/_+$/, (tail) => 'x'.repeat(tail.length)).replace(/__+/g, '_');
}

/** What the columns of one table are called where they land: a name that is taken gets an underscore in front. */
export function landedNames(names: readonly string[]): readonly string[] {
  const current = [...names];
  const used = new Set<string>();
  for (const [index, name] of names.entries()) {
    let landed = normalized(name);
    if (landed === name) continue;
    while (used.has(landed) || current.includes(landed)) landed = `_${landed}`;
    current[index] = landed;
    used.add(landed);
  }
  return current;
}
