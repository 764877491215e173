import type { ResolvedPipeline } from '../api/resolved.ts';
import { commandExecutor } from './command.ts';
import { externalPipeline } from './external.ts';
import type { Pipeline } from './pipeline.ts';
import { referencePipeline } from './reference.ts';
import { databaseAccess } from './reference-source.ts';

/** The pipeline that an entry of `spec.pipelines` describes. */
export function pipelineFor(spec: ResolvedPipeline): Pipeline {
  if ('reference' in spec) return referencePipeline(spec, databaseAccess);
  return externalPipeline(spec, commandExecutor(spec));
}
