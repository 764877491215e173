import type { RenderedObject } from './helm.ts';

/** A request to an API server as its authorization sees it. */
export interface Access {
  readonly verb: string;
  readonly group: string;
  /** With its subresource, as `pods/log`. */
  readonly resource: string;
  /** Undefined: of the whole cluster. */
  readonly namespace: string | undefined;
}

/** What the Roles of a chart and the requests of the operator have to say to each other. */
export interface Comparison {
  /** Requests that no rule allows. */
  readonly missing: readonly string[];
  /** Verbs of rules that no request has used. */
  readonly unused: readonly string[];
}

/**
 * Compares the rules that a ServiceAccount is bound to with what was asked in its name: a Role that allows more than what is done, or
 * less, is wrong. `requests` are all of a whole suite: what happens nowhere in it counts as unused.
 */
export function compareAccess(
  manifests: readonly RenderedObject[],
  account: { readonly name: string; readonly namespace: string },
  requests: readonly Access[],
): Comparison {
  const grants = grantsOf(manifests, account);
  const missing = requests.filter((access) => !grants.some((grant) => allows(grant, access)));
  const unused = grants.filter((grant) => !requests.some((access) => allows(grant, access)));
  return { missing: said(missing), unused: said(unused) };
}

/**
 * The same by what the operator has counted of its requests, for a cluster that keeps no record of them: groups, subresources and namespaces
 * are not told apart. `metrics` are the texts of `/metrics` of each process that the suite has had.
 */
export function compareCounted(
  manifests: readonly RenderedObject[],
  account: { readonly name: string; readonly namespace: string },
  metrics: readonly string[],
): Comparison {
  const plain = ({ verb, resource }: Pick<Access, 'verb' | 'resource'>) => `${verb} ${resource.split('/')[0]}`;
  const counted = metrics.flatMap((text) => [...text.matchAll(countedRequest)].map(({ groups }) => groups ?? {}));
  const used = new Set(counted.map(({ verb = '', resource = '' }) => plain({ verb, resource })));
  const granted = new Set(grantsOf(manifests, account).map(plain));
  const refused = counted
    .filter(({ code }) => code === '403')
    .map(({ verb = '', resource = '' }) => plain({ verb, resource }));
  return {
    missing: [...new Set([...[...used].filter((each) => !granted.has(each)), ...refused])].sort(),
    unused: [...granted].filter((each) => !used.has(each)).sort(),
  };
}

const countedRequest =
  /^parity_api_requests_total\{verb="(?<verb>\w+)",resource="(?<resource>\w+)",code="(?<code>\w+)"\} [1-9]/gm;

/** The access that a request needs, by its method and path; undefined for paths that are not about resources, as `/version`. */
export function accessOf(method: string, path: string, query: URLSearchParams): Access | undefined {
  const match =
    /^\/(?:api\/v1|apis\/(?<group>[^/]+)\/[^/]+)(?:\/namespaces\/(?<namespace>[^/]+)(?=\/))?\/(?<resource>[^/]+)(?:\/(?<name>[^/]+)(?:\/(?<sub>.+))?)?$/.exec(
      path,
    );
  const { group = '', namespace, resource, name, sub } = match?.groups ?? {};
  if (resource === undefined) return undefined;
  const verb = verbOf(method, name !== undefined, query.get('watch') === 'true' || query.get('watch') === '1');
  return { verb, group, resource: sub === undefined ? resource : `${resource}/${sub}`, namespace };
}

/** One verb on one resource in one place: what a rule is made of. */
type Grant = Access;

function grantsOf(
  manifests: readonly RenderedObject[],
  account: { name: string; namespace: string },
): readonly Grant[] {
  return manifests
    .filter(({ kind }) => kind === 'RoleBinding' || kind === 'ClusterRoleBinding')
    .filter((binding) => isAbout(binding, account))
    .flatMap((binding) => {
      const { kind, name } = record(binding.roleRef);
      const { namespace } = binding.metadata;
      const role = manifests.find(
        (manifest) =>
          manifest.kind === kind &&
          manifest.metadata.name === name &&
          (kind === 'ClusterRole' || manifest.metadata.namespace === namespace),
      );
      if (role === undefined)
        throw new Error(`${binding.kind} ${binding.metadata.name} binds ${kind} ${name}, which is not there`);
      return list(role.rules).flatMap((rule) => grantsOfRule(record(rule), namespace));
    });
}

function grantsOfRule(rule: Readonly<Record<string, unknown>>, namespace: string | undefined): Grant[] {
  return list(rule.apiGroups).flatMap((group) =>
    list(rule.resources).flatMap((resource) =>
      list(rule.verbs).map((verb) => {
        const texts = { group: String(group), resource: String(resource), verb: String(verb) };
        if (Object.values(texts).includes('*')) throw new Error(`a rule allows everything: ${JSON.stringify(rule)}`);
        return { ...texts, namespace };
      }),
    ),
  );
}

function allows(grant: Grant, access: Access): boolean {
  return (
    grant.verb === access.verb &&
    grant.group === access.group &&
    grant.resource === access.resource &&
    (grant.namespace === undefined || grant.namespace === access.namespace)
  );
}

function isAbout(binding: RenderedObject, account: { name: string; namespace: string }): boolean {
  return list(binding.subjects).some((subject) => {
    const { kind, name, namespace } = record(subject);
    return kind === 'ServiceAccount' && name === account.name && namespace === account.namespace;
  });
}

function verbOf(method: string, isNamed: boolean, isWatch: boolean): string {
  switch (method) {
    case 'GET':
      return isWatch ? 'watch' : isNamed ? 'get' : 'list';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return isNamed ? 'delete' : 'deletecollection';
    default:
      return method.toLowerCase();
  }
}

function said(accesses: readonly Access[]): readonly string[] {
  const lines = accesses.map(
    ({ verb, group, resource, namespace }) =>
      `${verb} ${resource}${group === '' ? '' : `.${group}`}${namespace === undefined ? '' : ` in ${namespace}`}`,
  );
  return [...new Set(lines)].sort();
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
