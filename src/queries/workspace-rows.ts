import { createReadStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { Relation } from '../lake/relation.ts';
import type { Location } from '../lake/store.ts';
import { writeParquet } from '../lake/write-parquet.ts';
import { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';

/** Puts rows as Parquet files into a folder of the run's workspace. Throws `CorruptTable` where not all were read. */
export async function uploadRows(context: TaskContext, engine: Engine, key: string, relation: Relation): Promise<void> {
  const folder = join(engine.scratch, 'linked');
  const { signal, workspace } = context;
  const { columns, sql, sizeBytes = 0 } = relation;
  try {
    const files = await writeParquet(engine, { columns, sql, folder, sizeBytes, signal, onProgress: () => undefined });
    const written = files.reduce((sum, { rows }) => sum + rows, 0);
    if (relation.rows !== undefined && relation.rows !== written)
      throw new ParityError(
        'CorruptTable',
        `Reading ${relation.name}, ${written} rows were read where it has ${relation.rows}.`,
      );
    // A table without rows has a file too: it says the columns.
    const paths =
      files.length > 0
        ? files.map(({ path }) => path)
        : (await readdir(folder)).slice(0, 1).map((one) => join(folder, one));
    for (const [index, path] of paths.entries())
      await workspace.putStream(`${key}/${index}.parquet`, createReadStream(path), (await stat(path)).size);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The address by which ClickHouse's `s3()` reads: path style at a server of one's own, the bucket's host at AWS. */
export function addressOf(location: Location, key: string): string {
  if (location.scheme === 'file') throw new ParityError('Internal', 'a folder has no address');
  const { bucket, root, endpoint, region } = location;
  const path = [root, key].filter((part) => part !== '').join('/');
  return endpoint === undefined
    ? `https://${bucket}.s3.${region}.amazonaws.com/${path}`
    : `${endpoint.replace(/\/+$/, '')}/${bucket}/${path}`;
}
