import { runTask } from './task.ts';

/** What the driver starts for each task: `parity task` without the rest of the command line, so that it starts fast. */
process.exit(await runTask(process.argv.slice(2)));
