import type { ResolvedSource } from '../../src/api/resolved.ts';
import { ParityError } from '../../src/support/error.ts';
import { applicationSources } from './applications.ts';
import type { Reach } from './server-state.ts';
import { statefulSetSources } from './statefulsets.ts';
import type { SourceProvider } from './types.ts';

export interface ProviderOptions {
  /** Databases on servers that are there. */
  readonly external: SourceProvider;
  /** Servers beside the operator; only the process executor has them. */
  readonly embedded?: SourceProvider;
  /** Where servers in the cluster are reached from this process. Default: by their own address, as from any pod. */
  readonly reach?: Reach;
}

/** Finds the provider of a source by what the source says it is. Throws `InvalidSpec` for `embedded` where tasks run in the cluster. */
export function sourceProviders(options: ProviderOptions): (source: ResolvedSource) => SourceProvider {
  const deployedByArgoCD = applicationSources(options.reach);
  const deployedByUs = statefulSetSources(options.reach);
  return (source) => {
    switch (source.provider.kind) {
      case 'argocd':
        return deployedByArgoCD;
      case 'kubernetes':
        return deployedByUs;
      case 'external':
        return options.external;
      case 'embedded':
        if (options.embedded !== undefined) return options.embedded;
        throw new ParityError(
          'InvalidSpec',
          `source "${source.name}" is embedded, and in a cluster there is no machine to start its server on`,
          {
            subject: `spec.sources[${source.name}].embedded`,
            advice: 'Write argocd, kubernetes or external in place of it.',
          },
        );
    }
  };
}
