/** Takes the snapshot that its argument describes, in a process that a test can kill; one line for each progress report. */
import { takeSnapshot } from './snapshot-run.ts';

await takeSnapshot({ ...JSON.parse(process.argv[2] ?? ''), onProgress: () => void process.stdout.write('.\n') });
