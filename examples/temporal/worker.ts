import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker } from '@temporalio/worker';
import * as activities from './activities.ts';

/** The worker: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TASK_QUEUE say where it looks for work. */
const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233' });
const worker = await Worker.create({
  connection,
  namespace: process.env.TEMPORAL_NAMESPACE ?? 'default',
  taskQueue: process.env.TASK_QUEUE ?? 'warehouse-syncs',
  workflowsPath: fileURLToPath(new URL('./workflows.ts', import.meta.url)),
  activities,
  maxConcurrentActivityTaskExecutions: 2,
});
try {
  await worker.run();
} finally {
  await connection.close();
}
