import type { Client } from '@temporalio/client';
import type { TemporalPipelineSpec } from '../api/resolved.ts';
import { mapBounded } from '../lake/pool.ts';
import { endWorkflow } from './temporal.ts';
import { answerMs, connectTemporal, isNoWorkflow, toTemporalError } from './temporal-client.ts';

/** A workflow may need a moment to undo what it has begun. */
const graceMs = 10_000;

/**
 * Cancels, then terminates, every workflow that a run has started for a pipeline. `executions` are the ids that were recorded before anything was started;
 * each may have had several attempts. Throws where the server cannot be asked.
 */
export async function endWorkflows(
  spec: TemporalPipelineSpec,
  executions: readonly string[],
  secret: Readonly<Record<string, string>> | undefined,
): Promise<void> {
  if (executions.length === 0) return;
  const client = await connectTemporal(spec.temporal, secret);
  try {
    await mapBounded(executions, 32, async (id) => await endAttempts(client, id));
  } catch (error) {
    throw toTemporalError(error, spec.temporal, 'ending the workflows of the run');
  } finally {
    await client.connection.close();
  }
}

async function endAttempts(client: Client, id: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const handle = client.workflow.getHandle(`${id}-${attempt}`);
    try {
      const { status } = await client.withDeadline(Date.now() + answerMs, () => handle.describe());
      if (status.name === 'RUNNING') await endWorkflow(client, handle, 'the run is over', graceMs);
    } catch (error) {
      if (isNoWorkflow(error)) return;
      throw error;
    }
  }
}
