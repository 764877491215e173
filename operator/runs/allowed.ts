import type { Finding } from '../../src/api/problem.ts';
import type { ResolvedSpec } from '../../src/api/resolved.ts';
import type { OperatorOptions } from './types.ts';

type Installation = Pick<OperatorOptions, 'allow' | 'argocd' | 'executor'>;

/** What an installation does not let its runs do: each field with what to write instead. Empty where all is allowed. */
export function notAllowed(spec: ResolvedSpec, installation: Installation): readonly Finding[] {
  return [
    ...(installation.allow.fileLocations ? [] : fileLocations(spec)),
    ...spec.sources.flatMap((source, index) => sourceNotAllowed(source.provider.kind, index, installation)),
    ...(installation.allow.command ? [] : commands(spec)),
    ...jobsOnEmbedded(spec),
  ];
}

/** A pod's files are nobody's: what it reads and writes there is gone with it. */
function fileLocations(spec: ResolvedSpec): readonly Finding[] {
  const message = 'a cluster has no folder of its own for this; write an s3:// location';
  const places = [
    { path: ['spec', 'snapshot', 'location'], location: spec.snapshot.location },
    { path: ['spec', 'workspace', 'location'], location: spec.workspace.location },
    { path: ['spec', 'reports', 'location'], location: spec.reports.location },
    ...spec.scenario.flatMap((step, index) => {
      if (!('compare' in step)) return [];
      return (['baseline', 'candidate'] as const).flatMap((name) => {
        const side = step.compare[name];
        const path = ['spec', 'scenario', index, 'compare', name, 'location'];
        return 'location' in side ? [{ path, location: side.location }] : [];
      });
    }),
    ...spec.queries.flatMap((query, index) => {
      if (!('inherited' in query) || !('files' in query.inherited.from)) return [];
      const path = ['spec', 'queries', index, 'inherited', 'files', 'location'];
      return [{ path, location: query.inherited.from.files.location }];
    }),
  ];
  return places
    .filter(({ location }) => /^([a-z]+:)?file:/.test(location))
    .map(({ path, location }) => ({ path, message: `found "${location}"; ${message}` }));
}

function sourceNotAllowed(
  kind: ResolvedSpec['sources'][number]['provider']['kind'],
  index: number,
  { allow, argocd, executor }: Installation,
): readonly Finding[] {
  const path = ['spec', 'sources', index];
  switch (kind) {
    case 'external':
    case 'kubernetes':
      return [];
    case 'embedded': {
      if (allow.embedded && executor === 'Process') return [];
      const message = 'a cluster has no machine of its own for this; write argocd: {}, kubernetes: {} or external';
      return [{ path: [...path, 'embedded'], message }];
    }
    case 'argocd': {
      if (argocd !== undefined) return [];
      const message = 'this installation knows no Argo CD; write kubernetes: {} or external';
      return [{ path: [...path, 'argocd'], message }];
    }
  }
}

/** A command would run with whatever the task's pod may do. */
function commands(spec: ResolvedSpec): readonly Finding[] {
  return spec.pipelines.flatMap((pipeline, index) =>
    'command' in pipeline
      ? [{ path: ['spec', 'pipelines', index, 'command'], message: 'this installation runs no commands; write job' }]
      : [],
  );
}

/** A pod of the cluster does not reach a server on the operator's own machine. */
function jobsOnEmbedded(spec: ResolvedSpec): readonly Finding[] {
  const embedded = spec.sources.find(({ provider }) => provider.kind === 'embedded');
  if (embedded === undefined) return [];
  const message = `its pods do not reach source ${embedded.name}, which is embedded; write kubernetes: {}, argocd: {} or external there`;
  return spec.pipelines.flatMap((pipeline, index) =>
    'job' in pipeline ? [{ path: ['spec', 'pipelines', index, 'job'], message }] : [],
  );
}
