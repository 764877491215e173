import type { RunObject } from '../../kube/runs.ts';
import type { Condition, Verdict } from '../../run/types.ts';
import { ParityError } from '../../support/error.ts';

/** How a run in a cluster ended. */
export interface Ending {
  readonly run: RunObject;
  readonly verdict: Verdict;
  /** One sentence: why. */
  readonly message: string;
}

/**
 * How the run ended, or undefined while it has not. Throws `Internal` where its status contradicts itself or says what this version
 * does not know: nothing is taken for Passed that does not say so everywhere.
 */
export function endingOf(run: RunObject): Ending | undefined {
  const finished = conditionOf(run, 'Finished');
  if (finished?.status !== 'True') return undefined;
  const named = verdicts.find((known) => known === finished.reason);
  const succeeded = conditionOf(run, 'Succeeded');
  const recorded = run.status?.result?.verdict;
  // An Errored run may give its reason instead, as InvalidSpec.
  const verdict = named ?? (recorded === 'Errored' ? recorded : undefined);
  const isSound =
    verdict !== undefined &&
    (recorded ?? verdict) === verdict &&
    succeeded?.status === (verdict === 'Passed' ? 'True' : 'False');
  if (isSound) return { run, verdict, message: finished.message };
  const said = `Finished says ${finished.reason}, Succeeded says ${succeeded?.status ?? 'nothing'}, the result says ${recorded ?? 'nothing'}`;
  throw new ParityError('Internal', `the status of run ${run.metadata.name} cannot be trusted: ${said}`, {
    subject: run.metadata.name,
    advice: 'Look at it with kubectl get ppr -o yaml, and use the parity of the version that the operator has.',
  });
}

const verdicts = ['Passed', 'Failed', 'Errored', 'Cancelled'] as const;

export function conditionOf(run: RunObject, type: string): Condition | undefined {
  return run.status?.conditions?.find((condition) => condition.type === type);
}
