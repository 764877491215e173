import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { configMaps, leases, namespaces } from '../../src/kube/objects.ts';
import { type ApiProxy, type ProxiedRequest, startApiProxy } from '../support/api-proxy.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';

/** A process that leads or wants to, with a proxy of its own before the API server. */
interface Candidate {
  readonly name: string;
  readonly process: ChildProcess;
  readonly proxy: ApiProxy;
  /** What it has said: `leads`, `lost`, `stopped`. */
  readonly said: string[];
}

describe('two replicas and one lease, on a real API server', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let kube: KubeClient;
  let namespace: string;
  let count = 0;
  let candidates: Candidate[];
  /** Who wrote, in the order in which the API server carried it out. */
  let written: string[];

  before(async () => {
    controlPlane = await startControlPlane({ crds: false });
    kube = await connect({ kubeconfig: controlPlane.kubeconfig });
  });
  after(async () => {
    kube?.close();
    await controlPlane?.stop();
  });
  beforeEach(async () => {
    candidates = [];
    written = [];
    namespace = `lease-${count++}`;
    await kube.create(namespaces, { metadata: { name: namespace } });
    await kube.create(configMaps, { metadata: { namespace, name: 'written' } });
  });
  afterEach(async () => {
    for (const { process, proxy } of candidates) {
      process.kill('SIGKILL');
      if (process.exitCode === null && process.signalCode === null) await once(process, 'exit');
      await proxy[Symbol.asyncDispose]();
    }
  });

  async function start(name: string, leaseMs: number): Promise<Candidate> {
    const proxy = await startApiProxy({ kubeconfig: controlPlane.kubeconfig });
    const script = new URL('../support/lease-process.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [script, proxy.kubeconfig, namespace, name, String(leaseMs)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, PARITY_LOG_LEVEL: 'error' },
    });
    const said: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
    const candidate = { name, process: child, proxy, said };
    candidates.push(candidate);
    passOn(candidate);
    return candidate;
  }

  /** All passes; what was written is noted once the server has carried it out. */
  function passOn({ name, proxy }: Candidate): void {
    proxy.decideBy((request) => (isWrite(request) ? { kind: 'Afterwards', decide: () => noted(name) } : undefined));
  }

  function noted(name: string): 'Forward' {
    if (written.at(-1) !== name) written.push(name);
    return 'Forward';
  }

  const leads = ({ said }: Candidate) => expect(said.at(-1)).to.equal('leads');
  const holder = async () => (await kube.get(leases, { namespace, name: 'leader' })).spec?.holderIdentity;

  /** One leads and writes, the other waits. */
  async function bothStarted(leaseMs = 2000): Promise<readonly [Candidate, Candidate]> {
    const a = await start('a', leaseMs);
    await eventually(() => expect(written).to.deep.equal(['a']));
    const b = await start('b', leaseMs);
    await eventually(() => expect(b.proxy.requests.length).to.be.above(2));
    leads(a);
    expect(b.said).to.deep.equal([]);
    return [a, b];
  }

  it('the leader is killed: the other leads, once the time of the lease is over', async () => {
    const [a, b] = await bothStarted();
    a.process.kill('SIGKILL');
    await eventually(() => leads(b));
    await eventually(() => expect(written).to.deep.equal(['a', 'b']));
    expect(await holder()).to.equal('b');
  });

  it('the leader is asked to stop: the other leads at once, long before the time of the lease is over', async () => {
    const [a, b] = await bothStarted(60_000);
    a.process.kill('SIGTERM');
    await eventually(() => leads(b));
    expect(a.said).to.deep.equal(['leads', 'stopped']);
    await eventually(() => expect(written).to.deep.equal(['a', 'b']));
  });

  it('the leader is paused while another takes over: it writes nothing when it goes on', async () => {
    const [a, b] = await bothStarted();
    a.process.kill('SIGSTOP');
    await eventually(() => leads(b));
    await eventually(() => expect(written).to.deep.equal(['a', 'b']));
    a.process.kill('SIGCONT');
    await eventually(() => expect(a.said).to.deep.equal(['leads', 'lost']));
    expect(written).to.deep.equal(['a', 'b']);
    leads(b);
  });

  it('the reply to every third renewal is lost: it goes on as the leader', async () => {
    const [a, b] = await bothStarted(10_000);
    let lost = 0;
    a.proxy.decideBy((request) => (isRenewal(request) && lost++ % 3 === 0 ? { kind: 'LoseReply' } : undefined));
    await eventually(() => expect(lost).to.be.above(10));
    expect(a.said).to.deep.equal(['leads']);
    expect(b.said).to.deep.equal([]);
  });

  it('its renewals are delayed for longer than it may lead: it stops by itself before the other begins', async () => {
    const [a, b] = await bothStarted(5_000);
    a.proxy.decideBy((request) => {
      if (isRenewal(request)) return { kind: 'Delay', beforeMs: 60_000 };
      return isWrite(request) ? { kind: 'Afterwards', decide: () => noted('a') } : undefined;
    });
    await eventually(() => expect(a.said).to.deep.equal(['leads', 'lost']));
    expect(b.said, 'the other waits for longer').to.deep.equal([]);
    await eventually(() => leads(b));
    await eventually(() => expect(written).to.deep.equal(['a', 'b']));
  });

  it('it can reach nobody: it stops by itself before the other begins, and waits for its turn after', async () => {
    const [a, b] = await bothStarted(5_000);
    a.proxy.decideBy(() => ({ kind: 'Drop' }));
    await eventually(() => expect(a.said).to.deep.equal(['leads', 'lost']));
    expect(b.said).to.deep.equal([]);
    await eventually(() => leads(b));
    passOn(a);
    await eventually(async () => expect(await holder()).to.equal('b'));
    b.process.kill('SIGTERM');
    await eventually(() => expect(a.said).to.deep.equal(['leads', 'lost', 'leads']));
    await eventually(() => expect(written).to.deep.equal(['a', 'b', 'a']));
  });

  for (const status of [429, 500, 503])
    it(`the server answers ${status} to renewals for less time than it may lead: it leads on`, async () => {
      const [a, b] = await bothStarted(10_000);
      let answered = 0;
      a.proxy.decideBy((request) =>
        isRenewal(request) && ++answered % 3 !== 0 ? { kind: 'Answer', status } : undefined,
      );
      await eventually(() => expect(answered).to.be.above(8));
      expect(a.said).to.deep.equal(['leads']);
      expect(b.said).to.deep.equal([]);
    });

  it('the lease is deleted: the leader stops, and nobody leads beside it', async () => {
    const [a] = await bothStarted();
    await kube.delete(leases, { namespace, name: 'leader' });
    await eventually(() => expect(a.said.slice(0, 2)).to.deep.equal(['leads', 'lost']));
    const led = () => candidates.filter(({ said }) => said.at(-1) === 'leads');
    await eventually(() => expect(led()).to.have.length(1));
    const writer = led()[0]?.name;
    await eventually(() => expect(written.at(-1)).to.equal(writer));
    expect(written.length).to.be.at.most(2);
  });
});

function isRenewal(request: ProxiedRequest): boolean {
  return request.isWrite && request.path.endsWith('/leases/leader');
}

function isWrite(request: ProxiedRequest): boolean {
  return request.isWrite && request.path.endsWith('/configmaps/written');
}
