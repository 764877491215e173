import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { parse, stringify } from 'yaml';

const run = promisify(execFile);
const checks = fileURLToPath(new URL('../../argocd/health/pipelineparity.io/', import.meta.url));
/** With it Argo CD asks the check of an object that is being deleted; without it, it knows better. */
const hookFinalizer = 'argocd.argoproj.io/hook-finalizer';

interface HealthTests {
  readonly tests: readonly { readonly healthStatus: Health; readonly inputPath: string }[];
}
interface Health {
  readonly status: string;
  readonly message: string;
}
interface Tested {
  readonly metadata: { readonly deletionTimestamp?: string; readonly finalizers?: readonly string[] };
}

const kinds = ['PipelineParityRun', 'PipelineParityPlan'] as const;

describe('The health of our objects, as Argo CD itself judges it', function () {
  this.timeout(120_000);
  let folder: string;
  let argocd: string;

  before(async () => {
    const { stdout } = await run(fileURLToPath(new URL('../cluster/build.sh', import.meta.url)), ['--where', 'argocd']);
    argocd = join(stdout.split('\n')[0] ?? '', 'argocd');
    folder = await mkdtemp(join(tmpdir(), 'parity-health-'));
    const data: Record<string, string> = {};
    for (const kind of kinds)
      data[`resource.customizations.health.pipelineparity.io_${kind}`] = await readFile(
        join(checks, kind, 'health.lua'),
        'utf8',
      );
    await writeFile(
      join(folder, 'argocd-cm.yaml'),
      stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'argocd-cm' }, data }),
    );
  });

  after(() => rm(folder, { recursive: true, force: true }));

  for (const kind of kinds) {
    it(`is what the table of ${kind} says`, async () => {
      const { tests }: HealthTests = parse(await readFile(join(checks, kind, 'health_test.yaml'), 'utf8'));
      const files = (await readdir(join(checks, kind, 'testdata'))).map((file) => `testdata/${file}`);
      expect(tests.map(({ inputPath }) => inputPath).toSorted()).to.deep.equal(files.toSorted());
      for (const { inputPath, healthStatus } of tests) {
        const object: Tested = parse(await readFile(join(checks, kind, inputPath), 'utf8'));
        const { metadata } = object;
        const asHook = {
          ...object,
          metadata: { ...metadata, finalizers: [...(metadata.finalizers ?? []), hookFinalizer] },
        };
        expect(await healthOf(asHook), inputPath).to.deep.equal(healthStatus);
        // Argo CD asks no check of what is being deleted, unless it is a hook.
        if (metadata.deletionTimestamp !== undefined)
          expect(await healthOf(object), inputPath).to.deep.equal({
            status: 'Progressing',
            message: 'Pending deletion',
          });
      }
    });
  }

  async function healthOf(object: Tested): Promise<Health> {
    const file = join(folder, 'object.yaml');
    await writeFile(file, stringify(object));
    const settings = ['--argocd-cm-path', join(folder, 'argocd-cm.yaml'), '--load-cluster-settings=false'];
    const { stdout } = await run(argocd, ['admin', 'settings', 'resource-overrides', 'health', file, ...settings], {
      env: { PATH: process.env.PATH, HOME: folder, ARGOCD_BINARY_NAME: 'argocd' },
    });
    const [, status = '', message = ''] = /^STATUS: (.*)\nMESSAGE: (.*)\n/.exec(stdout) ?? [];
    return { status, message };
  }
});
