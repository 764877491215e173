import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openReader, openStore } from '../../src/lake/open.ts';
import { forEachBounded } from '../../src/lake/pool.ts';
import type { ObjectInfo } from '../../src/lake/store.ts';
import { exampleLake } from './runs.ts';
import type { SeaweedFs } from './seaweedfs.ts';

/** Puts tables of the example lake into a bucket, under a prefix of their own or at its top. */
export async function uploadExample(
  server: Pick<SeaweedFs, 'endpoint' | 'admin'>,
  bucket: string,
  tables: readonly string[],
  prefix = '',
): Promise<void> {
  const from = await openReader({ location: pathToFileURL(exampleLake).href });
  const to = await openStore(
    { location: `s3://${join(bucket, prefix)}`, endpoint: server.endpoint, region: 'us-east-1' },
    { ...server.admin },
  );
  for (const table of tables) {
    const copy = async ({ key, sizeBytes }: ObjectInfo) => to.putStream(key, await from.stream(key), sizeBytes);
    await forEachBounded(from.list(`${table}/`), 16, copy);
  }
  from.close();
  to.close();
}
