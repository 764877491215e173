import type { RunSpec, RunStatus } from '../../src/api/generated/types.ts';
import type { Io } from '../../src/cli/commands/io.ts';
import { runProgram } from '../../src/cli/program.ts';
import { painter } from '../../src/report/terminal.ts';
import type { Verdict } from '../../src/run/types.ts';

/** What a command line has said so far, and its exit code. */
export interface Said {
  readonly code: Promise<number>;
  out: string;
  err: string;
}

/** Carries a command line out in this process. */
export function say(argv: readonly string[], cwd: string): Said {
  const said = { out: '', err: '' };
  const io: Io = {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    isTerminal: false,
    columns: () => 80,
    paint: painter(false),
    isColored: false,
    cwd,
  };
  return Object.assign(said, { code: runProgram(argv, io) });
}

/** A small spec that the schema accepts, and nobody carries out. */
export function runSpec(): RunSpec {
  return {
    snapshot: { location: 's3://lake/warehouse', tables: [{ name: 'flights', path: 'flights' }] },
    scenario: [{ name: 'first', compare: { candidate: { location: 's3://lake/other' } } }],
  };
}

/** A manifest without its spec. */
export function kindOf(kind: 'PipelineParityRun' | 'PipelineParityPlan', name: string) {
  return { apiVersion: 'pipelineparity.io/v1alpha1', kind, metadata: { name } };
}

/** So many seconds into the new year. */
export function at(second: number): string {
  return new Date(Date.parse('2026-01-01T00:00:00Z') + second * 1000).toISOString();
}

export function condition(type: string, status: 'True' | 'False' | 'Unknown', reason: string) {
  return { type, status, reason, message: 'Because.', lastTransitionTime: at(0) };
}

/** The status of a run that compares, as an operator would write it. */
export const running: RunStatus = {
  observedGeneration: 1,
  phase: 'Comparing',
  tasks: { pending: 2, running: 1, succeeded: 3, failed: 0 },
  conditions: [condition('SnapshotCopied', 'True', 'Completed'), condition('Finished', 'False', 'InProgress')],
};

/** The status of a run that has finished. */
export function finished(verdict: Verdict, report = 'file:///nowhere/flights-1/report.json'): RunStatus {
  return {
    observedGeneration: 1,
    phase: 'Finished',
    conditions: [
      condition('Finished', 'True', verdict),
      condition('Succeeded', verdict === 'Passed' ? 'True' : 'False', verdict),
    ],
    result: { verdict, tables: { matched: 3, differing: 0 }, differences: 0, report },
  };
}
