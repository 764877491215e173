import type { ResolvedPipeline } from '../api/resolved.ts';
import type { Pipeline } from './pipeline.ts';
import { referencePipeline } from './reference.ts';
import { databaseAccess } from './reference-source.ts';

/** The pipeline that an entry of `spec.pipelines` describes. */
export function pipelineFor(spec: ResolvedPipeline): Pipeline {
  return referencePipeline(spec, databaseAccess);
}
