import type { ResolvedPipeline } from '../api/resolved.ts';
import { commandExecutor } from './command.ts';
import { type Executor, externalPipeline } from './external.ts';
import { jobExecutor } from './job.ts';
import type { Pipeline } from './pipeline.ts';
import { postHogPipeline } from './posthog.ts';
import { referencePipeline } from './reference.ts';
import { databaseAccess } from './reference-source.ts';

/** The pipeline that an entry of `spec.pipelines` describes. */
export function pipelineFor(spec: ResolvedPipeline): Pipeline {
  if ('reference' in spec) return referencePipeline(spec, databaseAccess);
  if ('posthog' in spec) return postHogPipeline(spec);
  if ('command' in spec) return externalPipeline(spec, commandExecutor(spec));
  if ('job' in spec) return externalPipeline(spec, jobExecutor(spec));
  return externalPipeline(
    spec,
    lazily(async () => (await import('./temporal.ts')).temporalExecutor(spec)),
  );
}

/** An executor whose libraries are loaded when it is used: most tasks only read what a pipeline has landed. */
function lazily(load: () => Promise<Executor>): Executor {
  let loading: Promise<Executor> | undefined;
  return {
    maxRunning: Number.POSITIVE_INFINITY,
    async start(...args) {
      loading ??= load();
      return await (await loading).start(...args);
    },
    close: async () => await (await loading)?.close?.(),
  };
}
