import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { identify, isAlive, ownIdentity, signalIfAlive } from '../../support/process-identity.ts';
import { livingHolder, takeRun } from './lock.ts';

describe('the hold on a run', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-lock-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('goes to one process, and to another only when that one is dead', async () => {
    const child = spawn('sleep', ['60']);
    const other = identify(child.pid ?? 0);
    await writeFile(join(folder, 'driver-1.json'), JSON.stringify(other));
    expect(await takeRun(folder)).to.deep.equal({ taken: false, heldBy: other });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await livingHolder(folder)).to.equal(undefined);
    expect(await takeRun(folder)).to.deep.equal({ taken: true });
    expect(await livingHolder(folder)).to.deep.equal(ownIdentity());
    expect(await readdir(folder)).to.deep.equal(['driver-1.json', 'driver-2.json']);
  });

  for (const text of ['', '{"pid":', '{"pid":"x"}', JSON.stringify({ pid: process.pid, started: 'in another boot' })]) {
    it(`is free where its file holds ${text || 'nothing'}`, async () => {
      await writeFile(join(folder, 'driver-7.json'), text);
      expect(await takeRun(folder)).to.deep.equal({ taken: true });
    });
  }
});

describe('the identity of a process', () => {
  it('is not another process with the same id, which is never signalled', async () => {
    const child = spawn('sleep', ['60']);
    const identity = identify(child.pid ?? 0);
    if (identity === undefined) throw new Error('no identity');
    const namesake = { ...identity, started: 'earlier' };
    signalIfAlive(namesake, 'SIGKILL');
    expect([isAlive(identity), isAlive(namesake)]).to.deep.equal([true, false]);
    signalIfAlive(identity, 'SIGKILL');
    await once(child, 'exit');
    expect(isAlive(identity)).to.equal(false);
  });
});
