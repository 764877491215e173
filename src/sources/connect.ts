import type { ResolvedSource } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { parseConnection, sourceSecret } from './connection.ts';
import { sourceDriver } from './registry.ts';
import type { OwnedDriver, OwnedSession } from './session.ts';
import type { Connection } from './source.ts';

/** A source of the run, reached. The caller closes the session. */
export interface OpenSource {
  readonly spec: ResolvedSource;
  readonly driver: OwnedDriver;
  readonly session: OwnedSession;
}

/**
 * Connects to a source of the run by the connection that whoever provisioned it left as the secret `source-<name>`. Throws `InvalidSpec` where the run
 * has no such source, and what connecting throws.
 */
export async function openSource(context: TaskContext, name: string): Promise<OpenSource> {
  const spec = specOf(context, name);
  const driver = sourceDriver(spec.engine);
  const connection = await sourceConnection(context, name);
  return { spec, driver, session: await driver.connect(connection, { signal: context.signal }) };
}

/** How a source of the run is reached. Throws `InvalidSpec` where the run has no such source, `NotFound` where nobody has provisioned it. */
export async function sourceConnection(context: TaskContext, name: string): Promise<Connection> {
  const secret = sourceSecret(name);
  return parseConnection(specOf(context, name).engine, await context.secret(secret), { name, secret });
}

function specOf(context: TaskContext, name: string): ResolvedSource {
  const spec = context.file.spec.sources.find((source) => source.name === name);
  if (spec !== undefined) return spec;
  throw new ParityError('InvalidSpec', `The run has no source ${name}.`, { subject: 'spec.sources' });
}
