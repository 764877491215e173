import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import type {
  ExternalPipelineSpec,
  PostHogPipelineSpec,
  ResolvedPipeline,
  ResolvedSpec,
  TemporalPipelineSpec,
} from '../api/resolved.ts';
import { expandText, spellingsOf } from '../api/templates.ts';
import { parseLocation } from '../lake/location.ts';
import type { ObjectStore } from '../lake/store.ts';
import { clickHouseSecrets, querySecrets } from '../queries/secrets.ts';
import { ParityError } from '../support/error.ts';
import type { Removal } from '../tasks/cleanup.ts';
import type { RunIdentity } from '../tasks/task.ts';
import { executionsFolder, isInWorkspace } from './contract.ts';

/** What removing needs to know of a run, wherever it was carried out. */
export interface RemovalContext {
  readonly spec: ResolvedSpec;
  readonly run: RunIdentity;
  /** The run's folder on this machine; undefined where each task had a machine of its own. */
  readonly runFolder?: string;
  /** The run's workspace, as long as it is there: tasks without a folder of the run keep their records in it, so it goes after all this. */
  readonly workspace: () => Promise<ObjectStore>;
  readonly secret: (name: string) => Promise<Readonly<Record<string, string>>>;
}

/**
 * Everything that the run's pipelines may have made outside the workspace and the sources, in the order in which it goes: what still runs first. Complete
 * whatever the run had come to, for it follows from the spec.
 */
export function pipelineRemovals(about: RemovalContext): readonly Removal[] {
  const { spec, runFolder } = about;
  const external = spec.pipelines.filter(isExternal);
  return [
    ...(runFolder !== undefined && external.some((pipeline) => 'command' in pipeline) ? [commands(runFolder)] : []),
    ...external.flatMap((pipeline) => ('temporal' in pipeline ? [workflows(pipeline, about)] : [])),
    ...external.flatMap((pipeline) =>
      'posthog' in pipeline ? [inPostHog(pipeline, about)] : landedElsewhere(pipeline, about),
    ),
    ...querySecrets(spec).map((secretName) => linkedTables(secretName, about)),
    ...clickHouseSecrets(spec).map((secretName) => inClickHouse(secretName, about)),
  ];
}

/** Names of the secrets that removing will need: kept with the run from before anything is made. */
export function removalSecrets(spec: ResolvedSpec): readonly string[] {
  return [...new Set([...pipelineSecrets(spec), ...querySecrets(spec), ...clickHouseSecrets(spec)])];
}

/** Names of the secrets of the run's pipelines. */
export function pipelineSecrets(spec: ResolvedSpec): readonly string[] {
  const names = spec.pipelines.filter(isExternal).flatMap((pipeline) => {
    const { outputs } = pipeline;
    const landing = outputs.kind === 'files' ? outputs.secretRef : outputs.server?.secretRef;
    const server =
      'temporal' in pipeline
        ? pipeline.temporal.secretRef
        : 'posthog' in pipeline
          ? pipeline.posthog.secretRef
          : undefined;
    return [landing, server].flatMap((ref) => (ref === undefined ? [] : [ref.name]));
  });
  return [...new Set(names)];
}

function isExternal(
  pipeline: ResolvedPipeline,
): pipeline is Exclude<ResolvedPipeline, { readonly reference: unknown }> {
  return !('reference' in pipeline);
}

function commands(runFolder: string): Removal {
  return {
    what: 'commands of pipelines',
    command: `cat '${runFolder}'/executions/*/*/process.json   # then: kill -9 -PID`,
    remove: async (signal) => {
      const { endProcesses } = await import('./command-process.ts');
      await endProcesses(executionsFolder(runFolder), signal);
    },
  };
}

function workflows(pipeline: TemporalPipelineSpec, about: RemovalContext): Removal {
  const { address, namespace, secretRef } = pipeline.temporal;
  const prefix = `parity-${about.run.uid}-${pipeline.name}-`;
  return {
    what: `the workflows of pipeline ${pipeline.name} at ${address}`,
    command: `temporal workflow terminate --address ${address} --namespace ${namespace} --query 'WorkflowId STARTS_WITH "${prefix}"'`,
    remove: async () => {
      const ids = (await recordedExecutions(about)).filter((id) => id.startsWith(prefix));
      if (ids.length === 0) return;
      const { endWorkflows } = await import('./temporal-removal.ts');
      await endWorkflows(pipeline, ids, secretRef === undefined ? undefined : await about.secret(secretRef.name));
    },
  };
}

/** Ids of what the run has started, or was about to. */
async function recordedExecutions({ runFolder, workspace }: RemovalContext): Promise<readonly string[]> {
  if (runFolder !== undefined) return await readdir(executionsFolder(runFolder)).catch(() => []);
  const store = await workspace();
  const ids: string[] = [];
  try {
    for await (const { key } of store.list('executions/')) ids.push(key.slice('executions/'.length));
  } catch (error) {
    // Without a workspace nothing was begun, or all else was removed before it.
    if (!(error instanceof ParityError) || error.code !== 'NotFound') throw error;
  } finally {
    store.close();
  }
  return ids;
}

function inPostHog(pipeline: PostHogPipelineSpec, { run, runFolder, secret }: RemovalContext): Removal {
  const prefix = `parity_${run.uid.slice(0, 8)}_`;
  return {
    what: `the sources of run ${run.uid} in the PostHog of pipeline ${pipeline.name}`,
    command: `# in PostHog, Data warehouse: delete the sources whose prefix begins with ${prefix} and whose description names run ${run.uid}`,
    remove: async (signal) => {
      const { removeFromPostHog } = await import('./posthog-removal.ts');
      await removeFromPostHog({ pipeline, run, runFolder, secret, signal });
    },
  };
}

/** Queries in PostHog read the baseline from the run's workspace, which goes after this. */
function linkedTables(secretName: string, { run, runFolder, secret }: RemovalContext): Removal {
  const prefix = `parity_${run.uid.slice(0, 8)}_`;
  return {
    what: `the tables that queries of run ${run.uid} have linked in the PostHog of secret ${secretName}`,
    command: `# in PostHog, Data warehouse: delete the tables whose name begins with ${prefix}base_ or ${prefix}cand_ and whose address holds ${run.uid}`,
    remove: async (signal) => {
      const { removeLinkedTables } = await import('../queries/posthog-tables.ts');
      await removeLinkedTables({ uid: run.uid, runFolder, secretName, secret, signal });
    },
  };
}

/** Where a query task could not drop its databases itself. */
function inClickHouse(secretName: string, { run, runFolder, secret }: RemovalContext): Removal {
  return {
    what: `the databases of run ${run.uid} that queries have made on the ClickHouse server of secret ${secretName}`,
    command: `DROP DATABASE parity_${run.uid.replaceAll('-', '_')}_…   -- every database whose name begins so`,
    remove: async () => {
      const { queriesMark, queryOwner } = await import('../queries/clickhouse-place.ts');
      if (runFolder !== undefined && !existsSync(queriesMark(runFolder, secretName))) return;
      const { parseConnection } = await import('../sources/connection.ts');
      const { dropRunDatabase } = await import('../sources/run-database.ts');
      const connection = parseConnection('ClickHouse', await secret(secretName), queryOwner(secretName));
      await dropRunDatabase(connection, 'ClickHouse', run);
    },
  };
}

function landedElsewhere(pipeline: ExternalPipelineSpec, about: RemovalContext): readonly Removal[] {
  const { outputs } = pipeline;
  const { run, runFolder, secret } = about;
  if (outputs.kind === 'database') {
    const { server } = outputs;
    if (server === undefined) return [];
    return [
      {
        what: `the database of run ${run.uid} that pipeline ${pipeline.name} landed in`,
        command: `DROP DATABASE parity_${run.uid.replaceAll('-', '_')}_…   -- every database whose name begins so`,
        remove: async () => {
          const { mayHaveLandingDatabase } = await import('./outputs.ts');
          if (!mayHaveLandingDatabase(runFolder, pipeline.name)) return;
          const { parseConnection } = await import('../sources/connection.ts');
          const { dropRunDatabase } = await import('../sources/run-database.ts');
          const keys = await secret(server.secretRef.name);
          await dropRunDatabase(
            parseConnection(server.engine, keys, {
              name: pipeline.name,
              secret: server.secretRef.name,
              role: 'pipeline',
            }),
            server.engine,
            run,
          );
        },
      },
    ];
  }
  if (isInWorkspace(outputs.location)) return [];
  return ownFolders(pipeline, outputs.location, about).map((location) => ({
    what: `what pipeline ${pipeline.name} landed at ${location}`,
    command: location.startsWith('file:')
      ? `rm -rf '${location.slice('file://'.length)}'`
      : `aws s3 rm --recursive ${location}/`,
    remove: async () => {
      const { openStore } = await import('../lake/open.ts');
      const keys = outputs.secretRef === undefined ? undefined : await secret(outputs.secretRef.name);
      const store = await openStore({ ...outputs, location }, keys);
      try {
        if (store.location.scheme === 'file') return await rm(store.location.root, { recursive: true, force: true });
        for (;;) {
          const found: string[] = [];
          for await (const { key } of store.list('')) if (found.push(key) === 1000) break;
          if (found.length === 0) return;
          await store.delete(found);
        }
      } finally {
        store.close();
      }
    },
  }));
}

/** The folders outside the workspace whose names carry the run's uid, up to that name: nothing else is ever deleted there. */
function ownFolders(
  pipeline: ExternalPipelineSpec,
  template: string,
  { spec, run }: RemovalContext,
): readonly string[] {
  const places = spec.sources.flatMap(({ name: source, tables }) =>
    tables.map((table) => {
      const values: Readonly<Record<string, string>> = {
        ...spellingsOf(table),
        run: run.uid,
        pipeline: pipeline.name,
        source,
      };
      return expandText(template, (name) => values[name] ?? '');
    }),
  );
  const folders = places.flatMap((place) => {
    const at = place.indexOf(run.uid);
    if (at === -1) return [];
    const end = place.indexOf('/', at);
    const folder = end === -1 ? place : place.slice(0, end);
    // A bucket's name is not a folder's: buckets are never the pipeline's to make.
    const location = parseLocation(folder);
    return location.scheme === 's3' && location.root === '' ? [] : [folder];
  });
  return [...new Set(folders)];
}
