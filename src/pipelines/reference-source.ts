import { readDeltaSnapshot } from '../lake/delta/log.ts';
import { openSource } from '../sources/connect.ts';
import { sourceDriver } from '../sources/registry.ts';
import { ParityError } from '../support/error.ts';
import { snapshotPath, snapshotVersion } from '../tasks/relations.ts';
import type { SourceAccess } from './reference.ts';

/**
 * The run's databases. What a table looks like is what the plan makes of the snapshot's columns, as it did when the table was loaded; every row comes
 * from the database.
 */
export const databaseAccess: SourceAccess = {
  async connect(context, { name }) {
    const { session } = await openSource(context, name);
    return session;
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
