import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The objects that Helm renders of a chart of this checkout, such as `argocd/sources/postgres`. Throws where Helm is not built, with what builds it. */
export async function rendered(
  chart: string,
  release: string,
  values: object,
  namespace = 'shop',
): Promise<readonly RenderedObject[]> {
  const where = ['--namespace', namespace, '--kube-version', '1.34'];
  const command = helm('template', release, join(root, chart), ...where, '--values', '-');
  const text = (await command(JSON.stringify(values))).trim();
  const objects = parseAllDocuments(text).map((document): RenderedObject | null => document.toJS());
  // A template that makes nothing leaves a document of nothing.
  return objects.filter((object) => object !== null);
}

/** What Helm says of a chart that it should complain about or not. */
export async function linted(chart: string, values: object): Promise<string> {
  return await helm('lint', '--strict', join(root, chart), '--values', '-')(JSON.stringify(values));
}

export interface RenderedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** What Helm prints for these arguments, given its standard input. Throws with what it complained of. */
export function helm(...args: string[]): (input: string) => Promise<string> {
  return async (input) => {
    const { stdout: folder } = await promisify(execFile)(join(root, 'test/cluster/build.sh'), [
      '--where',
      'helm',
    ]).catch((error) => {
      throw new Error(`Helm is not built; build it with: test/cluster/build.sh helm. ${String(error)}`);
    });
    const running = promisify(execFile)(join(folder.trim(), 'helm'), args);
    running.child.stdin?.end(input);
    return (await running).stdout;
  };
}
