import { expect } from 'chai';
import { connect, type KubeClient } from '../../src/kube/client.ts';
import { type ConfigMap, configMaps, keyOf, namespaces } from '../../src/kube/objects.ts';
import { Mirror, type MirrorTiming, metadataOf, objectsOf } from '../../src/kube/watch.ts';
import { type ApiProxy, type Decide, type Fault, type ProxiedRequest, startApiProxy } from '../support/api-proxy.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';

/** What is mirrored of a config map in these tests. */
interface Kept {
  readonly uid: string;
  readonly version: number;
  readonly n: string | undefined;
}

describe('a mirror of objects of a real API server', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let proxy: ApiProxy;
  let kube: KubeClient;
  let direct: KubeClient;
  let mirror: Mirror<ConfigMap, Kept> | undefined;
  let told: string[];
  let namespace: string;
  let count = 0;

  before(async () => {
    controlPlane = await startControlPlane({ crds: false });
    proxy = await startApiProxy({ kubeconfig: controlPlane.kubeconfig });
    kube = await connect({ kubeconfig: proxy.kubeconfig, requestsPerSecond: 500, burst: 500 });
    direct = await connect({ kubeconfig: controlPlane.kubeconfig, requestsPerSecond: 500, burst: 500 });
  });
  after(async () => {
    kube?.close();
    direct?.close();
    await proxy?.[Symbol.asyncDispose]();
    await controlPlane?.stop();
  });
  beforeEach(async () => {
    told = [];
    namespace = `mirror-${count++}`;
    await direct.create(namespaces, { metadata: { name: namespace } });
  });
  afterEach(async () => {
    proxy.decideBy(undefined);
    await mirror?.stop();
    mirror = undefined;
  });

  /** A mirror of the namespace's config maps, through the proxy. */
  function start(timing: Partial<MirrorTiming> = {}, decide?: Decide): Mirror<ConfigMap, Kept> {
    proxy.decideBy(decide);
    mirror = new Mirror({
      source: objectsOf(kube, configMaps, { namespace, pageSize: 2 }),
      keep: ({ metadata, data }) => ({ uid: metadata.uid, version: Number(metadata.resourceVersion), n: data?.n }),
      onChange: (key) => told.push(key),
      timing: { baseMs: 20, maxMs: 200, idleMs: 90_000, ...timing },
    });
    mirror.start();
    return mirror;
  }

  const create = (name: string, n = '0') => direct.create(configMaps, { metadata: { namespace, name }, data: { n } });
  const change = (name: string, n: string) => direct.mergePatch(configMaps, { namespace, name }, { data: { n } });
  const remove = (name: string) => direct.delete(configMaps, { namespace, name });
  const watches = () => proxy.requests.filter((request) => request.isWatch && request.path.includes(namespace));
  const lists = () => proxy.requests.filter((request) => isList(request) && request.path.includes(namespace));

  /** Resolves once the mirror shows what the server has. */
  async function untilEqual(): Promise<void> {
    await eventually(async () => {
      const { items } = await direct.list(configMaps, { namespace });
      const truth = items.map((item) => [keyOf(item.metadata), item.metadata.uid, item.data?.n]);
      const mirrored = [...(mirror?.keys() ?? [])].map((key) => [key, mirror?.get(key)?.uid, mirror?.get(key)?.n]);
      expect(mirrored.sort()).to.deep.equal(truth.sort());
    });
  }

  it('shows what is there, over several pages, and follows what is made, changed and deleted', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await create(name);
    const started = start();
    await started.synced;
    expect(started.size).to.equal(5);
    expect(lists()).to.have.length(3);
    told.length = 0;
    await create('f');
    await change('a', '1');
    await remove('b');
    await untilEqual();
    expect(told).to.deep.equal(['f', 'a', 'b'].map((name) => `${namespace}/${name}`));
    expect(started.state).to.deep.equal({ kind: 'Synced' });
  });

  it('holds the metadata only, where no more is asked for', async () => {
    await create('a', 'x'.repeat(100_000));
    proxy.decideBy(undefined);
    const held = new Mirror({
      source: metadataOf(kube, configMaps, { namespace }),
      keep: (object) => object,
      onChange: (key) => told.push(key),
    });
    held.start();
    await held.synced;
    await change('a', 'y');
    await eventually(() => expect(told).to.have.length(2));
    await held.stop();
    const kept = held.get(`${namespace}/a`);
    expect(kept).to.have.property('kind', 'PartialObjectMetadata');
    expect(kept).to.not.have.property('data');
    expect(JSON.stringify(kept).length).to.be.below(2000);
  });

  it('a watch cut within an event goes on where it was, without a list', async () => {
    await start().synced;
    await eventually(() => expect(watches()).to.have.length(1));
    await create('a');
    await untilEqual();
    proxy.decideBy(once(isWatch, { kind: 'Cut', afterBytes: 40 }));
    proxy.cut(isWatch);
    await change('a', '1');
    await change('a', '2');
    await untilEqual();
    expect(lists()).to.have.length(1);
    expect(watches().length).to.be.at.least(3);
  });

  it('a watch that falls silent is given up, and what it kept back is caught up with', async () => {
    proxy.decideBy(undefined);
    await start({ idleMs: 300 }, once(isWatch, { kind: 'Silence', afterBytes: 0 })).synced;
    await create('a');
    await untilEqual();
    expect(lists()).to.have.length(1);
  });

  it('events that were lost are made good by the next list', async () => {
    await start({ relistMs: 1000 }, onEvery(isWatch, { kind: 'Rewrite', line: () => [] })).synced;
    await create('a');
    await untilEqual();
    await remove('a');
    await untilEqual();
    expect(told).to.deep.equal([`${namespace}/a`, `${namespace}/a`]);
  });

  it('a deletion missed while disconnected is found by the list that 410 asks for', async () => {
    await create('a');
    await create('b');
    await start().synced;
    let isAway = true;
    proxy.decideBy((request) => (isAway && request.path.includes(namespace) ? { kind: 'Drop' } : undefined));
    proxy.cut(isWatch);
    await remove('a');
    isAway = false;
    proxy.decideBy(
      once(isWatch, { kind: 'Answer', status: 410, body: '{"kind":"Status","code":410,"reason":"Expired"}' }),
    );
    await untilEqual();
    await eventually(() => expect(lists()).to.have.length(2));
    expect(told.at(-1)).to.equal(`${namespace}/a`);
  });

  it('an ERROR event with 410 leads to a list, not to the end', async () => {
    const error = '{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}';
    await start({}, once(isWatch, { kind: 'Rewrite', line: () => [error] })).synced;
    await create('a');
    await create('b');
    await untilEqual();
    await eventually(() => expect(watches().length).to.be.at.least(2));
    await create('c');
    await untilEqual();
  });

  it('events doubled and out of order never take the mirror back', async () => {
    await create('a');
    const late: string[] = [];
    const shuffled = (line: string) => {
      late.push(line);
      // Each event twice, every second one before the one that came first.
      return late.length < 2
        ? []
        : late
            .splice(0)
            .reverse()
            .flatMap((one) => [one, one]);
    };
    await start({}, onEvery(isWatch, { kind: 'Rewrite', line: shuffled })).synced;
    await eventually(() => expect(watches()).to.have.length(1));
    const versions: number[] = [];
    for (let n = 1; n <= 20; n++) {
      await change('a', String(n));
      versions.push(mirror?.get(`${namespace}/a`)?.version ?? 0);
    }
    await untilEqual();
    expect(versions).to.deep.equal([...versions].sort((x, y) => x - y));
    // 10 pairs, of which the older of each comes too late: 10 changes and the first list.
    expect(told).to.have.length(11);
  });

  it('a deletion that comes after the object was made again does not remove it', async () => {
    await create('a');
    const late: string[] = [];
    const deletionLast = (line: string) => {
      late.push(line);
      return late.length < 2 ? [] : late.splice(0).reverse();
    };
    await start({}, onEvery(isWatch, { kind: 'Rewrite', line: deletionLast })).synced;
    await eventually(() => expect(watches()).to.have.length(1));
    await remove('a');
    await create('a', 'again');
    await untilEqual();
    await change('a', '1');
    await change('a', '2');
    await untilEqual();
  });

  it('an event older than the deletion does not bring the object back', async () => {
    await create('a');
    const late: string[] = [];
    const changeLast = (line: string) => {
      late.push(line);
      return late.length < 2 ? [] : late.splice(0).reverse();
    };
    await start({}, onEvery(isWatch, { kind: 'Rewrite', line: changeLast })).synced;
    await eventually(() => expect(watches()).to.have.length(1));
    await change('a', '1');
    await remove('a');
    await untilEqual();
    expect(told).to.have.length(2);
  });

  it('a list older than what was seen is not believed', async () => {
    await create('a');
    await create('gone');
    let old = '';
    const remembered = (line: string) => {
      old ||= line;
      return [line];
    };
    const started = start({ relistMs: 1000 }, onEvery(isList, { kind: 'Rewrite', line: remembered }));
    await started.synced;
    await change('a', '1');
    await remove('gone');
    await create('b');
    await untilEqual();
    const before = lists().length;
    await eventually(() => expect(lists().length, 'a list that knows of the deletion').to.be.above(before));
    let stale = 0;
    proxy.decideBy((request) => {
      if (!isList(request) || !request.path.includes(namespace) || ++stale > 3) return undefined;
      return { kind: 'Answer', status: 200, body: old };
    });
    told.length = 0;
    await eventually(() => expect(stale).to.be.at.least(4));
    await untilEqual();
    expect(told).to.deep.equal([]);
  });

  it('a history that was set back for good is believed in the end', async () => {
    await create('a');
    // Versions that no server will reach: as if a backup of long ago had been restored since.
    const ahead = (line: string) => [line.replaceAll(/"resourceVersion":"(\d+)"/g, '"resourceVersion":"9999$1"')];
    const started = start({ relistMs: 300 }, (request) =>
      request.path.includes(namespace) ? { kind: 'Rewrite', line: ahead } : undefined,
    );
    await started.synced;
    proxy.decideBy(undefined);
    proxy.cut(isWatch);
    await change('a', '1');
    await remove('a');
    await create('b');
    await untilEqual();
  });

  it('an object deleted and made again under its name while disconnected is the new one', async () => {
    const first = await create('a');
    const started = start();
    await started.synced;
    proxy.decideBy((request) => (request.path.includes(namespace) ? { kind: 'Drop' } : undefined));
    proxy.cut(isWatch);
    await remove('a');
    const second = await create('a');
    proxy.decideBy(undefined);
    await untilEqual();
    expect(started.get(`${namespace}/a`)?.uid)
      .to.equal(second.metadata.uid)
      .and.to.not.equal(first.metadata.uid);
    expect(told.length).to.be.at.least(2);
  });

  const refusals: readonly { says: string; fault: Fault }[] = [
    { says: '500', fault: { kind: 'Answer', status: 500, body: 'no' } },
    { says: '503', fault: { kind: 'Answer', status: 503 } },
    { says: '429 with Retry-After', fault: { kind: 'Answer', status: 429, headers: { 'retry-after': '1' } } },
    { says: '410', fault: { kind: 'Answer', status: 410 } },
    { says: 'a cut reply', fault: { kind: 'Cut', afterBytes: 30 } },
    { says: 'a dropped request', fault: { kind: 'Drop' } },
    { says: 'a lost reply', fault: { kind: 'LoseReply' } },
    { says: 'a slow reply', fault: { kind: 'Delay', beforeMs: 100, afterMs: 100 } },
  ];
  for (const { says, fault } of refusals)
    it(`comes through ${says} to its lists and watches`, async () => {
      for (const name of ['a', 'b', 'c']) await create(name);
      let left = 4;
      const failing = () => (left-- > 0 ? fault : undefined);
      start({}, (request) => (request.path.includes(namespace) ? failing() : undefined));
      await mirror?.synced;
      await untilEqual();
      left = 3;
      proxy.cut(isWatch);
      await change('a', '1');
      await remove('b');
      await untilEqual();
    });

  it('says that it fails while the server is away, keeps what it has, and heals', async () => {
    await create('a');
    const started = start();
    await started.synced;
    await controlPlane.stopApiServer();
    await eventually(() => expect(started.state.kind).to.equal('Failing'));
    expect(started.size).to.equal(1);
    await controlPlane.startApiServer();
    await eventually(() => create('b'));
    await untilEqual();
    expect(started.state.kind).to.equal('Synced');
  });

  it('tells nothing after it was stopped, and lets go of its watch', async () => {
    const started = start();
    await started.synced;
    await eventually(() => expect(watches()).to.have.length(1));
    await started.stop();
    await create('a');
    await create('b');
    expect(told).to.deep.equal([]);
    await eventually(() => expect(proxy.cut(isWatch)).to.equal(0));
  });
});

function isWatch(request: ProxiedRequest): boolean {
  return request.isWatch;
}

function isList(request: ProxiedRequest): boolean {
  return request.method === 'GET' && request.path.endsWith('/configmaps') && !request.isWatch;
}

function once(matches: (request: ProxiedRequest) => boolean, fault: Fault): Decide {
  let isDone = false;
  return (request) => {
    if (isDone || !matches(request)) return undefined;
    isDone = true;
    return fault;
  };
}

function onEvery(matches: (request: ProxiedRequest) => boolean, fault: Fault): Decide {
  return (request) => (matches(request) ? fault : undefined);
}
