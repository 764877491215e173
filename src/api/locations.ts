import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import type { ResolvedStorage } from './resolved.ts';

/**
 * The location with a `file:` path made absolute from `folder`: `file:lake` → `file:///home/me/lake`, a format before it kept. S3
 * locations, and what is no location at all, come back as they are.
 */
export function absoluteLocation(location: string, folder: string): string {
  const { format, place } = splitFormat(location);
  const path = filePath(place);
  if (path === undefined || fileProblem(place) !== undefined) return location;
  return format + fileLocation(isAbsolute(path) ? resolve(path) : resolve(folder, path));
}

/** `parquet:s3://b` → its format, colon included, and the rest; the format is '' where none is said. */
export function splitFormat(location: string): { readonly format: string; readonly place: string } {
  const format = /^(?:delta|parquet|iceberg|csv|ndjson):/.exec(location)?.[0] ?? '';
  return { format, place: location.slice(format.length) };
}

/** `file:///folder` of an absolute path. */
export function fileLocation(path: string): string {
  return `file://${path.replaceAll('%', '%25')}`;
}

/**
 * What is wrong with a location and what to write instead; undefined where it can be used. `s3://` alone (a bucket to be made) is
 * right only for a workspace.
 */
export function locationProblem(location: string, options: { readonly mayBeNewBucket: boolean }): string | undefined {
  if (location.startsWith('file:')) return fileProblem(location);
  if (!location.startsWith('s3://')) return 'it must be s3://bucket/prefix, file:///folder or file:folder';
  if (location === 's3://' && options.mayBeNewBucket) return undefined;
  // What stands before an @ may be a key: it is not repeated.
  if (location.includes('@'))
    return 'it has an @; write s3://bucket/prefix, and credentials in the secret that secretRef names';
  const { bucket, parts } = s3Parts(location);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket)) {
    return bucket === ''
      ? `found "${location}", which names no bucket; write s3://bucket/prefix`
      : `"${bucket}" is no bucket's name; write s3://bucket/prefix`;
  }
  if (parts.some((part) => part === '.' || part === '..')) return `found "${location}"; write it without '.' and '..'`;
  if (/[?#]/.test(location)) return `found "${location}"; write it without '?' and '#'`;
  return undefined;
}

/** What is wrong with an endpoint; undefined where it can be used. */
export function endpointProblem(endpoint: string): string | undefined {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    return 'is no http or https address; write http://host:port or https://host';
  }
  if (url.username !== '' || url.password !== '') {
    return 'has a user or password; write http(s)://host:port, and credentials in the secret that secretRef names';
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    return `found "${endpoint}"; write only http(s)://host:port, and the rest in location`;
  }
  return undefined;
}

/**
 * Whether `inner` is `outer` or lies inside it. Endpoints that are one server under another spelling (case, default port, loopback
 * names, AWS's own host names) are the same; files are followed through symbolic links as far as they exist.
 */
export function isLocationInside(inner: ResolvedStorage, outer: ResolvedStorage): boolean {
  const [innerFile, outerFile] = [filePath(inner.location), filePath(outer.location)];
  if (innerFile !== undefined && outerFile !== undefined)
    return isFolderInside(realPath(innerFile), realPath(outerFile));
  if (innerFile !== undefined || outerFile !== undefined) return false;
  const [a, b] = [s3Parts(inner.location), s3Parts(outer.location)];
  if (a.bucket !== b.bucket || a.bucket === '' || server(inner.endpoint) !== server(outer.endpoint)) return false;
  return b.parts.every((part, index) => a.parts[index] === part);
}

function fileProblem(location: string): string | undefined {
  if (/^file:\/\/[^/]/.test(location))
    return `found "${location}"; write file:///folder (three slashes) or file:folder`;
  const path = filePath(location);
  if (path === undefined) return `found "${location}", with a '%' that begins no escape; write %25 for a '%'`;
  if (path === '') return `found "${location}", which names no folder; write file:///folder or file:folder`;
  if (path.includes('\0')) return 'has a NUL character; write file:///folder';
  return undefined;
}

/** The path of a file location, percent escapes decoded; undefined for other locations and for broken escapes. */
function filePath(location: string): string | undefined {
  if (!location.startsWith('file:')) return undefined;
  const path = location.startsWith('file://') ? location.slice('file://'.length) : location.slice('file:'.length);
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function s3Parts(location: string): { readonly bucket: string; readonly parts: readonly string[] } {
  const [bucket = '', ...rest] = location.slice('s3://'.length).split('/');
  return { bucket, parts: rest.filter((part) => part !== '') };
}

function isFolderInside(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer === '/' ? '/' : `${outer}/`);
}

/** The path with symbolic links followed in the part of it that exists. */
function realPath(path: string): string {
  const absolute = resolve(path);
  if (existsSync(absolute)) return realpathSync(absolute);
  const parent = dirname(absolute);
  return parent === absolute ? absolute : join(realPath(parent), basename(absolute));
}

/** One text for one server. */
function server(endpoint: string | undefined): string {
  if (endpoint === undefined || !URL.canParse(endpoint)) return endpoint ?? 'aws';
  const { protocol, hostname, port } = new URL(endpoint);
  if (/(^|[.])amazonaws[.]com([.]cn)?$/.test(hostname)) return 'aws';
  const host = ['localhost', '[::1]'].includes(hostname) || /^127[.]/.test(hostname) ? 'loopback' : hostname;
  return `${host}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}`;
}
