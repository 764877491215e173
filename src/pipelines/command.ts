import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandPipelineSpec } from '../api/resolved.ts';
import { expandText } from '../api/templates.ts';
import { env } from '../support/env.ts';
import { ParityError } from '../support/error.ts';
import { makeFolder } from '../support/folder.ts';
import { redact } from '../support/log.ts';
import { isOrphaned, type TaskContext } from '../tasks/task.ts';
import { type CommandProcess, openProcess, startProcess } from './command-process.ts';
import { type Execution, type ExecutionSecrets, executionsFolder, variablesOf, writeContract } from './contract.ts';
import type { ExecutionState, Executor, RunningExecution } from './external.ts';

/** From SIGTERM to SIGKILL; a task that is stopped has five seconds in all. */
const graceMs = 3_000;

/**
 * A pipeline that is a process on this machine. Each execution has a folder, `executions/<id>/<attempt>`, with what it is told, its process's identity, its
 * log and, once it has ended, its exit code: so whoever asks for the same execution again finds it running, or ended. One that was killed before it ended
 * is started again with the next attempt's number.
 */
export function commandExecutor(spec: CommandPipelineSpec): Executor {
  return {
    maxRunning: 1,
    async start(execution, secrets, context) {
      const home = join(executionsFolder(context.runFolder ?? context.scratch), execution.id);
      for (let attempt = 1; ; attempt++) {
        const folder = join(home, String(attempt));
        const known = await openProcess(folder);
        if (known !== undefined && (await known.wasKilled())) continue;
        const process = known ?? (await launch(spec, execution, attempt, secrets, context, folder));
        endWithDriver(process, context.signal);
        return follow(process, spec);
      }
    },
  };
}

/** What runs on this machine does not outlive the driver, of whose end the task has about a second to tell. */
function endWithDriver(process: CommandProcess, signal: AbortSignal): void {
  const onAbort = (): void => {
    if (isOrphaned(signal)) void process.stop(500);
  };
  signal.addEventListener('abort', onAbort, { once: true });
}

async function launch(
  spec: CommandPipelineSpec,
  execution: Execution,
  attempt: number,
  secrets: ExecutionSecrets,
  context: TaskContext,
  folder: string,
): Promise<CommandProcess> {
  const cwd = fileURLToPath(spec.command.folder);
  if (!(await stat(cwd).catch(() => undefined))?.isDirectory())
    throw new ParityError('NotFound', `Starting pipeline ${spec.name}, its folder ${cwd} is not there.`, {
      subject: `spec.pipelines[${spec.name}].command.folder`,
    });
  await makeFolder(folder, 0o700);
  const contract = await writeContract(execution, attempt, secrets, folder);
  const value = variablesOf(execution, attempt, secrets);
  const declared = spec.command.env.map(({ name, value: template }) => [
    name,
    template === undefined ? env.variable(name) : expandText(template, value),
  ]);
  const landing = execution.request.landing;
  // Tools that write files expect the folder to be there, as a bucket always is.
  if (landing.startsWith('file://')) await makeFolder(fileURLToPath(landing), 0o755);
  return await startProcess(folder, {
    argv: spec.command.argv.map((text) => expandText(text, value)),
    cwd,
    env: {
      ...env.forCommands(),
      ...contract,
      ...Object.fromEntries(declared.filter(([, text]) => text !== undefined)),
    },
    signal: context.signal,
  });
}

function follow(process: CommandProcess, spec: CommandPipelineSpec): RunningExecution {
  return {
    startedAtMs: process.startedAtMs,
    async observe(): Promise<ExecutionState> {
      const code = await process.exitCode();
      if (code === 0) return { state: 'Succeeded' };
      const lines = await process.lastLines();
      if (code !== undefined) return { state: 'Failed', error: failed(spec, `ended with code ${code}`, code, lines) };
      if (!process.isAlive()) {
        // It may have ended between the two looks.
        if ((await process.exitCode()) !== undefined) return await this.observe();
        return { state: 'Failed', error: failed(spec, 'was killed', undefined, lines) };
      }
      const note = lines.at(-1);
      return { state: 'Running', ...(note === undefined ? {} : { note: redact(note.slice(0, 200)) }) };
    },
    cancel: () => process.stop(graceMs),
  };
}

function failed(
  { name, command }: CommandPipelineSpec,
  how: string,
  code: number | undefined,
  lines: readonly string[],
): ParityError {
  const [program = ''] = command.argv;
  const said = lines.length === 0 ? ' without a word' : `; the last it said: ${lines.slice(-8).join(' | ')}`;
  const advice =
    code === 127
      ? `${program} or something it needs was not found: install it, or give its path.`
      : code === 126
        ? `${program} cannot be executed: make it executable.`
        : `Run it by itself, or keep the run with --keep and read the log in its folder executions.`;
  return new ParityError('PipelineFailed', redact(`the command ${program} of pipeline ${name} ${how}${said}`), {
    advice,
  });
}
