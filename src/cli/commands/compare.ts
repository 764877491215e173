import type { ComparisonColumn } from '../../api/resolved.ts';
import type { TableComparison } from '../../compare/result.ts';
import { align, clean } from '../../report/terminal.ts';
import {
  columnSentence,
  count,
  number,
  sampleSentence,
  schemaSentence,
  tableCauseSentence,
} from '../../report/words.ts';
import { ParityError } from '../../support/error.ts';
import { listenForInterrupts } from '../driver/interrupts.ts';
import { type CompareRequest, compareInChild } from './compare-child.ts';
import type { Io } from './io.ts';

export interface CompareFlags {
  readonly key?: string;
  readonly ignore?: readonly string[];
  readonly rename?: readonly string[];
  readonly tolerance?: readonly string[];
  readonly samples: string;
  readonly showValues?: boolean;
  readonly json?: boolean;
  readonly endpoint?: string;
  readonly region?: string;
  readonly memory: string;
  readonly threads: string;
}

/** `parity compare`: two tables that exist. Returns 0 where they are equal, 1 where they differ. */
export async function compareCommand(
  baseline: string,
  candidate: string,
  flags: CompareFlags,
  io: Io,
): Promise<number> {
  const interrupts = listenForInterrupts(() => process.exit(3));
  try {
    const comparison = await compareInChild(requestOf(baseline, candidate, flags, io), interrupts.signal);
    const values = flags.showValues === true ? 'Shown' : 'Masked';
    io.out(
      flags.json === true
        ? `${JSON.stringify(json(comparison))}\n`
        : words(comparison, { baseline, candidate, values, io }),
    );
    return comparison.verdict === 'Equal' ? 0 : 1;
  } finally {
    interrupts.dispose();
  }
}

function requestOf(baseline: string, candidate: string, flags: CompareFlags, io: Io): CompareRequest {
  const key = list(flags.key === undefined ? [] : [flags.key]);
  if (flags.key !== undefined && key.length === 0)
    throw usage(`--key '${flags.key}' names no column`, 'Leave --key out to compare whole rows.');
  return {
    baseline,
    candidate,
    folder: io.cwd,
    ...(flags.endpoint === undefined ? {} : { endpoint: flags.endpoint }),
    ...(flags.region === undefined ? {} : { region: flags.region }),
    key,
    columns: oneForEachColumn([
      ...list(flags.ignore).map((column): ComparisonColumn => ({ table, column, ignore: true })),
      ...list(flags.rename).map((text): ComparisonColumn => {
        const [column, rename] = pair(text, '--rename', 'old=new');
        return { table, column, rename };
      }),
      ...list(flags.tolerance).map((text): ComparisonColumn => {
        const [column, tolerance] = pair(text, '--tolerance', 'column=1e-9');
        if (!/^\d+(\.\d+)?(e[+-]?\d+)?$/i.test(tolerance)) {
          throw usage(
            `--tolerance ${text}: '${tolerance}' is no decimal number`,
            'Write it as --tolerance price=1e-9.',
          );
        }
        return { table, column, tolerance };
      }),
    ]),
    samples: whole(flags.samples, '--samples', 0, 1_000),
    values: flags.showValues === true ? 'Shown' : 'Masked',
    memoryBytes: whole(flags.memory, '--memory', 256, 1_048_576) * 2 ** 20,
    threads: whole(flags.threads, '--threads', 1, 256),
  };
}

/** What several options say of one column holds together; two of one kind contradict each other. */
function oneForEachColumn(settings: readonly ComparisonColumn[]): ComparisonColumn[] {
  const merged = new Map<string, ComparisonColumn>();
  for (const setting of settings) {
    const { column, rename, tolerance } = setting;
    const known = merged.get(column);
    if (known?.rename !== undefined && rename !== undefined)
      throw usage(`--rename names ${column} twice`, 'A column has one name in the candidate.');
    if (known?.tolerance !== undefined && tolerance !== undefined)
      throw usage(`--tolerance names ${column} twice`, 'A column has one tolerance.');
    merged.set(column, { ...known, ...setting });
  }
  return [...merged.values()];
}

/** Of a sample; --json has all. */
const mostColumns = 6;

/** What the comparison calls its only table. */
const table = 'table';

function list(values: readonly string[] = []): string[] {
  return values
    .flatMap((value) => value.split(','))
    .map((value) => value.trim())
    .filter((value) => value !== '');
}

function pair(text: string, option: string, example: string): [string, string] {
  const split = text.lastIndexOf('=');
  if (split > 0 && split < text.length - 1) return [text.slice(0, split), text.slice(split + 1)];
  throw usage(`${option} ${text} is not of the form ${example}`, `Write it as ${option} ${example}.`);
}

function whole(text: string, option: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw usage(
    `${option} ${text} is not a whole number from ${least} to ${most}`,
    `Leave ${option} out for its default.`,
  );
}

function usage(message: string, advice: string): ParityError {
  return new ParityError('BadUsage', message, { advice });
}

/** The promised shape and nothing else: docs/reference/cli.md. */
function json({ verdict, rows, columns, schema, samples }: TableComparison) {
  const { baseline, candidate, matched, missing, extra, changed, duplicated } = rows;
  return {
    verdict,
    rows: { baseline, candidate, matched, missing, extra, changed, duplicated },
    columns: columns.map(({ name, changed }) => ({ name, changed })),
    schema,
    samples,
  };
}

interface WordsOptions {
  readonly baseline: string;
  readonly candidate: string;
  readonly values: 'Masked' | 'Shown';
  readonly io: Io;
}

function words(comparison: TableComparison, { baseline, candidate, values, io }: WordsOptions): string {
  const { rows, key } = comparison;
  const isEqual = comparison.verdict === 'Equal';
  const counts = align(
    [
      ['baseline', number(rows.baseline), clean(baseline)],
      ['candidate', number(rows.candidate), clean(candidate)],
      ['matched', number(rows.matched), key.length === 0 ? 'whole rows, as a multiset' : `by ${clean(key.join(', '))}`],
      ['missing', number(rows.missing), 'in the baseline only'],
      ['extra', number(rows.extra), 'in the candidate only'],
      ['changed', number(rows.changed), 'same key, other content'],
      ['duplicated', number(rows.duplicated), 'surplus copies in the candidate'],
    ],
    new Set([1]),
  );
  const findings = [
    ...comparison.schema.map(schemaSentence),
    ...comparison.causes.map(tableCauseSentence),
    ...comparison.columns.filter(({ changed }) => changed > 0).map((c) => `${c.name}: ${columnSentence(c)}`),
    ...comparison.notes,
    ...comparison.samples.map((sample) => sampleSentence(sample, values, mostColumns)),
  ];
  const verdict = isEqual ? 'Equal' : `Different: ${count(comparison.differences, 'difference')}`;
  return [
    ...counts.map((line) => `  ${line}`),
    ...(findings.length === 0 ? [] : ['', ...findings.map((line) => `  ${clean(line)}`)]),
    '',
    io.paint(isEqual ? 'green' : 'red', verdict),
    '',
  ].join('\n');
}
