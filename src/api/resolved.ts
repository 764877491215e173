/**
 * The manifest as tasks see it: plan merged, defaults applied, validated, frozen. Made by `resolve()`; its field names are the
 * CRD's (crds/), which stays the only schema: resolve() is type-checked against the types generated from it.
 */
export interface ResolvedSpec {
  readonly snapshot: ResolvedSnapshot;
  readonly workspace: ResolvedStorage;
  readonly sources: readonly ResolvedSource[];
  readonly pipelines: readonly ResolvedPipeline[];
  readonly scenario: readonly ResolvedStep[];
  readonly comparison: ResolvedComparison;
  readonly queries: readonly ResolvedQuery[];
  readonly execution: ResolvedExecution;
  readonly cleanup: {
    readonly policy: 'Always' | 'OnSuccess' | 'Never';
    /** On a cluster: seconds after its end when the run is deleted. */
    readonly ttlSecondsAfterFinished?: number;
  };
  readonly reports: ResolvedReports;
}

/** An object store location; credentials come from the secret (keys `accessKeyId`, `secretAccessKey`, `sessionToken`) or the environment. */
export interface ResolvedStorage {
  readonly location: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly secretRef?: { readonly name: string };
}

export interface ResolvedSnapshot extends ResolvedStorage {
  /** Its key `key` is what the masks' HMAC uses; there wherever a table has a mask. */
  readonly maskSecretRef?: { readonly name: string };
  readonly limits: { readonly maxBytes?: number; readonly maxRequestsPerSecond?: number };
  readonly tables: readonly ResolvedTable[];
}

export interface ResolvedTable {
  readonly name: string;
  readonly path: string;
  /** Undefined until the resolve task pins it. */
  readonly version?: string;
  readonly baseVersion?: string;
  /** Empty: the table is compared as a multiset. */
  readonly key: readonly string[];
  readonly cursor?: string;
  readonly exclude: readonly string[];
  readonly sample?: { readonly percent: number; readonly by: string };
  readonly mask: readonly { readonly column: string; readonly with: 'Hmac' }[];
  /** IANA zone of zone-less `timestamp` partition values, e.g. `Europe/Berlin`. */
  readonly partitionTimeZone?: string;
}

export interface ResolvedSource {
  readonly name: string;
  readonly engine: 'Postgres' | 'MySQL' | 'Snowflake';
  readonly tables: readonly string[];
  readonly columns: readonly SourceColumn[];
  /** What the server's own version begins with, part by part: `16` or `8.4`; checked once it answers. */
  readonly engineVersion?: string;
  readonly cloneFrom?: CloneFrom;
  readonly provider: ResolvedProvider;
}

/** Where tables of the snapshot lie in the source's own account of Snowflake, to be cloned instead of loaded. */
export interface CloneFrom {
  /** `DATABASE.SCHEMA`, as one writes it in SQL. */
  readonly schema: string;
  /** `2026-01-01T00:00:00Z`: as they were then. */
  readonly at?: string;
}

export type ResolvedProvider =
  | { readonly kind: 'embedded' }
  /** A server that exists; the secret's keys: host, port, user, password, database, optional ca. */
  | { readonly kind: 'external'; readonly secretRef: { readonly name: string } }
  /** Where the chart is not given, it is the installation's. */
  | {
      readonly kind: 'argocd';
      readonly repoURL?: string;
      readonly path?: string;
      readonly targetRevision?: string;
      /** YAML text of an object. */
      readonly values?: string;
      readonly server: DeployedServer;
    }
  | { readonly kind: 'kubernetes'; readonly server: DeployedServer };

/** A server that the run deploys in a cluster. */
export interface DeployedServer {
  /** The official image of the version where left out. */
  readonly image?: string;
  /** A quantity: a volume of that size; the node's own disk where left out. */
  readonly size?: string;
  /** The secret's keys: `tls.crt`, `tls.key`, `ca.crt`. */
  readonly tls?: { readonly secretRef: { readonly name: string } };
  /** Who may connect beside the run's own pods and the operator. */
  readonly allowFrom: readonly AllowedPeer[];
}

/** Addresses, or pods by namespace (the run's own where left out) and labels (`app=worker`; all pods where left out). */
export type AllowedPeer = { readonly cidr: string } | { readonly namespace?: string; readonly pods?: string };

/** A type that Delta has lost, or a column left out of this source because its engine cannot hold it. */
export interface SourceColumn {
  readonly table: string;
  readonly column: string;
  readonly type?: string;
  readonly omit?: boolean;
}

/** What is under test: the built-in pipeline, or somebody's own. */
export type ResolvedPipeline =
  | ReferencePipelineSpec
  | CommandPipelineSpec
  | JobPipelineSpec
  | TemporalPipelineSpec
  | PostHogPipelineSpec;

interface PipelineCommon {
  readonly name: string;
  /** How its cursor compares with the last value it saw: `>=` (Inclusive) or `>` (Exclusive: rows tied with it are unseen). */
  readonly cursorBound: 'Inclusive' | 'Exclusive';
}

export interface ReferencePipelineSpec extends PipelineCommon {
  /** The built-in pipeline; `bug` is `None` or one of the named bugs. */
  readonly reference: { readonly bug: string };
}

/** What pipelines that are not built in have in common. */
export interface ExternalPipelineSpec extends PipelineCommon {
  readonly executions: 'PerTable' | 'PerSource';
  /** Bound of one execution. */
  readonly timeoutSeconds: number;
  readonly outputs: ResolvedOutputs;
  readonly successWhen?: ResolvedCheck;
}

export interface CommandPipelineSpec extends ExternalPipelineSpec {
  readonly command: {
    readonly argv: readonly string[];
    /** `file:///dir` */
    readonly folder: string;
    /** Without a value: that of parity's own environment. */
    readonly env: readonly { readonly name: string; readonly value?: string }[];
  };
}

export interface JobPipelineSpec extends ExternalPipelineSpec {
  readonly job: ResolvedJob;
}

/** What a Job's pod is made from. Commands, arguments and the values of variables are templates (src/api/templates.ts). */
export interface ResolvedJob {
  readonly image: string;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSecrets: readonly NamedRef[];
  /** Empty: the image's entry point. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir?: string;
  readonly env: readonly JobVariable[];
  readonly envFrom: readonly JobReference[];
  readonly mounts: readonly ({ readonly path: string } & JobReference)[];
  readonly resources: { readonly requests?: JobResources; readonly limits?: JobResources };
  readonly serviceAccountName?: string;
  /** `pool=batch,disk=ssd` */
  readonly nodeSelector?: string;
  readonly tolerations: readonly JobToleration[];
  readonly securityContext: {
    readonly runAsNonRoot: boolean;
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly fsGroup?: number;
    readonly readOnlyRootFilesystem: boolean;
  };
}

interface NamedRef {
  readonly name: string;
}

export type JobVariable = { readonly name: string } & (
  | { readonly value: string }
  | { readonly secretKeyRef: { readonly name: string; readonly key: string } }
);

export type JobReference = { readonly secretRef: NamedRef } | { readonly configMapRef: NamedRef };

/** Quantities of Kubernetes. */
interface JobResources {
  readonly cpu?: string;
  readonly memory?: string;
}

interface JobToleration {
  readonly key?: string;
  readonly operator?: 'Equal' | 'Exists';
  readonly value?: string;
  readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
  readonly tolerationSeconds?: number;
}

export interface TemporalPipelineSpec extends ExternalPipelineSpec {
  readonly temporal: {
    readonly address: string;
    readonly namespace: string;
    readonly taskQueue: string;
    readonly workflowType: string;
    /** JSON text of an array, with placeholders in its strings. */
    readonly args: string;
    readonly progressQuery?: string;
    readonly tls?: { readonly serverName?: string };
    /** Keys: `apiKey`, or `cert` and `key`; optional `ca`. */
    readonly secretRef?: { readonly name: string };
  };
}

export type PostHogSyncType = 'FullRefresh' | 'Incremental' | 'Append';

export interface PostHogPipelineSpec extends ExternalPipelineSpec {
  readonly posthog: {
    /** Keys: `host`, `project`, `key`; optional `sshPrivateKey`, `sshPassphrase`, `sshPassword`. */
    readonly secretRef: { readonly name: string };
    /** Left out: by key and cursor of each table. */
    readonly syncType?: PostHogSyncType;
    /** Tables for which it is another one. */
    readonly tables: readonly { readonly name: string; readonly syncType: PostHogSyncType }[];
    /** Where PostHog reaches the sources, where it is elsewhere than this run does. */
    readonly sourceHost?: string;
    readonly sourcePort?: number;
    readonly sshTunnel?: { readonly host: string; readonly port: number; readonly user: string };
  };
}

/** Databases that a pipeline's tables can be read from: those of sources, and ClickHouse. */
export type LandingEngine = ResolvedSource['engine'] | 'ClickHouse';

/** Where landed tables lie. Locations, schemas and names are templates (src/api/templates.ts). */
export type ResolvedOutputs =
  | ({ readonly kind: 'files'; readonly format: 'Delta' | 'Iceberg' | 'Parquet' } & ResolvedStorage)
  | {
      readonly kind: 'database';
      /** A server with a database of the run's own; left out: the source's own database. */
      readonly server?: { readonly engine: LandingEngine; readonly secretRef: { readonly name: string } };
      readonly schema?: string;
      readonly table: string;
    };

/** What must hold after an execution that ended well, asked until it does or the time is over. */
export type ResolvedCheck = { readonly timeoutSeconds: number } & (
  | { readonly sql: string }
  | { readonly http: { readonly url: string; readonly status: number; readonly contains?: string } }
  /** `equals` is JSON text. */
  | { readonly query: { readonly type: string; readonly equals: string } }
);

export type ResolvedStep = { readonly name: string } & (
  | { readonly sync: { readonly mode: 'Full' | 'Incremental'; readonly pipelines: readonly string[] } }
  | { readonly advance: Record<string, never> }
  | { readonly compare: { readonly baseline: Side; readonly candidate: Side } }
  | { readonly query: { readonly names: readonly string[] } }
);

/** `snapshot` is the snapshot at the sources' current version. */
export type Side =
  | { readonly snapshot: Record<string, never> }
  | { readonly pipeline: string }
  | { readonly location: string };

export interface ResolvedComparison {
  /** What counts as equal beside what is equal: nothing, or what a pipeline is documented to change. */
  readonly profile: 'Exact' | 'PostHog';
  readonly columns: readonly ComparisonColumn[];
  readonly unseen: 'Expected' | 'Fail';
  readonly maxDifferences: number;
  readonly samples: number;
  readonly values: 'Masked' | 'Shown';
}

export interface ComparisonColumn {
  readonly table: string;
  readonly column: string;
  readonly ignore?: boolean;
  /** The column's name on the candidate's side. */
  readonly rename?: string;
  /** Largest absolute difference that counts as equal, a decimal number as text, e.g. `1e-9`. */
  readonly tolerance?: string;
}

export type ResolvedQuery = QueryCase | (QueryCommon & OnServer & { readonly inherited: InheritedQueries });

/** A query that is run. */
export type QueryCase = SqlCase | HogQlCase;

interface QueryCommon {
  readonly name: string;
  readonly expect:
    | { readonly sameAs: 'Baseline' }
    /** Each row is the JSON text of an array of column values. */
    | { readonly rows: readonly string[] };
  readonly timeoutSeconds: number;
}

/** Where SQL runs. */
interface OnServer {
  /** A ClickHouse server; keys: `url`, `user`, `password`, optional `database`, `ca`, `cluster`. Left out: the embedded engine. */
  readonly clickhouse?: { readonly secretRef: { readonly name: string } };
}

export interface SqlCase extends QueryCommon, OnServer {
  /** SQL of the engine; `{{table}}` or `{{source.table}}` stands for the table on the side where the query runs. */
  readonly sql: string;
}

export interface HogQlCase extends QueryCommon {
  readonly hogql: {
    /** With placeholders as in `sql`; those of the window are `{{from}}` and `{{to}}`. */
    readonly query: string;
    /** Keys: `host`, `project`, `key`; optional `accessKeyId` and `secretAccessKey`. Left out: that of the PostHog pipeline. */
    readonly secretRef?: { readonly name: string };
    readonly window?: TimeWindow;
    /** Columns of the result by which it is read page by page; empty: it has one page. */
    readonly pageBy: readonly string[];
  };
}

/** In UTC, `2026-01-01T00:00:00Z`; `to` is not in it. */
export interface TimeWindow {
  readonly from: string;
  readonly to: string;
}

/** Queries that the first task reads and makes cases of. */
export interface InheritedQueries {
  readonly from:
    | { readonly files: ResolvedStorage }
    | { readonly posthog: { readonly kinds: readonly ('SavedQueries' | 'Insights')[] } };
  readonly secretRef?: { readonly name: string };
  /** What the tables of the run, `table` or `source.table`, are called in the queries; undefined: every table by its own name. */
  readonly tables?: readonly { readonly name: string; readonly as: readonly string[] }[];
  readonly window?: TimeWindow;
}

export interface ResolvedExecution {
  readonly parallelism: number;
  readonly retries: number;
  readonly timeoutSeconds: number;
  readonly memoryBytes: number;
  readonly threads: number;
}

export interface ResolvedReports {
  readonly location: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly secretRef?: { readonly name: string };
  readonly formats: readonly ('JSON' | 'HTML' | 'JUnit' | 'Markdown')[];
}
