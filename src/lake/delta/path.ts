import { ParityError } from '../../support/error.ts';
import type { ObjectReader } from '../store.ts';

/** `path/name`, where a table at the root of its store has the path ''. */
export function joinKey(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}

/**
 * The key, relative to the table's root, that a path in the log means: URI-decoded as the protocol says. An absolute path is
 * made relative where it lies inside the table; `UnsupportedFeature` where it does not (a shallow clone), `CorruptTable` where
 * it leaves the table by `..` or cannot be decoded.
 */
export function keyOfLogPath(reader: ObjectReader, table: string, logPath: string): string {
  const path = decoded(logPath, reader.url(table));
  const relative = isAbsolute(logPath) ? insideTable(reader, table, path) : path;
  if (relative === '' || relative.split('/').includes('..')) {
    throw new ParityError('CorruptTable', `The log of ${reader.url(table)} names the file '${logPath}', outside it`, {
      subject: reader.url(table),
    });
  }
  return relative;
}

/**
 * One spelling for each file, so that a `remove` finds its `add` whether either is absolute, relative or encoded otherwise. What
 * lies outside the table, or is no URI, stays as it is: only a live file has to be understood.
 */
export function canonicalPath(reader: ObjectReader, table: string, logPath: string): string {
  if (!logPath.includes('%') && !isAbsolute(logPath)) return logPath;
  try {
    return keyOfLogPath(reader, table, logPath);
  } catch (error) {
    if (error instanceof ParityError) return logPath;
    throw error;
  }
}

export function isAbsolute(logPath: string): boolean {
  return logPath.startsWith('/') || /^[A-Za-z][A-Za-z0-9+.-]*:/.test(logPath);
}

function insideTable(reader: ObjectReader, table: string, path: string): string {
  const { location } = reader;
  const root =
    location.scheme === 's3' ? joinKey(location.root, table) : joinKey(location.root, table).replace(/^\/+/, '');
  const bucket = location.scheme === 's3' ? `${location.bucket}/` : '';
  const bare =
    location.scheme === 's3' ? path.replace(/^s3[an]?:\/\//, '') : path.replace(/^file:/, '').replace(/^\/+/, '');
  const prefix = `${bucket}${root}/`;
  if (bare.startsWith(prefix)) return bare.slice(prefix.length);
  throw new ParityError(
    'UnsupportedFeature',
    `The log of ${reader.url(table)} names the file '${path}' outside the table, as shallow clones do`,
    { subject: reader.url(table), advice: 'Copy the table in full (a deep clone), and test that' },
  );
}

function decoded(path: string, url: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new ParityError('CorruptTable', `The log of ${url} names a file by a path that is no valid URI: '${path}'`, {
      subject: url,
    });
  }
}
