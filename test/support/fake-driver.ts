import { runLocally } from '../../src/cli/driver/run.ts';
import { fakeServer } from './fake-server.ts';

/** A driver to be killed: `STATE_DIR TASK_ENTRY REQUEST`. Prints the run's uid once its first sync says that it works. */
const [stateDir = '', taskEntry = '', request = ''] = process.argv.slice(2);
let uid = '';
await runLocally(JSON.parse(request), {
  stateDir,
  taskEntry,
  startServer: fakeServer,
  signal: new AbortController().signal,
  onEvent: (event) => {
    if (event.type === 'RunStarted') uid = event.run.uid;
    if (event.type === 'TaskProgress' && event.taskId.includes('sync')) process.stdout.write(`${uid}\n`);
  },
});
