import { keepCompiledCode } from './compiled-code.ts';

/** The `parity` command. */
await keepCompiledCode();
const [{ runProgram }, { processIo }] = await Promise.all([import('./program.ts'), import('./commands/io.ts')]);
const exitCode = await runProgram(process.argv.slice(2), processIo());
// What was written is on its way to a pipe or file; whatever else is still open is of no more use.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
