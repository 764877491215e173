import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { outlineOf } from '../api/hogql.ts';
import { placeholdersOf } from '../api/placeholders.ts';
import type { PostHogPipelineSpec } from '../api/resolved.ts';
import { referencesOf, type TableReference, viewName } from '../compare/query-sql.ts';
import { keepRows } from '../compare/result-sets.ts';
import type { Engine } from '../engine/engine.ts';
import { landedIn } from '../pipelines/posthog.ts';
import { PostHogRefusal, postHogClient } from '../pipelines/posthog-client.ts';
import { toParityError } from '../support/error.ts';
import type { TaskContext } from '../tasks/task.ts';
import { inQuery } from './errors.ts';
import type { PlacedQuery, QueryPlace, QuerySide } from './place.ts';
import { readHogQl } from './posthog-rows.ts';
import { linkedName, linkTable, readKeys } from './posthog-tables.ts';

/** A project of PostHog: its data warehouse, its own tables, and HogQL. */
export function postHogPlace(
  context: TaskContext,
  engine: Engine,
  { keys, secretName }: { readonly keys: Readonly<Record<string, string>>; readonly secretName: string },
): QueryPlace {
  const client = postHogClient(keys, secretName, context.signal);
  const linked = new Set<string>();

  /** The table's name in PostHog's queries, once it is there. */
  const nameOf = async (reference: TableReference, side: QuerySide): Promise<string | { readonly cannot: string }> => {
    const landedBy = await ownPipeline(context, side, keys);
    const source = side.sourceOf(reference);
    if (landedBy !== undefined && source !== undefined)
      return (await landedIn(landedBy, context, source, reference.table)).name;
    const name = linkedName(context, side.word, reference);
    if (linked.has(name)) return name;
    const read = readKeys(context.workspace.location, keys, secretName);
    if ('cannot' in read) return read;
    try {
      await linkTable(context, engine, client, { name, relation: await side.relationOf(reference), keys: read });
    } catch (error) {
      if (error instanceof PostHogRefusal)
        return { cannot: `PostHog does not take ${reference.table}: ${error.message}` };
      throw error;
    }
    linked.add(name);
    return name;
  };

  return {
    title: `PostHog at ${new URL(client.host).host}`,
    async prepare(query, side) {
      for (const reference of referencesOf(query.text)) {
        const name = await nameOf(reference, side);
        if (typeof name !== 'string') return name.cannot;
      }
      return undefined;
    },
    async run(query, side) {
      const names = new Map<string, string>();
      for (const reference of referencesOf(query.text)) {
        const name = await nameOf(reference, side);
        if (typeof name === 'string') names.set(viewName(reference), name);
      }
      const file = join(engine.scratch, `${side.word}.rows`);
      const lines = await open(file, 'w', 0o600);
      try {
        let n = 0;
        const text = inHogQl(query, names);
        const { pageBy, timeoutSeconds } = query;
        const request = { text, pageBy, timeoutSeconds, keys, secretName, signal: context.signal };
        const { columns, isOrdered } = await readHogQl(request, async (rows) => {
          await lines.appendFile(rows.map((row) => `${JSON.stringify([n++, row])}\n`).join(''));
        });
        const table = `${side.database}.parity_result`;
        return { result: await keepRows(engine, file, columns, table, { signal: context.signal }), isOrdered };
      } catch (thrown) {
        const error = inQuery(toParityError(thrown), query, side.word);
        if (error.code !== 'QueryFailed') throw error;
        return { failed: error };
      } finally {
        await lines.close();
        await rm(file, { force: true });
      }
    },
  };
}

/** The pipeline of the side, where it has landed in this very project. */
async function ownPipeline(
  context: TaskContext,
  { side }: QuerySide,
  keys: Readonly<Record<string, string>>,
): Promise<PostHogPipelineSpec | undefined> {
  if (side.kind !== 'pipeline') return undefined;
  const pipeline = context.file.spec.pipelines.find(({ name }) => name === side.pipeline);
  if (pipeline === undefined || !('posthog' in pipeline)) return undefined;
  const own = await context.secret(pipeline.posthog.secretRef.name);
  return own.host === keys.host && own.project === keys.project ? pipeline : undefined;
}

/** The query with its tables' names in PostHog. A table without an alias keeps its own name, so that `orders.id` is still found. */
function inHogQl({ text }: PlacedQuery, names: ReadonlyMap<string, string>): string {
  const placeholders = placeholdersOf(text);
  // Of the same length, so that places stay what they are.
  let stand = text;
  for (const { text: written, start } of placeholders)
    stand = stand.slice(0, start) + 'x'.repeat(written.length) + stand.slice(start + written.length);
  const tables = new Map(outlineOf(stand).tables.map((table) => [table.start, table]));
  let written = '';
  let end = 0;
  for (const placeholder of placeholders) {
    const own = viewName(placeholder).replaceAll('.', '_');
    const name = quoted(names.get(viewName(placeholder)) ?? own);
    const table = tables.get(placeholder.start);
    const put = table === undefined ? quoted(own) : table.hasAlias ? name : `${name} AS ${quoted(own)}`;
    written += text.slice(end, placeholder.start) + put;
    end = placeholder.start + placeholder.text.length;
  }
  return written + text.slice(end);
}

function quoted(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : `\`${name.replaceAll('`', '``')}\``;
}
