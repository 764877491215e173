import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { TEMPORARY_MARK } from '../../src/lake/file-reader.ts';
import { openReader } from '../../src/lake/open.ts';
import { writeOpaqueTable } from '../support/delta-table.ts';
import { type SnapshotRun, tableSpec, takeSnapshot } from '../support/snapshot-run.ts';

const EXAMPLES = { location: `file://${resolve(import.meta.dirname, '../../examples/lake')}` };
const CHILD = resolve(import.meta.dirname, '../support/snapshot-child.ts');

describe('A snapshot whose process is killed', function () {
  this.timeout(120_000);
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'parity-kill-'));
    const files = new Map(Array.from({ length: 200 }, (_, n) => [`part-${n}.parquet`, randomBytes(10_000)] as const));
    await writeOpaqueTable(join(dir, 'lake/small'), files);
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const rewritten = tableSpec('flights', {
    version: '15',
    baseVersion: '9',
    key: ['id'],
    sample: { percent: 20, by: 'tailnum' },
    mask: [{ column: 'tailnum', with: 'Hmac' }],
  });
  const cases: {
    title: string;
    lake: () => SnapshotRun['lake'];
    table: SnapshotRun['tables'][number];
    after: number[];
  }[] = [
    {
      title: 'of many small files',
      lake: () => ({ location: `file://${dir}/lake` }),
      table: tableSpec('small'),
      after: [1, 60, 199],
    },
    {
      title: 'with deletion vectors and a checkpoint',
      lake: () => EXAMPLES,
      table: tableSpec('weather', { version: '9', baseVersion: '5' }),
      after: [1, 20, 40],
    },
    { title: 'that is sampled and masked', lake: () => EXAMPLES, table: rewritten, after: [1, 8, 15] },
  ];
  for (const { title, lake, table, after } of cases) {
    it(`${title} ends, started again, as if it had not been`, async () => {
      const run = (name: string): SnapshotRun => ({
        lake: lake(),
        workspace: { location: `file://${dir}/${table.name}-${name}` },
        tables: [table],
        secrets: { mask: { key: 'k' } },
      });
      const undisturbed = await takeSnapshot(run('undisturbed'));
      const expected = await contentOf(run('undisturbed'));
      for (const lines of after) {
        const killed = run(`killed-${lines}`);
        await killAfter(lines, killed, dir);
        const { tables } = await takeSnapshot(killed);
        expect(tables[0]?.digest).to.equal(undisturbed.tables[0]?.digest);
        expect(tables[0]?.rows).to.equal(undisturbed.tables[0]?.rows);
        expect(await contentOf(killed), `killed after ${lines} objects`).to.deep.equal(expected);
      }
    });
  }
});

/** Starts the snapshot and kills it without warning when it has reported so many objects. */
async function killAfter(lines: number, run: SnapshotRun, scratch: string): Promise<void> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(run)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // What it cannot tidy up goes with the test's folder.
    env: { ...process.env, TMPDIR: scratch },
  });
  const exited = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_, signal) => resolve(signal)));
  let seen = 0;
  for await (const _ of createInterface(child.stdout)) {
    seen += 1;
    if (seen === lines) child.kill('SIGKILL');
  }
  await exited;
  expect(seen, 'it was killed while it ran').to.be.at.least(lines);
}

/** Every object of the workspace with the digest of its bytes; what a killed writer left half is not an object. */
async function contentOf({ workspace }: SnapshotRun): Promise<Record<string, string>> {
  const reader = await openReader(workspace);
  const content: Record<string, string> = {};
  for await (const { key } of reader.list('')) {
    expect(key).to.not.contain(TEMPORARY_MARK);
    content[key] = createHash('sha256')
      .update(await reader.get(key))
      .digest('hex');
  }
  return content;
}
