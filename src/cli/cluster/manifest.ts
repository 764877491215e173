import { resolve } from 'node:path';
import { stringify } from 'yaml';
import { parseDocuments } from '../../api/document.ts';
import { fieldOf } from '../../api/json.ts';
import { loadManifest } from '../../api/manifest.ts';
import { checkMetadata, readMetadata } from '../../api/metadata.ts';
import { checkPlan } from '../../api/structure.ts';
import { type PlanObject, plans, type RunObject } from '../../kube/runs.ts';
import { ParityError } from '../../support/error.ts';
import type { Cluster } from './access.ts';
import type { NewObject } from './create.ts';

export interface ClusterManifest {
  readonly run: NewObject<RunObject>;
  /** Where the manifest holds the run's plan too. */
  readonly plan?: NewObject<PlanObject>;
}

export interface ManifestText {
  readonly text: string;
  /** Its name, for messages; undefined for standard input. */
  readonly file: string | undefined;
  readonly planText?: string;
  readonly planFile?: string;
}

/**
 * The run of a manifest as it is sent to a cluster, after the checks that `parity validate` makes. A plan that is not beside it is
 * the cluster's. What only the installation knows (its default workspace, what it allows) is left to the operator.
 * Throws `InvalidSpec` and `BadUsage`.
 */
export async function loadForCluster(
  cluster: Cluster,
  manifest: ManifestText,
  options: { readonly set: readonly string[]; readonly name?: string; readonly cwd: string },
): Promise<ClusterManifest> {
  const { text, file, planText, planFile } = manifest;
  const documents = [text, ...(planText === undefined ? [] : [planText])].flatMap(
    (part) => parseDocuments(part, file ?? 'manifest').documents,
  );
  const named = planName(documents, options.set);
  const beside = documents.find(
    ({ value }) => fieldOf(value, 'kind') === 'PipelineParityPlan' && named !== undefined && nameIn(value) === named,
  );
  const fetched = named === undefined || beside !== undefined ? undefined : await fetchPlan(cluster, named);
  const loaded = loadManifest(text, {
    set: options.set,
    file,
    cwd: options.cwd,
    // The operator has the real one; this is only for the checks, and no bucket can be called so.
    defaultWorkspace: { location: 's3://the-default-of-the-installation..' },
    ...(planText === undefined ? {} : { planText, planFile: planFile ?? 'plan' }),
    ...(fetched === undefined
      ? {}
      : { planText: [planText, fetched].filter(Boolean).join('\n---\n'), planFile: `plan ${named} of the cluster` }),
  });
  checkNamespace(cluster, loaded.raw, file);
  const { labels, annotations } = loaded;
  const name = options.name ?? loaded.name;
  const [problem] = checkMetadata({ metadata: { name } });
  if (problem !== undefined) throw new ParityError('BadUsage', `--name ${name}: ${problem.message}`);
  const run = { metadata: { name, labels, annotations }, spec: loaded.raw.spec };
  const plan = beside === undefined ? undefined : planIn(beside.value);
  return { run, ...(plan === undefined ? {} : { plan }) };
}

/** The namespace that a manifest names, if any: it must be the one that is asked for. */
export function namespaceIn(text: string): string | undefined {
  for (const { value } of parseDocuments(text, 'manifest').documents) {
    const namespace = fieldOf(fieldOf(value, 'metadata'), 'namespace');
    if (fieldOf(value, 'kind') === 'PipelineParityRun' && typeof namespace === 'string') return namespace;
  }
  return undefined;
}

function planName(documents: readonly { readonly value: unknown }[], set: readonly string[]): string | undefined {
  const assigned = set.findLast((text) => text.startsWith('spec.planRef.name='));
  if (assigned !== undefined) return assigned.slice('spec.planRef.name='.length);
  const run = documents.find(({ value }) => fieldOf(value, 'kind') === 'PipelineParityRun');
  const name = fieldOf(fieldOf(fieldOf(run?.value, 'spec'), 'planRef'), 'name');
  return typeof name === 'string' ? name : undefined;
}

function nameIn(value: unknown): unknown {
  return fieldOf(fieldOf(value, 'metadata'), 'name');
}

async function fetchPlan({ client, namespace }: Cluster, name: string): Promise<string> {
  const plan = await client.find(plans, { namespace, name });
  if (plan !== undefined)
    return stringify({ apiVersion: plan.apiVersion, kind: plan.kind, metadata: { name }, spec: plan.spec });
  throw new ParityError('BadUsage', `the plan ${name} is neither beside the run nor in namespace ${namespace}`, {
    subject: name,
    advice: 'Put it into the manifest, name its file with --plan, or list those of the cluster: kubectl get ppp',
  });
}

function planIn(value: unknown): NewObject<PlanObject> | undefined {
  const checked = checkPlan(value);
  if (!checked.isValid) return undefined;
  const { name, labels, annotations } = readMetadata(value);
  return { metadata: { name, labels, annotations }, spec: checked.value.spec };
}

function checkNamespace(cluster: Cluster, raw: unknown, file: string | undefined): void {
  const own = fieldOf(fieldOf(raw, 'metadata'), 'namespace');
  if (own === undefined || own === cluster.namespace) return;
  const where = file === undefined ? 'the manifest' : resolve(file);
  throw new ParityError('BadUsage', `${where} is for namespace ${String(own)}, not for ${cluster.namespace}`, {
    advice: 'Leave --namespace out, or the namespace in the manifest.',
  });
}
