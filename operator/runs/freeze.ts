import { loadManifest } from '../../src/api/manifest.ts';
import { formatPath } from '../../src/api/paths.ts';
import { type Finding, ManifestError } from '../../src/api/problem.ts';
import type { ResolvedSpec } from '../../src/api/resolved.ts';
import { GROUP_VERSION } from '../../src/api/schema.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { keyOf } from '../../src/kube/objects.ts';
import { buildGraph, graphVersion } from '../../src/run/graph.ts';
import { ParityError } from '../../src/support/error.ts';
import { planWorkspace } from '../../src/tasks/workspace.ts';
import { notAllowed } from './allowed.ts';
import { namedSecrets, readKeys, secretsOfFinalization } from './credentials.ts';
import { missingForJobs } from './pipeline-job-secrets.ts';
import type { Hold } from './types.ts';
import { type OperatorOptions, type PlanObject, plans, type RunObject } from './types.ts';

export interface FreezeOptions extends OperatorOptions {
  /** How long a run waits for a plan or Secret that it names, in ms from its creation. Default 60,000. */
  readonly patienceMs?: number;
  /** What nobody tells of is looked at again after so long, in ms. Default 5,000. */
  readonly lookAgainMs?: number;
}

/** What a run is told to be, once and for all; or why it can't be. */
export type Frozen =
  | { readonly kind: 'Frozen'; readonly hold: Hold }
  /** `message`: one line for each problem, with its field. */
  | { readonly kind: 'Invalid'; readonly message: string }
  /** Something that it names is not there yet. */
  | { readonly kind: 'Waiting'; readonly message: string };

/** Things that are applied together come in any order: so long, in ms, a run waits for what it names. */
const defaultPatienceMs = 60_000;

/**
 * The run's spec with its plan merged, defaults applied and everything checked, the image of its tasks, its workspace, and copies of the credentials that
 * finalization needs. Reads only.
 */
export async function freeze(kube: KubeClient, options: FreezeOptions, run: RunObject, now: Date): Promise<Frozen> {
  const isPatient =
    now.getTime() - Date.parse(run.metadata.creationTimestamp) < (options.patienceMs ?? defaultPatienceMs);
  const absent = (message: string): Frozen => ({ kind: isPatient ? 'Waiting' : 'Invalid', message });
  const { namespace = '' } = run.metadata;
  const planName = run.spec.planRef?.name;
  const plan = planName === undefined ? undefined : await kube.find(plans, { namespace, name: planName });
  if (planName !== undefined && plan === undefined)
    return absent(`spec.planRef.name: there is no PipelineParityPlan ${namespace}/${planName}`);
  const loaded = load(run, plan, options);
  if ('message' in loaded) return { kind: 'Invalid', message: loaded.message };
  const { name, uid } = run.metadata;
  const isDefault = usesDefault(run, plan);
  const spec = isDefault ? withOwnSecret(loaded.spec, uid) : loaded.spec;
  const secrets = await readSecrets(kube, spec, (secret) =>
    isDefault && secret === workspaceSecretName(uid)
      ? { namespace: options.namespace, name: loaded.spec.workspace.secretRef?.name ?? '' }
      : { namespace, name: secret },
  );
  if ('missing' in secrets) return absent(`there is no Secret ${secrets.missing}`);
  const missing = await missingForJobs(kube, spec, namespace);
  if (missing !== undefined) return absent(missing);
  const hold: Hold = {
    run: { name, uid, installation: options.installation },
    namespace,
    spec,
    specDigest: loaded.specDigest,
    graphVersion,
    image: options.image,
    workspace: planWorkspace(spec.workspace, uid),
    secrets: secrets.copies,
  };
  return { kind: 'Frozen', hold };
}

/** Name of the Secret with the default workspace's credentials in the run's namespace: tasks can't read the operator's. */
export function workspaceSecretName(uid: string): string {
  return `parity-${uid}-workspace`;
}

type Loaded = { readonly spec: ResolvedSpec; readonly specDigest: string };

/** Checked as the CLI checks a manifest, then for what a cluster does not have. */
function load(run: RunObject, plan: PlanObject | undefined, options: OperatorOptions): Loaded | { message: string } {
  try {
    const { spec, specDigest } = loadManifest(document('PipelineParityRun', run), {
      cwd: '/',
      file: '/run',
      defaultProvider: defaultProvider(options),
      ...(plan === undefined ? {} : { planText: document('PipelineParityPlan', plan), planFile: '/plan' }),
      ...(options.defaultWorkspace === undefined ? {} : { defaultWorkspace: options.defaultWorkspace }),
    });
    const nowhere = reportsSomewhere(run, plan);
    const isSaid = ({ path }: Finding) => nowhere.some((finding) => finding.path.join() === path.join());
    const findings = [...nowhere, ...notAllowed(spec, options).filter((finding) => !isSaid(finding))];
    if (findings.length > 0) return { message: linesOf(findings, spec) };
    buildGraph(spec);
    return { spec, specDigest };
  } catch (error) {
    if (error instanceof ManifestError)
      return { message: error.problems.map(({ path, message }) => `${path}: ${message}`).join('\n') };
    if (error instanceof ParityError && error.code === 'InvalidSpec') return { message: error.message };
    throw error;
  }
}

function document(kind: string, { metadata, spec }: Pick<RunObject | PlanObject, 'metadata' | 'spec'>): string {
  const { name, namespace } = metadata;
  return JSON.stringify({ apiVersion: GROUP_VERSION, kind, metadata: { name, namespace }, spec });
}

function defaultProvider({ argocd, executor, allow }: OperatorOptions): 'embedded' | 'argocd' | 'kubernetes' {
  if (executor === 'Process' && allow.embedded) return 'embedded';
  return argocd === undefined ? 'kubernetes' : 'argocd';
}

/** The CLI's default is a folder where it runs; on a cluster that would be gone with the pod. */
function reportsSomewhere(run: RunObject, plan: PlanObject | undefined): readonly Finding[] {
  if (run.spec.reports?.location !== undefined || plan?.spec.reports?.location !== undefined) return [];
  const message = 'missing; add where reports go, such as s3://bucket/prefix: they survive the run';
  return [{ path: ['spec', 'reports', 'location'], message }];
}

function linesOf(findings: readonly Finding[], spec: ResolvedSpec): string {
  return findings.map(({ path, message }) => `${formatPath(path, { spec })}: ${message}`).join('\n');
}

function usesDefault(run: RunObject, plan: PlanObject | undefined): boolean {
  return run.spec.workspace?.location === undefined && plan?.spec.workspace?.location === undefined;
}

function withOwnSecret(spec: ResolvedSpec, uid: string): ResolvedSpec {
  if (spec.workspace.secretRef === undefined) return spec;
  return { ...spec, workspace: { ...spec.workspace, secretRef: { name: workspaceSecretName(uid) } } };
}

/** Every Secret that is named has to be there; those that finalization needs are copied. */
async function readSecrets(
  kube: KubeClient,
  spec: ResolvedSpec,
  locate: (name: string) => { readonly namespace: string; readonly name: string },
): Promise<{ copies: Hold['secrets'] } | { missing: string }> {
  const copies: Record<string, Readonly<Record<string, string>>> = {};
  const wanted = new Set(secretsOfFinalization(spec));
  for (const name of namedSecrets(spec)) {
    const place = locate(name);
    const keys = await readKeys(kube, place.namespace, place.name);
    if (keys === undefined) return { missing: keyOf(place) };
    if (wanted.has(name)) copies[name] = keys;
  }
  return { copies };
}
