import type { ResolvedSource } from '../../src/api/resolved.ts';
import { openStore } from '../../src/lake/open.ts';
import { taskId } from '../../src/run/task-id.ts';
import { parseConnection } from '../../src/sources/connection.ts';
import { createRunDatabase, dropRunDatabase } from '../../src/sources/run-database.ts';
import { askServer, checkVersion } from '../../src/sources/server-version.ts';
import { ParityError, toParityError } from '../../src/support/error.ts';
import { within } from '../../src/support/retry.ts';
import { publishConnection } from './connections.ts';
import { storageKeys } from './memory.ts';
import type { Removed, Scope, SourceProvider, SourceState } from './types.ts';

/** How long a server may take to answer. */
const answerMs = 30_000;

/** Databases of the run's own on servers that are there, and stay. */
export const externalSources: SourceProvider = {
  async ensure(scope, source): Promise<SourceState> {
    try {
      const connection = connectionOf(scope, source);
      const own = await bounded(source, async () => {
        checkVersion(source, await askServer(source.engine, connection));
        return await createRunDatabase(connection, source.engine, scope.hold.run, source.name);
      });
      await publishConnection(scope, source, own);
      return { state: 'Ready' };
    } catch (error) {
      return { state: 'Failed', error: toParityError(error) };
    }
  },

  async remove(scope, source): Promise<Removed> {
    // A server that was never asked for a database is not asked again: it may never have let us in.
    if (await mayHaveBegun(scope, source)) {
      await bounded(source, () => dropRunDatabase(connectionOf(scope, source), source.engine, scope.hold.run));
    }
    return { isGone: true, waitingFor: '' };
  },
};

/** By the copy of the credentials that was made at the start: the Secret itself may be gone. */
function connectionOf({ hold }: Scope, { name, engine, provider }: ResolvedSource) {
  const secret = provider.kind === 'external' ? provider.secretRef.name : '';
  return parseConnection(engine, hold.secrets[secret] ?? {}, { name, secret });
}

/** The input of the source's task lies in the workspace from before the server was asked; the workspace goes after the databases. */
async function mayHaveBegun({ hold }: Scope, { name }: ResolvedSource): Promise<boolean> {
  const store = await openStore(hold.workspace.storage, storageKeys(hold));
  try {
    return (await store.head(`tasks/${taskId('provision', name)}/input.json`)) !== undefined;
  } catch (error) {
    // Without a workspace nothing was begun, or all else was removed before it.
    if (error instanceof ParityError && error.code === 'NotFound') return false;
    throw error;
  } finally {
    store.close();
  }
}

function bounded<T>({ name }: ResolvedSource, work: () => Promise<T>): Promise<T> {
  const late = () =>
    new ParityError('Unreachable', `the server of source "${name}" did not answer within ${answerMs / 1000} s`, {
      subject: name,
      isRetryable: true,
    });
  const working = work();
  // It goes on in vain after its bound; nobody waits for it.
  working.catch(() => undefined);
  return within(answerMs, working, late);
}
