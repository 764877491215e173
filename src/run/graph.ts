import type { ResolvedSpec, ResolvedStep } from '../api/resolved.ts';
import type { InheritedCases } from '../queries/inherited.ts';
import { ParityError } from '../support/error.ts';
import type { Resolution, ResolvedTableVersion } from '../tasks/task.ts';
import { pack } from './pack.ts';
import { addScenario } from './scenario.ts';
import { taskId } from './task-id.ts';
import type { Task, TaskGraph, TaskId, TaskInput } from './types.ts';

/** Version of the graph's shape; a run that was started with another one is not continued. */
export const graphVersion = 1;

/** Cleaning up is bounded by itself: it may wait for other systems, not for the data. */
const cleanupTimeoutSeconds = 600;

/**
 * The tasks of a run, deterministic, in topological order. Without a resolution the graph is partial: `resolve`, `report` and
 * `cleanup`. With it: snapshot → (provision) → rehydrate → the scenario's steps in order → report → cleanup.
 * Throws `InvalidSpec` for a step that would do nothing: a run must not pass because it compared nothing.
 */
export function buildGraph(spec: ResolvedSpec, resolution?: Resolution): TaskGraph {
  const builder = new GraphBuilder(spec, resolution);
  const resolve = builder.add(['resolve'], { kind: 'resolve' }, []);
  if (resolution !== undefined) {
    const prepared = addPreparation(builder, resolve);
    addScenario(builder, prepared);
  }
  const work = builder.tasks.map((task) => task.id);
  const report = builder.add(['report'], { kind: 'report' }, work, { always: true });
  builder.add(['cleanup'], { kind: 'cleanup' }, [report], { always: true, timeoutSeconds: cleanupTimeoutSeconds });
  return { version: graphVersion, tasks: builder.tasks, ...(resolution === undefined ? { isPartial: true } : {}) };
}

/** A source's tables that travel together through all steps; `hasBase` says that they start at their base version. */
export interface SourceGroup {
  readonly source: string;
  readonly index: number;
  readonly tables: readonly string[];
  readonly hasBase: boolean;
}

export interface Prepared {
  readonly snapshots: readonly TaskId[];
  readonly groups: readonly SourceGroup[];
  /** By source: what the first step that touches the source waits for. */
  readonly ready: ReadonlyMap<string, readonly TaskId[]>;
}

/** Collects tasks; every id is made once, so a dependency on a task that does not exist cannot be written down. */
export class GraphBuilder {
  readonly spec: ResolvedSpec;
  readonly versions: ReadonlyMap<string, ResolvedTableVersion>;
  readonly inherited: InheritedCases | undefined;
  readonly tasks: Task[] = [];
  readonly #ids = new Set<string>();

  constructor(spec: ResolvedSpec, resolution: Resolution | undefined) {
    this.spec = spec;
    this.inherited = resolution?.inherited;
    this.versions = new Map((resolution?.tables ?? []).map((table) => [table.name, table]));
  }

  add(
    name: readonly (string | number)[],
    input: TaskInput,
    dependsOn: readonly TaskId[],
    options: { always?: boolean; timeoutSeconds?: number } = {},
  ): TaskId {
    const id = this.#unused(name);
    this.tasks.push({
      id,
      input,
      dependsOn: [...new Set(dependsOn)],
      always: options.always ?? false,
      timeoutSeconds: options.timeoutSeconds ?? this.spec.execution.timeoutSeconds,
    });
    return id;
  }

  /** `a-b` + `c` and `a` + `b-c` read the same: the later one gets a number. */
  #unused(name: readonly (string | number)[]): TaskId {
    let id = taskId(...name);
    for (let again = 2; this.#ids.has(id); again++) id = taskId(...name, `again${again}`);
    this.#ids.add(id);
    return id;
  }
}

function addPreparation(builder: GraphBuilder, resolve: TaskId): Prepared {
  const names = builder.spec.snapshot.tables.map((table) => table.name);
  const snapshotOf = new Map<string, TaskId>();
  pack(names, builder.versions).forEach((tables, index) => {
    const id = builder.add(['snapshot', index], { kind: 'snapshot', tables }, [resolve]);
    for (const table of tables) snapshotOf.set(table, id);
  });
  const provisioned = new Map(
    builder.spec.sources.map(({ name }) => [
      name,
      builder.add(['provision', name], { kind: 'provision', source: name }, [resolve]),
    ]),
  );
  const groups = sourceGroups(builder);
  const ready = new Map<string, TaskId[]>(builder.spec.sources.map(({ name }) => [name, []]));
  for (const { source, index, tables } of groups) {
    const provision = provisioned.get(source);
    const snapshots = tables.flatMap((table) => snapshotOf.get(table) ?? []);
    const dependsOn = provision === undefined ? snapshots : [...snapshots, provision];
    ready
      .get(source)
      ?.push(builder.add(['rehydrate', source, index], { kind: 'rehydrate', source, tables }, dependsOn));
  }
  return { snapshots: [...new Set(snapshotOf.values())], groups, ready };
}

/** Tables that advance and tables that stand at the target from the start never share a group, so a task has one snapshot point. */
function sourceGroups(builder: GraphBuilder): readonly SourceGroup[] {
  const advances = builder.spec.scenario.some(isAdvance);
  const known = new Map(builder.spec.snapshot.tables.map((table) => [table.name, table]));
  return builder.spec.sources.flatMap(({ name: source, tables }) => {
    for (const table of tables) {
      if (!known.has(table)) throw unknownTable(source, table);
    }
    const hasBase = (table: string) => advances && known.get(table)?.baseVersion !== undefined;
    const advancing = pack(tables.filter(hasBase), builder.versions).map((group) => ({ group, hasBase: true }));
    const standing = pack(
      tables.filter((table) => !hasBase(table)),
      builder.versions,
    ).map((group) => ({ group, hasBase: false }));
    return [...advancing, ...standing].map(({ group, hasBase }, index) => ({ source, index, tables: group, hasBase }));
  });
}

function isAdvance(step: ResolvedStep): boolean {
  return 'advance' in step;
}

function unknownTable(source: string, table: string): ParityError {
  return new ParityError('InvalidSpec', `source "${source}" holds table "${table}", which the snapshot does not have`, {
    subject: `spec.sources[${source}].tables`,
    advice: `Add "${table}" to spec.snapshot.tables, or take it out of the source.`,
  });
}
