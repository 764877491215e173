import { createHash } from 'node:crypto';

/** Name of what a source is made of in a cluster, and of the Secret with its connection. */
export function sourceName(uid: string, source: string): string {
  return cutName(`parity-${uid.slice(0, 8)}-${source}`, 63);
}

/** The name, or as much of it as fits with a hash of all of it: different names stay different. */
export function cutName(name: string, length: number): string {
  if (name.length <= length) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${name.slice(0, length - 9).replace(/[-.]+$/, '')}-${hash}`;
}
