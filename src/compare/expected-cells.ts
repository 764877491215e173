import { plainDecimal, scaleOf } from './schema.ts';

/** The values of a row written in a manifest (the JSON text of an array) as text, numbers with all their digits; none where it is no such text. */
export function expectedCells(row: string): (string | null)[] {
  const cells: string[] = [];
  let [depth, cell] = [0, ''];
  // Blanks between the tokens go; what stands in a text stays as it is.
  for (const [token] of row.matchAll(/"(?:[^"\\]|\\.)*"|[^\s"]/g)) {
    if (token === ']' || token === '}') depth--;
    const isEnd = (depth === 1 && token === ',') || (depth === 0 && token === ']' && cell !== '');
    if (isEnd) [cells[cells.length], cell] = [cell, ''];
    else if (depth > 0) cell += token;
    if (token === '[' || token === '{') depth++;
  }
  return cells.map((one) => (one === 'null' ? null : one.startsWith('"') ? String(JSON.parse(one)) : one));
}

/**
 * The text by which the engine reads a value of the type without losing any of it; undefined where the type cannot hold what the text says: the
 * engine would cut `1.505` to two digits, a time to its day and 30 February to 1 March, and call the result equal.
 */
export function readableAs(text: string, type: string): string | undefined {
  if (/^U?Int/.test(type)) return wholeDigits(text, 0);
  if (type.startsWith('Decimal')) return wholeDigits(text, Number(/(\d+)\)$/.exec(type)?.[1] ?? 0));
  // A day has one spelling.
  if (/^Date(32)?$/.test(type)) return undefined;
  if (type.startsWith('DateTime')) return isInstantOf(text, type) ? text : undefined;
  return text;
}

/** The number without exponent and without zeros that say nothing; undefined where it has more digits after the point than `scale`. */
function wholeDigits(text: string, scale: number): string | undefined {
  const plain = plainDecimal(text.replace(/^[+-]/, ''));
  if (plain === undefined) return undefined;
  const short = plain.includes('.') ? plain.replace(/\.?0+$/, '') : plain;
  return scaleOf(short) > scale ? undefined : `${text.startsWith('-') ? '-' : ''}${short}`;
}

function isInstantOf(text: string, type: string): boolean {
  const match = /^(\d{4})(-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?)?(?:Z|[+-]\d\d:?\d\d)?$/.exec(text);
  if (match === null) return false;
  const [, year = '', day = '', time = '00:00:00', fraction = ''] = match;
  const at = `${year}${day}T${time}`;
  const date = new Date(`${at}Z`);
  const isThere = !Number.isNaN(date.getTime()) && date.toISOString().startsWith(at);
  const [first, last, digits] = type.startsWith('DateTime64')
    ? [1900, 2299, Number(/^DateTime64\((\d)/.exec(type)?.[1] ?? 3)]
    : [1970, 2105, 0];
  return isThere && Number(year) >= first && Number(year) <= last && fraction.replace(/0+$/, '').length <= digits;
}
