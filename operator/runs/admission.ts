import { keyOf } from '../../src/kube/objects.ts';
import { cleanupFinalizer } from './names.ts';
import { hasEnded } from './status.ts';
import type { RunObject } from './types.ts';

/** What is remembered of each run in the cluster: little, for there may be many. */
export interface KnownRun {
  readonly uid: string;
  readonly key: string;
  readonly createdAt: string;
  readonly phase: string;
  /** It waits to begin, is being carried out, or takes no room. */
  readonly stage: 'Waiting' | 'Active' | 'Settled';
}

/**
 * Which runs may begin: no more than so many at once, in the order of their creation. What it knows comes from the mirror; that it let a run begin a moment
 * ago, which the mirror does not show yet, it remembers by itself.
 */
export class Admission {
  readonly #runs = new Map<string, KnownRun>();
  readonly #keys = new Map<string, string>();
  readonly #admitted = new Set<string>();

  /** Takes in a run as the mirror has it. */
  note(run: RunObject): KnownRun {
    const known = knownRun(run);
    this.#runs.set(known.key, known);
    this.#keys.set(known.uid, known.key);
    if (known.stage !== 'Waiting') this.#admitted.delete(known.uid);
    return known;
  }

  /** The run of that key is gone. Returns the keys of runs that may begin in its place. */
  forget(key: string): readonly string[] {
    const known = this.#runs.get(key);
    this.#runs.delete(key);
    if (known === undefined) return [];
    this.#keys.delete(known.uid);
    this.#admitted.delete(known.uid);
    return this.#next();
  }

  /** The run of that key has its verdict. Returns the keys of runs that may begin in its place. */
  ended(key: string): readonly string[] {
    const known = this.#runs.get(key);
    if (known !== undefined) this.#runs.set(key, { ...known, stage: 'Settled' });
    return this.#next();
  }

  /** Whether there is room for the run now, with all that are active and all that have waited longer. */
  admits(run: RunObject, most: number): boolean {
    const own = knownRun(run);
    if (own.stage === 'Active') return true;
    const others = [...this.#runs.values()].filter(({ uid }) => uid !== own.uid);
    const active = others.filter(({ uid, stage }) => stage === 'Active' || this.#admitted.has(uid)).length;
    const before = others.filter(
      (other) => other.stage === 'Waiting' && !this.#admitted.has(other.uid) && isBefore(other, own),
    ).length;
    const hasRoom = active + before < most;
    if (hasRoom) this.#admitted.add(own.uid);
    return hasRoom;
  }

  /** Key of the run with that uid. */
  keyOf(uid: string): string | undefined {
    return this.#keys.get(uid);
  }

  /** The first of those that wait: each that begins is followed by the next when it ends. */
  #next(): readonly string[] {
    const waiting = [...this.#runs.values()].filter(
      ({ stage, uid }) => stage === 'Waiting' && !this.#admitted.has(uid),
    );
    waiting.sort((a, b) => (isBefore(a, b) ? -1 : 1));
    return waiting.slice(0, 1).map(({ key }) => key);
  }
}

function knownRun(run: RunObject): KnownRun {
  const { uid, creationTimestamp: createdAt } = run.metadata;
  return { uid, key: keyOf(run.metadata), createdAt, phase: run.status?.phase ?? 'Pending', stage: stageOf(run) };
}

function stageOf(run: RunObject): KnownRun['stage'] {
  const { deletionTimestamp, finalizers = [] } = run.metadata;
  if (hasEnded(run) || deletionTimestamp !== undefined) return 'Settled';
  if (finalizers.includes(cleanupFinalizer)) return 'Active';
  return run.spec.suspend === true ? 'Settled' : 'Waiting';
}

function isBefore(a: KnownRun, b: KnownRun): boolean {
  return a.createdAt === b.createdAt ? a.uid < b.uid : a.createdAt < b.createdAt;
}
