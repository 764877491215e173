import { resolve } from 'node:path';
import { ParityError } from '../support/error.ts';
import type { Location } from './store.ts';

export type S3Location = Extract<Location, { scheme: 's3' }>;
export type FileLocation = Extract<Location, { scheme: 'file' }>;

/** Where AWS itself is meant and no region is named; redirects to the bucket's own region are followed. */
const DEFAULT_REGION = 'us-east-1';

/**
 * The location that `s3://bucket[/prefix]`, `file:///folder` or `file:folder` (from the working directory) names.
 * Throws `InvalidSpec` for anything else.
 */
export function parseLocation(
  text: string,
  options: { readonly endpoint?: string | undefined; readonly region?: string | undefined } = {},
): Location {
  if (text.startsWith('s3://')) return parseS3(text, options);
  if (text.startsWith('file:')) return parseFile(text);
  throw invalid(text, 'it starts with neither s3:// nor file:');
}

/** The location as people write it, without endpoint and credentials: `s3://bucket/prefix` or `file:///folder`. */
export function formatLocation(location: Location): string {
  switch (location.scheme) {
    case 's3':
      return location.root === '' ? `s3://${location.bucket}` : `s3://${location.bucket}/${location.root}`;
    case 'file':
      return `file://${location.root.replaceAll('%', '%25')}`;
  }
}

/** Whether `inner` is `outer` or lies inside it. Buckets of different endpoints are different buckets. */
export function isInside(inner: Location, outer: Location): boolean {
  if (inner.scheme === 's3' && outer.scheme === 's3') {
    return (
      inner.bucket === outer.bucket &&
      isSameEndpoint(inner, outer) &&
      (outer.root === '' || `${inner.root}/`.startsWith(`${outer.root}/`))
    );
  }
  if (inner.scheme === 'file' && outer.scheme === 'file') {
    return outer.root === '/' || `${inner.root}/`.startsWith(`${outer.root}/`);
  }
  return false;
}

/** Whether one server holds both, so that it can copy between them. */
export function isSameEndpoint(a: S3Location, b: S3Location): boolean {
  return (a.endpoint ?? '') === (b.endpoint ?? '');
}

function parseS3(text: string, options: { endpoint?: string | undefined; region?: string | undefined }): Location {
  const path = text.slice('s3://'.length);
  const slash = path.indexOf('/');
  const bucket = slash === -1 ? path : path.slice(0, slash);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket)) throw invalid(text, 'it names no bucket');
  const root = trimSlashes(slash === -1 ? '' : path.slice(slash));
  if (root.split('/').some((part) => part === '.' || part === '..')) throw invalid(text, "it has a '.' or '..' part");
  return {
    scheme: 's3',
    bucket,
    root,
    endpoint: options.endpoint === undefined ? undefined : normalEndpoint(options.endpoint),
    region: options.region ?? DEFAULT_REGION,
  };
}

function parseFile(text: string): Location {
  const path = text.startsWith('file://') ? text.slice('file://'.length) : text.slice('file:'.length);
  if (path === '') throw invalid(text, 'it names no folder');
  if (text.startsWith('file://') && !path.startsWith('/')) throw invalid(text, 'a file location has no host');
  return { scheme: 'file', root: resolve(percentDecoded(path, text)) };
}

function normalEndpoint(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ParityError('InvalidSpec', `The endpoint '${endpoint}' is not an http or https address`, {
      advice: 'Write it as https://host or http://host:port',
    });
  }
  return url.origin;
}

function percentDecoded(path: string, text: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw invalid(text, "it has a '%' that begins no escape");
  }
}

function trimSlashes(path: string): string {
  return path.replace(/^\/+/, '').replace(/\/+$/, '');
}

function invalid(text: string, found: string): ParityError {
  return new ParityError('InvalidSpec', `The location '${text}' cannot be used: ${found}`, {
    advice: 'Write a location as s3://bucket/prefix or file:///folder',
  });
}
