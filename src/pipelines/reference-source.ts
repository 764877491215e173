import type { ResolvedSource } from '../api/resolved.ts';
import { sourceDriver } from '../sources/registry.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';
import { snapshotRelation } from '../tasks/relations.ts';
import type { TaskContext } from '../tasks/task.ts';
import type { SourceAccess } from './reference.ts';

/**
 * The run's databases. What a table looks like is what rehydration made of the snapshot's columns; its rows come from the database alone.
 */
export const databaseAccess: SourceAccess = {
  async connect(context, source) {
    const connection = await connectionOf(context, source);
    return await sourceDriver(source.engine).connect(connection, { signal: context.signal });
  },

  async describe(context, source, table, request) {
    const engine = await context.engine();
    const { columns } = await snapshotRelation(context, engine, table, request.at, { source: source.name });
    const declared = context.file.spec.snapshot.tables.find(({ name }) => name === table);
    return sourceDriver(source.engine).plan(table, columns, {
      primaryKey: declared?.key ?? [],
      cursor: declared?.cursor,
      columns: source.columns,
    });
  },
};

async function connectionOf(context: TaskContext, source: ResolvedSource): Promise<Connection> {
  const name = source.provider.kind === 'embedded' ? `source-${source.name}` : source.provider.secretRef.name;
  const secret = await context.secret(name);
  const field = (key: string): string => {
    const value = secret[key];
    if (value === undefined)
      throw new ParityError('NotFound', `The secret ${name} of source ${source.name} has no key ${key}.`, {
        subject: name,
      });
    return value;
  };
  return {
    host: field('host'),
    port: Number(field('port')),
    user: field('user'),
    password: field('password'),
    database: field('database'),
    ...(secret.ca === undefined ? {} : { ca: secret.ca }),
  };
}
