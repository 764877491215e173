import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectStore } from '../../../src/lake/store.ts';
import { openSource, type SourceConfig, type SourceTable } from './database.ts';
import { type Landed, land } from './landing.ts';
import { normalized } from './naming.ts';

export type SyncType = 'full_refresh' | 'incremental' | 'append';

export interface Source {
  readonly id: string;
  readonly engine: 'Postgres' | 'MySQL';
  readonly config: SourceConfig;
  readonly prefix: string;
  readonly description: string;
  readonly createdAt: string;
  readonly schemas: Schema[];
  isDeleted: boolean;
}

export interface Schema {
  readonly id: string;
  readonly name: string;
  shouldSync: boolean;
  syncType: SyncType | null;
  incrementalField: string | null;
  incrementalFieldType: string | null;
  primaryKeyColumns: readonly string[] | null;
  syncFrequency: string;
  lastValue: string | undefined;
  resetPipeline: boolean;
  hasSchedule: boolean;
  status: string | null;
  latestError: string | null;
  table: Table | undefined;
}

export interface Table {
  readonly id: string;
  readonly name: string;
  readonly urlPattern: string;
  /** Of the Delta table, below the bucket; undefined for one that was linked by hand. */
  readonly path: string | undefined;
  readonly format: string;
  readonly credential: { readonly key: string; readonly secret: string } | undefined;
  columns: Landed['columns'];
  rowCount: number | null;
  isDeleted: boolean;
}

export interface Job {
  readonly id: string;
  readonly schema: Schema;
  readonly createdAt: string;
  readonly controller: AbortController;
  status: string;
  finishedAt: string | null;
  rowsSynced: number;
  latestError: string | null;
}

/** What this PostHog does wrong, by name. */
export const defects = [
  'NoWorker',
  'NoTable',
  'FailingJob',
  'HangingJob',
  'DuplicatedChunk',
  'LocalTimes',
  'LeavesFiles',
  'BillingLimit',
  'CrowdedJobs',
] as const;
export type Defect = (typeof defects)[number];

export interface Settings {
  readonly teamId: number;
  readonly store: ObjectStore;
  /** What stands before `team_…` in the address of a landed table. */
  readonly bucketUrl: string;
  readonly defects: ReadonlySet<Defect>;
}

/** Everything that this PostHog knows. */
export class Warehouse {
  readonly settings: Settings;
  readonly sources: Source[] = [];
  readonly linked: Table[] = [];
  readonly jobs: Job[] = [];

  constructor(settings: Settings) {
    this.settings = settings;
  }

  folderOf(source: Source, schema: Schema): string {
    return `team_${this.settings.teamId}_${source.engine}_${schema.id}`.toLowerCase().replaceAll('-', '_');
  }

  liveTables(): readonly Table[] {
    const landed = this.sources
      .filter(({ isDeleted }) => !isDeleted)
      .flatMap(({ schemas }) =>
        schemas.flatMap(({ table }) => (table === undefined || table.isDeleted ? [] : [table])),
      );
    return [...landed, ...this.linked.filter(({ isDeleted }) => !isDeleted)];
  }

  /** As its schedule does: skipped while a run of the schema is under way. */
  trigger(source: Source, schema: Schema): void {
    schema.status = 'Running';
    if (
      this.settings.defects.has('NoWorker') ||
      this.jobs.some((job) => job.schema === schema && job.status === 'Running')
    )
      return;
    const job: Job = {
      id: randomUUID(),
      schema,
      createdAt: new Date().toISOString(),
      controller: new AbortController(),
      status: 'Running',
      finishedAt: null,
      rowsSynced: 0,
      latestError: null,
    };
    this.jobs.push(job);
    void this.#run(source, schema, job);
  }

  cancel(schema: Schema): boolean {
    const job = this.jobs.findLast((one) => one.schema === schema);
    if (job?.status !== 'Running') return false;
    job.controller.abort();
    this.#end(job, 'Failed', 'Workflow was cancelled');
    return true;
  }

  async remove(source: Source): Promise<void> {
    source.isDeleted = true;
    for (const schema of source.schemas) {
      this.cancel(schema);
      if (schema.table === undefined) continue;
      schema.table.isDeleted = true;
      if (!this.settings.defects.has('LeavesFiles')) await this.deleteFolder(this.folderOf(source, schema));
    }
  }

  async deleteFolder(folder: string): Promise<void> {
    const keys: string[] = [];
    for await (const { key } of this.settings.store.list(`${folder}/`)) keys.push(key);
    await this.settings.store.delete(keys);
  }

  #end(job: Job, status: string, error: string | null): void {
    job.status = status;
    job.finishedAt = new Date().toISOString();
    job.latestError = error;
    job.schema.status = status;
    job.schema.latestError = error;
  }

  async #run(source: Source, schema: Schema, job: Job): Promise<void> {
    const { defects } = this.settings;
    try {
      if (defects.has('HangingJob')) return;
      if (defects.has('FailingJob')) throw new Error('canceling statement due to statement timeout');
      if (defects.has('BillingLimit')) return this.#end(job, 'Billing limits', null);
      const landed = await this.#sync(source, schema, job);
      if (job.controller.signal.aborted) return;
      job.rowsSynced = landed.rows;
      if (!defects.has('NoTable')) await this.#publish(source, schema, landed);
      this.#end(job, 'Completed', null);
    } catch (error) {
      if (!job.controller.signal.aborted)
        this.#end(job, 'Failed', error instanceof Error ? error.message : String(error));
    }
  }

  async #sync(source: Source, schema: Schema, job: Job): Promise<Landed> {
    const { defects, store } = this.settings;
    const database = await openSource(source.engine, source.config);
    const scratch = await mkdtemp(join(tmpdir(), 'posthog-source-'));
    try {
      const table = (await database.tables()).find(({ name }) => name === schema.name);
      if (table === undefined) throw new Error(`relation "${schema.name}" does not exist`);
      const folder = this.folderOf(source, schema);
      if (schema.resetPipeline || schema.syncType === 'full_refresh') {
        await this.deleteFolder(folder);
        schema.lastValue = undefined;
        schema.resetPipeline = false;
      }
      const key = schema.primaryKeyColumns ?? table.primaryKey;
      if (schema.syncType === 'incremental' && key.length === 0)
        throw new Error('Primary key required for incremental syncs');
      const csv = join(scratch, 'rows.csv');
      await database.copy(csv, table, schema.syncType === 'full_refresh' ? undefined : rangeOf(schema, table));
      const landed = await land({
        store,
        path: `${folder}/${normalized(schema.name)}`,
        table,
        csv,
        mode: schema.syncType === 'incremental' ? 'merge' : schema.syncType === 'append' ? 'append' : 'replace',
        primaryKey: key,
        cursor: schema.incrementalField ?? undefined,
        loadId: Date.parse(job.createdAt),
        hasDuplicatedChunk: defects.has('DuplicatedChunk'),
        hasLocalTimes: defects.has('LocalTimes'),
      });
      schema.lastValue = landed.last ?? schema.lastValue;
      return landed;
    } finally {
      await database.close();
      await rm(scratch, { recursive: true, force: true });
    }
  }

  /** Copies the live files for queries, and shows the table to them. */
  async #publish(source: Source, schema: Schema, landed: Landed): Promise<void> {
    const { store, bucketUrl } = this.settings;
    const folder = this.folderOf(source, schema);
    const copy = `${folder}/${normalized(schema.name)}__query_${Math.floor(Date.now() / 1000)}_${randomUUID().slice(0, 8)}`;
    for (const [index, file] of landed.files.entries())
      await store.put(`${copy}/${index}.parquet`, await store.get(file));
    const path = `${folder}/${normalized(schema.name)}`;
    schema.table ??= {
      id: randomUUID(),
      name: `${source.prefix}${source.engine}_${schema.name.replaceAll('/', '_').replaceAll('.', '__')}`.toLowerCase(),
      urlPattern: `${bucketUrl}/${folder}/${normalized(schema.name).toLowerCase()}/`,
      path,
      format: 'DeltaS3Wrapper',
      credential: undefined,
      columns: landed.columns,
      rowCount: null,
      isDeleted: false,
    };
    schema.table.columns = landed.columns;
    schema.table.rowCount = landed.tableRows;
  }
}

/** A cursor that nothing was read by starts at its type's initial value: rows where it is NULL, or before 1970, are never read. */
function rangeOf(schema: Schema, table: SourceTable) {
  const cursor = schema.incrementalField ?? '';
  const type = schema.incrementalFieldType;
  if (!table.columns.some(({ name }) => name === cursor)) throw new Error(`column "${cursor}" does not exist`);
  const initial =
    type === 'integer' || type === 'numeric' ? '0' : type === 'date' ? '1970-01-01' : '1970-01-01 00:00:00';
  return { cursor, operator: type === 'date' ? '>=' : '>', since: schema.lastValue ?? initial } as const;
}
