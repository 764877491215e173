import { randomUUID } from 'node:crypto';
import type { OperatorOptions, Scope } from '../../operator/runs/types.ts';
import type { ResolvedSource } from '../../src/api/resolved.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { configMaps } from '../../src/kube/objects.ts';
import { spec } from './spec.ts';

export interface ScopeOptions {
  readonly kube: KubeClient;
  /** It exists. */
  readonly namespace: string;
  readonly argocd?: OperatorOptions['argocd'];
  readonly secrets?: Scope['hold']['secrets'];
  /** Added to the time of day, in ms. */
  readonly clock?: { aheadMs: number };
  /** Where tasks have recorded something. Default: nowhere. */
  readonly workspace?: string;
}

/** What a reconciler of sources is given. A ConfigMap stands in for the run: it has a uid, and what it owns goes with it. */
export async function sourceScope({
  kube,
  namespace,
  argocd,
  secrets,
  clock,
  workspace,
}: ScopeOptions): Promise<Scope> {
  const name = `run-${randomUUID().slice(0, 8)}`;
  const owner = await kube.create(configMaps, { metadata: { name, namespace } });
  const { uid } = owner.metadata;
  const run = { name, uid, installation: 'test' };
  return {
    kube,
    options: {
      installation: 'test',
      namespace: 'parity-system',
      image: 'none',
      imagePullSecrets: [],
      executor: 'Jobs',
      allow: { command: false, embedded: false, fileLocations: false },
      ...(argocd === undefined ? {} : { argocd }),
      parallelRuns: 1,
      nodeSelector: {},
      tolerations: [],
    },
    run: { ...owner, spec: {} },
    hold: {
      run,
      namespace,
      spec: spec(),
      specDigest: '',
      graphVersion: 1,
      image: 'none',
      workspace: { ownsBucket: false, storage: { location: workspace ?? 'file:///nowhere' } },
      secrets: secrets ?? {},
    },
    events: { record: () => undefined },
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
    signal: new AbortController().signal,
    now: () => new Date(Date.now() + (clock?.aheadMs ?? 0)),
  };
}

/** A source that is deployed as the provider says. */
export function deployed(
  engine: ResolvedSource['engine'],
  provider: Extract<ResolvedSource['provider'], { readonly server: unknown }>,
  engineVersion?: string,
): ResolvedSource {
  const version = engineVersion === undefined ? {} : { engineVersion };
  return { name: 'shop', engine, tables: ['flights'], columns: [], provider, ...version };
}
