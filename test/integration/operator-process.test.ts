import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { leases } from '../../src/kube/objects.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-ports.ts';
import { Installation } from '../support/operator.ts';
import { root } from '../support/runs.ts';

describe('the operator as a program, on a real API server', function () {
  this.timeout(180_000);
  let controlPlane: ControlPlane;
  let installation: Installation;
  const started: ChildProcess[] = [];

  before(async () => {
    controlPlane = await startControlPlane();
    installation = await Installation.open(controlPlane);
  });
  after(async () => {
    for (const child of started) child.kill('SIGKILL');
    await installation?.removeRuns();
    await installation?.close();
    await controlPlane?.stop();
  });

  it('hands over to the other replica when it is asked to stop, and ends with 0', async () => {
    const [first = 0, second = 0] = await freePorts(2);
    const one = start(first);
    await eventually(async () => expect(await get(first, 'metrics')).to.match(/^parity_leader 1$/m), 60_000);
    const other = start(second);
    await eventually(async () => expect(await get(second, 'readyz')).to.match(/lists: ok/), 60_000);
    expect(await get(second, 'metrics')).to.match(/^parity_leader 0$/m);
    one.kill('SIGTERM');
    expect(await ended(one)).to.equal(0);
    await eventually(async () => expect(await get(second, 'metrics')).to.match(/^parity_leader 1$/m), 60_000);
    await installation.apply('invalid', { planRef: { name: 'nowhere' }, cancel: true });
    const run = await installation.until('invalid', 'Finished');
    expect(run.status?.result?.verdict).to.equal('Cancelled');
    other.kill('SIGTERM');
    expect(await ended(other)).to.equal(0);
    const lease = await installation.kube.get(leases, { namespace: 'default', name: 'pipeline-parity' });
    expect(lease.spec?.holderIdentity ?? '').to.equal('');
  });

  it('refuses what it is not told right, with 64', async () => {
    const child = spawn(process.execPath, [join(root, 'operator/main.ts'), '--verbose'], { stdio: 'ignore' });
    expect(await ended(child)).to.equal(64);
  });

  function start(port: number): ChildProcess {
    const child = spawn(
      process.execPath,
      [
        join(root, 'operator/main.ts'),
        `--installation=${installation.options.installation}`,
        '--namespace=default',
        '--executor=Process',
        `--kubeconfig=${controlPlane.kubeconfig}`,
        `--state-dir=${installation.stateDir}`,
        `--port=${port}`,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    started.push(child);
    return child;
  }
});

async function get(port: number, path: string): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${port}/${path}`)).text();
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  return await new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}
