import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { formatLocation } from '../../src/lake/location.ts';
import { openStore } from '../../src/lake/open.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import { taskId } from '../../src/run/task-id.ts';
import { recordFailure, recordSuccess } from '../../src/tasks/records.ts';
import { spec } from '../../test/support/spec.ts';
import { Lookout } from './lookout.ts';
import { RunMemory } from './memory.ts';
import type { Attempt } from './types.ts';

const [young, old, other] = [taskId('snapshot', 0), taskId('snapshot', 1), taskId('resolve')];
const now = new Date('2026-01-01T00:01:00Z');
const success = { summary: {}, detail: null };
const error = { code: 'Crashed', message: 'x', isRetryable: true } as const;
const ago = (seconds: number) => new Date(now.getTime() - seconds * 1_000);

describe('a lookout for the ends of young tasks', () => {
  let folder: string;
  let store: ObjectStore;
  let lookout: Lookout;
  let told: PromiseWithResolvers<void>;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-lookout-'));
    store = await openStore({ location: pathToFileURL(folder).href });
    told = Promise.withResolvers();
    lookout = new Lookout(
      () => told.resolve(),
      () => now,
    );
  });
  afterEach(async () => {
    lookout.close();
    store.close();
    await rm(folder, { recursive: true });
  });

  it('says that a task has recorded its end, and looks for none that is old, failed to end, or is not asked for', async () => {
    for (const id of [old, other]) await recordSuccess(store, id, success);
    lookout.lookFor(store, [
      { id: young, startedAt: ago(1) },
      { id: old, startedAt: ago(21) },
    ]);
    await recordFailure(store, { id: young, attempt: 1, retries: 1 }, { error });
    expect(lookout.hasFound(young)).to.equal(false);
    await recordSuccess(store, young, success);
    await told.promise;
    expect([young, old, other].map((id) => lookout.hasFound(id))).to.deep.equal([true, false, false]);
  });

  it('goes on where the store does not answer for a moment', async () => {
    await recordSuccess(store, young, success);
    let looks = 0;
    const silent: ObjectStore = Object.assign(Object.create(store), {
      head: async (key: string) => {
        looks += 1;
        if (looks === 1) throw new Error('connection reset');
        return await store.head(key);
      },
    });
    lookout.lookFor(silent, [{ id: young, startedAt: ago(1) }]);
    await told.promise;
    expect(looks).to.equal(2);
  });

  for (const [what, isEarly] of [
    ['a success', true],
    ['a failure', false],
  ] as const)
    it(`has ${what} ${isEarly ? 'count at once' : 'wait until nothing of the attempt can write any more'}`, async () => {
      const memory = memoryOf(store, () => told.resolve());
      const running: Attempt = { ...attempt, state: { kind: 'Running' }, isGone: false };
      memory.lookFor(store, [running]);
      if (isEarly) await recordSuccess(store, young, success);
      else await recordFailure(store, { id: young, attempt: 1, retries: 0 }, { error });
      await told.promise;
      await memory.settle(store, [running]);
      expect(memory.endOf(young)?.outcome).to.equal(isEarly ? 'Succeeded' : undefined);
      await memory.settle(store, [{ ...attempt, state: { kind: 'Exited' }, isGone: true }]);
      expect(memory.endOf(young)?.outcome).to.equal(isEarly ? 'Succeeded' : 'Failed');
      memory.close();
    });
});

const attempt = { taskId: young, attempt: 1, startedAt: new Date() };

function memoryOf({ location }: ObjectStore, onEnd: () => void): RunMemory {
  const storage = { location: formatLocation(location) };
  return new RunMemory(
    {
      run: { uid: 'u', name: 'orders', installation: 'i' },
      namespace: 'default',
      spec: spec(),
      specDigest: '',
      graphVersion: 1,
      image: '',
      workspace: { storage, ownsBucket: false },
      secrets: {},
    },
    onEnd,
  );
}
