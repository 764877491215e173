import { fileURLToPath } from 'node:url';
import { startWorker } from './temporal.ts';
import * as activities from './temporal-activities.ts';

/** A worker in a process of its own: `temporal-worker.ts ADDRESS QUEUE`. It says `ready` once it polls, and ends on SIGTERM. */
const [address = '', taskQueue = ''] = process.argv.slice(2);
const worker = await startWorker(address, {
  taskQueue,
  activities,
  workflowsPath: fileURLToPath(new URL('./temporal-workflows.ts', import.meta.url)),
  // The engine is one, and its scratch folders are named by step and source.
  maxConcurrentActivityTaskExecutions: 1,
});
// The engine reaches only what lies below the current folder.
process.chdir('/');
process.on('SIGTERM', () => void worker.stop().then(() => process.exit(0)));
process.stdout.write('ready\n');
