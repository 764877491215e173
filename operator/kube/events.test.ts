import { expect } from 'chai';
import { KubeClient } from '../../src/kube/client.ts';
import { ManualClock } from '../../src/kube/clock.fixture.ts';
import type { KubeObject } from '../../src/kube/objects.ts';
import {
  reply,
  type Script,
  type ScriptedServer,
  scriptedServer,
  status,
} from '../../src/kube/scripted-server.fixture.ts';
import { registerSecret } from '../../src/support/log.ts';
import { Recorder } from './events.ts';

/** Answers as the API server words them; test/integration records on a real one. */
describe('the recorder of events', () => {
  const run: KubeObject = {
    apiVersion: 'pipelineparity.io/v1alpha1',
    kind: 'PipelineParityRun',
    metadata: { namespace: 'shop', name: 'nightly', uid: 'u-1', resourceVersion: '5', creationTimestamp: '' },
  };
  let server: ScriptedServer | undefined;
  let sent: { request: string; body: { note?: string; series?: { count: number } } }[];
  let dropped: number;
  let clock: ManualClock;
  afterEach(() => server?.[Symbol.asyncDispose]());

  async function recorder(script?: Script): Promise<Recorder> {
    sent = [];
    dropped = 0;
    clock = new ManualClock();
    server = await scriptedServer((request, response) => {
      sent.push({ request: `${request.method} ${request.url?.split('?')[0]}`, body: JSON.parse(request.body) });
      if (script === undefined) reply(response, 201, { metadata: { name: 'e' } });
      else script(request, response);
    });
    return new Recorder({
      client: new KubeClient(server.access),
      component: 'test',
      clock,
      onDropped: () => dropped++,
    });
  }
  const told = { type: 'Normal', reason: 'SnapshotCopied', message: '12 tables' } as const;

  it('counts what is told again on the event that is there', async () => {
    const events = await recorder();
    events.record(run, told);
    await events.flush();
    for (let i = 0; i < 5; i++) events.record(run, told);
    await events.flush();
    expect(sent[0]?.request).to.equal('POST /apis/events.k8s.io/v1/namespaces/shop/events');
    expect(sent.slice(1).every(({ request }) => request.startsWith('PATCH '))).to.equal(true);
    expect(sent.at(-1)?.body.series?.count).to.equal(6);
  });

  it('makes another event of the same after ten minutes, and of another message at once', async () => {
    const events = await recorder();
    events.record(run, told);
    events.record(run, { ...told, message: '13 tables' });
    await clock.advance(10 * 60_000);
    events.record(run, told);
    await events.flush();
    expect(sent.map(({ request }) => request.split(' ')[0])).to.deep.equal(['POST', 'POST', 'POST']);
  });

  it('makes a new event where the cluster has forgotten the old one', async () => {
    const events = await recorder((request, response) =>
      request.method === 'PATCH'
        ? reply(response, 404, status(404, 'NotFound', { name: 'e' }))
        : reply(response, 201, { metadata: { name: 'e' } }),
    );
    events.record(run, told);
    await events.flush();
    events.record(run, told);
    await events.flush();
    expect(sent.map(({ request }) => request.split(' ')[0])).to.deep.equal(['POST', 'PATCH', 'POST']);
    expect(dropped).to.equal(0);
  });

  it('tells no more of one object than it may, and as much of another', async () => {
    const events = await recorder();
    for (let i = 0; i < 40; i++) events.record(run, { ...told, message: `${i}` });
    events.record({ ...run, metadata: { ...run.metadata, uid: 'u-2' } }, told);
    await events.flush();
    expect(sent).to.have.length(26);
    expect(dropped).to.equal(15);
    await clock.advance(60_000);
    events.record(run, { ...told, message: 'later' });
    await events.flush();
    expect(sent).to.have.length(27);
  });

  const refusals = [403, 404, 409, 422, 500];
  for (const code of refusals)
    it(`never fails its caller for ${code}`, async () => {
      const events = await recorder((_, response) =>
        reply(response, code, status(code, code === 409 ? 'AlreadyExists' : 'No')),
      );
      events.record(run, told);
      await events.flush();
      // An event that exists already is ours, of a first attempt whose reply was lost.
      expect(dropped).to.equal(code === 409 ? 0 : 1);
      expect(sent.length).to.equal(code === 500 ? 3 : 1);
    });

  it('takes secrets out, and what is over 1,024 bytes, without cutting a character in two', async () => {
    registerSecret('hunter2-hunter2');
    const events = await recorder();
    events.record(run, { ...told, message: `login failed: hunter2-hunter2 ${'€'.repeat(1000)}` });
    await events.flush();
    const note = sent[0]?.body.note ?? '';
    expect(note).to.match(/^login failed: \[redacted\] €+…$/);
    expect(Buffer.byteLength(note)).to.be.within(1020, 1024);
  });
});
