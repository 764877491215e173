import type { RunObject } from '../../kube/runs.ts';
import type { Phase } from '../../run/phase.ts';
import type { Condition } from '../../run/types.ts';
import type { ShownEvent } from '../live.ts';

/** Says what has changed in a run's status since it was last seen, each thing once. */
export class StatusEvents {
  readonly #emit: (event: ShownEvent) => void;
  readonly #told = new Set<string>();
  #isNew = true;
  #phase: string | undefined;
  #counts = '';

  constructor(emit: (event: ShownEvent) => void) {
    this.#emit = emit;
  }

  see({ metadata, status }: RunObject): void {
    const time = new Date().toISOString();
    const { name, namespace = '', uid } = metadata;
    if (this.#isNew) this.#emit({ time, type: 'Following', run: { name, namespace, uid } });
    this.#isNew = false;
    const phase = phases.find((known) => known === status?.phase);
    if (phase !== undefined && phase !== this.#phase) this.#emit({ time, type: 'Phase', phase });
    this.#phase = phase;
    this.#count(status?.tasks ?? {}, time);
    for (const condition of status?.conditions ?? []) {
      const { type, status: holds, reason, message } = condition;
      const key = `${type} ${holds} ${reason}`;
      if (!isTold(condition) || this.#told.has(key)) continue;
      this.#told.add(key);
      // What a run waits for is no milestone.
      if (type === 'Reconciling') this.#emit({ time, type: 'Said', text: `${reason}: ${message}` });
      else this.#emit({ time, type: 'ConditionChanged', condition });
    }
  }

  #count(tasks: NonNullable<NonNullable<RunObject['status']>['tasks']>, time: string): void {
    const { pending = 0, running = 0, succeeded = 0, failed = 0 } = tasks;
    const counts = { done: succeeded, total: pending + running + succeeded + failed };
    const key = `${counts.done} ${counts.total}`;
    if (counts.total === 0 || key === this.#counts) return;
    this.#counts = key;
    this.#emit({ time, type: 'Counted', ...counts });
  }
}

function isTold({ type, status, reason }: Condition): boolean {
  switch (type) {
    case 'Stalled':
      return status === 'True';
    case 'Reconciling':
      return status === 'True' && reason !== 'InProgress';
    default:
      return milestones.has(type) && status !== 'Unknown' && reason !== 'NotRequested';
  }
}

const milestones: ReadonlySet<string> = new Set([
  'SourcesProvisioned',
  'SnapshotCopied',
  'Rehydrated',
  'Synced',
  'Compared',
  'QueriesPassed',
]);

const phases: readonly Phase[] = [
  'Pending',
  'Resolving',
  'Copying',
  'Rehydrating',
  'Syncing',
  'Advancing',
  'Comparing',
  'Querying',
  'Reporting',
  'CleaningUp',
  'Finished',
];
