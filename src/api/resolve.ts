import { DEFAULTS } from './defaults.ts';
import type { ComparisonSpec, RunSpec, SideSpec, SourceSpec, StepSpec, TableSpec } from './generated/types.ts';
import { absoluteLocation } from './locations.ts';
import { POSTHOG_COLUMNS } from './posthog.ts';
import { type Finding, shown } from './problem.ts';
import { bytesOf } from './quantity.ts';
import { resolvePipeline } from './resolve-pipeline.ts';
import { resolveQuery } from './resolve-query.ts';
import type {
  AllowedPeer,
  ComparisonColumn,
  DeployedServer,
  ResolvedComparison,
  ResolvedSource,
  ResolvedSpec,
  ResolvedStep,
  ResolvedStorage,
  ResolvedTable,
  Side,
  SourceColumn,
} from './resolved.ts';

/** What an installation supplies where a manifest does not say. */
export interface Surroundings {
  /** Absolute folder that the default report location is relative to. */
  readonly cwd: string;
  /** The installation's default, file paths absolute. */
  readonly defaultWorkspace?: ResolvedStorage | undefined;
  /** What a source is where its manifest does not say. Default `embedded`: the run is carried out on one machine. */
  readonly defaultProvider?: 'embedded' | 'argocd' | 'kubernetes';
}

export type Resolution =
  | { readonly isComplete: true; readonly spec: ResolvedSpec }
  | { readonly isComplete: false; readonly findings: readonly Finding[] };

/**
 * The merged spec with every default applied. What has no default and is not there comes back as findings; nothing else is
 * checked here (see validate.ts).
 */
export function resolveSpec(spec: RunSpec, surroundings: Surroundings): Resolution {
  const findings: Finding[] = [];
  const need = <T>(value: T | undefined, path: Finding['path'], message: string): T | undefined => {
    if (value === undefined) findings.push({ path, message });
    return value;
  };
  const lake = need(
    spec.snapshot?.location,
    ['spec', 'snapshot', 'location'],
    'missing in the run and its plan; add where the tables are read',
  );
  const tables = need(
    spec.snapshot?.tables,
    ['spec', 'snapshot', 'tables'],
    'missing in the run and its plan; add the tables under test',
  );
  const workspace = need(
    storageOr(spec.workspace, surroundings.defaultWorkspace),
    ['spec', 'workspace', 'location'],
    spec.workspace === undefined
      ? 'missing, and this installation has no default; add where the run may work'
      : 'missing; add the location that the other fields are about',
  );
  const scenario = resolveScenario(spec, need);
  const limits = resolveLimits(spec, findings);
  const execution = resolveExecution(spec, findings);
  const added = spec.comparison?.profile === 'PostHog' ? POSTHOG_COLUMNS : [];
  const resolvedTables = tables?.map((table, index) => resolveTable(table, index, need, added)) ?? [];
  if (lake === undefined || workspace === undefined || findings.length > 0) return { isComplete: false, findings };
  return {
    isComplete: true,
    spec: {
      snapshot: {
        ...storage({ ...spec.snapshot, location: lake }),
        ...(spec.snapshot?.maskSecretRef === undefined ? {} : { maskSecretRef: spec.snapshot.maskSecretRef }),
        limits,
        tables: resolvedTables,
      },
      workspace,
      sources: (spec.sources ?? []).map((source) => resolveSource(source, surroundings)),
      pipelines: (spec.pipelines ?? []).map((pipeline) => resolvePipeline(pipeline, execution.timeoutSeconds)),
      scenario,
      comparison: resolveComparison(spec.comparison ?? {}),
      queries: (spec.queries ?? []).map(resolveQuery),
      execution,
      cleanup: resolveCleanup(spec),
      reports: {
        ...storage({
          ...spec.reports,
          location: spec.reports?.location ?? absoluteLocation(DEFAULTS.reports.location, surroundings.cwd),
        }),
        formats: spec.reports?.formats ?? DEFAULTS.reports.formats,
      },
    },
  };
}

function resolveCleanup({ cleanup }: RunSpec): ResolvedSpec['cleanup'] {
  const { policy = DEFAULTS.cleanupPolicy, ttlSecondsAfterFinished: ttl } = cleanup ?? {};
  return { policy, ...(ttl === undefined ? {} : { ttlSecondsAfterFinished: ttl }) };
}

/** Notes a finding where a value is missing, and hands the value on. */
type Need = <T>(value: T | undefined, path: Finding['path'], message: string) => T | undefined;

type StorageSpec = { [Field in keyof ResolvedStorage]?: ResolvedStorage[Field] | undefined };

function storage(spec: StorageSpec & { readonly location: string }): ResolvedStorage {
  return {
    location: spec.location,
    ...(spec.endpoint === undefined ? {} : { endpoint: spec.endpoint }),
    ...(spec.region === undefined ? {} : { region: spec.region }),
    ...(spec.secretRef === undefined ? {} : { secretRef: spec.secretRef }),
  };
}

/** The default's endpoint and credentials belong to its location: it is used as a whole or not at all. */
function storageOr(spec: StorageSpec | undefined, fallback: ResolvedStorage | undefined): ResolvedStorage | undefined {
  if (spec?.location !== undefined) return storage({ ...spec, location: spec.location });
  return Object.keys(spec ?? {}).length === 0 ? fallback : undefined;
}

function resolveLimits(spec: RunSpec, findings: Finding[]): ResolvedSpec['snapshot']['limits'] {
  const { maxBytes, maxRequestsPerSecond } = spec.snapshot?.limits ?? {};
  return {
    ...(maxBytes === undefined
      ? {}
      : { maxBytes: bytes(maxBytes, ['spec', 'snapshot', 'limits', 'maxBytes'], findings) }),
    ...(maxRequestsPerSecond === undefined ? {} : { maxRequestsPerSecond }),
  };
}

/** `added`: columns that the profile takes out, wherever they are. */
function resolveTable(table: TableSpec, index: number, need: Need, added: readonly string[]): ResolvedTable {
  const { name, path, version, baseVersion, cursor, partitionTimeZone } = table;
  return {
    name,
    path: path.replace(/\/+$/, ''),
    ...(version === undefined ? {} : { version }),
    ...(baseVersion === undefined ? {} : { baseVersion }),
    key: table.key ?? [],
    ...(cursor === undefined ? {} : { cursor }),
    exclude: [...new Set([...(table.exclude ?? []), ...added])],
    ...resolveSample(table, index, need),
    mask: table.mask ?? [],
    ...(partitionTimeZone === undefined ? {} : { partitionTimeZone }),
  };
}

function resolveSample(table: TableSpec, index: number, need: Need): Pick<ResolvedTable, 'sample'> {
  if (table.sample === undefined) return {};
  const by = need(
    table.sample.by ?? table.key?.[0],
    ['spec', 'snapshot', 'tables', index, 'sample', 'by'],
    'missing, and the table has no key to sample by; name a column',
  );
  return by === undefined ? {} : { sample: { percent: table.sample.percent, by } };
}

function resolveSource(source: SourceSpec, surroundings: Surroundings): ResolvedSource {
  const { name, engine, engineVersion, tables, cloneFrom } = source;
  return {
    name,
    engine,
    ...(engineVersion === undefined ? {} : { engineVersion }),
    tables,
    columns: (source.columns ?? []).map(resolveSourceColumn),
    ...(cloneFrom === undefined ? {} : { cloneFrom: { schema: cloneFrom.schema, ...given({ at: cloneFrom.at }) } }),
    provider: resolveProvider(source, surroundings.defaultProvider ?? 'embedded'),
  };
}

function resolveProvider(
  source: SourceSpec,
  fallback: NonNullable<Surroundings['defaultProvider']>,
): ResolvedSource['provider'] {
  if (source.external !== undefined) return { kind: 'external', secretRef: source.external.secretRef };
  if (source.embedded !== undefined) return { kind: 'embedded' };
  const server = resolveServer(source);
  if (source.argocd !== undefined) return { kind: 'argocd', ...given(source.argocd), server };
  if (source.kubernetes !== undefined) return { kind: 'kubernetes', server };
  // What says how a server is deployed asks for one that is.
  const isDeployed = [source.image, source.size, source.tls, source.allowFrom].some((field) => field !== undefined);
  switch (fallback) {
    case 'embedded':
      return isDeployed ? { kind: 'kubernetes', server } : { kind: 'embedded' };
    case 'argocd':
    case 'kubernetes':
      return { kind: fallback, server };
  }
}

function resolveServer({ image, size, tls, allowFrom }: SourceSpec): DeployedServer {
  return { ...given({ image, size, tls }), allowFrom: (allowFrom ?? []).map(resolvePeer) };
}

/** The schema sees to it that it is the one or the other. */
function resolvePeer(peer: NonNullable<SourceSpec['allowFrom']>[number]): AllowedPeer {
  const { cidr, namespace, pods } = peer;
  return cidr === undefined ? given({ namespace, pods }) : { cidr };
}

/** The fields that are there. */
function given<T extends object>(fields: T): { [Field in keyof T]?: Exclude<T[Field], undefined> };
function given(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function resolveSourceColumn(spec: NonNullable<SourceSpec['columns']>[number]): SourceColumn {
  const { table, column, type, omit } = spec;
  return { table, column, ...(type === undefined ? {} : { type }), ...(omit === undefined ? {} : { omit }) };
}

function resolveScenario(spec: RunSpec, need: Need): readonly ResolvedStep[] {
  const steps = spec.scenario ?? defaultScenario(spec);
  return steps.flatMap((step, index) => resolveStep(step, index, spec, need) ?? []);
}

/** Full sync, compare; with a baseVersion anywhere: advance, incremental sync, compare; then the queries, if there are any. */
function defaultScenario(spec: RunSpec): readonly StepSpec[] {
  const hasBase = spec.snapshot?.tables?.some(({ baseVersion }) => baseVersion !== undefined) ?? false;
  const queries: readonly StepSpec[] = (spec.queries ?? []).length > 0 ? [{ name: 'queries', query: {} }] : [];
  const first: readonly StepSpec[] = [{ name: 'first', sync: { mode: 'Full' } }];
  const parity: StepSpec = { name: 'parity', compare: {} };
  if (!hasBase) return [...first, parity, ...queries];
  return [
    ...first,
    { name: 'parity-at-base', compare: {} },
    { name: 'to-version', advance: {} },
    { name: 'second', sync: { mode: 'Incremental' } },
    parity,
    ...queries,
  ];
}

function resolveStep(step: StepSpec, index: number, spec: RunSpec, need: Need): ResolvedStep | undefined {
  const { name } = step;
  if (step.sync !== undefined) {
    const pipelines = step.sync.pipelines ?? (spec.pipelines ?? []).map((pipeline) => pipeline.name);
    return { name, sync: { mode: step.sync.mode, pipelines } };
  }
  if (step.advance !== undefined) return { name, advance: {} };
  if (step.query !== undefined) {
    return { name, query: { names: step.query.names ?? (spec.queries ?? []).map((query) => query.name) } };
  }
  const baseline = resolveSide(step.compare?.baseline) ?? { snapshot: {} };
  const path = ['spec', 'scenario', index, 'compare', 'candidate'];
  const candidate = need(resolveSide(step.compare?.candidate) ?? onlyPipeline(spec), path, noCandidate(spec));
  return candidate === undefined ? undefined : { name, compare: { baseline, candidate } };
}

function resolveSide(side: SideSpec | undefined): Side | undefined {
  if (side?.pipeline !== undefined) return { pipeline: side.pipeline };
  if (side?.location !== undefined) return { location: side.location };
  return side?.snapshot === undefined ? undefined : { snapshot: {} };
}

function onlyPipeline(spec: RunSpec): Side | undefined {
  const [first, second] = spec.pipelines ?? [];
  return first !== undefined && second === undefined ? { pipeline: first.name } : undefined;
}

function noCandidate(spec: RunSpec): string {
  const names = (spec.pipelines ?? []).map(({ name }) => name);
  if (names.length === 0)
    return 'missing, and there is no pipeline that it could be; add one to spec.pipelines or name a location';
  return `missing, and there are ${names.length} pipelines (${names.join(', ')}); say which one is compared`;
}

function resolveComparison(spec: ComparisonSpec): ResolvedComparison {
  return {
    profile: spec.profile ?? DEFAULTS.comparison.profile,
    columns: (spec.columns ?? []).map(resolveComparisonColumn),
    unseen: spec.unseen ?? DEFAULTS.comparison.unseen,
    maxDifferences: spec.maxDifferences ?? DEFAULTS.comparison.maxDifferences,
    samples: spec.samples ?? DEFAULTS.comparison.samples,
    values: spec.values ?? DEFAULTS.comparison.values,
  };
}

function resolveComparisonColumn(spec: NonNullable<ComparisonSpec['columns']>[number]): ComparisonColumn {
  const { table, column, ignore, rename, tolerance } = spec;
  return {
    table,
    column,
    ...(ignore === undefined ? {} : { ignore }),
    ...(rename === undefined ? {} : { rename }),
    ...(tolerance === undefined ? {} : { tolerance }),
  };
}

function resolveExecution(spec: RunSpec, findings: Finding[]): ResolvedSpec['execution'] {
  const { memory, ...execution } = { ...DEFAULTS.execution, ...spec.execution };
  return { ...execution, memoryBytes: bytes(memory, ['spec', 'execution', 'memory'], findings) };
}

/** The schema's pattern lets only quantities through; one that is too large to count is left to find. */
function bytes(quantity: string, path: Finding['path'], findings: Finding[]): number {
  try {
    return bytesOf(quantity);
  } catch {
    findings.push({ path, message: `found ${shown(quantity)}, which is more than can be counted; write at most 8Pi` });
    return 0;
  }
}
