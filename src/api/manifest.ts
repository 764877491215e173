import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { type ManifestDocument, parseDocuments } from './document.ts';
import type { PipelineParityPlan, PipelineParityRun, PlanSpec, RunSpec, SideSpec } from './generated/types.ts';
import { canonicalJson, fieldOf, isObject } from './json.ts';
import { absoluteLocation } from './locations.ts';
import { merge } from './merge.ts';
import { checkMetadata, type Metadata, readMetadata } from './metadata.ts';
import { formatPath, translatePath } from './paths.ts';
import { type Finding, ManifestError, type ManifestProblem, type Path } from './problem.ts';
import { resolveSpec, type Surroundings } from './resolve.ts';
import type { ResolvedSpec, ResolvedStorage } from './resolved.ts';
import { checkRules } from './rules.ts';
import { GROUP_VERSION, type Kind, schemaOf } from './schema.ts';
import { type AppliedSet, applySets } from './set.ts';
import { type Checked, checkPlan, checkRun } from './structure.ts';
import { suggestion } from './suggest.ts';
import { validate } from './validate.ts';

export interface LoadOptions {
  /** Assignments `spec.path.to[name].field=value`, applied to the run before anything is checked. */
  readonly set?: readonly string[] | undefined;
  /** The manifest's file, for messages and as the base of relative `file:` locations. */
  readonly file?: string | undefined;
  /** Plans from another file; plans may stand in the manifest as well. */
  readonly planText?: string | undefined;
  readonly planFile?: string | undefined;
  /** Where the command runs; the process's own folder where left out. */
  readonly cwd?: string | undefined;
  /** The installation's default workspace. */
  readonly defaultWorkspace?: string | ResolvedStorage | undefined;
  /** What a source is that does not say. Default `embedded`. */
  readonly defaultProvider?: Surroundings['defaultProvider'];
  /** Whether the run is carried out at once by this process: then nobody can suspend or cancel it by its spec. */
  readonly isCarriedOutHere?: boolean | undefined;
}

export interface LoadedManifest extends Metadata {
  readonly spec: ResolvedSpec;
  /** SHA-256 of the resolved spec's canonical JSON, hexadecimal. */
  readonly specDigest: string;
  /** The run as it was written, `--set` applied, before its plan was merged. */
  readonly raw: PipelineParityRun;
}

/**
 * Reads a run: YAML, `--set`, structure and rules of the CRD, plan, defaults, and what only the whole can show. Throws a
 * `ManifestError` (code InvalidSpec) with all problems found, each with its field and position.
 */
export function loadManifest(text: string, options: LoadOptions = {}): LoadedManifest {
  const { run, plans } = readObjects(text, options);
  const { plan, ...set } = applied(run, plans, options.set ?? []);
  if (set.problems.length > 0) throw new ManifestError(set.problems);
  const places: Places = { run: { ...run, value: set.value }, plan, applied: set.applied };

  const checkedRun = checked(checkRun, 'PipelineParityRun', places.run, places);
  const checkedPlan =
    plan === undefined
      ? undefined
      : checked(checkPlan, 'PipelineParityPlan', plan, { ...places, run: plan, applied: [] });
  const problems = [...checkedRun.problems, ...(checkedPlan?.problems ?? [])];
  if (problems.length > 0 || checkedRun.value === undefined) throw new ManifestError(problems);

  const merged = mergeSpecs(checkedRun.value, checkedPlan?.value, places, options);
  const resolution = resolveSpec(merged.spec, {
    cwd: cwdOf(options),
    defaultWorkspace: defaultWorkspace(options),
    ...(options.defaultProvider === undefined ? {} : { defaultProvider: options.defaultProvider }),
  });
  if (!resolution.isComplete) throw new ManifestError(positioned(resolution.findings, merged, places));
  const findings = [
    ...validate(resolution.spec, checkedRun.value.spec),
    ...(options.isCarriedOutHere === true ? onlyOnClusters(checkedRun.value.spec, resolution.spec) : []),
  ];
  if (findings.length > 0) throw new ManifestError(positioned(findings, merged, places));

  return {
    ...readMetadata(places.run.value),
    spec: resolution.spec,
    specDigest: createHash('sha256').update(canonicalJson(resolution.spec)).digest('hex'),
    raw: checkedRun.value,
  };
}

/** What one machine has not. */
function onlyOnClusters(run: RunSpec, spec: ResolvedSpec): Finding[] {
  const jobs = spec.pipelines.flatMap((pipeline, index) =>
    'job' in pipeline
      ? [
          {
            path: ['spec', 'pipelines', index, 'job'],
            message:
              'needs a cluster, which makes its Jobs; write command, or give the run to a cluster with --cluster',
          },
        ]
      : [],
  );
  return [...jobs, ...switches(run)];
}

/** Switches that somebody turns while the run goes on: there is nobody to turn them back, and nothing that would see it. */
function switches(run: RunSpec): Finding[] {
  return (['suspend', 'cancel'] as const)
    .filter((field) => run[field] === true)
    .map((field) => ({
      path: ['spec', field],
      message: `is for runs on a cluster; remove it, or apply the run to a cluster${field === 'cancel' ? '; here Ctrl-C cancels' : ''}`,
    }));
}

/** Where values come from: the run's document first, then its plan's. */
interface Places {
  readonly run: ManifestDocument;
  readonly plan: ManifestDocument | undefined;
  readonly applied: readonly AppliedSet[];
}

function readObjects(
  text: string,
  options: LoadOptions,
): { readonly run: ManifestDocument; readonly plans: readonly ManifestDocument[] } {
  const file = options.file ?? 'manifest';
  const own = parseDocuments(text, file);
  const beside =
    options.planText === undefined ? undefined : parseDocuments(options.planText, options.planFile ?? 'plan');
  const all = [...own.documents, ...(beside?.documents ?? [])];
  const problems = [...own.problems, ...(beside?.problems ?? []), ...all.flatMap(wrongKind)];
  if (problems.length > 0) throw new ManifestError(problems);
  const [run, second] = all.filter((document) => fieldOf(document.value, 'kind') === 'PipelineParityRun');
  if (run === undefined) throw new ManifestError([{ message: 'has no PipelineParityRun; add one', path: '', file }]);
  if (second !== undefined)
    throw new ManifestError([at(second, ['kind'], 'is a second PipelineParityRun; give each run a file of its own')]);
  return { run, plans: all.filter((document) => document !== run) };
}

function wrongKind(document: ManifestDocument): ManifestProblem[] {
  if (!isObject(document.value))
    return [at(document, [], 'is no Kubernetes object; write apiVersion, kind, metadata and spec')];
  const kinds: readonly Kind[] = ['PipelineParityRun', 'PipelineParityPlan'];
  const [version, kind] = [fieldOf(document.value, 'apiVersion'), fieldOf(document.value, 'kind')];
  const problems: ManifestProblem[] = [];
  if (version !== GROUP_VERSION) problems.push(at(document, ['apiVersion'], mismatch(version, [GROUP_VERSION])));
  if (!kinds.some((known) => known === kind)) problems.push(at(document, ['kind'], mismatch(kind, kinds)));
  return problems;
}

function mismatch(found: unknown, allowed: readonly string[]): string {
  if (found === undefined) return `missing; add ${allowed.join(' or ')}`;
  const hint = typeof found === 'string' && allowed.length > 1 ? `; ${suggestion(found, allowed)}` : '';
  return `found ${JSON.stringify(found)}; it must be ${allowed.join(' or ')}${hint}`;
}

/** The run with `--set` applied, and its plan. Which plan it is can be set too, so that comes first. */
function applied(run: ManifestDocument, plans: readonly ManifestDocument[], assignments: readonly string[]) {
  const schema = schemaOf('PipelineParityRun');
  const isAboutPlan = (text: string): boolean => /^spec[.]planRef[.=]/.test(text);
  const named = applySets(schema, run.value, undefined, assignments.filter(isAboutPlan));
  const plan = planOf({ ...run, value: named.value }, plans);
  const rest = applySets(
    schema,
    named.value,
    plan?.value,
    assignments.filter((text) => !isAboutPlan(text)),
  );
  return {
    plan,
    value: rest.value,
    applied: [...named.applied, ...rest.applied],
    problems: [...named.problems, ...rest.problems],
  };
}

/** The plan that the run names. A name of another type than text is the structure check's business. */
function planOf(run: ManifestDocument, plans: readonly ManifestDocument[]): ManifestDocument | undefined {
  const name = fieldOf(fieldOf(fieldOf(run.value, 'spec'), 'planRef'), 'name');
  if (typeof name !== 'string') return undefined;
  const names = plans.map((plan) => String(fieldOf(fieldOf(plan.value, 'metadata'), 'name')));
  const found = plans[names.indexOf(name)];
  if (found !== undefined) return found;
  throw new ManifestError([
    at(run, ['spec', 'planRef', 'name'], `there is no plan "${name}" beside the run; ${suggestion(name, names)}`),
  ]);
}

/** Structure and rules of one document by itself. */
function checked<T>(
  check: (value: unknown) => Checked<T>,
  kind: Kind,
  document: ManifestDocument,
  places: Places,
): { readonly value: T | undefined; readonly problems: readonly ManifestProblem[] } {
  const value = isObject(document.value)
    ? Object.fromEntries(Object.entries(document.value).filter(([field]) => field !== 'status'))
    : document.value;
  const result = check(value);
  const structural = result.isValid ? [] : result.findings;
  const blocked = structural.map(({ path }) => path);
  const findings = [...structural, ...checkRules(schemaOf(kind), value, [], blocked), ...checkMetadata(value)];
  return {
    value: result.isValid ? result.value : undefined,
    problems: findings.map((finding) => problemOf(finding, value, { ...places, run: document, plan: undefined })),
  };
}

interface Merged {
  readonly spec: RunSpec;
  /** The merged run as a document, for paths. */
  readonly value: unknown;
}

function mergeSpecs(
  run: PipelineParityRun,
  plan: PipelineParityPlan | undefined,
  places: Places,
  options: LoadOptions,
): Merged {
  const own = withAbsoluteFiles(run.spec, folderOf(options.file, options));
  const below =
    plan === undefined ? undefined : withAbsoluteFiles(plan.spec, folderOf(planFileOf(places, options), options));
  const schema = schemaOf('PipelineParityRun');
  const value = merge(schema, { spec: below && withoutServers(below, own) }, { ...run, spec: own });
  const result = checkRun(value);
  // Two lists that are each short enough can be too long together.
  const findings = [...(result.isValid ? [] : result.findings), ...checkRules(schema, value, [])];
  if (!result.isValid || findings.length > 0) throw new ManifestError(positioned(findings, { value }, places));
  return { spec: result.value.spec, value };
}

function planFileOf(places: Places, options: LoadOptions): string | undefined {
  return places.plan?.file === places.run.file ? options.file : options.planFile;
}

/** Where the run says a file, what its plan says about an object store's server has no meaning any more. */
function withoutServers(plan: PlanSpec, run: RunSpec): PlanSpec {
  const isMoved = (place: { location?: string } | undefined): boolean => place?.location?.startsWith('file:') ?? false;
  return {
    ...plan,
    ...(plan.snapshot !== undefined && isMoved(run.snapshot) ? { snapshot: withoutServer(plan.snapshot) } : {}),
    ...(plan.workspace !== undefined && isMoved(run.workspace) ? { workspace: withoutServer(plan.workspace) } : {}),
    ...(plan.reports !== undefined && isMoved(run.reports) ? { reports: withoutServer(plan.reports) } : {}),
  };
}

interface Server {
  endpoint?: string;
  region?: string;
  secretRef?: { name: string };
}

function withoutServer<T extends Server>({
  endpoint: _,
  region: __,
  secretRef: ___,
  ...place
}: T): Omit<T, keyof Server> {
  return place;
}

/** Relative files are relative to the document that names them, so they are made absolute before documents are merged. */
function withAbsoluteFiles(spec: RunSpec, folder: string): RunSpec {
  const absolute = <T extends { location?: string }>(place: T): T =>
    place.location === undefined ? place : { ...place, location: absoluteLocation(place.location, folder) };
  const side = (value: SideSpec | undefined): SideSpec | undefined =>
    value === undefined ? undefined : absolute(value);
  const scenario = spec.scenario?.map((step) => {
    if (step.compare === undefined) return step;
    const [baseline, candidate] = [side(step.compare.baseline), side(step.compare.candidate)];
    return {
      ...step,
      compare: { ...(baseline === undefined ? {} : { baseline }), ...(candidate === undefined ? {} : { candidate }) },
    };
  });
  const pipelines = spec.pipelines?.map((pipeline) => {
    if (pipeline.command === undefined) return pipeline;
    const place = absoluteLocation(pipeline.command.folder ?? 'file:.', folder);
    return { ...pipeline, command: { ...pipeline.command, folder: place } };
  });
  const queries = spec.queries?.map((query) => {
    const { inherited } = query;
    if (inherited?.files === undefined) return query;
    const location = absoluteLocation(inherited.files.location, folder);
    return { ...query, inherited: { ...inherited, files: { ...inherited.files, location } } };
  });
  return {
    ...spec,
    ...(pipelines === undefined ? {} : { pipelines }),
    ...(queries === undefined ? {} : { queries }),
    ...(spec.snapshot === undefined ? {} : { snapshot: absolute(spec.snapshot) }),
    ...(spec.workspace === undefined ? {} : { workspace: absolute(spec.workspace) }),
    ...(spec.reports === undefined ? {} : { reports: absolute(spec.reports) }),
    ...(scenario === undefined ? {} : { scenario }),
  };
}

function folderOf(file: string | undefined, options: LoadOptions): string {
  return file === undefined ? cwdOf(options) : dirname(resolve(cwdOf(options), file));
}

function cwdOf(options: LoadOptions): string {
  return options.cwd ?? process.cwd();
}

function defaultWorkspace(options: LoadOptions): ResolvedStorage | undefined {
  const { defaultWorkspace: given } = options;
  if (given === undefined) return undefined;
  const storage = typeof given === 'string' ? { location: given } : given;
  return { ...storage, location: absoluteLocation(storage.location, cwdOf(options)) };
}

function positioned(
  findings: readonly Finding[],
  merged: { readonly value: unknown },
  places: Places,
): ManifestProblem[] {
  return findings.map((finding) => problemOf(finding, merged.value, places));
}

/** A finding with its place: a `--set`, or the document that has most of the path; the run's where both have as much. */
function problemOf(finding: Finding, value: unknown, places: Places): ManifestProblem {
  const path = formatPath(finding.path, value);
  const { message } = finding;
  const own = translatePath(finding.path, value, places.run.value);
  const set = places.applied.findLast(({ path: to }) => to.every((step, index) => own[index] === step));
  if (set !== undefined) return { message, path, file: set.text };
  const [best] = [places.run, places.plan]
    .filter((document) => document !== undefined)
    .map((document) => locate(document, finding, value))
    .sort((a, b) => b.depth - a.depth);
  return {
    message,
    path,
    file: places.run.file,
    ...(best === undefined ? {} : { file: best.file, line: best.line, column: best.column }),
  };
}

function locate(document: ManifestDocument, finding: Finding, value: unknown) {
  const path = translatePath(finding.path, value, document.value);
  return { file: document.file, ...document.locate(path, finding.isAboutName === true ? 'name' : 'value') };
}

function at(document: ManifestDocument, path: Path, message: string): ManifestProblem {
  const { line, column } = document.locate(path, 'value');
  return { message, path: path.join('.'), file: document.file, line, column };
}
