import type { RunSpec } from './generated/types.ts';
import { isLocationInside, splitFormat } from './locations.ts';
import { placeholdersOf } from './placeholders.ts';
import type { Finding, Path } from './problem.ts';
import type { ResolvedSpec, ResolvedStep, ResolvedStorage, ResolvedTable, Side } from './resolved.ts';
import { suggestion } from './suggest.ts';

/**
 * Whether the steps make sense in their order. A run whose steps could not find a difference would pass whatever the data, so
 * everything that is set up has to be looked at: pipelines synced, what they land compared or queried, queries run.
 */
export function validateScenario(spec: ResolvedSpec, run: RunSpec): Finding[] {
  const walk: Walk = { spec, findings: [], synced: new Map(), isAdvanced: false, advances: 0 };
  spec.scenario.forEach((step, index) => {
    validateStep(walk, step, ['spec', 'scenario', index]);
  });
  return [
    ...walk.findings,
    ...unlookedAt(walk),
    ...unused(spec, run),
    ...tablesWithoutSource(spec),
    ...unreadTables(spec),
  ];
}

interface LastSync {
  readonly path: Path;
  readonly wasAdvanced: boolean;
  /** By a comparison, which is of every table. */
  isCompared: boolean;
  /** By queries, each of some tables. */
  readonly queries: Set<string>;
}

/** What is known at one point of the scenario. */
interface Walk {
  readonly spec: ResolvedSpec;
  readonly findings: Finding[];
  /** By pipeline: its last sync. */
  readonly synced: Map<string, LastSync>;
  isAdvanced: boolean;
  advances: number;
}

function validateStep(walk: Walk, step: ResolvedStep, path: Path): void {
  if ('sync' in step) validateSync(walk, step.sync, [...path, 'sync']);
  else if ('advance' in step) validateAdvance(walk, [...path, 'advance']);
  else if ('compare' in step) validateCompare(walk, step.compare, [...path, 'compare']);
  else validateQueryStep(walk, step.query.names, [...path, 'query']);
}

type SyncStep = Extract<ResolvedStep, { readonly sync: unknown }>['sync'];
type CompareStep = Extract<ResolvedStep, { readonly compare: unknown }>['compare'];

function validateSync(walk: Walk, sync: SyncStep, path: Path): void {
  const names = walk.spec.pipelines.map(({ name }) => name);
  if (names.length === 0) note(walk, path, 'there is no pipeline to sync; add one to spec.pipelines');
  if (walk.spec.sources.length === 0) note(walk, path, 'there is no source to sync from; add one to spec.sources');
  sync.pipelines.forEach((pipeline, index) => {
    if (!names.includes(pipeline)) {
      note(walk, [...path, 'pipelines', index], unknownPipeline(pipeline, names));
      return;
    }
    if (sync.mode === 'Incremental' && !walk.synced.has(pipeline)) {
      const message = `pipeline "${pipeline}" has not been synced before; put a step with mode Full before this one`;
      note(walk, [...path, 'mode'], message);
    }
    walk.synced.set(pipeline, { path, wasAdvanced: walk.isAdvanced, isCompared: false, queries: new Set() });
  });
  if (sync.mode === 'Incremental') validateIncremental(walk, path);
}

function validateIncremental(walk: Walk, path: Path): void {
  if (!walk.isAdvanced) {
    note(
      walk,
      [...path, 'mode'],
      'nothing has changed in the sources yet; give tables a baseVersion and put an advance step before this one',
    );
  }
  walk.spec.snapshot.tables.forEach((table, index) => {
    if (table.baseVersion === undefined) return;
    const lacks = [...(table.key.length === 0 ? ['key'] : []), ...(table.cursor === undefined ? ['cursor'] : [])];
    const at: Path = ['spec', 'snapshot', 'tables', index];
    for (const field of lacks) {
      const message =
        'missing; the scenario syncs this table incrementally, which needs it. Add it, or remove baseVersion';
      if (!walk.findings.some((known) => known.path.join('/') === [...at, field].join('/')))
        note(walk, [...at, field], message);
    }
  });
}

function validateAdvance(walk: Walk, path: Path): void {
  walk.advances += 1;
  walk.isAdvanced = true;
  if (walk.advances === 2) note(walk, path, 'the sources are at their version already; remove this step');
  if (walk.spec.sources.length === 0) note(walk, path, 'there is no source to advance; add one to spec.sources');
  if (!walk.spec.snapshot.tables.some(({ baseVersion }) => baseVersion !== undefined)) {
    note(walk, path, 'no table has a baseVersion to advance from; add one, or remove this step');
  }
}

function validateCompare(walk: Walk, compare: CompareStep, path: Path): void {
  for (const name of ['baseline', 'candidate'] as const) validateSide(walk, compare[name], [...path, name]);
  if (isSameSide(compare.baseline, compare.candidate, walk.spec)) {
    note(walk, path, `both sides are ${sideText(compare.baseline)}; compare two different ones`);
  }
  for (const [name, other] of [
    ['baseline', 'candidate'],
    ['candidate', 'baseline'],
  ] as const) {
    const table = 'snapshot' in compare[other] ? ownTable(compare[name], walk.spec) : undefined;
    if (table === undefined) continue;
    const message = `this is where the snapshot of table "${table}" is taken from, so it would be compared with itself; name other tables, or the version to compare with by tables[].version`;
    note(walk, [...path, name, 'location'], message);
  }
}

function isSameSide(one: Side, other: Side, { workspace }: ResolvedSpec): boolean {
  if (!('location' in one && 'location' in other)) return sideText(one) === sideText(other);
  const [format, another] = [splitFormat(one.location).format, splitFormat(other.location).format];
  // One folder may hold a table in two formats.
  if (format !== another && format !== '' && another !== '') return false;
  return isSamePlace({ ...workspace, ...placeOf(one.location) }, { ...workspace, ...placeOf(other.location) });
}

/** A table that a side's location has in the very place where the snapshot, at no version but the latest, is taken from. */
function ownTable(side: Side, { snapshot, workspace }: ResolvedSpec): string | undefined {
  if (!('location' in side) || !['', 'delta:'].includes(splitFormat(side.location).format)) return undefined;
  const own = snapshot.tables.find(({ name, path, version }) => {
    const table = { ...workspace, ...placeOf(side.location, name) };
    return version === undefined && isSamePlace(table, { ...snapshot, ...placeOf(snapshot.location, path) });
  });
  return own?.name;
}

function placeOf(location: string, below = ''): { readonly location: string } {
  return { location: `${splitFormat(location).place.replace(/\/+$/, '')}/${below}`.replace(/\/+$/, '') };
}

function isSamePlace(one: ResolvedStorage, other: ResolvedStorage): boolean {
  return isLocationInside(one, other) && isLocationInside(other, one);
}

function validateSide(walk: Walk, side: Side, path: Path): void {
  if (!('pipeline' in side)) return;
  const names = walk.spec.pipelines.map(({ name }) => name);
  const synced = walk.synced.get(side.pipeline);
  if (!names.includes(side.pipeline)) note(walk, [...path, 'pipeline'], unknownPipeline(side.pipeline, names));
  else if (synced === undefined)
    note(walk, path, `pipeline "${side.pipeline}" has landed nothing yet; put a sync step before this one`);
  else if (walk.isAdvanced && !synced.wasAdvanced) {
    note(
      walk,
      path,
      `the sources were advanced after pipeline "${side.pipeline}" was last synced; put a sync step before this one`,
    );
  }
  if (synced !== undefined) synced.isCompared = true;
}

/** Queries run on the sides of the comparison nearest before them, else nearest after, else on every pipeline (src/run/scenario.ts). */
function validateQueryStep(walk: Walk, queries: readonly string[], path: Path): void {
  const names = walk.spec.queries.map(({ name }) => name);
  if (queries.length === 0) note(walk, path, 'there is no query to run; add one to spec.queries, or remove this step');
  queries.forEach((query, index) => {
    if (!names.includes(query))
      note(walk, [...path, 'names', index], `there is no query "${query}"; ${suggestion(query, names)}`);
  });
  const needsSync = walk.spec.scenario.some((step) => 'sync' in step);
  if (needsSync && walk.synced.size === 0)
    note(walk, path, 'no pipeline has landed anything yet; put a sync step before this one');
  const index = Number(path[2]);
  const nearest =
    walk.spec.scenario.slice(0, index).findLast((step) => 'compare' in step) ??
    walk.spec.scenario.slice(index).find((step) => 'compare' in step);
  for (const [pipeline, synced] of walk.synced)
    if (nearest === undefined || !('compare' in nearest) || isSide(pipeline, nearest.compare))
      for (const query of queries) synced.queries.add(query);
}

function isSide(pipeline: string, { baseline, candidate }: CompareStep): boolean {
  return [baseline, candidate].some((side) => 'pipeline' in side && side.pipeline === pipeline);
}

/** Syncs whose result no later step looks at, and a scenario that looks at nothing at all. */
function unlookedAt(walk: Walk): Finding[] {
  if (!walk.spec.scenario.some((step) => 'compare' in step || 'query' in step)) {
    return [
      {
        path: ['spec', 'scenario'],
        message: 'no step compares or queries, so the run could find nothing; add a compare step',
      },
    ];
  }
  return [...walk.synced].flatMap(([pipeline, { path, isCompared, queries }]): Finding[] => {
    if (isCompared) return [];
    if (queries.size === 0) {
      const message = `no later step looks at what pipeline "${pipeline}" landed here; put a compare step after this one`;
      return [{ path, message }];
    }
    // Without any comparison each table is named by itself.
    const unread = walk.spec.scenario.some((step) => 'compare' in step) ? unreadBy(queries, walk.spec) : [];
    if (unread.length === 0) return [];
    const tables = unread.map(({ name }) => `"${name}"`).join(', ');
    const message = `no later step looks at what pipeline "${pipeline}" landed here of ${tables}; put a compare step after this one`;
    return [{ path, message }];
  });
}

/** Tables that none of the queries reads. What inherited queries read is not known yet. */
function unreadBy(names: ReadonlySet<string>, { queries, snapshot }: ResolvedSpec): readonly ResolvedTable[] {
  const own = queries.filter(({ name }) => names.has(name));
  if (own.length === 0 || own.some((query) => 'inherited' in query)) return [];
  const texts = own.map((query) => ('sql' in query ? query.sql : 'hogql' in query ? query.hogql.query : ''));
  const read = new Set(texts.flatMap(placeholdersOf).map(({ table }) => table));
  return snapshot.tables.filter(({ name }) => !read.has(name));
}

/** Queries and pipelines that no step uses. A run that gives its own scenario may leave out what its plan offers. */
function unused(spec: ResolvedSpec, run: RunSpec): Finding[] {
  const isChosen = (list: readonly { readonly name: string }[] | undefined, name: string): boolean =>
    run.scenario !== undefined && !(list ?? []).some((item) => item.name === name);
  const synced = new Set(spec.scenario.flatMap((step) => ('sync' in step ? step.sync.pipelines : [])));
  const queried = new Set(spec.scenario.flatMap((step) => ('query' in step ? step.query.names : [])));
  return [
    ...spec.pipelines.flatMap(({ name }, index) =>
      synced.has(name) || isChosen(run.pipelines, name)
        ? []
        : [
            {
              path: ['spec', 'pipelines', index],
              message: 'no step syncs this pipeline; add a sync step, or remove it',
            },
          ],
    ),
    ...spec.queries.flatMap(({ name }, index) =>
      queried.has(name) || isChosen(run.queries, name)
        ? []
        : [
            {
              path: ['spec', 'queries', index],
              message: 'no step runs this query; add a step with query: {}, or remove it',
            },
          ],
    ),
  ];
}

/** A table that no source holds would not be compared with anything a pipeline lands. */
function tablesWithoutSource(spec: ResolvedSpec): Finding[] {
  if (!spec.scenario.some((step) => 'sync' in step) || spec.sources.length === 0) return [];
  const held = new Set(spec.sources.flatMap(({ tables }) => tables));
  return spec.snapshot.tables.flatMap(({ name }, index) =>
    held.has(name)
      ? []
      : [
          {
            path: ['spec', 'snapshot', 'tables', index],
            message: 'no source holds this table, so no pipeline lands it; add it to a source, or remove it',
          },
        ],
  );
}

/** Where no step compares, which is every table at once, each table has to be in a query that runs. What inherited queries read is not known yet. */
function unreadTables(spec: ResolvedSpec): Finding[] {
  const names = new Set(spec.scenario.flatMap((step) => ('query' in step ? step.query.names : [])));
  if (spec.scenario.some((step) => 'compare' in step)) return [];
  return unreadBy(names, spec).map(({ name }) => ({
    path: ['spec', 'snapshot', 'tables', spec.snapshot.tables.findIndex((table) => table.name === name)],
    message: 'no step compares this table and no query reads it; add a compare step, or remove it',
  }));
}

function sideText(side: Side): string {
  if ('pipeline' in side) return `pipeline "${side.pipeline}"`;
  return 'location' in side ? `location "${side.location}"` : 'the snapshot';
}

function unknownPipeline(pipeline: string, names: readonly string[]): string {
  return `there is no pipeline "${pipeline}"; ${suggestion(pipeline, names)}`;
}

function note(walk: Walk, path: Path, message: string): void {
  walk.findings.push({ path, message });
}
