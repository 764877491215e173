import { isIP } from 'node:net';
import { chartValuesProblem } from './chart-values.ts';
import { MIN_MEMORY } from './defaults.ts';
import type { RunSpec } from './generated/types.ts';
import { endpointProblem, isLocationInside, locationProblem, splitFormat } from './locations.ts';
import { type Finding, type Path, shown } from './problem.ts';
import { bytesOf } from './quantity.ts';
import type { ResolvedSource, ResolvedSpec, ResolvedStorage, ResolvedTable } from './resolved.ts';
import { suggestion, unknownTable } from './suggest.ts';
import { validatePipelines } from './validate-pipelines.ts';
import { validateQueries } from './validate-queries.ts';
import { validateScenario } from './validate-scenario.ts';

/**
 * What neither the schema nor its CEL rules can see: references between lists, locations, and whether the scenario makes sense.
 * One function for the CLI and the operator (reason InvalidSpec). `run` is the run's own spec, before merging: what a plan
 * offers and a run's own scenario leaves out is a choice, not a mistake.
 */
export function validate(spec: ResolvedSpec, run: RunSpec): Finding[] {
  return [
    ...validateTables(spec.snapshot.tables),
    ...validateMaskSecret(spec),
    ...spec.sources.flatMap((source, index) => validateSource(source, index, spec)),
    ...validateComparison(spec),
    ...validateQueries(spec),
    ...validatePipelines(spec),
    ...validateScenario(spec, run),
    ...validateExecution(spec),
    ...validateLocations(spec),
  ];
}

function validateTables(tables: readonly ResolvedTable[]): Finding[] {
  const spellings = new Map<string, string>();
  return tables.flatMap((table, index) => {
    const path: Path = ['spec', 'snapshot', 'tables', index];
    const findings = validateTable(table, path);
    const other = spellings.get(table.name.toLowerCase());
    spellings.set(table.name.toLowerCase(), table.name);
    if (other === undefined) return findings;
    const message = `"${table.name}" differs from "${other}" only in case, which databases do not tell apart; rename one`;
    return [...findings, { path: [...path, 'name'], message }];
  });
}

function validateTable(table: ResolvedTable, path: Path): Finding[] {
  const excluded = new Set(table.exclude);
  const used: readonly (readonly [Path, string | undefined])[] = [
    ...table.key.map((column, index) => [[...path, 'key', index], column] as const),
    [[...path, 'cursor'], table.cursor],
    [[...path, 'sample', 'by'], table.sample?.by],
    ...table.mask.map(({ column }, index) => [[...path, 'mask', index, 'column'], column] as const),
  ];
  const findings = used
    .filter(([, column]) => column !== undefined && excluded.has(column))
    .map(([at, column]) => ({ path: at, message: `"${column}" is in exclude as well; take it out of one of them` }));
  if (table.partitionTimeZone === undefined || isTimeZone(table.partitionTimeZone)) return findings;
  const message = `found "${table.partitionTimeZone}", which is no IANA time zone; write one such as Europe/Berlin`;
  return [...findings, { path: [...path, 'partitionTimeZone'], message }];
}

/** A mask without a secret could be guessed: hash every likely value and look. */
function validateMaskSecret({ snapshot }: ResolvedSpec): Finding[] {
  const path: Path = ['spec', 'snapshot', 'maskSecretRef'];
  const masked = snapshot.tables.find(({ mask }) => mask.length > 0);
  if (masked === undefined || snapshot.maskSecretRef !== undefined) return [];
  return [{ path, message: `missing; table "${masked.name}" has masks, which are made with this secret` }];
}

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

function validateSource(source: ResolvedSource, index: number, spec: ResolvedSpec): Finding[] {
  const path: Path = ['spec', 'sources', index];
  const names = spec.snapshot.tables.map(({ name }) => name);
  const unknown = source.tables
    .map((table, at) => ({ table, path: [...path, 'tables', at] }))
    .filter(({ table }) => !names.includes(table))
    .map(({ table, path: at }) => ({ path: at, message: unknownTable(table, names) }));
  return [
    ...validateProvider(source, path),
    ...unknown,
    ...source.columns.flatMap((_, at) => validateSourceColumn(source, at, spec, path)),
    ...validateDeployment(source, path),
    ...validateClones(source, spec, path),
  ];
}

/** A clone is the whole table, with the types that it has. */
function validateClones(source: ResolvedSource, { snapshot }: ResolvedSpec, above: Path): Finding[] {
  if (source.cloneFrom === undefined) return [];
  const path: Path = [...above, 'cloneFrom'];
  const findings: Finding[] = snapshot.tables
    .filter(({ name, sample, mask }) => source.tables.includes(name) && (sample !== undefined || mask.length > 0))
    .map(({ name, sample }) => {
      const how = sample === undefined ? 'masked' : 'sampled';
      return { path, message: `table "${name}" is ${how}, and its clone would be all of it, as it is; have it loaded` };
    });
  for (const [index, { column, type }] of source.columns.entries()) {
    if (type === undefined) continue;
    const message = `"${column}" has the type that it has where it is cloned from; remove this entry`;
    findings.push({ path: [...above, 'columns', index, 'type'], message });
  }
  return findings;
}

function validateDeployment({ provider }: ResolvedSource, path: Path): Finding[] {
  if (provider.kind !== 'argocd' && provider.kind !== 'kubernetes') return [];
  const { size, allowFrom } = provider.server;
  const findings: Finding[] = allowFrom.flatMap((peer, index) => {
    if (!('cidr' in peer) || isAddressBlock(peer.cidr)) return [];
    const message = `found ${shown(peer.cidr)}, which is no block of addresses; write one such as 10.1.0.0/16`;
    return [{ path: [...path, 'allowFrom', index, 'cidr'], message }];
  });
  if (size !== undefined && !hasRoom(size)) {
    findings.push({
      path: [...path, 'size'],
      message: `found ${shown(size)}, which holds no database; write 1Gi or more`,
    });
  }
  const values = provider.kind === 'argocd' ? provider.values : undefined;
  const problem = values === undefined ? undefined : chartValuesProblem(values);
  return problem === undefined ? findings : [...findings, { path: [...path, 'argocd', 'values'], message: problem }];
}

function isAddressBlock(cidr: string): boolean {
  const [address = '', bits = ''] = cidr.split('/');
  const family = isIP(address);
  return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128);
}

function hasRoom(size: string): boolean {
  try {
    return bytesOf(size) >= bytesOf('64Mi');
  } catch {
    return false;
  }
}

/** A server of Snowflake cannot be started: there is only the account. */
function validateProvider({ name, engine, provider }: ResolvedSource, path: Path): Finding[] {
  if (engine !== 'Snowflake' || provider.kind === 'external') return [];
  const message = `missing; source "${name}" is a Snowflake account, which no run can start: name the secret that it is reached by, external: { secretRef: { name: … } }`;
  return [{ path: [...path, 'external'], message }];
}

function validateSourceColumn(source: ResolvedSource, index: number, spec: ResolvedSpec, above: Path): Finding[] {
  const entry = source.columns[index];
  if (entry === undefined) return [];
  const path: Path = [...above, 'columns', index];
  if (!source.tables.includes(entry.table)) {
    const message = `this source does not hold "${entry.table}"; ${suggestion(entry.table, source.tables)}`;
    return [{ path: [...path, 'table'], message }];
  }
  const table = spec.snapshot.tables.find(({ name }) => name === entry.table);
  if (table?.exclude.includes(entry.column)) {
    return [{ path: [...path, 'column'], message: `"${entry.column}" is excluded from the table; remove this entry` }];
  }
  const role = entry.omit && table !== undefined ? roleOf(table, entry.column) : undefined;
  if (role === undefined) return [];
  return [
    { path: [...path, 'omit'], message: `"${entry.column}" is the table's ${role}, which a source cannot be without` },
  ];
}

function validateComparison(spec: ResolvedSpec): Finding[] {
  const names = spec.snapshot.tables.map(({ name }) => name);
  return spec.comparison.columns.flatMap((entry, index) => {
    const path: Path = ['spec', 'comparison', 'columns', index];
    const table = spec.snapshot.tables.find(({ name }) => name === entry.table);
    if (table === undefined) return [{ path: [...path, 'table'], message: unknownTable(entry.table, names) }];
    if (table.exclude.includes(entry.column)) {
      return [
        { path: [...path, 'column'], message: `"${entry.column}" is excluded from the table; remove this entry` },
      ];
    }
    const loosened = entry.ignore ? 'ignore' : entry.tolerance === undefined ? undefined : 'tolerance';
    if (loosened === undefined || !table.key.includes(entry.column)) return [];
    return [
      {
        path: [...path, loosened],
        message: `"${entry.column}" is part of the key, by which rows are found; it is compared exactly`,
      },
    ];
  });
}

function validateExecution(spec: ResolvedSpec): Finding[] {
  const findings: Finding[] = [];
  if (spec.execution.memoryBytes < bytesOf(MIN_MEMORY)) {
    const message = `found ${spec.execution.memoryBytes} bytes; a task needs at least ${MIN_MEMORY}`;
    findings.push({ path: ['spec', 'execution', 'memory'], message });
  }
  if (spec.snapshot.limits.maxBytes === 0) {
    const message = 'found 0, which no copy keeps to; raise it or leave it out';
    findings.push({ path: ['spec', 'snapshot', 'limits', 'maxBytes'], message });
  }
  return findings;
}

function validateLocations(spec: ResolvedSpec): Finding[] {
  const places: readonly (readonly [keyof ResolvedSpec, ResolvedStorage])[] = [
    ['snapshot', spec.snapshot],
    ['workspace', spec.workspace],
    ['reports', spec.reports],
  ];
  const findings = [
    ...places.flatMap(([name, place]) => validateStorage(place, ['spec', name], name === 'workspace')),
    ...validateSideLocations(spec),
  ];
  if (findings.length > 0) return findings;
  return places
    .filter(([name, place]) => name !== 'snapshot' && isLocationInside(place, spec.snapshot))
    .map(([name, place]) => ({
      path: ['spec', name, 'location'],
      message: `"${place.location}" lies inside the snapshot's location "${spec.snapshot.location}", which is only ever read; write to another place`,
    }));
}

function validateStorage(place: ResolvedStorage, path: Path, mayBeNewBucket: boolean): Finding[] {
  const findings: Finding[] = [];
  const problem = locationProblem(place.location, { mayBeNewBucket });
  if (problem !== undefined) findings.push({ path: [...path, 'location'], message: problem });
  const aboutS3 = (['endpoint', 'region', 'secretRef'] as const).filter((field) => place[field] !== undefined);
  if (place.location.startsWith('file:')) {
    const message = 'has no meaning for a file location; remove it, or write an s3:// location';
    findings.push(...aboutS3.map((field) => ({ path: [...path, field], message })));
  }
  const endpoint = place.endpoint === undefined ? undefined : endpointProblem(place.endpoint);
  if (endpoint !== undefined) findings.push({ path: [...path, 'endpoint'], message: endpoint });
  return findings;
}

function validateSideLocations(spec: ResolvedSpec): Finding[] {
  return spec.scenario.flatMap((step, index) => {
    if (!('compare' in step)) return [];
    return (['baseline', 'candidate'] as const).flatMap((name) => {
      const side = step.compare[name];
      const message =
        'location' in side ? locationProblem(splitFormat(side.location).place, { mayBeNewBucket: false }) : undefined;
      return message === undefined ? [] : [{ path: ['spec', 'scenario', index, 'compare', name, 'location'], message }];
    });
  });
}

function roleOf(table: ResolvedTable, column: string): string | undefined {
  if (table.key.includes(column)) return 'key';
  return table.cursor === column ? 'cursor' : undefined;
}
