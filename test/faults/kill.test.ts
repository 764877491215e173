import type { ChildProcess } from 'node:child_process';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { RunEvent } from '../../src/cli/driver/events.ts';
import type { TaskKind } from '../../src/run/types.ts';
import { type CommandResult, Place, smallSpec, startJobs } from '../support/runs.ts';

/** Kinds of task that have a process of their own. */
const kinds = ['resolve', 'snapshot', 'rehydrate', 'sync', 'compare', 'advance', 'query', 'report'] as const;
type Kind = (typeof kinds)[number];

const spec = {
  ...smallSpec(['airlines', 'airports', 'types']),
  queries: [
    {
      name: 'zones',
      sql: 'SELECT tzone, count() AS airports FROM {{airports}} GROUP BY tzone',
      expect: { sameAs: 'Baseline' },
    },
  ],
};

/** An end that nothing disturbed: its fingerprint, and how long each task took. */
interface Undisturbed {
  readonly fingerprint: string;
  readonly milliseconds: ReadonlyMap<string, number>;
}

async function undisturbed(): Promise<Undisturbed> {
  return await inPlace(async (place) => {
    const milliseconds = new Map<string, number>();
    const { ended } = place.start(['run', await place.manifest(spec), '--json'], (event) => {
      if (event.type === 'TaskFinished') milliseconds.set(event.task.id, event.durationMs);
    });
    const { exitCode, stdout } = await ended;
    expect(exitCode, stdout).to.equal(0);
    const { fingerprint } = await place.report();
    return { fingerprint: fingerprint ?? expect.fail('no fingerprint'), milliseconds };
  });
}

describe('kill -9 of a task', function () {
  this.timeout(300_000);

  /** When a task's first attempt is killed. `must`: every kind is alive then, and so every kind is killed. */
  const points: Readonly<Record<string, { readonly when: (task: Struck) => Promise<void>; readonly must: boolean }>> = {
    'as soon as its process is there': { when: async () => undefined, must: true },
    'at its first word of progress': { when: (task) => task.progress, must: false },
    'a third of its time in': { when: (task) => delay(task.milliseconds * 0.33), must: false },
    'two thirds of its time in': { when: (task) => delay(task.milliseconds * 0.66), must: false },
    'while it writes its result': { when: (task) => writesInto(task.folder), must: false },
  };
  let jobs: (point: string) => Promise<{ readonly died: ReadonlySet<TaskKind>; readonly fingerprint: string | null }>;
  let expected: Undisturbed;

  before(async () => {
    expected = await undisturbed();
    jobs = startJobs(
      2,
      new Map(Object.entries(points).map(([name, { when }]) => [name, () => runKilling(when, expected)])),
    );
  });

  for (const [point, { must }] of Object.entries(points)) {
    it(`${point}: the run tries it again and ends as if nothing had been, with nothing left`, async () => {
      const { died, fingerprint } = await jobs(point);
      expect(fingerprint).to.equal(expected.fingerprint);
      if (must) expect([...died]).to.have.members([...kinds]);
      else expect(died.size, 'kinds that died').to.be.at.least(1);
    });
  }
});

/** A task as its killer sees it. */
interface Struck {
  readonly folder: string;
  readonly milliseconds: number;
  readonly progress: Promise<void>;
}

/** A run each of whose tasks is killed once, at the point that `when` waits for. */
async function runKilling(
  when: (task: Struck) => Promise<void>,
  { milliseconds }: Undisturbed,
): Promise<{ died: ReadonlySet<TaskKind>; fingerprint: string | null }> {
  return await inPlace(async (place) => {
    const died = new Set<TaskKind>();
    const firstWords = new Map<string, PromiseWithResolvers<void>>();
    let run = { uid: '', workspace: '' };
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'RunStarted') run = { uid: event.run.uid, workspace: new URL(event.workspace).pathname };
      if (event.type === 'TaskProgress') firstWords.get(event.taskId)?.resolve();
      if (event.type === 'TaskFailed' && event.error.code === 'Crashed') died.add(event.task.input.kind);
      if (event.type !== 'TaskStarted' || event.attempt > 1 || !isKind(event.task.input.kind)) return;
      const { id } = event.task;
      const word = Promise.withResolvers<void>();
      firstWords.set(id, word);
      void (async () => {
        const pid = await pidOf(place, run.uid, id);
        const folder = join(run.workspace, 'tasks', id);
        await when({ folder, milliseconds: milliseconds.get(id) ?? 0, progress: word.promise });
        kill(pid);
      })();
    };
    const { exitCode, stdout } = await place.start(['run', await place.manifest(spec), '--json'], onEvent).ended;
    expect(exitCode, stdout).to.equal(0);
    await place.expectNothingLeft();
    return { died, fingerprint: (await place.report()).fingerprint };
  });
}

describe('kill -9 of parity run', function () {
  this.timeout(300_000);

  /** Where the driver is killed, time and again, in one run after the other kind of task. */
  const points: Readonly<Record<string, Moment>> = {
    'as each kind of task starts': (event) =>
      event.type === 'TaskStarted' ? { kind: event.task.input.kind, id: event.task.id, share: 0 } : undefined,
    'in the middle of each kind of task': (event) =>
      event.type === 'TaskStarted' ? { kind: event.task.input.kind, id: event.task.id, share: 0.5 } : undefined,
    'as each kind of task ends': (event) =>
      event.type === 'TaskFinished' ? { kind: event.task.input.kind, id: event.task.id, share: 0 } : undefined,
  };
  const collected: readonly TaskKind[] = ['resolve', 'provision', 'rehydrate', 'sync', 'compare', 'report', 'cleanup'];
  let expected: Undisturbed;
  let resumed: (point: string) => Promise<{ readonly kills: number; readonly fingerprint: string | null }>;
  let removed: (kind: string) => Promise<readonly string[]>;

  before(async () => {
    expected = await undisturbed();
    resumed = startJobs(
      1,
      new Map(Object.entries(points).map(([name, moment]) => [name, () => runResuming(moment, expected)])),
    );
    removed = startJobs(1, new Map(collected.map((kind) => [kind, () => runCollecting(kind, expected)])));
  });

  for (const point of Object.keys(points)) {
    it(`${point}: each time continued by --resume, the run ends as if nothing had been, with nothing left`, async () => {
      const { kills, fingerprint } = await resumed(point);
      expect(fingerprint).to.equal(expected.fingerprint);
      expect(kills).to.be.at.least(kinds.length);
    });
  }

  for (const kind of collected) {
    it(`in the middle of ${kind}: gc leaves nothing of the run`, async () => {
      expect(await removed(kind)).to.satisfy(
        (results: readonly string[]) =>
          // A cleanup that was as good as done leaves gc nothing to do.
          results.join() === 'Removed' || (kind === 'cleanup' && results.length === 0),
        'what gc says',
      );
    });
  }
});

/** The task at whose event the driver is to be killed, and how far into its time; undefined for other events. */
type Moment = (event: RunEvent) => { readonly kind: TaskKind; readonly id: string; readonly share: number } | undefined;

/** One run whose driver is killed once at each kind of task, and each time continued, until it comes to its end. */
async function runResuming(
  moment: Moment,
  { milliseconds }: Undisturbed,
): Promise<{ kills: number; fingerprint: string | null }> {
  return await inPlace(async (place) => {
    const killed = new Set<TaskKind>();
    let uid = '';
    let args = ['run', await place.manifest(spec), '--json'];
    for (;;) {
      let isKilled = false;
      const { ended } = place.start(args, (event, driver) => {
        if (event.type === 'RunStarted') uid = event.run.uid;
        const found = moment(event);
        // Once cleaning up has begun a run is not continued.
        if (isKilled || found === undefined || found.kind === 'cleanup' || killed.has(found.kind)) return;
        isKilled = true;
        killed.add(found.kind);
        setTimeout(() => driver.kill('SIGKILL'), (milliseconds.get(found.id) ?? 0) * found.share);
      });
      const { exitCode, stdout, stderr } = await ended;
      // The driver was quicker than its killer: with the report written it goes on to cleaning up, and what that left is for gc.
      if (exitCode === 64 && stderr.includes('has ended (Passed)')) {
        const collected = await place.parity(['gc']);
        expect(collected.exitCode, collected.stdout + collected.stderr).to.equal(0);
        break;
      }
      if (exitCode !== null) {
        expect(exitCode, stdout + stderr).to.equal(0);
        break;
      }
      args = ['run', '--resume', uid, '--json'];
    }
    await place.expectNothingLeft();
    return { kills: killed.size, fingerprint: (await place.report()).fingerprint };
  });
}

/** A run whose driver is killed in the middle of a task; returns what `parity gc` says of each run. */
async function runCollecting(kind: TaskKind, { milliseconds }: Undisturbed): Promise<readonly string[]> {
  return await inPlace(async (place) => {
    const { ended } = place.start(['run', await place.manifest(spec), '--json'], (event, driver) => {
      if (event.type !== 'TaskStarted' || event.task.input.kind !== kind) return;
      setTimeout(() => driver.kill('SIGKILL'), (milliseconds.get(event.task.id) ?? 0) / 2);
    });
    // A cleanup may be over before its middle as it was measured.
    const ends = kind === 'cleanup' ? [null, 0] : [null];
    expect((await ended).exitCode, 'the exit code of a killed driver').to.be.oneOf(ends);
    const { exitCode, stdout, stderr } = await place.parity(['gc', '--json']);
    expect(exitCode, stdout + stderr).to.equal(0);
    await place.expectNothingLeft();
    const { runs } = JSON.parse(stdout) as { runs: { result: { kind: string } }[] };
    return runs.map(({ result }) => result.kind);
  });
}

describe('Ctrl-C', function () {
  this.timeout(300_000);
  const moments: readonly TaskKind[] = ['snapshot', 'provision', 'rehydrate', 'sync', 'compare'];
  let once: (kind: string) => Promise<Interrupted>;

  before(() => {
    const jobs = [1, 2].flatMap((times) =>
      moments.map((kind) => [`${kind} ${times}`, () => runInterrupting(kind, times)] as const),
    );
    once = startJobs(2, new Map(jobs));
  });

  for (const kind of moments) {
    it(`once during ${kind}: exit code 3, a report that says Cancelled, nothing left`, async () => {
      const { exitCode, verdict } = await once(`${kind} 1`);
      expect({ exitCode, verdict }).to.deep.equal({ exitCode: 3, verdict: 'Cancelled' });
    });

    it(`twice during ${kind}: exit code 3 at once, nothing left`, async () => {
      const { exitCode, seconds, stdout } = await once(`${kind} 2`);
      expect(exitCode).to.equal(3);
      expect(stdout).to.include('"type":"Cancelling","isHurried":true');
      expect(seconds, 'from Ctrl-C to the end').to.be.lessThan(20);
    });
  }
});

interface Interrupted extends CommandResult {
  readonly verdict: string | undefined;
  readonly seconds: number;
}

async function runInterrupting(kind: TaskKind, times: number): Promise<Interrupted> {
  return await inPlace(async (place) => {
    let interruptedAt = Number.NaN;
    const onEvent = (event: RunEvent, driver: ChildProcess): void => {
      const interrupt = (): void => kill(-(driver.pid ?? expect.fail('no driver')), 'SIGINT');
      if (event.type === 'TaskStarted' && event.task.input.kind === kind && Number.isNaN(interruptedAt)) {
        interruptedAt = Date.now();
        // Well into the task: it takes longer than that.
        setTimeout(interrupt, 150);
      }
      // The same signal twice before a process has looked is once.
      if (event.type === 'Cancelling' && !event.isHurried && times > 1) interrupt();
    };
    const { ended } = place.start(['run', await place.manifest(spec), '--json'], onEvent, { ownGroup: true });
    const result = await ended;
    const seconds = (Date.now() - interruptedAt) / 1000;
    await place.expectNothingLeft();
    const verdict = times === 1 ? (await place.report()).verdict : undefined;
    return { ...result, verdict, seconds };
  });
}

async function inPlace<T>(work: (place: Place) => Promise<T>): Promise<T> {
  const place = await Place.open();
  try {
    return await work(place);
  } finally {
    await place.close();
  }
}

function isKind(kind: TaskKind): kind is Kind {
  return kinds.some((known) => known === kind);
}

/** The task's process, once the driver has written down which it is. */
async function pidOf(place: Place, uid: string, task: string): Promise<number> {
  const file = join(place.stateDir, 'runs', uid, 'processes', `${task}.json`);
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (text !== '') return JSON.parse(text).pid;
    await delay(2);
  }
  throw new Error(`${task} has no process`);
}

/** Resolves when the next file appears in the folder. */
async function writesInto(folder: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const watcher = watch(folder, () => {
      watcher.close();
      resolve();
    });
    watcher.on('error', () => resolve());
  });
}

function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It had ended by itself.
  }
}
