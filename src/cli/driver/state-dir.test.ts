import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { listRuns, removeRunFolder, runFolders } from './state-dir.ts';

describe('the folders of runs', () => {
  const uid = '7d5f73fb-295c-42c1-a01b-cf765d9f8e51';
  let stateDir: string;
  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'parity-state-'));
    await mkdir(join(stateDir, 'runs', uid, 'sources'), { recursive: true });
  });
  afterEach(() => rm(stateDir, { recursive: true }));

  it('go whole, and once more without an error', async () => {
    await removeRunFolder(runFolders(stateDir, uid));
    await removeRunFolder(runFolders(stateDir, uid));
    expect(await readdir(join(stateDir, 'runs'))).to.deep.equal([]);
  });

  it('are no runs any more once their removal has begun, and go with the next look when it was cut short', async () => {
    const half = join(stateDir, 'runs', `.gone-${uid.replace('7', '8')}`);
    await mkdir(half);
    await writeFile(join(half, 'server.log'), '');
    expect(await listRuns(stateDir)).to.deep.equal([uid]);
    expect(await readdir(join(stateDir, 'runs'))).to.deep.equal([uid]);
  });
});
