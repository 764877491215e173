import { Command, CommanderError, Option } from 'commander';
import { parityVersion } from '../report/version.ts';
import { ParityError } from '../support/error.ts';
import type { ClusterFlags } from './cluster/access.ts';
import type { CompareFlags } from './commands/compare.ts';
import type { DescribeFlags } from './commands/describe.ts';
import type { GcFlags } from './commands/gc.ts';
import type { ClusterGcFlags } from './commands/gc-on-cluster.ts';
import { badUsageCode, type Io } from './commands/io.ts';
import type { LoadFlags } from './commands/load.ts';
import type { LogsFlags } from './commands/logs.ts';
import type { PreviewFlags } from './commands/preview.ts';
import { report } from './commands/problems.ts';
import type { ReportFlags } from './commands/report.ts';
import type { RunFlags } from './commands/run.ts';
import type { ClusterRunFlags } from './commands/run-on-cluster.ts';
import type { CorpusFlags } from './commands/snapshot.ts';
import type { WaitFlags } from './commands/wait.ts';

/**
 * Carries out a command line (without the program's name) and returns the exit code: 0 passed or done, 1 failed, 2 errored,
 * 3 cancelled, 64 bad usage or manifest. Never throws. Commands are loaded when they are called, so that `--help` is fast.
 */
export async function runProgram(argv: readonly string[], io: Io): Promise<number> {
  const state: State = { exitCode: 0 };
  const program = buildProgram(io, state);
  try {
    if (argv.length === 0) {
      io.err(program.helpInformation());
      return badUsageCode;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return state.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : badUsageCode;
    return report(error, io);
  }
}

interface State {
  exitCode: number;
}

/** The program with all its commands; `state` gets the exit code of the one that ran. */
export function buildProgram(io: Io, state: State): Command {
  const program = new Command('parity')
    .description('Tests a data pipeline on real data: pinned Delta tables, ephemeral databases, every row compared.')
    .version(parityVersion(), '--version', 'print the version')
    .helpOption('--help', 'explain a command')
    .addHelpText('after', examples)
    .exitOverride()
    .configureOutput({
      writeOut: io.out,
      writeErr: io.err,
      outputError: (text, write) => write(commanderError(text)),
    });
  addRun(program, io, state);
  addPreview(program, io, state);
  addValidate(program, io, state);
  addCompare(program, io, state);
  addSnapshot(program, io, state);
  addOnCluster(program, io, state);
  addGc(program, io, state);
  addExplain(program, io, state);
  addCompletion(program, io, state);
  addUninstallGuard(program, io, state);
  addTask(program, state);
  for (const command of program.commands) inherit(command, program);
  return program;
}

const examples = `
Examples:
  parity preview examples/flights/run.yaml
  parity run examples/flights/run.yaml
  parity run examples/flights/run.yaml --set 'spec.pipelines[candidate].reference.bug=DuplicatedBatch'
  parity compare delta:s3://lake/flights@12 parquet:out/*.parquet --key id
  parity explain spec.snapshot.tables
  parity run examples/flights/run.yaml --cluster --namespace data

Exit codes:
  0 passed   1 the data differ   2 the test could not be carried out   3 cancelled   64 bad usage or manifest
`;

const runExamples = `
Examples:
  parity run run.yaml
  parity run run.yaml --set spec.comparison.values=Shown --reports ./reports
  parity run run.yaml --plan plans.yaml --json > events.ndjson
  parity run --resume 3a0f6f1c-5f0e-4b8e-9c39-0d9a6f3f1c11
  parity run run.yaml --cluster --name "flights-$GITHUB_RUN_ID" --reports ./reports

Ctrl-C cancels the run, here and in a cluster; pressed again in a cluster, it leaves the rest to the operator.
`;

function addRun(program: Command, io: Io, state: State): void {
  const run = withManifestOptions(
    program.command('run').argument('[manifest]', 'YAML file with a PipelineParityRun, - for standard input'),
  )
    .description('carry out a run on this machine or in a cluster, say its verdict, leave nothing behind')
    .option('--reports <location>', 'folder or location of the reports, in place of spec.reports.location')
    .option('--keep', 'keep the workspace and the databases, whatever the manifest says')
    .option('--resume <uid>', 'continue a run whose process was killed')
    .option('--json', 'print events as JSON lines; the last one is the result')
    .addHelpText('after', runExamples);
  withWaitOptions(
    withClusterOptions(
      run
        .option('--cluster', 'carry it out in a Kubernetes cluster: create the run there, and wait for its end')
        .option('--name <name>', 'name of the run in the cluster, in place of metadata.name')
        .option('--detach', 'do not wait for the end of the run in the cluster')
        .option('--replace-plan', 'replace a plan of the same name in the cluster by the one in the manifest'),
    ),
  ).action(async (manifest: string | undefined, flags: RunFlags & ClusterRunFlags & { readonly cluster?: boolean }) => {
    if (flags.cluster === true) {
      const { runOnCluster } = await import('./commands/run-on-cluster.ts');
      state.exitCode = await runOnCluster(manifest, flags, io);
      return;
    }
    refuseWithoutCluster(run);
    const { runCommand } = await import('./commands/run.ts');
    state.exitCode = await runCommand(manifest, flags, io);
  });
}

function addPreview(program: Command, io: Io, state: State): void {
  withManifestOptions(program.command('preview').argument('<manifest>', 'YAML file, - for standard input'))
    .description('say what a run would read, copy and do; only logs are read')
    .option('--reports <location>', 'folder or location of the reports')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  parity preview run.yaml --json\n')
    .action(async (manifest: string, flags: PreviewFlags) => {
      const { previewCommand } = await import('./commands/preview.ts');
      state.exitCode = await previewCommand(manifest, flags, io);
    });
}

function addValidate(program: Command, io: Io, state: State): void {
  withManifestOptions(program.command('validate').argument('<manifest>', 'YAML file, - for standard input'))
    .description('check a manifest by the schema and the rules of the CRD')
    .addHelpText('after', '\nExample:\n  parity validate run.yaml --set spec.execution.parallelism=8\n')
    .action(async (manifest: string, flags: LoadFlags) => {
      const { validateCommand } = await import('./commands/validate.ts');
      state.exitCode = await validateCommand(manifest, flags, io);
    });
}

const compareExamples = `
A location is FORMAT:PATH[@VERSION] with FORMAT one of delta, parquet, iceberg, csv and ndjson; PATH is local or s3://….
Of files, PATH may be one, a folder, or a pattern with * in quotes; folders named day=5 below it are a column.
Credentials for S3 come from the environment, as the AWS command line takes them.

Examples:
  parity compare delta:lake/flights@11 delta:lake/flights@12 --key id
  parity compare csv:before.csv parquet:after/*.parquet --key id --rename cost=price --tolerance cost=0.01
  parity compare delta:s3://lake/flights parquet:s3://out/flights --endpoint http://localhost:8333 --json
`;

function addCompare(program: Command, io: Io, state: State): void {
  program
    .command('compare')
    .argument('<baseline>', 'what is right')
    .argument('<candidate>', 'what is tested')
    .description('compare two tables, row by row and cell by cell')
    .option('--key <columns>', 'columns of the key; without it whole rows are compared as a multiset')
    .addOption(repeatable('--ignore <columns>', 'columns that are not compared, with commas between; repeatable'))
    .addOption(repeatable('--rename <old=new>', 'a column that has another name in the candidate; repeatable'))
    .addOption(
      repeatable('--tolerance <column=number>', 'largest absolute difference that counts as equal; repeatable'),
    )
    .option('--samples <number>', 'differences of each class that are shown', '20')
    .option('--show-values', 'show values and keys of the samples; without it they are masked')
    .option('--endpoint <url>', 'S3-compatible server')
    .option('--region <name>', 'region of the bucket')
    .option('--memory <MiB>', 'bound on the memory of the comparison', '1024')
    .option('--threads <number>', 'threads that the engine uses', '2')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', compareExamples)
    .action(async (baseline: string, candidate: string, flags: CompareFlags) => {
      const { compareCommand } = await import('./commands/compare.ts');
      state.exitCode = await compareCommand(baseline, candidate, flags, io);
    });
}

function addSnapshot(program: Command, io: Io, state: State): void {
  const snapshot = program
    .command('snapshot')
    .description('keep snapshots for good, because production vacuums its tables');
  withCorpusOptions(withManifestOptions(snapshot.command('keep').argument('<manifest>').argument('<location>')))
    .description('store the tables of a manifest under their digest')
    .addHelpText('after', '\nExample:\n  parity snapshot keep run.yaml s3://parity-corpus/flights\n')
    .action(async (manifest: string, location: string, flags: CorpusFlags) => {
      const { keepCommand } = await import('./commands/snapshot.ts');
      state.exitCode = await keepCommand(manifest, location, flags, io);
    });
  withCorpusOptions(snapshot.command('list').argument('<location>'))
    .description('list what is kept')
    .action(async (location: string, flags: CorpusFlags) => {
      const { listCommand } = await import('./commands/snapshot.ts');
      state.exitCode = await listCommand(location, flags, io);
    });
  withCorpusOptions(snapshot.command('verify').argument('<location>').argument('<digest>'))
    .description('read a kept snapshot again and check its sizes, rows and digest')
    .action(async (location: string, digest: string, flags: CorpusFlags) => {
      const { verifyCommand } = await import('./commands/snapshot.ts');
      state.exitCode = await verifyCommand(location, digest, flags, io);
    });
}

function addOnCluster(program: Command, io: Io, state: State): void {
  for (const isShown of [false, true]) addWait(program, isShown, io, state);
  withClusterOptions(program.command('describe').argument('<run>', 'name of a run in the cluster'))
    .description('say where a run in a cluster stands: conditions, tasks, events, result')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  parity describe flights-round-trip\n')
    .action(async (run: string, flags: DescribeFlags) => {
      const { describeCommand } = await import('./commands/describe.ts');
      state.exitCode = await describeCommand(run, flags, io);
    });
  withClusterOptions(program.command('logs').argument('<run>', 'name of a run in the cluster'))
    .description("print what the pods of a run's tasks have logged so far")
    .option('--task <id>', 'only the one with this id, as parity describe says it')
    .option('--progress', 'also the lines of progress')
    .addHelpText('after', '\nExample:\n  parity logs flights-round-trip --task first-sync-candidate-shop-0\n')
    .action(async (run: string, flags: LogsFlags) => {
      const { logsCommand } = await import('./commands/logs.ts');
      state.exitCode = await logsCommand(run, flags, io);
    });
  withClusterOptions(program.command('cancel').argument('<run>', 'name of a run in the cluster'))
    .description('cancel a run in a cluster: its tasks are stopped, its report is written, it is cleaned up')
    .addHelpText('after', '\nExample:\n  parity cancel flights-round-trip\n')
    .action(async (run: string, flags: ClusterFlags) => {
      const { cancelCommand } = await import('./commands/cancel.ts');
      state.exitCode = await cancelCommand(run, flags, io);
    });
  withClusterOptions(program.command('report').argument('<run>', 'name of a run in the cluster'))
    .description('say where the report of a run in a cluster lies, or bring it here')
    .option('-o, --output <folder>', 'write the files of the report into this folder')
    .option('--endpoint <url>', 'S3-compatible server of the reports, where the cluster knows it by another address')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample:\n  parity report flights-round-trip --output reports\n')
    .action(async (run: string, flags: ReportFlags) => {
      const { reportCommand } = await import('./commands/report.ts');
      state.exitCode = await reportCommand(run, flags, io);
    });
}

function addWait(program: Command, isShown: boolean, io: Io, state: State): void {
  const name = isShown ? 'watch' : 'wait';
  const command = withWaitOptions(
    withClusterOptions(program.command(name).argument('<run>', 'name of a run in the cluster')),
  );
  command
    .description(
      isShown
        ? 'show a run in a cluster while it goes, and end with the exit code of its verdict'
        : 'wait for the end of a run in a cluster, with the exit code of its verdict',
    )
    .option('--reports <folder>', 'folder that the reports are brought to at the end')
    .option('--json', isShown ? 'print events as JSON lines; the last one is the result' : 'print the result as JSON')
    .addHelpText(
      'after',
      `\nCtrl-C ends the waiting, not the run.\n\nExample:\n  parity ${name} flights-round-trip --timeout 2h\n`,
    )
    .action(async (run: string, flags: WaitFlags) => {
      const { waitCommand } = await import('./commands/wait.ts');
      state.exitCode = await waitCommand(run, flags, isShown, io);
    });
}

function addGc(program: Command, io: Io, state: State): void {
  const gc = program
    .command('gc')
    .description('remove what killed runs of this installation left behind')
    .option('--dry-run', 'say what would be removed, and remove nothing')
    .option('--uid <uid>', 'only this run, even if it was kept on purpose')
    .option('--kept', 'also runs that were kept on purpose')
    .option('--json', 'print it as JSON')
    .option('--cluster', 'say what is in a Kubernetes cluster without a run; only with --dry-run')
    .option('-A, --all-namespaces', 'in all namespaces of the cluster');
  withClusterOptions(gc).action(async (flags: GcFlags & ClusterGcFlags & { readonly cluster?: boolean }) => {
    if (flags.cluster === true) {
      const { gcOnCluster } = await import('./commands/gc-on-cluster.ts');
      state.exitCode = await gcOnCluster(flags, io);
      return;
    }
    refuseWithoutCluster(gc);
    const { gcCommand } = await import('./commands/gc.ts');
    state.exitCode = await gcCommand(flags, io);
  });
}

function addExplain(program: Command, io: Io, state: State): void {
  program
    .command('explain')
    .argument('[field]', 'such as spec.snapshot.tables; without it the whole manifest')
    .description('explain a field of the manifest')
    .addHelpText('after', '\nExample:\n  parity explain spec.comparison.unseen\n')
    .action(async (field: string | undefined) => {
      const { explainCommand } = await import('./commands/explain.ts');
      state.exitCode = await explainCommand(field, io);
    });
}

function addCompletion(program: Command, io: Io, state: State): void {
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh or fish')
    .description('print a completion script')
    .addHelpText('after', '\nExample:\n  source <(parity completion bash)\n')
    .action(async (shell: string) => {
      const [{ completion }, { fieldPaths }] = await Promise.all([
        import('./completion.ts'),
        import('../api/explain.ts'),
      ]);
      io.out(completion(shell, program, fieldPaths()));
      state.exitCode = 0;
    });
}

/** What Helm asks before it uninstalls the operator. */
function addUninstallGuard(program: Command, io: Io, state: State): void {
  withClusterOptions(program.command('refuse-while-runs-remain', { hidden: true }).argument('[namespaces...]'))
    .description('fail while runs of an operator remain')
    .action(async (namespaces: readonly string[], flags: ClusterFlags) => {
      const { refuseWhileRunsRemain } = await import('./commands/refuse-while-runs-remain.ts');
      state.exitCode = await refuseWhileRunsRemain(namespaces, flags, io);
    });
}

/** What the driver and Jobs start. Its arguments are its own to read. */
function addTask(program: Command, state: State): void {
  program
    .command('task', { hidden: true })
    .argument('[arguments...]')
    .description('carry out one task of a run')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (_: readonly string[], __: unknown, command: Command) => {
      const { runTask } = await import('./task.ts');
      state.exitCode = await runTask(command.args);
    });
}

function withManifestOptions(command: Command): Command {
  return command
    .addOption(
      repeatable('--set <spec.field=value>', 'set a field, e.g. spec.pipelines[p].reference.bug=None; repeatable'),
    )
    .option('--plan <file>', 'YAML file with the plan that the run names');
}

function withClusterOptions(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'kubeconfig of the cluster; default: KUBECONFIG, then ~/.kube/config')
    .option('--context <name>', 'context of the kubeconfig')
    .option('-n, --namespace <name>', "namespace of the run; default: the context's");
}

function withWaitOptions(command: Command): Command {
  return command
    .option('--timeout <duration>', 'longest wait for the end of the run in the cluster, e.g. 90m (default: 24h)')
    .option('--pickup-timeout <duration>', 'longest wait until an operator picks the run up (default: 2m)')
    .option('--endpoint <url>', 'S3-compatible server of the reports, where the cluster knows it by another address');
}

/** Options that mean nothing on this machine are not ignored: somebody thinks that a cluster is meant. */
function refuseWithoutCluster(command: Command): void {
  const local = new Set(['set', 'plan', 'reports', 'keep', 'resume', 'json', 'dryRun', 'uid', 'kept']);
  const option = command.options.find(
    (known) => !local.has(known.attributeName()) && command.getOptionValue(known.attributeName()) !== undefined,
  );
  if (option === undefined) return;
  throw new ParityError('BadUsage', `${option.long} is about a cluster`, { advice: 'Add --cluster, or leave it out.' });
}

/** One value each time: an option that took several would take the arguments behind it as well. */
function repeatable(flags: string, description: string): Option {
  return new Option(flags, description).argParser((value: string, earlier: readonly string[] | undefined) => [
    ...(earlier ?? []),
    value,
  ]);
}

function withCorpusOptions(command: Command): Command {
  return command
    .option('--endpoint <url>', 'S3-compatible server of the corpus')
    .option('--region <name>', 'region of the corpus')
    .option('--secret <name>', 'secret of the corpus in PARITY_SECRETS_DIR; without it the environment’s credentials')
    .option('--json', 'print it as JSON');
}

/** Commander copies these only to commands made after they were set. */
function inherit(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const sub of command.commands) inherit(sub, command);
}

/** `error: unknown option '--jsn'\n(Did you mean --json?)` as one sentence with its advice. */
function commanderError(text: string): string {
  const [found = '', ...hints] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const hint = hints.join(' ').replace(/^\(|\)$/g, '') || 'See parity --help';
  return `parity: ${found} — ${hint}\n`;
}
