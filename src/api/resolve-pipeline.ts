import { DEFAULTS } from './defaults.ts';
import type { PipelineSpec } from './generated/types.ts';
import type {
  ExternalPipelineSpec,
  JobReference,
  PostHogPipelineSpec,
  ResolvedCheck,
  ResolvedJob,
  ResolvedOutputs,
  ResolvedPipeline,
  TemporalPipelineSpec,
} from './resolved.ts';

/** A task needs some of its time to tell how an execution ended, and to stop it. */
const reserveSeconds = 15;

/** A pipeline with its defaults; the schema sees to it that exactly one kind is there. */
export function resolvePipeline(pipeline: PipelineSpec, taskTimeoutSeconds: number): ResolvedPipeline {
  const common = { name: pipeline.name, cursorBound: pipeline.cursorBound ?? DEFAULTS.pipeline.cursorBound };
  const external: ExternalPipelineSpec = {
    ...common,
    executions: pipeline.executions ?? (pipeline.temporal === undefined ? 'PerSource' : 'PerTable'),
    timeoutSeconds: pipeline.timeoutSeconds ?? Math.max(1, taskTimeoutSeconds - reserveSeconds),
    outputs: resolveOutputs(pipeline.outputs ?? {}),
    ...(pipeline.successWhen === undefined ? {} : { successWhen: resolveCheck(pipeline.successWhen) }),
  };
  if (pipeline.command !== undefined) {
    const { argv, folder, env } = pipeline.command;
    return { ...external, command: { argv, folder: folder ?? 'file:.', env: (env ?? []).map(resolveVariable) } };
  }
  if (pipeline.job !== undefined) return { ...external, job: resolveJob(pipeline.job) };
  if (pipeline.temporal !== undefined) return { ...external, temporal: resolveTemporal(pipeline.temporal) };
  if (pipeline.posthog !== undefined) return resolvePostHog(pipeline, pipeline.posthog, external);
  return { ...common, reference: { bug: pipeline.reference?.bug ?? DEFAULTS.pipeline.bug } };
}

/** Its cursor reads `>`, but for dates (src/pipelines/cursor-bound.ts). */
function resolvePostHog(
  pipeline: PipelineSpec,
  { secretRef, syncType, tables, sourceHost, sourcePort, sshTunnel }: NonNullable<PipelineSpec['posthog']>,
  external: ExternalPipelineSpec,
): PostHogPipelineSpec {
  return {
    ...external,
    cursorBound: pipeline.cursorBound ?? DEFAULTS.posthog.cursorBound,
    executions: 'PerTable',
    posthog: {
      secretRef,
      ...(syncType === undefined ? {} : { syncType }),
      tables: tables ?? [],
      ...(sourceHost === undefined ? {} : { sourceHost }),
      ...(sourcePort === undefined ? {} : { sourcePort }),
      ...(sshTunnel === undefined
        ? {}
        : { sshTunnel: { ...sshTunnel, port: sshTunnel.port ?? DEFAULTS.posthog.sshPort } }),
    },
  };
}

function resolveJob(spec: NonNullable<PipelineSpec['job']>): ResolvedJob {
  const { image, imagePullPolicy, workingDir, serviceAccountName, nodeSelector, securityContext } = spec;
  const { runAsNonRoot, readOnlyRootFilesystem } = DEFAULTS.job;
  return {
    image,
    ...(imagePullPolicy === undefined ? {} : { imagePullPolicy }),
    imagePullSecrets: spec.imagePullSecrets ?? [],
    command: spec.command ?? [],
    args: spec.args ?? [],
    ...(workingDir === undefined ? {} : { workingDir }),
    env: (spec.env ?? []).map(({ name, value = '', secretKeyRef }) =>
      secretKeyRef === undefined ? { name, value } : { name, secretKeyRef },
    ),
    envFrom: (spec.envFrom ?? []).flatMap(resolveReference),
    mounts: (spec.mounts ?? []).flatMap(({ path, ...refs }) =>
      resolveReference(refs).map((ref) => ({ path: path.replace(/\/+$/, ''), ...ref })),
    ),
    resources: spec.resources ?? {},
    ...(serviceAccountName === undefined ? {} : { serviceAccountName }),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    tolerations: spec.tolerations ?? [],
    securityContext: { runAsNonRoot, readOnlyRootFilesystem, ...securityContext },
  };
}

/** The schema sees to it that there is exactly one. */
function resolveReference({
  secretRef,
  configMapRef,
}: NonNullable<NonNullable<PipelineSpec['job']>['envFrom']>[number]): readonly JobReference[] {
  if (secretRef !== undefined) return [{ secretRef }];
  return configMapRef === undefined ? [] : [{ configMapRef }];
}

function resolveVariable({ name, value }: { name: string; value?: string }) {
  return { name, ...(value === undefined ? {} : { value }) };
}

function resolveTemporal(spec: NonNullable<PipelineSpec['temporal']>): TemporalPipelineSpec['temporal'] {
  const { address, taskQueue, workflowType, progressQuery, tls, secretRef } = spec;
  const { serverName } = tls ?? {};
  return {
    ...{ address, taskQueue, workflowType },
    namespace: spec.namespace ?? DEFAULTS.temporal.namespace,
    args: spec.args ?? DEFAULTS.temporal.args,
    ...(progressQuery === undefined ? {} : { progressQuery }),
    ...(tls === undefined ? {} : { tls: serverName === undefined ? {} : { serverName } }),
    ...(secretRef === undefined ? {} : { secretRef }),
  };
}

function resolveOutputs(spec: NonNullable<PipelineSpec['outputs']>): ResolvedOutputs {
  const { database, endpoint, region, secretRef } = spec;
  if (database === undefined) {
    return {
      kind: 'files',
      format: spec.format ?? DEFAULTS.outputs.format,
      location: (spec.location ?? DEFAULTS.outputs.location).replace(/\/+$/, ''),
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
      ...(secretRef === undefined ? {} : { secretRef }),
    };
  }
  const { engine, secretRef: server, schema } = database;
  return {
    kind: 'database',
    ...(engine === undefined || server === undefined ? {} : { server: { engine, secretRef: server } }),
    ...(schema === undefined ? {} : { schema }),
    table: database.table ?? DEFAULTS.outputs.table,
  };
}

function resolveCheck(spec: NonNullable<PipelineSpec['successWhen']>): ResolvedCheck {
  const timeoutSeconds = spec.timeoutSeconds ?? DEFAULTS.check.timeoutSeconds;
  if (spec.http !== undefined) {
    const { url, status, contains } = spec.http;
    const answer = { url, status: status ?? DEFAULTS.check.status, ...(contains === undefined ? {} : { contains }) };
    return { timeoutSeconds, http: answer };
  }
  if (spec.query !== undefined) return { timeoutSeconds, query: spec.query };
  return { timeoutSeconds, sql: spec.sql ?? '' };
}
