import { isOf } from '../api/query-names.ts';
import type { ResolvedStep, Side } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import type { GraphBuilder, Prepared, SourceGroup } from './graph.ts';
import { pack } from './pack.ts';
import type { ResolvedSide, SnapshotPoint, TaskId } from './types.ts';

/**
 * Adds the tasks of the scenario's steps, in order. Within a source a step waits for all of the step before; sources do not wait
 * for each other, unless a step (a query, a comparison of places that are no source's) reads across them.
 */
export function addScenario(builder: GraphBuilder, prepared: Prepared): void {
  const walk: Walk = {
    builder,
    prepared,
    frontier: new Map(prepared.ready),
    lastSync: new Map(),
    isAdvanced: false,
  };
  builder.spec.scenario.forEach((step, index) => {
    const added = addStep(walk, step, index);
    if (added === 0) throw nothingToDo(step);
  });
}

/** Where the walk along the scenario stands. */
interface Walk {
  readonly builder: GraphBuilder;
  readonly prepared: Prepared;
  /** By source: the tasks that the next step on this source waits for. */
  readonly frontier: Map<string, readonly TaskId[]>;
  /** By pipeline. */
  readonly lastSync: Map<string, 'Full' | 'Incremental'>;
  isAdvanced: boolean;
}

function addStep(walk: Walk, step: ResolvedStep, index: number): number {
  if ('sync' in step) return addSync(walk, step.name, step.sync);
  if ('advance' in step) return addAdvance(walk, step.name);
  if ('compare' in step) return addCompare(walk, step.name, step.compare);
  return addQuery(walk, step.name, step.query.names, index);
}

function addSync(
  walk: Walk,
  step: string,
  sync: { readonly mode: 'Full' | 'Incremental'; readonly pipelines: readonly string[] },
): number {
  const { spec } = walk.builder;
  const pipelines = sync.pipelines.length > 0 ? sync.pipelines : spec.pipelines.map(({ name }) => name);
  for (const pipeline of pipelines) walk.lastSync.set(pipeline, sync.mode);
  return bySource(walk, (source, groups, dependsOn) =>
    pipelines.flatMap((pipeline) =>
      syncGroups(walk, pipeline, groups).map(({ index, tables, hasBase }) =>
        walk.builder.add(
          [step, 'sync', pipeline, source, index],
          { kind: 'sync', step, pipeline, mode: sync.mode, source, tables, at: pointOf(walk, hasBase) },
          dependsOn,
        ),
      ),
    ),
  );
}

/** A pipeline that is started once for all tables of a source has them in one task. */
function syncGroups(walk: Walk, name: string, groups: readonly SourceGroup[]): readonly SourceGroup[] {
  const pipeline = walk.builder.spec.pipelines.find((one) => one.name === name);
  const [first] = groups;
  if (first === undefined || pipeline === undefined || !('executions' in pipeline)) return groups;
  if (pipeline.executions === 'PerTable') return groups;
  const tables = groups.flatMap((group) => group.tables);
  return [{ source: first.source, index: 0, tables, hasBase: groups.some(({ hasBase }) => hasBase) }];
}

function addAdvance(walk: Walk, step: string): number {
  walk.isAdvanced = true;
  return bySource(walk, (source, groups, dependsOn) =>
    groups
      .filter(({ hasBase }) => hasBase)
      .map(({ index, tables }) =>
        walk.builder.add([step, 'advance', source, index], { kind: 'advance', step, source, tables }, dependsOn),
      ),
  );
}

function addCompare(walk: Walk, step: string, sides: { readonly baseline: Side; readonly candidate: Side }): number {
  const { spec, versions } = walk.builder;
  if (!('pipeline' in sides.baseline) && !('pipeline' in sides.candidate)) {
    // Nothing here belongs to a source: the snapshot and tables that exist elsewhere.
    const names = spec.snapshot.tables.map(({ name }) => name);
    return acrossSources(walk, (dependsOn) =>
      pack(names, versions).map((tables, index) =>
        walk.builder.add(
          [step, 'compare', index],
          { kind: 'compare', step, ...resolveSides(walk, sides, anyBase(walk)), tables, afterIncremental: false },
          dependsOn,
        ),
      ),
    );
  }
  return bySource(walk, (source, groups, dependsOn) =>
    groups.map(({ index, tables, hasBase }) =>
      walk.builder.add(
        [step, 'compare', source, index],
        {
          kind: 'compare',
          step,
          ...resolveSides(walk, sides, hasBase),
          source,
          tables,
          // A table without a base has not changed between the syncs: there is nothing that a cursor could have missed.
          afterIncremental: isIncremental(walk, sides.candidate) && hasBase,
        },
        dependsOn,
      ),
    ),
  );
}

function addQuery(walk: Walk, step: string, queries: readonly string[], stepIndex: number): number {
  const asked = queries.length > 0 ? queries : walk.builder.spec.queries.map(({ name }) => name);
  const names = asked.flatMap((name) => casesOf(walk, name));
  if (names.length === 0) return 0;
  return acrossSources(walk, (dependsOn) =>
    querySides(walk, stepIndex).map((sides, index) =>
      walk.builder.add(
        [step, 'query', index],
        {
          kind: 'query',
          step,
          queries: names,
          ...resolveSides(walk, sides, anyBase(walk)),
          afterIncremental: isIncremental(walk, sides.candidate) && anyBase(walk),
        },
        dependsOn,
      ),
    ),
  );
}

/** A query by itself; the cases that it stands for, where it is inherited. */
function casesOf(walk: Walk, name: string): readonly string[] {
  const { spec, inherited } = walk.builder;
  if (!spec.queries.some((query) => query.name === name && 'inherited' in query)) return [name];
  return (inherited?.cases ?? []).flatMap((one) => (isOf(one.name, name) ? [one.name] : []));
}

/** Queries run on the sides of the comparison nearest before them, else nearest after; without one: the snapshot and each pipeline. */
function querySides(walk: Walk, stepIndex: number): readonly { baseline: Side; candidate: Side }[] {
  const { scenario, pipelines } = walk.builder.spec;
  const compares = (steps: readonly ResolvedStep[]) =>
    steps.flatMap((step) => ('compare' in step ? [step.compare] : []));
  const nearest = compares(scenario.slice(0, stepIndex)).at(-1) ?? compares(scenario.slice(stepIndex)).at(0);
  if (nearest !== undefined) return [nearest];
  return pipelines.map(({ name }) => ({ baseline: { snapshot: {} }, candidate: { pipeline: name } }));
}

function resolveSides(
  walk: Walk,
  sides: { readonly baseline: Side; readonly candidate: Side },
  hasBase: boolean,
): { baseline: ResolvedSide; candidate: ResolvedSide } {
  const resolve = (side: Side): ResolvedSide => {
    if ('pipeline' in side) return { kind: 'pipeline', pipeline: side.pipeline };
    if ('location' in side) return { kind: 'location', location: side.location };
    return { kind: 'snapshot', at: pointOf(walk, hasBase) };
  };
  return { baseline: resolve(sides.baseline), candidate: resolve(sides.candidate) };
}

function isIncremental(walk: Walk, candidate: Side): boolean {
  return 'pipeline' in candidate && walk.lastSync.get(candidate.pipeline) === 'Incremental';
}

function pointOf(walk: Walk, hasBase: boolean): SnapshotPoint {
  return hasBase && !walk.isAdvanced ? 'Base' : 'Target';
}

function anyBase(walk: Walk): boolean {
  return walk.prepared.groups.some(({ hasBase }) => hasBase);
}

/** Adds a step's tasks source by source, and moves each source's frontier. Returns how many were added. */
function bySource(
  walk: Walk,
  add: (source: string, groups: readonly SourceGroup[], dependsOn: readonly TaskId[]) => readonly TaskId[],
): number {
  let count = 0;
  for (const { name } of walk.builder.spec.sources) {
    const groups = walk.prepared.groups.filter(({ source }) => source === name);
    const added = add(name, groups, walk.frontier.get(name) ?? []);
    if (added.length > 0) walk.frontier.set(name, added);
    count += added.length;
  }
  return count;
}

/** Adds tasks that wait for every source and that every source then waits for. Returns how many were added. */
function acrossSources(walk: Walk, add: (dependsOn: readonly TaskId[]) => readonly TaskId[]): number {
  const { snapshots } = walk.prepared;
  const added = add([...new Set([...snapshots, ...[...walk.frontier.values()].flat()])]);
  for (const source of walk.frontier.keys()) walk.frontier.set(source, added);
  // Two such steps in a row without any source still come one after the other.
  if (walk.frontier.size === 0) walk.frontier.set('', added);
  return added.length;
}

function nothingToDo(step: ResolvedStep): ParityError {
  const [why, advice] = explain(step);
  return new ParityError('InvalidSpec', `step "${step.name}" of the scenario would do nothing: ${why}`, {
    subject: `spec.scenario[${step.name}]`,
    advice,
  });
}

function explain(step: ResolvedStep): readonly [string, string] {
  if ('sync' in step) return ['there is no source with tables, or no pipeline', 'Add a source and a pipeline.'];
  if ('advance' in step) {
    return ['no table of a source has a baseVersion', 'Give a table a baseVersion, or remove the step.'];
  }
  if ('compare' in step) return ['there is no table to compare', 'Add the tables to spec.snapshot and to a source.'];
  return ['there is no query, or nothing to run it on', 'Add it to spec.queries, and a pipeline or a comparison.'];
}
