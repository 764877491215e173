/**
 * Makes everything that follows from the run's CRD: the plan's CRD, both in the Helm chart, the TypeScript types, and the references
 * of the manifest, the command line, the chart and the operator.
 *
 *     node scripts/generate.ts            writes what differs
 *     node scripts/generate.ts --check    writes nothing; exit code 1 names what differs
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crdTemplate } from './generate/chart.ts';
import { chartReference } from './generate/chart-values.ts';
import { cliReference } from './generate/cli.ts';
import { operatorReference } from './generate/operator.ts';
import { planDefinition } from './generate/plan.ts';
import { manifestReference } from './generate/reference.ts';
import { enumConstants, typeDeclarations } from './generate/types.ts';

const root = join(import.meta.dirname, '..');
const RUN = 'crds/pipelineparity.io_pipelineparityruns.yaml';
const CHART = 'charts/pipeline-parity';
const PLAN = 'crds/pipelineparity.io_pipelineparityplans.yaml';

/** The generated files: path relative to the package's root, and content. */
export async function generated(): Promise<ReadonlyMap<string, string>> {
  const run = read(RUN);
  const plan = planDefinition(run);
  return new Map([
    [PLAN, plan],
    [`${CHART}/templates/crd-runs.yaml`, crdTemplate(RUN, run)],
    [`${CHART}/templates/crd-plans.yaml`, crdTemplate(PLAN, plan)],
    ['src/api/generated/types.ts', await typeDeclarations(run)],
    ['src/api/generated/enums.ts', enumConstants(run)],
    ['docs/reference/manifest.md', manifestReference(run)],
    ['docs/reference/cli.md', cliReference()],
    ['docs/reference/chart.md', chartReference(read(`${CHART}/values.schema.json`), read(`${CHART}/values.yaml`))],
    ['docs/reference/operator.md', await operatorReference(read(`${CHART}/files/alerts.yaml`))],
  ]);
}

/** The generated files whose content on disk is another one, as paths relative to the package's root. */
export async function drifted(): Promise<readonly string[]> {
  const files = [...(await generated())];
  return files.filter(([path, content]) => onDisk(path) !== content).map(([path]) => path);
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function onDisk(path: string): string | undefined {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

async function main(isCheck: boolean): Promise<void> {
  const stale = await drifted();
  if (isCheck) {
    for (const path of stale) console.error(`${path} is not what the CRD and the code say; run: npm run generate`);
    process.exitCode = stale.length === 0 ? 0 : 1;
    return;
  }
  const files = await generated();
  for (const path of stale) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), files.get(path) ?? '');
    console.log(`wrote ${path}`);
  }
}

if (import.meta.main) await main(process.argv.includes('--check'));
