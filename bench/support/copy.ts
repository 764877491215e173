import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runtimeArguments } from '../../src/cli/driver/memory.ts';
import { formatTaskArguments } from '../../src/cli/task-arguments.ts';
import { openStore } from '../../src/lake/open.ts';
import { readOutput, recordSuccess, writeInput } from '../../src/tasks/records.ts';
import type { SnapshotDetail } from '../../src/tasks/task.ts';
import { resolveLake, type SnapshotRun, specOf, tableSpec } from '../../test/support/snapshot-run.ts';
import { cacheDir, node } from './bench.ts';
import { type Measured, measure } from './measure.ts';

export interface Copying {
  readonly endpoint: string;
  readonly from: string;
  readonly to: string;
}

const ID = 'snapshot-0';

/**
 * Measures the snapshot task of a run whose only table is `table` in the bucket `from`, as the driver starts it. What the run does before
 * (the input, the resolved versions) is done, and not measured. With the environment's AWS keys. Throws where the copy was not made on the server.
 */
export async function snapshotTask({ endpoint, from, to }: Copying): Promise<Measured> {
  const storage = { endpoint, region: 'us-east-1' };
  const tables = [tableSpec('table')];
  const run: SnapshotRun = {
    lake: { location: `s3://${from}`, ...storage },
    workspace: { location: to, ...storage },
    tables,
  };
  const workspace = await openStore(run.workspace);
  const scratch = await mkdtemp(join(tmpdir(), 'parity-bench-task-'));
  try {
    const spec = specOf(run);
    const identity = { name: 'bench', uid: '00000000-0000-4000-8000-000000000000', installation: 'bench' };
    await recordSuccess(workspace, 'resolve', { summary: {}, detail: await resolveLake(run) });
    await writeInput(workspace, { id: ID, run: identity, spec, input: { kind: 'snapshot', tables: ['table'] } });
    const args = { id: ID, workspace: run.workspace, scratch: join(scratch, 'task'), attempt: 1, secretFolders: [] };
    const measured = await measure(
      [
        node,
        ...runtimeArguments('snapshot', spec.execution.memoryBytes),
        'src/cli/task-process.ts',
        ...formatTaskArguments(args),
      ],
      { env: { ...process.env, NODE_COMPILE_CACHE: join(cacheDir, 'compiled') } },
    );
    const output = await readOutput<SnapshotDetail>(workspace, ID);
    const [copied] = output?.outcome === 'Succeeded' ? output.detail.tables : [];
    if (copied?.copied.serverSide !== true) throw new Error('the copy was not made on the server');
    return measured;
  } finally {
    workspace.close();
    await rm(scratch, { recursive: true, force: true });
  }
}
