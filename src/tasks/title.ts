import { number } from '../report/words.ts';
import type { Task } from '../run/types.ts';

/** What a task does, in words; of several tables the one that is meant, else the first and how many more. */
export function taskTitle(task: Pick<Task, 'input'>, table?: string): string {
  const { input } = task;
  const tables = table ?? ('tables' in input ? some(input.tables) : '');
  switch (input.kind) {
    case 'resolve':
      return 'read the logs of the lake';
    case 'snapshot':
      return `copy ${tables}`;
    case 'provision':
      return `start source ${input.source}`;
    case 'rehydrate':
      return `load ${tables} into ${input.source}`;
    case 'advance':
      return `${input.step}: advance ${tables} in ${input.source}`;
    case 'sync':
      return `${input.step}: ${input.pipeline} syncs ${tables} from ${input.source} (${input.mode})`;
    case 'compare':
      return `${input.step}: compare ${tables}${input.source === undefined ? '' : ` (${input.source})`}`;
    case 'query':
      return `${input.step}: run ${some(input.queries)} on both sides`;
    case 'report':
      return 'write the report';
    case 'cleanup':
      return 'clean up';
  }
}

function some(names: readonly string[]): string {
  const [first = '', second] = names;
  if (names.length <= 1) return first;
  return names.length === 2 ? `${first} and ${second}` : `${first} and ${number(names.length - 1)} more`;
}
