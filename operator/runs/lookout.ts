import { Requests } from '../../src/lake/requests.ts';
import type { ObjectStore } from '../../src/lake/store.ts';
import type { TaskId } from '../../src/run/types.ts';
import { hasOutput } from '../../src/tasks/records.ts';

/** A task whose end is looked for. */
export interface Sought {
  readonly id: TaskId;
  readonly startedAt: Date;
}

/** Time between two looks, in ms. */
const everyMs = 200;
/** For so long after its beginning a task is looked for, in ms: a second is much of a short one, and nothing of a long one. */
const youngMs = 20_000;
/** Of all runs of this process together, so that many are looked at less often and not at a greater cost. */
const pace = new Requests(50);

/**
 * Looks into the workspace for the ends of young tasks. A node says of a container that it has ended up to a second after it has, and what the task has
 * recorded is its end already: the next one need not wait. It only says that there is something to be read; whoever missed it learns it from the node.
 */
export class Lookout {
  readonly #onFound: () => void;
  readonly #now: () => Date;
  readonly #found = new Set<TaskId>();
  #sought: readonly Sought[] = [];
  #store: ObjectStore | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(onFound: () => void, now: () => Date = () => new Date()) {
    this.#onFound = onFound;
    this.#now = now;
  }

  /** Looks for these from now on, and for no others. */
  lookFor(store: ObjectStore, sought: readonly Sought[]): void {
    this.#store = store;
    this.#sought = sought;
    this.#wait();
  }

  /** Whether the end of the task lies in the workspace, as far as was looked. */
  hasFound(id: TaskId): boolean {
    return this.#found.has(id);
  }

  /** Looks for nothing any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sought = [];
    this.#store = undefined;
  }

  #wait(): void {
    const isYoung = ({ startedAt }: Sought) => this.#now().getTime() - startedAt.getTime() < youngMs;
    this.#sought = this.#sought.filter((one) => isYoung(one) && !this.#found.has(one.id));
    if (this.#sought.length === 0 || this.#timer !== undefined || this.#isLooking) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#look();
    }, everyMs);
  }

  async #look(): Promise<void> {
    const store = this.#store;
    if (store === undefined) return;
    this.#isLooking = true;
    // A store that does not answer is for the reconcile to say.
    const has = await Promise.all(
      this.#sought.map(async ({ id }) => {
        await pace.take();
        return (await hasOutput(store, id).catch(() => false)) ? [id] : [];
      }),
    );
    this.#isLooking = false;
    const found = has.flat();
    for (const id of found) this.#found.add(id);
    if (this.#store === undefined) return;
    if (found.length > 0) this.#onFound();
    this.#wait();
  }
}
