import { toParityError } from '../src/support/error.ts';
import { log } from '../src/support/log.ts';
import { startOperator } from './operator.ts';
import { readOptions, usage } from './options.ts';

/** The operator as a program: until SIGTERM (then 0), or until it has lost its lease (then 1, to be started anew). Returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const stopped = listenForStop();
  try {
    const options = await readOptions(argv);
    if (options === undefined) {
      process.stdout.write(usage);
      return 0;
    }
    const operator = await startOperator(options);
    log.info('the operator is up', { installation: options.installation, port: operator.healthPort });
    try {
      await Promise.race([operator.ended, stopped]);
    } finally {
      await operator.stop();
    }
    return 0;
  } catch (error) {
    const { code, message, advice } = toParityError(error);
    process.stderr.write(`${code}: ${message}${advice === undefined ? '' : `\n${advice}`}\n`);
    return code === 'BadUsage' ? 64 : 1;
  }
}

/** As PID 1 of its container a process is stopped by nothing that it does not listen for. The second time it leaves at once. */
function listenForStop(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isStopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(1);
    isStopping = true;
    log.info('asked to stop', { signal });
    resolve();
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  return promise;
}

process.exit(await main(process.argv.slice(2)));
