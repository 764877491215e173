import { type LoadedManifest, type LoadOptions, loadManifest } from './manifest.ts';
import { formatProblem, ManifestError } from './problem.ts';

/** A small manifest that is right; tests replace parts of it. Lines are counted by tests, so it stays as it is. */
export const GOOD = `apiVersion: pipelineparity.io/v1alpha1
kind: PipelineParityRun
metadata: { name: round-trip }
spec:
  snapshot:
    location: file:lake
    tables:
      - name: flights
        path: flights
        version: "12"
        baseVersion: "9"
        key: [id]
        cursor: updated_at
      - name: planes
        path: planes
  workspace: { location: s3:// }
  sources:
    - name: shop
      engine: Postgres
      tables: [flights, planes]
      embedded: {}
  pipelines:
    - name: candidate
      reference: {}
`;

export function load(text: string, options: LoadOptions = {}): LoadedManifest {
  return loadManifest(text, { file: 'run.yaml', cwd: '/work', ...options });
}

/** The lines of the error that a manifest gives; empty where it is right. */
export function problemsOf(text: string, options: LoadOptions = {}): readonly string[] {
  try {
    load(text, options);
    return [];
  } catch (error) {
    if (error instanceof ManifestError) return error.problems.map(formatProblem);
    throw error;
  }
}

/** GOOD with replacements; each must be there exactly once. */
export function changed(...replacements: readonly (readonly [from: string, to: string])[]): string {
  return replacements.reduce((text, [from, to]) => {
    if (text.split(from).length !== 2) throw new Error(`"${from}" is not in the manifest exactly once`);
    return text.replace(from, () => to);
  }, GOOD);
}

/** GOOD with more fields of spec, at lines 25 and up. */
export function withSpec(yaml: string): string {
  return `${GOOD}${yaml.replaceAll(/^/gm, '  ')}\n`;
}
