import type { JobPipelineSpec, ResolvedSpec } from '../../src/api/resolved.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { configMaps } from '../../src/kube/objects.ts';
import { parseLocation } from '../../src/lake/location.ts';
import {
  type ContractContext,
  connectionUrl,
  type Execution,
  type ExecutionSecrets,
  executionsOf,
} from '../../src/pipelines/contract.ts';
import { configMapsOfJob, isJobPipeline, secretsOfJob } from '../../src/pipelines/job.ts';
import { parseConnection } from '../../src/sources/connection.ts';
import { ParityError } from '../../src/support/error.ts';
import { registerSecret } from '../../src/support/log.ts';
import { within } from '../../src/support/retry.ts';
import { readKeys } from './credentials.ts';
import { sourceName } from './names.ts';
import { contractFolder, type SyncTask } from './pipeline-job.ts';
import type { Hold, Scope } from './types.ts';

/** How long a server that a pipeline lands in may take to answer. */
const answerMs = 30_000;

/**
 * The executions of a sync with all that they are told. Makes the run's own database on the server that the pipeline lands in, unless it is there. Throws
 * `NotFound` where a source's connection is gone, and what that server answers.
 */
export async function executionsOfJob(
  scope: Scope,
  pipeline: JobPipelineSpec,
  { input }: Pick<SyncTask, 'input'>,
): Promise<{ readonly executions: readonly Execution[]; readonly secrets: ExecutionSecrets }> {
  const { kube, hold } = scope;
  const engine = hold.spec.sources.find(({ name }) => name === input.source)?.engine ?? 'Postgres';
  const secret = sourceName(hold.run.uid, input.source);
  const keys = await readKeys(kube, hold.namespace, secret);
  if (keys === undefined)
    throw new ParityError('NotFound', `the Secret ${hold.namespace}/${secret} with the connection is gone`, {
      subject: input.source,
      advice: 'Start another run.',
    });
  const source = parseConnection(engine, keys, { name: input.source, secret });
  registerSecret(connectionUrl(source, engine));
  const place = { secret, secretDir: `${contractFolder}/source` };
  return {
    executions: await executionsOf(pipeline, input, contextOf(hold), source, place),
    secrets: { source, ...(await landingSecrets(pipeline, hold)) },
  };
}

/** What the contract follows from, as the run has it. */
export function contextOf({ run, spec, workspace }: Pick<Hold, 'run' | 'spec' | 'workspace'>): ContractContext {
  const { location, ...server } = workspace.storage;
  return { file: { run, spec }, workspace: { location: parseLocation(location, server) } };
}

async function landingSecrets(pipeline: JobPipelineSpec, hold: Hold): Promise<Omit<ExecutionSecrets, 'source'>> {
  const { outputs } = pipeline;
  const copyOf = (name: string) => hold.secrets[name] ?? {};
  if (outputs.kind === 'files')
    return outputs.secretRef === undefined ? {} : { storage: copyOf(outputs.secretRef.name) };
  const { server } = outputs;
  if (server === undefined) return {};
  const { landingDatabase } = await import('../../src/pipelines/outputs.ts');
  const making = landingDatabase(pipeline, server, {
    file: { run: hold.run },
    secret: async (name) => copyOf(name),
  });
  // It goes on in vain after its bound; nobody waits for it.
  making.catch(() => undefined);
  const late = () =>
    new ParityError(
      'Unreachable',
      `the server that pipeline ${pipeline.name} lands in did not answer within ${answerMs / 1000} s`,
      { subject: server.secretRef.name, isRetryable: true },
    );
  const connection = await within(answerMs, making, late);
  registerSecret(connectionUrl(connection, server.engine));
  return { database: { ...connection, engine: server.engine } };
}

/** From here on nothing that the pod was given can stand in what is said of it. */
export async function protectSecrets({ kube, hold }: Scope, pipeline: JobPipelineSpec, source: string): Promise<void> {
  const names = [...secretsOfJob(pipeline), sourceName(hold.run.uid, source)];
  await Promise.all([...new Set(names)].map((name) => readKeys(kube, hold.namespace, name)));
}

/** What Jobs of the spec's pipelines name and is not there: `Secret shop/keys has no key token`. */
export async function missingForJobs(
  kube: KubeClient,
  spec: ResolvedSpec,
  namespace: string,
): Promise<string | undefined> {
  for (const pipeline of spec.pipelines.filter(isJobPipeline)) {
    for (const name of new Set(configMapsOfJob(pipeline)))
      if ((await kube.find(configMaps, { namespace, name })) === undefined)
        return `there is no ConfigMap ${namespace}/${name}`;
    for (const name of new Set(secretsOfJob(pipeline))) {
      const keys = await readKeys(kube, namespace, name);
      if (keys === undefined) return `there is no Secret ${namespace}/${name}`;
      const unknown = pipeline.job.env.find(
        (variable) =>
          'secretKeyRef' in variable &&
          variable.secretKeyRef.name === name &&
          keys[variable.secretKeyRef.key] === undefined,
      );
      if (unknown !== undefined && 'secretKeyRef' in unknown)
        return `the Secret ${namespace}/${name} has no key ${unknown.secretKeyRef.key}`;
    }
  }
  return undefined;
}
