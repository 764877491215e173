import { processIo } from './commands/io.ts';
import { runProgram } from './program.ts';

/** The `parity` command. */
const exitCode = await runProgram(process.argv.slice(2), processIo());
// What was written is on its way to a pipe or file; whatever else is still open is of no more use.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
