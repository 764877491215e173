import type { ResolvedPipeline, ResolvedSpec } from '../../src/api/resolved.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { type Secret, secrets } from '../../src/kube/objects.ts';
import { pipelineSecrets, removalSecrets } from '../../src/pipelines/removals.ts';
import { clickHouseSecrets, inheritedSecrets, querySecrets } from '../../src/queries/secrets.ts';
import type { Task } from '../../src/run/types.ts';
import { sourceSecret } from '../../src/sources/connection.ts';
import { protectKeys } from '../../src/support/secrets.ts';
import { sourceName } from './names.ts';

/** A Secret of the run's namespace, and the name under which a task finds it. */
export interface TaskSecret {
  /** `context.secret(name)` */
  readonly name: string;
  readonly secretName: string;
}

/**
 * What a task is handed, and nothing more: the lake's credentials only to what reads the lake, a source's only to what works on that source
 * (in the order of names, each once).
 */
export function secretsOfTask({ input }: Pick<Task, 'input'>, spec: ResolvedSpec, uid: string): readonly TaskSecret[] {
  const wanted = [spec.workspace.secretRef?.name];
  if (input.kind === 'resolve' || input.kind === 'snapshot') wanted.push(spec.snapshot.secretRef?.name);
  if (input.kind === 'snapshot') wanted.push(spec.snapshot.maskSecretRef?.name);
  // The first task tries whether the last one will be able to write.
  if (input.kind === 'resolve' || input.kind === 'report') wanted.push(spec.reports.secretRef?.name);
  wanted.push(...pipelineSecrets({ ...spec, pipelines: pipelinesOf(input, spec) }));
  if (input.kind === 'query')
    wanted.push(...querySecrets(spec, input.queries), ...clickHouseSecrets(spec, input.queries));
  // The first task tries PostHog too.
  if (input.kind === 'resolve') wanted.push(...inheritedSecrets(spec), ...querySecrets(spec));
  const own = wanted.flatMap((name) => (name === undefined ? [] : [{ name, secretName: name }]));
  const sources = sourcesOf(input, spec).map((source) => ({
    name: sourceSecret(source),
    secretName: sourceName(uid, source),
  }));
  const byName = new Map([...own, ...sources].map((secret) => [secret.name, secret]));
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The Secrets that the spec names, in the run's namespace: all of them have to be there before anything begins. */
export function namedSecrets(spec: ResolvedSpec): readonly string[] {
  const named = [
    spec.workspace.secretRef?.name,
    spec.snapshot.secretRef?.name,
    spec.snapshot.maskSecretRef?.name,
    spec.reports.secretRef?.name,
    ...spec.sources.map(({ provider }) => ('secretRef' in provider ? provider.secretRef.name : undefined)),
    ...spec.sources.map(({ provider }) => ('server' in provider ? provider.server.tls?.secretRef.name : undefined)),
    ...removalSecrets(spec),
    ...inheritedSecrets(spec),
  ];
  return [...new Set(named.flatMap((name) => name ?? []))];
}

/** Those of them without which what the run made could not be removed. */
export function secretsOfFinalization(spec: ResolvedSpec): readonly string[] {
  const named = [
    spec.workspace.secretRef?.name,
    ...spec.sources.map(({ provider }) => (provider.kind === 'external' ? provider.secretRef.name : undefined)),
    ...removalSecrets(spec),
  ];
  return [...new Set(named.flatMap((name) => name ?? []))];
}

/** The keys of a Secret; undefined where there is none. From here on their values appear in no log. */
export async function readKeys(
  kube: KubeClient,
  namespace: string,
  name: string,
): Promise<Readonly<Record<string, string>> | undefined> {
  const secret = await kube.find(secrets, { namespace, name });
  return secret === undefined ? undefined : keysOf(secret);
}

/** The keys that a Secret holds, decoded. From here on their values appear in no log, but for those that are no secret (host, user, …). */
export function keysOf(secret: Secret): Readonly<Record<string, string>> {
  const keys = decodeKeys(secret);
  protectKeys(keys);
  return keys;
}

/** The same, for a Secret whose keys have names of our own: the reader says what of it is secret. */
export function decodeKeys(secret: Secret): Readonly<Record<string, string>> {
  const data: Readonly<Record<string, unknown>> = { ...secret.data };
  return Object.fromEntries(
    // A value made with `echo` ends with a newline that is no part of it, as in mounted files.
    Object.entries(data).map(([key, value]) => [
      key,
      Buffer.from(String(value), 'base64')
        .toString()
        .replace(/\r?\n$/, ''),
    ]),
  );
}

/** Keys as a Secret holds them. */
export function encodeKeys(keys: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
}

function sourcesOf(input: Task['input'], spec: ResolvedSpec): readonly string[] {
  switch (input.kind) {
    case 'rehydrate':
    case 'advance':
    case 'sync':
      return [input.source];
    case 'compare':
    case 'query': {
      // Some pipelines land in the source's own database.
      if (!pipelinesOf(input, spec).some(landsInSource)) return [];
      const own = 'source' in input ? input.source : undefined;
      return own === undefined ? spec.sources.map(({ name }) => name) : [own];
    }
    case 'resolve':
    case 'snapshot':
    case 'provision':
    case 'report':
    case 'cleanup':
      return [];
  }
}

function landsInSource(pipeline: ResolvedPipeline): boolean {
  return 'outputs' in pipeline && pipeline.outputs.kind === 'database' && pipeline.outputs.server === undefined;
}

/** The pipelines that the task carries out, or whose landed tables it reads. */
function pipelinesOf(input: Task['input'], spec: ResolvedSpec): ResolvedSpec['pipelines'] {
  const names = new Set<string>();
  if (input.kind === 'sync') names.add(input.pipeline);
  if (input.kind === 'compare' || input.kind === 'query')
    for (const side of [input.baseline, input.candidate]) if (side.kind === 'pipeline') names.add(side.pipeline);
  return spec.pipelines.filter(({ name }) => names.has(name));
}
