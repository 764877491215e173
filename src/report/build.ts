import { createHash } from 'node:crypto';
import { canonicalJson } from '../api/json.ts';
import type { ResolvedSpec } from '../api/resolved.ts';
import { isLetPass, type TableComparison } from '../compare/result.ts';
import type { ResolvedSide, RunState, Task, TaskGraph, TaskInput, Verdict } from '../run/types.ts';
import { failures } from '../run/verdict.ts';
import type { Resolution, RunIdentity, SnapshotDetail } from '../tasks/task.ts';
import type {
  NotCompared,
  Report,
  ReportComparison,
  ReportCounts,
  ReportError,
  ReportLeftOut,
  ReportNote,
  ReportQuery,
  ReportSnapshot,
  ReportTimings,
} from './model.ts';
import { headline } from './words.ts';

/** All that a report is made from. Nothing of it has to be complete: a run that ended early has a report too. */
export interface Findings {
  readonly run: RunIdentity;
  readonly spec: ResolvedSpec;
  /** SHA-256 of the resolved manifest; computed where undefined. */
  readonly specDigest?: string;
  readonly parityVersion: string;
  readonly graph: TaskGraph;
  readonly state: RunState;
  readonly verdict: Verdict;
  readonly resolution: Resolution | undefined;
  readonly snapshots: readonly SnapshotDetail[];
  readonly compared: readonly TaskFinding<TableComparison>[];
  readonly queried: readonly TaskFinding<Omit<ReportQuery, 'step'>>[];
  /** Inherited queries that could not run. */
  readonly leftOut: readonly ReportLeftOut[];
  /** The table that a failed task named, by task id. */
  readonly failedTables: Readonly<Record<string, string>>;
  readonly notes: readonly ReportNote[];
  readonly timings: ReportTimings;
  /** Digest of what must repeat; called only where everything was compared. */
  readonly fingerprintOf: (verdict: Verdict, report: Pick<Report, 'comparisons' | 'queries'>) => string;
}

/** What one compare or query task found. */
export interface TaskFinding<Item> {
  readonly input: TaskInput;
  readonly items: readonly Item[];
}

/** The report of a run. Pure: the same findings give the same report. */
export function buildReport(findings: Findings): Report {
  const { spec, verdict } = findings;
  const comparisons = findings.compared.flatMap((found) => comparisonsOf(found, findings));
  const queries = findings.queried.flatMap(queriesOf);
  const notCompared = missing(findings);
  const errors = errorsOf(findings);
  const counts = countsOf({ comparisons, queries, notCompared, errors });
  const isComplete = verdict === 'Passed' || verdict === 'Failed';
  return {
    apiVersion: 'pipelineparity.io/v1alpha1',
    kind: 'PipelineParityReport',
    run: {
      name: findings.run.name,
      uid: findings.run.uid,
      specDigest: findings.specDigest ?? sha256(canonicalJson(spec)),
      parityVersion: findings.parityVersion,
      values: spec.comparison.values,
      maxDifferences: spec.comparison.maxDifferences,
    },
    verdict,
    headline: headline(counts, verdict),
    counts,
    snapshot: snapshotOf(findings),
    comparisons,
    notCompared,
    queries,
    leftOut: findings.leftOut,
    errors,
    notes: findings.notes,
    timings: findings.timings,
    fingerprint: isComplete ? findings.fingerprintOf(verdict, { comparisons, queries }) : null,
  };
}

function comparisonsOf({ input, items }: TaskFinding<TableComparison>, findings: Findings): ReportComparison[] {
  if (input.kind !== 'compare') return [];
  const { maxDifferences } = findings.spec.comparison;
  return items.map((item) => ({
    ...item,
    step: input.step,
    source: input.source ?? null,
    baseline: sideInWords(input.baseline, item.table, findings.resolution),
    candidate: sideInWords(input.candidate, item.table, findings.resolution),
    outcome: item.differences === 0 ? 'Equal' : isLetPass(item, maxDifferences) ? 'Tolerated' : 'Different',
  }));
}

function sideInWords(side: ResolvedSide, table: string, resolution: Resolution | undefined): string {
  switch (side.kind) {
    case 'snapshot': {
      const pinned = resolution?.tables.find(({ name }) => name === table);
      const version = side.at === 'Base' ? pinned?.baseVersion : pinned?.version;
      return typeof version === 'number' ? `snapshot at version ${version}` : 'snapshot';
    }
    case 'pipeline':
      return `pipeline ${side.pipeline}`;
    case 'location':
      return side.location;
  }
}

function queriesOf({ input, items }: TaskFinding<Omit<ReportQuery, 'step'>>): ReportQuery[] {
  return input.kind === 'query' ? items.map((item) => ({ ...item, step: input.step })) : [];
}

/** What compare and query tasks would have looked at and have not: told table by table, so nothing is lost inside a task. */
function missing({ graph, spec, compared, queried, leftOut }: Findings): NotCompared[] {
  if (graph.isPartial === true) return unplanned(spec);
  const tablesOf = new Map(compared.map(({ input, items }) => [canonicalJson(input), items.map(({ table }) => table)]));
  const queriesOf = new Map(queried.map(({ input, items }) => [canonicalJson(input), items.map(({ name }) => name)]));
  return graph.tasks.flatMap(({ input }): NotCompared[] => {
    if (input.kind === 'compare') {
      const { step, source = null, tables } = input;
      const done = tablesOf.get(canonicalJson(input)) ?? [];
      return tables.filter((name) => !done.includes(name)).map((name) => ({ step, source, name, kind: 'Table' }));
    }
    if (input.kind === 'query') {
      const { step, queries } = input;
      const done = queriesOf.get(canonicalJson(input)) ?? [];
      return queries
        .filter((name) => !done.includes(name) && !leftOut.some((one) => one.step === step && one.name === name))
        .map((name) => ({ step, source: null, name, kind: 'Query' }));
    }
    return [];
  });
}

/** The tables and queries of a run that ended before its tasks were known. */
function unplanned(spec: ResolvedSpec): NotCompared[] {
  return spec.scenario.flatMap((step): NotCompared[] => {
    if ('compare' in step) {
      return spec.snapshot.tables.map(({ name }) => ({ step: step.name, source: null, name, kind: 'Table' }));
    }
    if ('query' in step) {
      return step.query.names.map((name) => ({ step: step.name, source: null, name, kind: 'Query' }));
    }
    return [];
  });
}

function errorsOf({ graph, state, spec, failedTables }: Findings): ReportError[] {
  const work = graph.tasks.filter((task: Task) => !task.always);
  return failures(work, state, spec.execution)
    .filter(({ error }) => error.code !== 'Cancelled')
    .map(({ task, error }) => ({
      ...error,
      task: task.id,
      kind: task.input.kind,
      table: failedTables[task.id] ?? null,
      attempts: state.tasks[task.id]?.attempts ?? 0,
    }));
}

function countsOf(parts: Pick<Report, 'comparisons' | 'queries' | 'notCompared' | 'errors'>): ReportCounts {
  const { comparisons, queries } = parts;
  return {
    comparisons: comparisons.length,
    differing: comparisons.filter(({ outcome }) => outcome === 'Different').length,
    differences: comparisons.reduce((sum, { differences }) => sum + differences, 0),
    unseen: comparisons.reduce((sum, { unseen }) => sum + (unseen?.total ?? 0), 0),
    queries: queries.length,
    queriesDiffering: queries.filter(({ outcome }) => outcome === 'Different').length,
    errors: parts.errors.length,
    notCompared: parts.notCompared.length,
  };
}

function snapshotOf({ spec, resolution, snapshots }: Findings): ReportSnapshot {
  const copied = new Map(snapshots.flatMap(({ tables }) => tables).map((table) => [table.name, table]));
  const tables = (resolution?.tables ?? []).map(({ name, version, baseVersion, rows, sizeBytes }) => ({
    name,
    version,
    baseVersion,
    rows,
    sizeBytes,
    digest: copied.get(name)?.digest ?? null,
  }));
  const isWhole = tables.length > 0 && tables.every(({ digest }) => digest !== null);
  const digests = tables.map(({ name, digest }) => [name, digest ?? ''] as const).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    location: spec.snapshot.location,
    digest: isWhole ? sha256(canonicalJson(digests)) : null,
    tables,
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
