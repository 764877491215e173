import type { ResolvedSource } from '../api/resolved.ts';
import { readDeltaSnapshot } from '../lake/delta/log.ts';
import { sourceDriver } from '../sources/registry.ts';
import type { Connection } from '../sources/source.ts';
import { ParityError } from '../support/error.ts';
import { snapshotPath, snapshotVersion } from '../tasks/relations.ts';
import type { TaskContext } from '../tasks/task.ts';
import type { SourceAccess } from './reference.ts';

/**
 * The run's databases. What a table looks like is what the plan makes of the snapshot's columns, as it did when the table was loaded; every row comes
 * from the database.
 */
export const databaseAccess: SourceAccess = {
  async connect(context, source) {
    const connection = await connectionOf(context, source);
    return await sourceDriver(source.engine).connect(connection, { signal: context.signal });
  },

  async describe(context, source, table, { at }) {
    const declared = context.file.spec.snapshot.tables.find(({ name }) => name === table);
    if (declared === undefined)
      throw new ParityError('InvalidSpec', `The run has no table ${table}.`, { subject: 'spec.snapshot.tables' });
    const version = await snapshotVersion(context, table, at);
    const { schema } = await readDeltaSnapshot(context.workspace, snapshotPath(table), version);
    const columns = schema.fields.filter(({ name }) => !declared.exclude.includes(name));
    return sourceDriver(source.engine).plan(table, columns, {
      // Reading needs none, and whether one was made is the loader's business.
      primaryKey: [],
      cursor: declared.cursor,
      columns: source.columns,
    });
  },
};

/** Whoever provisioned the source left its connection as a secret of this name. */
async function connectionOf(context: TaskContext, source: ResolvedSource): Promise<Connection> {
  const name = `source-${source.name}`;
  const secret = await context.secret(name);
  const field = (key: string): string => {
    const value = secret[key];
    if (value !== undefined) return value;
    throw new ParityError('NotFound', `The secret ${name} has no key ${key}.`, { subject: source.name });
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
