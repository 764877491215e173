import { exchange } from '../../src/kube/http.ts';
import type { ClusterAccess } from '../../src/kube/kubeconfig.ts';
import type { RenderedObject } from './helm.ts';

/** What is applied to a server. */
export type Appliable = Pick<RenderedObject, 'apiVersion' | 'kind'> & {
  readonly metadata: Pick<RenderedObject['metadata'], 'name' | 'namespace'>;
  readonly [field: string]: unknown;
};

/** Server-side apply, in which the server must know each field. Throws what the server says. */
export async function apply(
  access: ClusterAccess,
  manifest: Appliable,
  options: { readonly dryRun?: boolean } = {},
): Promise<void> {
  const subject = `${manifest.kind} ${manifest.metadata.name}`;
  const query = `fieldValidation=Strict&fieldManager=helm&force=true${options.dryRun === true ? '&dryRun=All' : ''}`;
  const call = {
    method: 'PATCH',
    path: `${pathOf(manifest)}?${query}`,
    headers: { 'content-type': 'application/apply-patch+yaml' },
    body: JSON.stringify(manifest),
    doing: `applying ${subject}`,
    subject,
  } as const;
  const { status, body } = await exchange(access, call, 30_000, undefined);
  if (status >= 300) throw new Error(`applying ${subject}: ${body}`);
}

/** The collection's path is the kind's plural: for the kinds of our charts, by the usual rule. */
function pathOf({ apiVersion, kind, metadata }: Appliable): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const lower = kind.toLowerCase();
  const plural = lower.endsWith('y') ? `${lower.slice(0, -1)}ies` : `${lower}s`;
  const within = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  return `${root}${within}/${plural}/${metadata.name}`;
}
