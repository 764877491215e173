import { expect } from 'chai';
import { runs } from '../../src/kube/runs.ts';
import { log } from '../../src/support/log.ts';
import { type Blow, blows, Campaign } from '../support/blows.ts';
import { eventually } from '../support/eventually.ts';
import {
  type Carried,
  differences,
  isClean,
  isGone,
  isOfStatus,
  type Lane,
  type Scenario,
  Stage,
  type Trouble,
} from '../support/operator-crash.ts';
import { smallRun as spec } from '../support/small-run.ts';

const lanesAtOnce = 6;
/** Writes between two blows at one run: fewer where there are few. */
const apart = { usually: 3, atLeast: 1, few: 15 };
/** Over all scenarios; the issue that asked for them wants more than 200. */
const fewestPoints = 400;

/** A database of the run's own on a server that the user has. */
const byUser = { external: { secretRef: { name: 'database' } } };

function withSource(provider: object) {
  return { ...spec, sources: [{ name: 'shop', engine: 'Postgres', tables: ['planes'], ...provider }] };
}

/** The run makes its bucket and removes it, through the proxy before S3. */
function ofOwnBucket(provider: object): (lane: Lane) => object {
  return ({ endpoint }) => ({
    ...withSource(provider),
    workspace: { location: 's3://', endpoint, secretRef: { name: 'keys' } },
  });
}

describe('the operator, killed or cut off at each write of a run; the test plays the kubelet, the controllers, Argo CD and the tasks', function () {
  this.timeout(600_000);
  let stage: Stage;
  let lanes: Lane[];
  let points = 0;

  const { level } = log;
  before(async () => {
    // Each death is told of in the log, several times.
    log.level = 'error';
    stage = await Stage.open();
    lanes = await Promise.all(Array.from({ length: lanesAtOnce }, (_, index) => stage.lane(`lane-${index}`)));
  });
  after(async () => {
    log.level = level;
    process.stdout.write(`      ${points} points of crash were tried\n`);
    await stage?.[Symbol.asyncDispose]();
  });

  /** `writes`: what sets it apart is among the writes that are struck. */
  const scenarios: readonly (Scenario & { readonly ends: string | undefined; readonly writes?: RegExp })[] = [
    { name: 'passes and is cleaned up', spec, isOver: isClean, ends: 'Passed' },
    {
      name: 'has a bucket of its own',
      spec: ofOwnBucket({ kubernetes: {} }),
      isOver: isClean,
      ends: 'Passed',
      writes: /^S3 (PUT|DELETE) \/parity-UID\/?$/,
    },
    {
      name: 'has a source by Argo CD, and is deleted after its end',
      spec: { ...withSource({ argocd: {} }), cleanup: { policy: 'Never' } },
      meanwhile: {
        at: /^report$/,
        isCarriedOut: true,
        act: async (kube, name) => {
          await eventually(
            async () => expect((await kube.get(runs, name)).status?.result).to.not.equal(undefined),
            60_000,
          );
          await kube.delete(runs, name);
        },
      },
      isOver: isGone,
      ends: 'Passed',
      writes: /^(POST|PATCH|DELETE) .*\/argocd\/applications\//,
    },
    {
      name: 'has a pipeline that is a Job, from its first sync until that is looked at',
      spec: { ...spec, pipelines: [{ name: 'candidate', job: { image: 'pipeline:1' }, executions: 'PerTable' }] },
      meanwhile: { at: /rehydrate/, isCarriedOut: true, act: async () => undefined },
      from: 'Meanwhile',
      upTo: /jobs\/.*compare/,
      isOver: isClean,
      ends: 'Passed',
      writes: /^POST .*-job-candidate-first-shop-planes-1$|^S3 PUT .*ended/,
    },
    {
      name: 'is cancelled in the middle',
      spec,
      meanwhile: { at: /sync/, act: (kube, name) => kube.mergePatch(runs, name, { spec: { cancel: true } }) },
      from: 'Meanwhile',
      upTo: /jobs\/.*report/,
      isOver: isClean,
      ends: 'Cancelled',
    },
    {
      name: 'is deleted in the middle',
      spec,
      meanwhile: { at: /sync/, act: (kube, name) => kube.delete(runs, name) },
      from: 'Meanwhile',
      isOver: isGone,
      ends: undefined,
    },
    {
      name: 'is deleted by the operator when its time after the end is over',
      spec: { ...spec, cleanup: { policy: 'Never', ttlSecondsAfterFinished: 0 } },
      meanwhile: { at: /^report$/, isCarriedOut: true, act: async () => undefined },
      from: 'Meanwhile',
      upTo: /^DELETE .*pipelineparityruns/,
      isOver: isGone,
      ends: 'Passed',
    },
    {
      name: 'is one of a plan, until its first task',
      spec: { planRef: { name: 'plan' } },
      plan: spec,
      upTo: /jobs/,
      isOver: isClean,
      ends: 'Passed',
    },
  ];

  for (const { ends, writes, ...scenario } of scenarios) {
    it(`comes to the same end, with the same things made and removed, where it ${scenario.name}`, async () => {
      const calm = await undisturbed(scenario, ends);
      if (writes !== undefined) expect(calm.writes.filter((write) => writes.test(write))).to.have.length.greaterThan(1);
      const between = calm.writes.length > apart.few ? apart.usually : apart.atLeast;
      await strikeAll(scenario, calm, new Campaign(calm.writes, blows, between), lanes);
    });
  }

  it('comes to the same end, with the same things made and removed, as a process that SIGKILL ends', async () => {
    const scenario: Scenario = { name: 'is that of a process', spec: ofOwnBucket(byUser), isOver: isClean };
    const calm = await undisturbed(scenario, 'Passed');
    // A sample: a process takes its time to start.
    const sample = calm.writes.filter((write, index) => !isOfStatus(write) && index % 3 === 0);
    const kinds: readonly Blow[] = ['Before', 'After'];
    await strikeAll(scenario, calm, new Campaign(sample, kinds, apart.usually), lanes.slice(0, 3), { isProcess: true });
  });

  it(`was tried at more than ${fewestPoints} points`, () => {
    expect(points).to.be.greaterThan(fewestPoints);
  });

  async function undisturbed(scenario: Scenario, ends: string | undefined): Promise<Carried> {
    const [first] = lanes;
    if (first === undefined) throw new Error('there is no lane');
    const calm = await first.carryOut(scenario);
    expect(calm.outcome.verdict).to.equal(ends);
    expect(calm.outcome.created).to.not.have.length(0);
    expect(calm.outcome.left).to.deep.equal([]);
    return calm;
  }

  /** Runs in all lanes, until each point of the campaign was tried; each must come to the end of the undisturbed one. */
  async function strikeAll(
    scenario: Scenario,
    calm: Carried,
    campaign: Campaign,
    places: readonly Lane[],
    trouble: Trouble = {},
  ): Promise<void> {
    const isDue = (point: string) => !isOfStatus(point.slice(point.indexOf(' ') + 1));
    const wrong: string[] = [];
    await Promise.all(
      places.map(async (lane) => {
        // What a run does not come by in three attempts is told below.
        for (let barren = 0; campaign.left.some(isDue) && barren < 3 && wrong.length === 0; ) {
          const course = campaign.course();
          try {
            const carried = await lane.carryOut(scenario, { ...trouble, blows: course });
            const differs = differences(calm.outcome, carried.outcome);
            if (differs.length > 0) throw new Error(differs.join('; '));
          } catch (error) {
            wrong.push(`${course.fell.join(', ')}: ${error instanceof Error ? error.message : error}`);
          }
          barren = course.fell.length === 0 ? barren + 1 : 0;
        }
      }),
    );
    points += campaign.tried;
    expect(wrong.join('\n'), 'runs that came to another end').to.equal('');
    expect(campaign.left.filter(isDue), 'points that no run came by').to.deep.equal([]);
  }
});
