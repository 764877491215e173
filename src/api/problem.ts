import { ParityError } from '../support/error.ts';

/** Steps from the root of a manifest to a field: names of fields and indices of list items. */
export type Path = readonly (string | number)[];

/** Something wrong at a field, before it is known where in which file that field stands. */
export interface Finding {
  readonly path: Path;
  /** What was found and what to do, without the field's name. */
  readonly message: string;
  /** The field's name itself is wrong, so its name is pointed at, not its value. */
  readonly isAboutName?: boolean;
}

/** One thing that is wrong with a manifest. */
export interface ManifestProblem {
  /** What was found and what to do. */
  readonly message: string;
  /** The field, such as `spec.snapshot.tables[flights].path`; empty where the whole document is meant. */
  readonly path: string;
  /** The file's name as it was given, or `--set …` where the value came from there. */
  readonly file: string;
  /** 1-based; undefined where the value stands in no file. */
  readonly line?: number;
  readonly column?: number;
}

/** `InvalidSpec` with all problems; the message has one line for each. */
export class ManifestError extends ParityError {
  readonly problems: readonly ManifestProblem[];

  constructor(found: readonly ManifestProblem[]) {
    const problems = found.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
    super('InvalidSpec', problems.map(formatProblem).join('\n'), {
      advice: 'Correct the fields named; `parity explain FIELD` describes each.',
      ...(problems[0] === undefined || problems[0].path === '' ? {} : { subject: problems[0].path }),
    });
    this.problems = problems;
  }
}

/** `file:line:column: field: what was found, what to do`, without the parts that are not known. */
export function formatProblem(problem: ManifestProblem): string {
  const position = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(':');
  return [position, problem.path, problem.message].filter((part) => part !== '').join(': ');
}

/** A found value for a message: as JSON, cut to a readable length. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= 60 ? text : `${text.slice(0, 56)}…${text.endsWith('"') ? '"' : ''}`;
}
