import { expect } from 'chai';
import { namespaces } from '../../src/kube/objects.ts';
import { type RunObject, runs } from '../../src/kube/runs.ts';
import { log } from '../../src/support/log.ts';
import { type Decide, type Fault, type ProxiedRequest, startApiProxy } from '../support/api-proxy.ts';
import { blowAt } from '../support/blows.ts';
import { eventually } from '../support/eventually.ts';
import {
  type Carried,
  differences,
  isClean,
  type Lane,
  type Scenario,
  Stage,
  type Trouble,
} from '../support/operator-crash.ts';
import { reporting, smallRun } from '../support/small-run.ts';

const passes: Scenario = { name: 'passes', spec: smallRun, isOver: isClean };

describe('the operator and an API server that is not as it should be; the test plays the kubelet, the controllers and the tasks', function () {
  this.timeout(300_000);
  const { level } = log;
  let stage: Stage;
  let lane: Lane;
  let calm: Carried;

  before(async () => {
    log.level = 'error';
    stage = await Stage.open();
    lane = await stage.lane('faults');
    calm = await lane.carryOut(passes);
    expect(calm.outcome.verdict).to.equal('Passed');
  });
  after(async () => {
    log.level = level;
    await stage?.[Symbol.asyncDispose]();
  });

  const troubles: readonly { readonly what: string; readonly trouble: () => Trouble; readonly least: number }[] = [
    {
      what: 'each change of a run conflicts the first time',
      trouble: () =>
        meddling(
          isChangeOfRun,
          everyOther(() => answer(409, 'Conflict')),
        ),
      least: 5,
    },
    {
      what: 'one request of ten is one too many, for a second',
      trouble: () =>
        meddling(
          notWatch,
          every(10, () => answer(429, 'TooManyRequests', { 'retry-after': '1' })),
        ),
      least: 10,
    },
    {
      what: 'one write of three is answered with 500 or 503',
      trouble: () =>
        meddling(
          ({ isWrite }) => isWrite,
          every(3, (count) => answer(count % 2 === 0 ? 500 : 503, 'InternalError')),
        ),
      least: 5,
    },
    {
      what: 'one answer of five is cut or slow',
      trouble: () =>
        meddling(
          notWatch,
          every(5, (count) =>
            count % 2 === 0 ? { kind: 'Cut', afterBytes: 20 } : { kind: 'Delay', beforeMs: 200, afterMs: 200 },
          ),
        ),
      least: 10,
    },
    {
      what: 'half of the events of watches are missed, and the others come twice',
      trouble: () => {
        let count = 0;
        const line = (text: string) => (++count % 2 === 0 ? [] : [text, text]);
        return { ...meddling(isWatch, () => ({ kind: 'Rewrite', line })), isLate: true };
      },
      least: 3,
    },
    {
      what: 'events of watches come in another order',
      trouble: () => ({ ...meddling(isWatch, () => ({ kind: 'Rewrite', line: inPairsReversed() })), isLate: true }),
      least: 3,
    },
    {
      what: 'one watch of two begins too far back',
      trouble: () => ({
        ...meddling(
          isWatch,
          everyOther(() => answer(410, 'Expired')),
        ),
        isLate: true,
      }),
      least: 2,
    },
    {
      what: 'watches end after two events, because their place in the history is gone',
      trouble: () => ({ ...meddling(isWatch, () => ({ kind: 'Rewrite', line: endingInGone(2) })), isLate: true }),
      least: 3,
    },
    {
      what: 'watches are silent from the beginning',
      trouble: () => ({ ...meddling(isWatch, () => ({ kind: 'Silence', afterBytes: 0 })), isLate: true }),
      least: 3,
    },
    {
      what: 'an operator that was killed is shown an old list of runs',
      trouble: () => {
        const list = (request: ProxiedRequest) => /pipelineparityruns$/.test(request.path) && notWatch(request);
        let old: string | undefined;
        const keep = (text: string) => {
          old ??= text;
          return [text];
        };
        const fault: MakeFault = () =>
          old === undefined ? { kind: 'Rewrite', line: keep } : { kind: 'Answer', status: 200, body: old };
        return { ...meddling(list, fault), isLate: true, blows: blowAt(20, 'After') };
      },
      least: 2,
    },
  ];
  for (const { what, trouble, least } of troubles) {
    it(`comes to the same end, with the same things made and removed, where ${what}`, async () => {
      const { hits, ...rest } = { hits: { count: 0 }, ...trouble() };
      const carried = await lane.carryOut(passes, { ...rest, meddle: counted(hits, rest.meddle) });
      expect(differences(calm.outcome, carried.outcome)).to.deep.equal([]);
      expect(hits.count, 'faults').to.be.at.least(least);
    });
  }

  it('takes a run that was deleted and made again under the same name for another one', async () => {
    const uids: string[] = [];
    const carried = await lane.carryOut({
      name: 'is made again',
      spec: smallRun,
      meanwhile: {
        at: /sync/,
        act: async (kube, name) => {
          uids.push((await kube.get(runs, name)).metadata.uid);
          await kube.delete(runs, name);
          await eventually(async () => expect(await kube.find(runs, name)).to.equal(undefined), 60_000);
          await kube.create(runs, { metadata: name, spec: { ...reporting, ...smallRun } });
        },
      },
      isOver: (run: RunObject | undefined) => isClean(run) && run?.metadata.uid !== uids[0],
    });
    expect(carried.outcome.verdict).to.equal('Passed');
    expect(carried.outcome.left).to.deep.equal([]);
    const ofTheFirst = (texts: readonly string[]) => texts.filter((text) => text.startsWith('S3 ')).length;
    expect(ofTheFirst(carried.outcome.deleted)).to.be.greaterThan(ofTheFirst(calm.outcome.deleted));
  });

  it('hands over to another one when it loses its lease in the middle: nothing begins twice, and it writes no more', async () => {
    const namespace = 'two-leaders';
    await stage.kube.create(namespaces, { metadata: { name: namespace } });
    await using first = await startApiProxy({ kubeconfig: stage.controlPlane.kubeconfig });
    await using second = await startApiProxy({ kubeconfig: stage.controlPlane.kubeconfig });
    const sent: { readonly by: string; readonly write: string; readonly status: () => number | undefined }[] = [];
    const lost = Promise.withResolvers<void>();
    const note =
      (by: string): Decide =>
      async (request) => {
        const isLease = /\/leases(\/|$)/.test(request.path);
        if (!request.isWrite || /\/events(\/|$)/.test(request.path) || isLease) return undefined;
        const body: { metadata?: { name?: string } } = JSON.parse((await request.body()).toString() || '{}');
        const write = `${request.method} ${request.path}/${body.metadata?.name ?? ''}`;
        sent.push({ by, write, status: () => request.status });
        return undefined;
      };
    let hasBegun = false;
    first.decideBy(async (request) => {
      // After its third task neither its lease nor a further task reaches the server; all else does.
      if (hasBegun && request.isWrite && /\/(leases|jobs)(\/|$)/.test(request.path)) {
        lost.resolve();
        return { kind: 'Drop' };
      }
      const fault = await note('first')(request);
      hasBegun ||= sent.filter(({ write }) => write.startsWith('POST') && write.includes('/jobs/')).length >= 3;
      return fault;
    });
    second.decideBy(note('second'));
    const lease = { name: 'two-leaders', leaseMs: 6_000, renewWithinMs: 3_000, retryMs: 300 };
    const one = await stage.operator(namespace, first.kubeconfig, { lease });
    await eventually(async () => expect((await one.metrics.isLeader.get()).values[0]?.value).to.equal(1));
    const other = await stage.operator(namespace, second.kubeconfig, { lease });
    try {
      const name = { namespace, name: 'run' };
      await stage.kube.create(runs, { metadata: name, spec: { ...reporting, ...smallRun } });
      await lost.promise;
      const ended = await eventually(async () => {
        const run = await stage.kube.get(runs, name);
        expect(isClean(run), JSON.stringify(run.status)).to.equal(true);
        return run;
      }, 120_000);
      expect(ended.status?.result?.verdict).to.equal('Passed');
      await one.ended.then(
        () => expect.fail('it goes on without its lease'),
        (error: unknown) => expect(String(error)).to.match(/does not lead any more/),
      );
      const begun = sent.filter(({ write, status }) => /^POST .*\/jobs\//.test(write) && status() === 201);
      expect(new Set(begun.map(({ write }) => write)).size).to.equal(begun.length);
      const order = sent.map(({ by }) => by);
      expect(new Set(order)).to.deep.equal(new Set(['first', 'second']));
      expect(order.lastIndexOf('first')).to.be.lessThan(order.indexOf('second'));
    } finally {
      await one.stop();
      await other.stop();
    }
  });
});

type MakeFault = (count: number) => Fault | undefined;

function meddling(matches: (request: ProxiedRequest) => boolean, fault: MakeFault): { readonly meddle: Decide } {
  let count = 0;
  return { meddle: (request) => (matches(request) ? fault(++count) : undefined) };
}

/** The decisions of another, with how many were faults. */
function counted(hits: { count: number }, decide: Decide | undefined): Decide {
  return async (request) => {
    const fault = await decide?.(request);
    if (fault !== undefined) hits.count += 1;
    return fault;
  };
}

/** One of so many, by chance but each time the same ones: in step with what is tried again, it would be the same request for ever. */
function every(nth: number, fault: MakeFault): MakeFault {
  let [seed, hits] = [1, 0];
  return () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % nth === 0 ? fault(++hits) : undefined;
  };
}

/** From the first on. */
function everyOther(fault: MakeFault): MakeFault {
  return (count) => (count % 2 === 1 ? fault(count) : undefined);
}

/** Of two events the second comes first; the last of an odd number never does. */
function inPairsReversed(): (line: string) => readonly string[] {
  let held: string | undefined;
  return (line) => {
    const first = held;
    held = first === undefined ? line : undefined;
    return first === undefined ? [] : [line, first];
  };
}

function endingInGone(events: number): (line: string) => readonly string[] {
  const gone = {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code: 410,
    reason: 'Expired',
    message: 'too old',
  };
  let count = 0;
  return (line) => (++count <= events ? [line] : [JSON.stringify({ type: 'ERROR', object: gone })]);
}

function isWatch(request: ProxiedRequest): boolean {
  return request.isWatch;
}

function notWatch(request: ProxiedRequest): boolean {
  return !request.isWatch;
}

function isChangeOfRun({ method, path }: ProxiedRequest): boolean {
  return method === 'PATCH' && /pipelineparityruns\//.test(path);
}

/** As an API server says it. */
function answer(code: number, reason: string, headers: Readonly<Record<string, string>> = {}): Fault {
  const status = {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code,
    reason,
    message: `the test says ${code}`,
  };
  return { kind: 'Answer', status: code, headers, body: JSON.stringify(status) };
}
