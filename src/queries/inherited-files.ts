import { parse } from 'yaml';
import { statementsOf } from '../api/hogql.ts';
import { fieldOf, isList } from '../api/json.ts';
import type { ResolvedStorage } from '../api/resolved.ts';
import { openReader } from '../lake/open.ts';
import type { ObjectReader } from '../lake/store.ts';
import { ParityError } from '../support/error.ts';
import type { FoundQuery } from './adapted.ts';

/** A file of queries is written by people; a larger one is something else. */
const largestBytes = 4 * 1024 ** 2;

/** The queries of a file, or of all files under a folder: `.sql`, `.hogql`, and lists in `.yaml`. Throws what the store throws. */
export async function queriesInFiles(
  place: ResolvedStorage,
  keys: Readonly<Record<string, string>> | undefined,
): Promise<readonly FoundQuery[]> {
  const location = place.location.replace(/\/+$/, '');
  const isFile = kindOf(location) !== undefined;
  const cut = location.lastIndexOf('/');
  const reader = await openReader(
    isFile ? { ...place, location: location.slice(0, cut) } : { ...place, location },
    keys,
  );
  try {
    const names = isFile ? [decodeURIComponent(location.slice(cut + 1))] : await filesOf(reader);
    const found: FoundQuery[] = [];
    for (const name of names) found.push(...(await queriesInFile(reader, name)));
    return found;
  } finally {
    reader.close();
  }
}

async function filesOf(reader: ObjectReader): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { key, sizeBytes } of reader.list('')) {
    if (kindOf(key) === undefined) continue;
    if (sizeBytes > largestBytes)
      throw new ParityError(
        'LimitExceeded',
        `${reader.url(key)} has ${sizeBytes} bytes, too many for a file of queries`,
        {
          subject: reader.url(key),
          advice: `At most ${largestBytes} are read.`,
        },
      );
    names.push(key);
  }
  return names;
}

type FileKind = 'SQL' | 'HogQL' | 'YAML';

function kindOf(name: string): FileKind | undefined {
  const [, end = ''] = /\.([a-z]+)$/i.exec(name) ?? [];
  const kinds: Readonly<Record<string, FileKind>> = { sql: 'SQL', hogql: 'HogQL', yaml: 'YAML', yml: 'YAML' };
  return kinds[end.toLowerCase()];
}

async function queriesInFile(reader: ObjectReader, key: string): Promise<readonly FoundQuery[]> {
  const text = (await reader.get(key)).toString('utf8');
  const name = key.replace(/\.[a-z]+$/i, '');
  const kind = kindOf(key);
  if (kind === 'YAML') return queriesInYaml(text, name, reader.url(key));
  const statements = statementsOf(text);
  return statements.map((statement, index) => ({
    name: statements.length === 1 ? name : `${name}-${index + 1}`,
    language: kind === 'HogQL' ? 'HogQL' : 'SQL',
    text: statement,
  }));
}

/** Somebody has said that these are the run's queries: what is none of them is a mistake, not a query that cannot run. */
function queriesInYaml(text: string, name: string, url: string): readonly FoundQuery[] {
  const wrong = (found: string): ParityError =>
    new ParityError('InvalidSpec', `${url} holds no queries: ${found}`, {
      subject: url,
      advice: 'Write a list of { name, sql } or { name, hogql }.',
    });
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw wrong(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
  }
  if (!isList(value)) throw wrong('it is no list');
  return value.map((item, index) => {
    const [own, sql, hogql] = ['name', 'sql', 'hogql'].map((field) => fieldOf(item, field));
    const query = typeof sql === 'string' ? sql : hogql;
    if (typeof own !== 'string' || typeof query !== 'string' || (sql !== undefined && hogql !== undefined))
      throw wrong(`its item ${index + 1} is neither { name, sql } nor { name, hogql }`);
    return { name: `${name}-${own}`, language: sql === undefined ? 'HogQL' : 'SQL', text: query };
  });
}
