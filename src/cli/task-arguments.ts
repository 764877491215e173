import { parseArgs } from 'node:util';
import type { ResolvedStorage } from '../api/resolved.ts';
import { isTaskId } from '../run/task-id.ts';
import { ParityError } from '../support/error.ts';

/** What a task process is told on its command line. Everybody on the machine can read it: names and folders, never a credential. */
export interface TaskArguments {
  readonly id: string;
  readonly workspace: ResolvedStorage;
  /** Folder of this attempt; made and removed by the process. */
  readonly scratch: string;
  /** Folder of the run on this machine; left out where the task has a machine of its own. */
  readonly runFolder?: string;
  /** 1, 2, … */
  readonly attempt: number;
  /** Folders of secrets, the first that has a name wins. */
  readonly secretFolders: readonly string[];
  /** File in which the task's end is said at the end, as Kubernetes reads it from a pod. */
  readonly terminationLog?: string;
}

/** The command line that `parseTaskArguments` reads. */
export function formatTaskArguments(task: TaskArguments): readonly string[] {
  const { location, endpoint, region, secretRef } = task.workspace;
  return [
    task.id,
    `--workspace=${location}`,
    ...(endpoint === undefined ? [] : [`--endpoint=${endpoint}`]),
    ...(region === undefined ? [] : [`--region=${region}`]),
    ...(secretRef === undefined ? [] : [`--secret=${secretRef.name}`]),
    `--scratch=${task.scratch}`,
    ...(task.runFolder === undefined ? [] : [`--run-folder=${task.runFolder}`]),
    `--attempt=${task.attempt}`,
    ...task.secretFolders.map((folder) => `--secrets=${folder}`),
    ...(task.terminationLog === undefined ? [] : [`--termination-log=${task.terminationLog}`]),
  ];
}

/** The arguments of `parity task`. Throws `BadUsage`. */
export function parseTaskArguments(argv: readonly string[]): TaskArguments {
  const { values, positionals } = parse(argv);
  const [id] = positionals;
  const attempt = Number(values.attempt ?? '1');
  if (id === undefined || positionals.length > 1 || !isTaskId(id)) throw usage('it takes one task id');
  if (values.workspace === undefined) throw usage('--workspace is missing');
  if (values.scratch === undefined) throw usage('--scratch is missing');
  if (!Number.isSafeInteger(attempt) || attempt < 1) throw usage('--attempt is a number from 1');
  return {
    id,
    workspace: {
      location: values.workspace,
      ...(values.endpoint === undefined ? {} : { endpoint: values.endpoint }),
      ...(values.region === undefined ? {} : { region: values.region }),
      ...(values.secret === undefined ? {} : { secretRef: { name: values.secret } }),
    },
    scratch: values.scratch,
    ...(values['run-folder'] === undefined ? {} : { runFolder: values['run-folder'] }),
    attempt,
    secretFolders: values.secrets ?? [],
    ...(values['termination-log'] === undefined ? {} : { terminationLog: values['termination-log'] }),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        workspace: { type: 'string' },
        endpoint: { type: 'string' },
        region: { type: 'string' },
        secret: { type: 'string' },
        scratch: { type: 'string' },
        'run-folder': { type: 'string' },
        attempt: { type: 'string' },
        secrets: { type: 'string', multiple: true },
        'termination-log': { type: 'string' },
      },
    });
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error));
  }
}

function usage(found: string): ParityError {
  return new ParityError('BadUsage', `parity task: ${found}`, {
    advice:
      'This command is started by parity itself: parity task ID --workspace=LOCATION --scratch=DIR [--attempt=N].',
  });
}
