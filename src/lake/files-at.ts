import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { ParityError } from '../support/error.ts';
import type { ObjectReader } from './store.ts';

/**
 * Keys of the files that a path means, in order: itself, those below it that end in one of the suffixes, or those that a pattern matches
 * (`*` within a folder, `**` across). Names with a leading `_` or `.` are no data, but for partitions of columns so named (`_day=5`). Throws `NotFound` where there is none.
 */
export async function filesAt(reader: ObjectReader, path: string, suffixes: readonly string[]): Promise<string[]> {
  const isPattern = /[*?]/.test(path);
  if (!isPattern && (await reader.head(path)) !== undefined) return [path];
  const prefix = isPattern ? path.slice(0, path.search(/[*?]/)) : `${path}/`;
  const folder = isPattern ? prefix.slice(0, prefix.lastIndexOf('/') + 1) : prefix;
  const matches = isPattern ? patternExpression(path) : undefined;
  const keys: string[] = [];
  const unclear: string[] = [];
  const isHidden = (key: string): boolean =>
    key
      .slice(folder.length)
      .split('/')
      .some((part) => /^(\.|_[^=]*$)/.test(part));
  for await (const { key } of reader.list(isPattern ? folder : prefix)) {
    const isMeant =
      matches === undefined
        ? !isHidden(key) && suffixes.some((suffix) => key.toLowerCase().endsWith(suffix))
        : matches.test(key);
    if (isMeant) keys.push(key);
    else if (matches === undefined && !isHidden(key) && mayBeMeant(key, suffixes)) unclear.push(key);
  }
  const links = isPattern || keys.length === 0 ? [] : await brokenLinks(reader, folder);
  const [odd] = [...unclear.filter(() => keys.length > 0), ...links.filter((key) => !isHidden(key))];
  if (odd !== undefined)
    throw new ParityError(
      'UnsupportedFeature',
      `${reader.url(odd)} lies among the ${suffixes[0]} files and may be one, but does not read as such.`,
      {
        subject: reader.url(odd),
        advice: `Remove it, or name the files that are meant by a pattern such as ${reader.url(path)}/*${suffixes[0]}.`,
      },
    );
  if (keys.length > 0) return keys;
  throw new ParityError('NotFound', `No ${suffixes.join(' or ')} file was found at ${reader.url(path)}.`, {
    subject: reader.url(path),
  });
}

/** Files without an ending (`part-00001`), or with one more (`a.csv.bz2`): left out, a table without them could be equal to one without their rows. */
function mayBeMeant(key: string, suffixes: readonly string[]): boolean {
  const name = key.slice(key.lastIndexOf('/') + 1).toLowerCase();
  return !name.includes('.') || suffixes.some((suffix) => name.includes(`${suffix}.`));
}

/** Links to folders, which are not followed, and to nothing. */
async function brokenLinks({ location }: ObjectReader, folder: string): Promise<string[]> {
  if (location.scheme !== 'file') return [];
  const entries = await readdir(join(location.root, folder), { withFileTypes: true, recursive: true });
  const links = entries.filter((entry) => entry.isSymbolicLink()).map((entry) => join(entry.parentPath, entry.name));
  const found = await Promise.all(links.map(async (link) => ({ link, at: await stat(link).catch(() => undefined) })));
  return found.flatMap(({ link, at }) => (at?.isFile() === true ? [] : [relative(location.root, link)]));
}

function patternExpression(pattern: string): RegExp {
  const source = pattern.replace(/\*\*|[*?]|[.+^${}()|[\]\\]/g, (found) =>
    found === '**' ? '.*' : found === '*' ? '[^/]*' : found === '?' ? '[^/]' : `\\${found}`,
  );
  return new RegExp(`^${source}$`, 's');
}
