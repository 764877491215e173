import { DEFAULTS } from './defaults.ts';
import { isLocationInside, locationProblem } from './locations.ts';
import { placeholdersOf } from './placeholders.ts';
import { type Finding, type Path, shown } from './problem.ts';
import { bytesOf } from './quantity.ts';
import type {
  ExternalPipelineSpec,
  JobPipelineSpec,
  PostHogPipelineSpec,
  ResolvedOutputs,
  ResolvedSpec,
} from './resolved.ts';
import { suggestion, unknownTable } from './suggest.ts';
import {
  EXECUTION_VARIABLES,
  expandText,
  NAMING_VARIABLES,
  SECRET_VARIABLES,
  TABLE_VARIABLES,
  variablesIn,
} from './templates.ts';

/** Templates, places and times of pipelines that are not built in. */
export function validatePipelines(spec: ResolvedSpec): Finding[] {
  const each = spec.pipelines.flatMap((pipeline, index) => {
    if ('reference' in pipeline) return [];
    const path: Path = ['spec', 'pipelines', index];
    return [
      ...validateTime(pipeline, spec, path),
      ...('posthog' in pipeline
        ? [...validatePostHog(pipeline, spec, path), ...validateSyncTypes(pipeline, spec, path)]
        : validateOutputs(pipeline.outputs, spec, [...path, 'outputs'])),
      ...validateCheck(pipeline, spec, [...path, 'successWhen']),
      ...validateCommand(pipeline, path),
      ...validateJob(pipeline, path),
      ...validateTemporal(pipeline, path),
    ];
  });
  return [...each, ...sharedPlaces(spec)];
}

function validateTime({ timeoutSeconds }: ExternalPipelineSpec, { execution }: ResolvedSpec, path: Path): Finding[] {
  if (timeoutSeconds <= execution.timeoutSeconds) return [];
  const message = `found ${timeoutSeconds}, which is more than the ${execution.timeoutSeconds} s of its task; raise execution.timeoutSeconds too`;
  return [{ path: [...path, 'timeoutSeconds'], message }];
}

/** PostHog lands in a bucket of its own, in folders that it names itself. */
function validatePostHog({ outputs }: PostHogPipelineSpec, { sources }: ResolvedSpec, pipeline: Path): Finding[] {
  const snowflake = sources.find(({ engine }) => engine === 'Snowflake');
  if (snowflake !== undefined)
    return [
      {
        path: [...pipeline, 'posthog'],
        message: `syncs Postgres and MySQL so far, and source ${snowflake.name} is Snowflake`,
      },
    ];
  const path: Path = [...pipeline, 'outputs'];
  if (outputs.kind !== 'files' || outputs.format !== 'Delta')
    return [
      {
        path,
        message: 'PostHog lands Delta tables; say by location where its bucket is, and leave format and database out',
      },
    ];
  const at: Path = [...path, 'location'];
  if (outputs.location === DEFAULTS.outputs.location)
    return [
      {
        path: at,
        message:
          "missing; PostHog lands outside the run's workspace: say where its folders team_… lie, such as s3://bucket/dlt",
      },
    ];
  if (variablesIn(outputs.location).length > 0)
    return [
      {
        path: at,
        message: 'takes no placeholder here: PostHog names its folders itself, and the run asks it for them',
      },
    ];
  const problem = locationProblem(outputs.location, { mayBeNewBucket: false });
  return problem === undefined ? [] : [{ path: at, message: problem }];
}

function validateSyncTypes({ posthog }: PostHogPipelineSpec, { snapshot }: ResolvedSpec, pipeline: Path): Finding[] {
  return posthog.tables.flatMap(({ name, syncType }, index) => {
    const path: Path = [...pipeline, 'posthog', 'tables', index];
    const table = snapshot.tables.find((one) => one.name === name);
    if (table === undefined)
      return [
        {
          path: [...path, 'name'],
          message: unknownTable(
            name,
            snapshot.tables.map((one) => one.name),
          ),
        },
      ];
    const missing =
      syncType !== 'FullRefresh' && table.cursor === undefined
        ? 'cursor'
        : syncType === 'Incremental' && table.key.length === 0
          ? 'key'
          : undefined;
    if (missing === undefined) return [];
    return [{ path: [...path, 'syncType'], message: `${syncType} needs a ${missing}, and table "${name}" has none` }];
  });
}

function validateOutputs(outputs: ResolvedOutputs, spec: ResolvedSpec, path: Path): Finding[] {
  if (outputs.kind === 'database') {
    const { schema = '', table, server } = outputs;
    const engines = server === undefined ? spec.sources.map(({ engine }) => engine) : [server.engine];
    const without = schema === '' ? undefined : engines.find((engine) => engine !== 'Postgres');
    const findings = [
      ...(without === undefined
        ? []
        : [
            {
              path: [...path, 'database', 'schema'],
              message: `${noSchema[without]}; give the tables names of their own with table`,
            },
          ]),
      ...unknownVariables(table, NAMING_VARIABLES, [...path, 'database', 'table']),
      ...unknownVariables(schema, ['run', 'pipeline', 'source'], [...path, 'database', 'schema']),
    ];
    if (findings.length > 0) return findings;
    const collided = collisions(table, spec, [...path, 'database', 'table']);
    return collided.length > 0 || server !== undefined ? collided : overSources(outputs, spec, [...path, 'database']);
  }
  const at: Path = [...path, 'location'];
  const unknown = unknownVariables(outputs.location, ['landing', ...NAMING_VARIABLES], at);
  if (unknown.length > 0) return unknown;
  if (outputs.location.split('/').includes('..'))
    return [{ path: at, message: `found "${outputs.location}"; write it without '..'` }];
  const isOwn = /^\{\{landing\}\}(\/|$)/.test(outputs.location);
  const findings = collisions(outputs.location, spec, at);
  if (isOwn) {
    const about = (['endpoint', 'region'] as const).filter((field) => outputs[field] !== undefined);
    const message = 'has no meaning inside the workspace, which has its own; remove it';
    return [...findings, ...about.map((field) => ({ path: [...path, field], message }))];
  }
  const location = outputs.location.replaceAll(/\{\{[^{}]*\}\}/g, 'any');
  const problem = locationProblem(location, { mayBeNewBucket: false });
  if (problem !== undefined) return [...findings, { path: at, message: problem }];
  // The run's copy of the baseline lies in the one, and the tables that it was copied from in the other.
  if (isLocationInside({ ...outputs, location }, spec.workspace)) {
    const message = `"${outputs.location}" lies inside the workspace, where the baseline is kept too; write {{landing}}/{{table}}`;
    return [...findings, { path: at, message }];
  }
  if (isLocationInside({ ...outputs, location }, spec.snapshot)) {
    const message = `"${outputs.location}" lies inside the snapshot's location, which is only ever read; write {{landing}}/{{table}}, or a place outside it`;
    return [...findings, { path: at, message }];
  }
  if (/^[^/]*\/\/[^/]*\/(.*\/)?[^/]*\{\{run\}\}/.test(outputs.location)) return findings;
  const message = `"${outputs.location}" has no {{run}} in a folder's name, so runs would mix and nobody could clean up; write {{landing}}/{{table}}, or put {{run}} into it`;
  return [...findings, { path: at, message }];
}

const noSchema = {
  MySQL: 'MySQL has no schemas inside a database',
  ClickHouse: 'ClickHouse has no schemas inside a database',
  Snowflake: 'in Snowflake the run has one schema of its own, which is dropped with it',
};

/** Two tables of one source must not land in one place. */
function collisions(template: string, spec: ResolvedSpec, path: Path): Finding[] {
  const names = new Set(variablesIn(template));
  const isPerSource = names.has('source') || names.has('landing');
  const taken = new Map<string, string>();
  for (const { source, table, place } of placesOf(template, spec)) {
    const key = path.includes('database') && !isPerSource ? `${source}/${place}` : place;
    const other = taken.get(key);
    taken.set(key, `${source}.${table}`);
    if (other !== undefined)
      return [
        {
          path,
          message: `${other} and ${source}.${table} would land in one place; put {{source}} or {{table}} into it`,
        },
      ];
  }
  return [];
}

/** A table that lands where its source has it, or another, has always landed, whether the pipeline does anything or not. */
function overSources(
  outputs: Extract<ResolvedOutputs, { kind: 'database' }>,
  spec: ResolvedSpec,
  path: Path,
): Finding[] {
  return spec.sources.flatMap(({ name, engine, tables }) => {
    // Only Postgres has schemas beside that of the source's tables, and tells names apart by case.
    if (
      engine === 'Postgres' &&
      expandText(outputs.schema ?? 'public', (variable) => (variable === 'source' ? name : variable)) !== 'public'
    )
      return [];
    const spelled = (table: string): string => (engine === 'Postgres' ? table : table.toLowerCase());
    const own = new Map(tables.map((table) => [spelled(table), table]));
    const landed = placesOf(outputs.table, spec).find(
      ({ source, place }) => source === name && own.has(spelled(place)),
    );
    if (landed === undefined) return [];
    const message = `${name}.${landed.table} would land in the source's own table "${own.get(spelled(landed.place))}"; give landed tables a schema of their own or other names`;
    return [{ path: [...path, 'table'], message }];
  });
}

/** What a template becomes for each table of each source; what is the same in the whole run stays a name. */
function placesOf(template: string, spec: ResolvedSpec, pipeline = 'pipeline') {
  return spec.sources.flatMap(({ name: source, tables }) =>
    tables.map((table) => {
      const place = expandText(template, (name) => {
        if (name === 'table') return table;
        if (name === 'table.upper') return table.toUpperCase();
        if (name === 'table.lower') return table.toLowerCase();
        if (name === 'table.snake') return table.toLowerCase().replaceAll('-', '_');
        if (name === 'pipeline') return pipeline;
        return name === 'source' || name === 'landing' ? source : name;
      });
      return { source, table, place };
    }),
  );
}

/**
 * Two pipelines must not land in one place: the second would write over the first, and a comparison of the two would be one of the same tables.
 * The workspace has a folder, and a server a database, for each pipeline.
 */
function sharedPlaces(spec: ResolvedSpec): Finding[] {
  const taken = new Map<string, string>();
  return spec.pipelines.flatMap((pipeline, index): Finding[] => {
    if ('reference' in pipeline || 'posthog' in pipeline) return [];
    const places = sharablePlaces(pipeline, spec);
    const shared = places.find((place) => taken.has(place));
    const other = taken.get(shared ?? '');
    for (const place of places) taken.set(place, pipeline.name);
    if (shared === undefined) return [];
    const message = `lands where pipeline "${other}" does; put {{pipeline}} into it`;
    const { kind } = pipeline.outputs;
    const field: Path = kind === 'files' ? ['location'] : ['database', 'table'];
    return [{ path: ['spec', 'pipelines', index, 'outputs', ...field], message }];
  });
}

function sharablePlaces({ name, outputs }: ExternalPipelineSpec, spec: ResolvedSpec): string[] {
  if (outputs.kind === 'files') {
    if (/^\{\{landing\}\}(\/|$)/.test(outputs.location)) return [];
    return placesOf(outputs.location, spec, name).map(({ place }) => `${outputs.endpoint ?? ''} ${place}`);
  }
  if (outputs.server !== undefined) return [];
  const { schema = 'public', table } = outputs;
  return placesOf(`${schema}.${table}`, spec, name).map(({ source, place }) => `${source} ${place}`);
}

function validateCheck(
  { successWhen: check, executions }: ExternalPipelineSpec,
  spec: ResolvedSpec,
  path: Path,
): Finding[] {
  if (check === undefined) return [];
  if ('http' in check) {
    return [
      ...executionVariables(check.http.url, executions, [...path, 'http', 'url'], []),
      ...executionVariables(check.http.contains ?? '', executions, [...path, 'http', 'contains'], []),
    ];
  }
  if ('query' in check) {
    if (parsed(check.query.equals) !== undefined) return [];
    const message = `found ${shown(check.query.equals)}; it must be JSON text, such as true or "done" with its quotes`;
    return [{ path: [...path, 'query', 'equals'], message }];
  }
  const names = spec.snapshot.tables.map(({ name }) => name);
  return placeholdersOf(check.sql)
    .filter(({ source, table }) => source !== undefined || !names.includes(table))
    .map(({ text, table }) => ({
      path: [...path, 'sql'],
      message: `${text}: the snapshot has no such table; ${suggestion(table, names)}`,
    }));
}

function validateCommand(pipeline: ResolvedSpec['pipelines'][number], path: Path): Finding[] {
  if (!('command' in pipeline)) return [];
  const { argv, env } = pipeline.command;
  const below: Path = [...path, 'command'];
  return [
    ...argv.flatMap((text, at) => executionVariables(text, pipeline.executions, [...below, 'argv', at], [])),
    ...env.flatMap(({ name, value = '' }, at) => [
      ...executionVariables(value, pipeline.executions, [...below, 'env', at, 'value'], SECRET_VARIABLES),
      ...ofTheContract(name, [...below, 'env', at, 'name']),
    ]),
  ];
}

function ofTheContract(name: string, path: Path): Finding[] {
  if (!name.startsWith('PARITY_')) return [];
  return [{ path, message: "names that begin with PARITY_ are the contract's; choose another" }];
}

/** Templates as of a command. What only Kubernetes knows (labels, tolerations) is asked of the API server when the run begins. */
function validateJob(pipeline: ResolvedSpec['pipelines'][number], path: Path): Finding[] {
  if (!('job' in pipeline)) return [];
  const { command, args, env, mounts, resources } = pipeline.job;
  const below: Path = [...path, 'job'];
  const inTexts = (field: 'command' | 'args', texts: readonly string[]): Finding[] =>
    texts.flatMap((text, at) => executionVariables(text, pipeline.executions, [...below, field, at], []));
  return [
    ...inTexts('command', command),
    ...inTexts('args', args),
    ...env.flatMap((variable, at) => [
      ...('value' in variable
        ? executionVariables(variable.value, pipeline.executions, [...below, 'env', at, 'value'], SECRET_VARIABLES)
        : []),
      ...ofTheContract(variable.name, [...below, 'env', at, 'name']),
    ]),
    ...mounts.flatMap(({ path: place }, at) => validateMount(place, [...below, 'mounts', at, 'path'])),
    ...validateResources(resources, [...below, 'resources']),
  ];
}

function validateMount(place: string, path: Path): Finding[] {
  if (place.split('/').includes('..')) return [{ path, message: `found "${place}"; write it without '..'` }];
  if (place !== '/parity' && !place.startsWith('/parity/')) return [];
  return [{ path, message: `found "${place}", where the contract's files are; choose another folder` }];
}

function validateResources({ requests, limits }: JobPipelineSpec['job']['resources'], path: Path): Finding[] {
  const asked = requests?.memory;
  const most = limits?.memory;
  const isMoreMemory = asked !== undefined && most !== undefined && bytesOf(asked) > bytesOf(most);
  const isMoreCpu =
    requests?.cpu !== undefined && limits?.cpu !== undefined && processors(requests.cpu) > processors(limits.cpu);
  const finding = (name: 'cpu' | 'memory'): Finding => ({
    path: [...path, 'requests', name],
    message: `found ${requests?.[name]}, which is more than the limit of ${limits?.[name]}`,
  });
  return [...(isMoreCpu ? [finding('cpu')] : []), ...(isMoreMemory ? [finding('memory')] : [])];
}

function processors(quantity: string): number {
  return quantity.endsWith('m') ? Number(quantity.slice(0, -1)) / 1000 : Number(quantity);
}

/** A workflow's arguments may hold a password, where somebody has said so: it is then in the workflow's history for good. */
function validateTemporal(pipeline: ResolvedSpec['pipelines'][number], path: Path): Finding[] {
  if (!('temporal' in pipeline)) return [];
  const { args } = pipeline.temporal;
  const at: Path = [...path, 'temporal', 'args'];
  if (!Array.isArray(parsed(args)?.value)) {
    const message = `found ${shown(args)}; it must be the JSON text of an array, such as ["{{request}}"]`;
    return [{ path: at, message }];
  }
  return executionVariables(args, pipeline.executions, at, SECRET_VARIABLES);
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** Placeholders of an argument or variable that have no value there. */
export function executionVariables(
  text: string,
  executions: ExternalPipelineSpec['executions'],
  path: Path,
  secrets: readonly string[],
): Finding[] {
  return variablesIn(text).flatMap((name) => {
    if (SECRET_VARIABLES.some((secret) => secret === name) && !secrets.includes(name)) {
      const message = `{{${name}}} is a secret, which everybody on the machine could read here; put it into env`;
      return [{ path, message }];
    }
    if (executions === 'PerSource' && TABLE_VARIABLES.some((known) => known === name)) {
      const message = `{{${name}}} has no value where one execution syncs all tables; write {{tables}} or {{request}}, or executions: PerTable`;
      return [{ path, message }];
    }
    return unknownVariables(`{{${name}}}`, [...EXECUTION_VARIABLES, ...secrets], path);
  });
}

function unknownVariables(text: string, known: readonly string[], path: Path): Finding[] {
  return variablesIn(text)
    .filter((name) => !known.includes(name))
    .map((name) => ({ path, message: `there is no {{${name}}} here; ${suggestion(name, known)}` }));
}
