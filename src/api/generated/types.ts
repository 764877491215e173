// Generated from crds/ by scripts/generate.ts. Do not edit.

/**
 * One test of a pipeline on real data, with an immutable spec and one verdict.
 */
export interface PipelineParityRun {
  /**
   * Always `pipelineparity.io/v1alpha1`.
   */
  apiVersion?: string;
  /**
   * Always `PipelineParityRun`.
   */
  kind?: string;
  metadata?: {
    [k: string]: unknown;
  };
  spec: RunSpec;
  status?: RunStatus;
}
/**
 * What to copy, where to load it, which pipeline to test and what to compare. After creation only suspend, cancel and cleanup change.
 */
export interface RunSpec {
  /**
   * A plan in the same namespace (for the CLI: beside the run, in the same file or in the one given) whose spec this run takes over. Fields given here win: objects merge by field, named lists by whole item, the scenario as a whole.
   */
  planRef?: {
    /**
     * Name of the PipelineParityPlan.
     */
    name: string;
  };
  snapshot?: SnapshotSpec;
  workspace?: WorkspaceSpec;
  /**
   * Ephemeral databases that the snapshot is loaded into.
   */
  sources?: SourceSpec[];
  /**
   * What is being tested: each moves the sources into landed tables.
   */
  pipelines?: PipelineSpec[];
  /**
   * The steps of the run, in order. Left out: full sync, compare, and, where a table has a baseVersion, advance, incremental sync, compare; then the queries.
   */
  scenario?: StepSpec[];
  comparison?: ComparisonSpec;
  /**
   * Queries whose results must agree.
   */
  queries?: QuerySpec[];
  execution?: ExecutionSpec;
  /**
   * What becomes of the workspace and sources at the end.
   */
  cleanup?: {
    /**
     * `Always` removes them, `OnSuccess` only after a run that passed, `Never` keeps them.
     */
    policy?: 'Always' | 'OnSuccess' | 'Never';
    /**
     * Seconds after its end when a run on a cluster is deleted, with all that is left of it but its reports. A run that Argo CD manages stays, and only what it has made is removed. Left out: it stays until somebody deletes it. The CLI, which keeps no run, has no use for it.
     */
    ttlSecondsAfterFinished?: number;
  };
  reports?: ReportsSpec;
  /**
   * `true` starts nothing new on a cluster until it is `false` again; what runs goes on. May change at any time.
   */
  suspend?: boolean;
  /**
   * `true` cancels a run on a cluster: tasks are stopped, the report is written, the run is cleaned up. May become `true`, once.
   */
  cancel?: boolean;
}
/**
 * The tables under test and where they are read. This location is only ever read.
 */
export interface SnapshotSpec {
  /**
   * The lake: `s3://bucket[/prefix]`, `file:///dir`, or `file:dir` relative to the manifest. Production, or a kept corpus.
   */
  location?: string;
  /**
   * `http(s)://host[:port]` of an S3-compatible server. Left out: AWS.
   */
  endpoint?: string;
  /**
   * Region of the bucket.
   */
  region?: string;
  /**
   * Secret with the keys `accessKeyId`, `secretAccessKey` and optionally `sessionToken`. Left out: the environment's credentials.
   */
  secretRef?: {
    /**
     * Name of the secret.
     */
    name: string;
  };
  /**
   * Secret whose key `key` the masks are made with. Needed where a table has masks; the same secret gives the same masks.
   */
  maskSecretRef?: {
    /**
     * Name of the secret.
     */
    name: string;
  };
  /**
   * What the lake may be asked for. Checked before the copy and during it; over it, the run is Errored.
   */
  limits?: {
    /**
     * Most bytes that are copied, as a quantity (`50Gi`). Left out: no limit.
     */
    maxBytes?: string;
    /**
     * Most requests a second. Left out: no limit.
     */
    maxRequestsPerSecond?: number;
  };
  /**
   * The tables under test.
   */
  tables?: TableSpec[];
}
/**
 * One Delta table of the lake.
 */
export interface TableSpec {
  /**
   * What the table is called in sources, queries and reports.
   */
  name: string;
  /**
   * Folder of the table below the snapshot's location.
   */
  path: string;
  /**
   * Delta version under test. Left out: the newest, resolved once, recorded, and used from then on.
   */
  version?: string;
  /**
   * Delta version that the sources start with, for incremental syncs. Left out: they start with `version`.
   */
  baseVersion?: string;
  /**
   * Columns that identify a row. Left out: rows are compared as a multiset.
   *
   * Items: A column.
   */
  key?: string[];
  /**
   * Column by which an incremental sync finds what is new.
   */
  cursor?: string;
  /**
   * Columns that were never the source's (such as `_dlt_id`): left out of rehydration, proof and comparison.
   *
   * Items: A column.
   */
  exclude?: string[];
  /**
   * Keeps the same share of rows every time, chosen by hash. Tables sampled by one column keep their joins.
   */
  sample?: {
    /**
     * Share of the values of `by` that are kept, in percent.
     */
    percent: number;
    /**
     * Column whose hash decides. Left out: the first column of the key.
     */
    by?: string;
  };
  /**
   * Columns whose values never leave the lake in clear.
   *
   * Items: One masked column.
   */
  mask?: {
    /**
     * The column.
     */
    column: string;
    /**
     * How: `Hmac` keeps type and length, and equal values stay equal.
     */
    with: 'Hmac';
  }[];
  /**
   * IANA zone (`Europe/Berlin`) of timestamp partition values that carry none. Left out: such a column is refused.
   */
  partitionTimeZone?: string;
}
/**
 * Where the run keeps its copy, landed tables and results: a bucket or prefix of its own, deleted with the run. Left out: the installation's default.
 */
export interface WorkspaceSpec {
  /**
   * `s3://` (a new bucket of its own), `s3://bucket[/prefix]`, `file:///dir`, or `file:dir` relative to the manifest.
   */
  location?: string;
  /**
   * `http(s)://host[:port]` of an S3-compatible server. Left out: AWS.
   */
  endpoint?: string;
  /**
   * Region of the bucket.
   */
  region?: string;
  /**
   * Secret with the keys `accessKeyId`, `secretAccessKey` and optionally `sessionToken`. Left out: the environment's credentials.
   */
  secretRef?: {
    /**
     * Name of the secret.
     */
    name: string;
  };
}
/**
 * One database.
 */
export interface SourceSpec {
  /**
   * Name of the source; part of other names.
   */
  name: string;
  /**
   * Which database. Snowflake is always an account that exists: it needs `external`.
   */
  engine: 'Postgres' | 'MySQL' | 'Snowflake';
  /**
   * Version of the server, such as `16` or `8.4`: a server that the run deploys has it, and any other is refused. Left out: the newest that the run knows where it deploys the server, else whatever is there.
   */
  engineVersion?: string;
  /**
   * Tables of the snapshot that this source holds.
   *
   * Items: Name of a table of the snapshot.
   */
  tables: string[];
  /**
   * Types that Delta has lost (uuid, jsonb, enum, unsigned), and columns that this engine cannot hold.
   *
   * Items: One column.
   */
  columns?: {
    /**
     * Name of a table of this source.
     */
    table: string;
    /**
     * The column.
     */
    column: string;
    /**
     * The engine's own type, such as `uuid`, `jsonb` or `int unsigned`.
     */
    type?: string;
    /**
     * `true` leaves the column out of this source and out of the comparison of what it feeds; the report says so.
     */
    omit?: boolean;
  }[];
  /**
   * Where the snapshot's tables already lie in the same account of Snowflake, each by its own name: the source's tables are zero-copy clones of them instead of being loaded, and are proved as loaded ones are. With a baseVersion they are the base. Left out: the tables are loaded.
   */
  cloneFrom?: {
    /**
     * Schema of the tables, as `DATABASE.SCHEMA`. As in SQL, names are folded to upper case unless they are in double quotes.
     */
    schema: string;
    /**
     * The tables as they were then, by Time Travel, in UTC: `2026-01-01T00:00:00Z`. Left out: as they are.
     */
    at?: string;
  };
  /**
   * Image of the server, with the server's own programs on the PATH and a shell. Left out: the official image of `engineVersion`. For MySQL, an image of MariaDB does as well.
   */
  image?: string;
  /**
   * Room for the data, as a quantity (`20Gi`): a volume of its own, gone with the run. Left out: the node's own disk.
   */
  size?: string;
  /**
   * The server speaks TLS, and nothing else. Left out: it is reached without.
   */
  tls?: {
    /**
     * Secret with the keys `tls.crt`, `tls.key` and `ca.crt`, as cert-manager makes them. The certificate is for `*.<namespace>.svc`: the server's name holds the run's uid.
     */
    secretRef: {
      /**
       * Name of the secret.
       */
      name: string;
    };
  };
  /**
   * Who else may connect, such as the workers of the pipeline: without this, only the run's own pods and the operator may.
   *
   * Items: Pods by namespace and labels, or addresses.
   */
  allowFrom?: {
    /**
     * Namespace of the pods. Left out: the run's own.
     */
    namespace?: string;
    /**
     * Labels of the pods, such as `app=worker,tier=etl`. Left out: all pods of the namespace.
     */
    pods?: string;
    /**
     * Addresses, such as `10.1.0.0/16`.
     */
    cidr?: string;
  }[];
  /**
   * A server that Argo CD deploys for the run, from the installation's own charts or from the one given here. What is used in a cluster where the installation has Argo CD and nothing else is given.
   */
  argocd?: {
    /**
     * Git repository of the chart; the installation's AppProject must allow it. Left out: the installation's.
     */
    repoURL?: string;
    /**
     * Folder of the chart. Left out: the installation's chart of this engine.
     */
    path?: string;
    /**
     * Commit, tag or branch of the chart, resolved once for a run. Left out: the installation's.
     */
    targetRevision?: string;
    /**
     * Further values of the chart, as YAML text. Never credentials; names, marks and who may connect stay the run's.
     */
    values?: string;
  };
  /**
   * A server that the operator deploys for the run itself. What is used in a cluster where the installation has no Argo CD and nothing else is given.
   */
  kubernetes?: {};
  /**
   * A server that the run starts on this machine and removes. What is used there if nothing else is given.
   */
  embedded?: {};
  /**
   * A server that exists.
   */
  external?: {
    /**
     * Secret with the keys `host` (or the path of a Unix socket), `port`, `user`, `password`, `database` and optionally `ca`. For Snowflake: `account`, `user`, `database`, one of `password`, `privateKey` (with `passphrase` where it is encrypted) and `token`, and optionally `warehouse`, `role` and `accessUrl`.
     */
    secretRef: {
      /**
       * Name of the secret.
       */
      name: string;
    };
  };
}
/**
 * One pipeline.
 */
export interface PipelineSpec {
  /**
   * Name of the pipeline; part of other names.
   */
  name: string;
  /**
   * How the pipeline's cursor compares with the last value it saw: `Inclusive` (`>=`) or `Exclusive` (`>`, which cannot see rows tied with it).
   */
  cursorBound?: 'Inclusive' | 'Exclusive';
  /**
   * How often the pipeline is started for a sync: `PerTable`, once for each table, or `PerSource`, once for all tables of a source. Left out: `PerTable` for workflows, `PerSource` for commands and Jobs.
   */
  executions?: 'PerTable' | 'PerSource';
  /**
   * Seconds after which one execution is stopped and the run is Errored. Left out: as long as its task may take.
   */
  timeoutSeconds?: number;
  /**
   * Where the pipeline lands its tables, and as what. Left out: Delta tables at `{{landing}}/{{table}}`.
   */
  outputs?: {
    /**
     * Format of the landed tables. Left out: `Delta`.
     */
    format?: 'Delta' | 'Iceberg' | 'Parquet';
    /**
     * Where a landed table lies: a template with `{{landing}}` (the run's own folder for this pipeline and source, in the workspace), `{{run}}`, `{{pipeline}}`, `{{source}}`, `{{table}}`, `{{table.lower}}`, `{{table.upper}}` and `{{table.snake}}`. A place outside the workspace has `{{run}}` in a folder's name: that folder is deleted with the run.
     */
    location?: string;
    /**
     * `http(s)://host[:port]` of an S3-compatible server, for a place outside the workspace. Left out: AWS.
     */
    endpoint?: string;
    /**
     * Region of the bucket, for a place outside the workspace.
     */
    region?: string;
    /**
     * Secret with the keys `accessKeyId`, `secretAccessKey` and optionally `sessionToken`, which the pipeline lands with, and with which a place outside the workspace is read. Left out: the pipeline brings its own.
     */
    secretRef?: {
      /**
       * Name of the secret.
       */
      name: string;
    };
    /**
     * Tables of a database. They are exported by the database itself, never row by row.
     */
    database?: {
      /**
       * Which database, where it is not the source's own.
       */
      engine?: 'Postgres' | 'MySQL' | 'Snowflake' | 'ClickHouse';
      /**
       * Secret with the keys `host`, `port`, `user`, `password`, `database` and optionally `ca` of a server where the run makes a database of its own, dropped at the end; for ClickHouse `url`, `user`, `password` and optionally `database`, `ca` and `cluster`; for Snowflake those of a source. Left out: the tables lie in the source's own database.
       */
      secretRef?: {
        /**
         * Name of the secret.
         */
        name: string;
      };
      /**
       * Schema of Postgres that the landed tables lie in, a template with `{{run}}`, `{{pipeline}}` and `{{source}}`. Left out: `public`.
       */
      schema?: string;
      /**
       * Name of a landed table, a template as in `location`. Left out: `{{table}}`.
       */
      table?: string;
    };
  };
  /**
   * What must hold once an execution has ended well, because a pipeline may report success without having synced. It is asked until it holds, or `timeoutSeconds` are over: then the sync has failed.
   */
  successWhen?: {
    /**
     * A query of ClickHouse over what has landed, where `{{table}}` stands for a table of that name: it holds when its first value is true.
     */
    sql?: string;
    /**
     * A GET request. Redirects are not followed.
     */
    http?: {
      /**
       * The address, a template as the arguments of a command are.
       */
      url: string;
      /**
       * The status that the answer must have. Left out: 200.
       */
      status?: number;
      /**
       * Text that the answer must contain, a template too.
       */
      contains?: string;
    };
    /**
     * A query of the workflow.
     */
    query?: {
      /**
       * Name of the query.
       */
      type: string;
      /**
       * What it must answer, as JSON text, such as `true`.
       */
      equals: string;
    };
    /**
     * Seconds for which it is asked. Left out: 60.
     */
    timeoutSeconds?: number;
  };
  /**
   * A process on this machine, told by its environment what to sync (docs/reference/pipelines.md). It has ended well when it ends with code 0.
   */
  command?: {
    /**
     * The program and its arguments, no shell: templates with `{{run}}`, `{{pipeline}}`, `{{step}}`, `{{mode}}`, `{{attempt}}`, `{{source}}`, `{{tables}}`, `{{table}}`, `{{output}}` and others of docs/reference/pipelines.md, but no secret.
     *
     * Items: The program, or an argument.
     */
    argv: string[];
    /**
     * Where it runs: `file:///dir`, or `file:dir` relative to the manifest. Left out: the manifest's folder.
     */
    folder?: string;
    /**
     * Variables beside those of the contract. Of this process's environment a command gets only PATH, HOME, USER, SHELL, LANG, LC_*, TZ and TMPDIR.
     *
     * Items: One variable.
     */
    env?: {
      /**
       * Its name.
       */
      name: string;
      /**
       * Its value, a template in which `{{source.url}}` and `{{source.password}}` may stand. Left out: the value that the variable has where parity runs.
       */
      value?: string;
    }[];
  };
  /**
   * A Job of Kubernetes in the run's namespace, told by its environment and files what to sync (docs/reference/pipelines.md). It has ended well when its container ends with code 0. On a cluster only.
   */
  job?: {
    /**
     * Image of the container.
     */
    image: string;
    /**
     * When the image is pulled. Left out: as Kubernetes does, `Always` for the tag `latest`, else `IfNotPresent`.
     */
    imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
    /**
     * Secrets that the image is pulled with, beside the installation's.
     *
     * Items: One secret.
     */
    imagePullSecrets?: {
      /**
       * Name of the secret.
       */
      name: string;
    }[];
    /**
     * The program, no shell: templates as `args`. Left out: the image's entry point.
     *
     * Items: The program, or an argument.
     */
    command?: string[];
    /**
     * Its arguments: templates with `{{run}}`, `{{pipeline}}`, `{{step}}`, `{{mode}}`, `{{attempt}}`, `{{source}}`, `{{tables}}`, `{{table}}`, `{{output}}` and others of docs/reference/pipelines.md, but no secret. `$(NAME)` is a variable, as everywhere in Kubernetes.
     *
     * Items: An argument.
     */
    args?: string[];
    /**
     * Folder in which it runs. Left out: the image's.
     */
    workingDir?: string;
    /**
     * Variables beside those of the contract.
     *
     * Items: One variable.
     */
    env?: {
      /**
       * Its name.
       */
      name: string;
      /**
       * Its value, a template in which `{{source.url}}` and `{{source.password}}` may stand: such a value is kept in a Secret.
       */
      value?: string;
      /**
       * A key of a secret.
       */
      secretKeyRef?: {
        /**
         * Name of the secret.
         */
        name: string;
        /**
         * The key.
         */
        key: string;
      };
    }[];
    /**
     * Secrets and ConfigMaps all of whose keys are variables.
     *
     * Items: One secret or ConfigMap.
     */
    envFrom?: {
      /**
       * A secret.
       */
      secretRef?: {
        /**
         * Name of the secret.
         */
        name: string;
      };
      /**
       * A ConfigMap.
       */
      configMapRef?: {
        /**
         * Name of the ConfigMap.
         */
        name: string;
      };
    }[];
    /**
     * Secrets and ConfigMaps that the container finds as folders, one file for each key: a project of dbt, a key file.
     *
     * Items: One folder.
     */
    mounts?: {
      /**
       * Where it is, read only; not `/parity`, where the contract's files are.
       */
      path: string;
      /**
       * A secret.
       */
      secretRef?: {
        /**
         * Name of the secret.
         */
        name: string;
      };
      /**
       * A ConfigMap.
       */
      configMapRef?: {
        /**
         * Name of the ConfigMap.
         */
        name: string;
      };
    }[];
    /**
     * What the container asks of its node, and may use at most. Left out: nothing is asked, and the namespace's limits hold.
     */
    resources?: {
      /**
       * What a node must have free.
       */
      requests?: {
        /**
         * Processors, such as `500m` or `2`.
         */
        cpu?: string;
        /**
         * Memory, such as `2Gi`.
         */
        memory?: string;
      };
      /**
       * What it may use. A container that needs more memory is ended.
       */
      limits?: {
        /**
         * Processors, such as `500m` or `2`.
         */
        cpu?: string;
        /**
         * Memory, such as `2Gi`.
         */
        memory?: string;
      };
    };
    /**
     * Account of the pod, for the identity that a cloud gives it; no token of the cluster's API is mounted. Left out: the namespace's default.
     */
    serviceAccountName?: string;
    /**
     * Labels of the nodes that may run it, such as `pool=batch,disk=ssd`, beside the installation's.
     */
    nodeSelector?: string;
    /**
     * Taints of nodes that it tolerates, beside the installation's.
     *
     * Items: One toleration, as of a pod.
     */
    tolerations?: {
      /**
       * The taint's key. Left out: all of them.
       */
      key?: string;
      /**
       * `Equal` or `Exists`. Left out: `Equal`.
       */
      operator?: 'Equal' | 'Exists';
      /**
       * The taint's value.
       */
      value?: string;
      /**
       * The taint's effect. Left out: all of them.
       */
      effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
      /**
       * Seconds for which `NoExecute` is tolerated.
       */
      tolerationSeconds?: number;
    }[];
    /**
     * Under whose name it runs. Whatever is said here, it can gain no privilege, has no capability and the runtime's default seccomp profile.
     */
    securityContext?: {
      /**
       * `false` lets an image run as root. Left out: `true`.
       */
      runAsNonRoot?: boolean;
      /**
       * Number of the user. Left out: the image's.
       */
      runAsUser?: number;
      /**
       * Number of the group. Left out: the image's.
       */
      runAsGroup?: number;
      /**
       * Number of a group that its folders belong to.
       */
      fsGroup?: number;
      /**
       * `true` lets it write to `/tmp` only. Left out: `false`.
       */
      readOnlyRootFilesystem?: boolean;
    };
  };
  /**
   * A workflow of Temporal.
   */
  temporal?: {
    /**
     * `host:port` of the server.
     */
    address: string;
    /**
     * Namespace of the workflows. Left out: `default`.
     */
    namespace?: string;
    /**
     * Queue that the pipeline's workers poll.
     */
    taskQueue: string;
    /**
     * Name of the workflow.
     */
    workflowType: string;
    /**
     * The workflow's arguments: JSON text of an array, in whose strings placeholders stand. A string that is nothing but a placeholder takes its value as it is: `"{{tables}}"` becomes a list. `{{source.password}}` and `{{source.url}}` put the password into the workflow's history. Left out: `["{{request}}"]`.
     */
    args?: string;
    /**
     * A query of the workflow whose answer is shown as progress. Left out: heartbeats of its activities, or its memo `progress`.
     */
    progressQuery?: string;
    /**
     * TLS with the certificates of this machine, or the secret's `ca`. Always used where the secret has an `apiKey` or a certificate.
     */
    tls?: {
      /**
       * The name that the server's certificate must have. Left out: the address's host.
       */
      serverName?: string;
    };
    /**
     * Secret with the key `apiKey`, or `cert` and `key` (PEM) for mutual TLS, and optionally `ca` (PEM).
     */
    secretRef?: {
      /**
       * Name of the secret.
       */
      name: string;
    };
  };
  /**
   * The data warehouse of a PostHog project, by its API: a source is made there for each of the run's and removed with the run, its tables are synced and judged by the status of their jobs. `outputs.location` says where PostHog keeps what it lands.
   */
  posthog?: {
    /**
     * Secret with the keys `host` (`https://us.posthog.com`), `project` (its number) and `key` (a personal API key with `external_data_source:write`, `warehouse_table:write` and `query:read`), and `sshPrivateKey` with `sshPassphrase`, or `sshPassword`, for a tunnel.
     */
    secretRef: {
      /**
       * Name of the secret.
       */
      name: string;
    };
    /**
     * How PostHog syncs the tables: it reads everything each time (`FullRefresh`), what the cursor shows as new, merged by key (`Incremental`), or the same without merging (`Append`). Left out: `Incremental` for tables with key and cursor, `FullRefresh` for others.
     */
    syncType?: 'FullRefresh' | 'Incremental' | 'Append';
    /**
     * Tables that PostHog syncs otherwise than `syncType` says.
     *
     * Items: One table.
     */
    tables?: {
      /**
       * Name of a table of the snapshot.
       */
      name: string;
      /**
       * How PostHog syncs it.
       */
      syncType: 'FullRefresh' | 'Incremental' | 'Append';
    }[];
    /**
     * Address at which PostHog reaches the sources, where it is another than this run's; its cloud refuses private ones.
     */
    sourceHost?: string;
    /**
     * Port at which PostHog reaches the sources, where it is another than this run's.
     */
    sourcePort?: number;
    /**
     * A server through which PostHog reaches the sources.
     */
    sshTunnel?: {
      /**
       * Its public address.
       */
      host: string;
      /**
       * Its port. Left out: 22.
       */
      port?: number;
      /**
       * Who logs in there.
       */
      user: string;
    };
  };
  /**
   * The built-in pipeline, an example of a pipeline under test.
   */
  reference?: {
    /**
     * A named bug to carry on purpose, to see the run find it.
     */
    bug?:
      | 'None'
      | 'DroppedTail'
      | 'DuplicatedBatch'
      | 'CursorOffByOne'
      | 'TruncatedPrecision'
      | 'ShiftedTimestamps'
      | 'NullToEmpty'
      | 'EmptyToNull'
      | 'TrimmedStrings'
      | 'Float32Rounding'
      | 'SwappedColumns'
      | 'StaleUpdates'
      | 'ResurrectedDeletes'
      | 'LostLastChunk'
      | 'WrongEncoding'
      | 'NullUnsafeMerge'
      | 'DroppedNewColumn'
      | 'OffByOneDay'
      | 'LostMicroseconds';
  };
}
/**
 * One step, with exactly one action.
 */
export interface StepSpec {
  /**
   * Name of the step; part of other names.
   */
  name: string;
  /**
   * Executes pipelines once.
   */
  sync?: {
    /**
     * `Full` reads everything and replaces; `Incremental` reads what the cursor shows as new and upserts by key.
     */
    mode: 'Full' | 'Incremental';
    /**
     * Which pipelines. Left out: all.
     *
     * Items: Name of a pipeline.
     */
    pipelines?: string[];
  };
  /**
   * Brings the sources from `baseVersion` to `version`.
   */
  advance?: {};
  /**
   * Compares two sides, every table and every row.
   */
  compare?: {
    baseline?: SideSpec;
    /**
     * What is tested. Left out: the only pipeline.
     */
    candidate?: {
      /**
       * The snapshot at the sources' current version.
       */
      snapshot?: {};
      /**
       * What this pipeline landed.
       */
      pipeline?: string;
      /**
       * Existing tables, each at LOCATION/NAME: `s3://bucket[/prefix]`, `file:///dir`, or `file:dir` relative to the manifest, with `delta:`, `parquet:`, `iceberg:`, `csv:` or `ndjson:` before it where the format is to be said. Read with the endpoint, region and secret of the workspace.
       */
      location?: string;
    };
  };
  /**
   * Runs queries on both sides.
   */
  query?: {
    /**
     * Which queries. Left out: all.
     *
     * Items: Name of a query.
     */
    names?: string[];
  };
}
/**
 * What is right. Left out: the snapshot.
 */
export interface SideSpec {
  /**
   * The snapshot at the sources' current version.
   */
  snapshot?: {};
  /**
   * What this pipeline landed.
   */
  pipeline?: string;
  /**
   * Existing tables, each at LOCATION/NAME: `s3://bucket[/prefix]`, `file:///dir`, or `file:dir` relative to the manifest, with `delta:`, `parquet:`, `iceberg:`, `csv:` or `ndjson:` before it where the format is to be said. Read with the endpoint, region and secret of the workspace.
   */
  location?: string;
}
/**
 * What counts as equal, and how much is shown.
 */
export interface ComparisonSpec {
  /**
   * `Exact`, or `PostHog`: what that pipeline changes by design (docs/reference/posthog.md) counts as equal where its tables are compared, and nothing else does.
   */
  profile?: 'Exact' | 'PostHog';
  /**
   * Exceptions from exact comparison, by column.
   *
   * Items: One column.
   */
  columns?: {
    /**
     * Name of a table of the snapshot.
     */
    table: string;
    /**
     * The column's name on the baseline's side.
     */
    column: string;
    /**
     * `true` leaves the column out of the comparison.
     */
    ignore?: boolean;
    /**
     * The column's name on the candidate's side.
     */
    rename?: string;
    /**
     * Largest absolute difference that counts as equal, a decimal number as text (`1e-9`).
     */
    tolerance?: string;
  }[];
  /**
   * What to do with rows that a cursor cannot see (deletes, NULL, tied, late or unmoved cursors), which are computed beforehand: `Expected` counts and shows them, `Fail` makes them count against the run.
   */
  unseen?: 'Expected' | 'Fail';
  /**
   * Rows of one table that may differ in one comparison without failing the run. A column that is missing, added or of another type is never let pass.
   */
  maxDifferences?: number;
  /**
   * Examples of each class of difference that a report shows for a table.
   */
  samples?: number;
  /**
   * Whether reports show values (`Shown`) or only which columns differ (`Masked`).
   */
  values?: 'Masked' | 'Shown';
}
/**
 * One query, or the queries of a file, a folder or a PostHog project.
 */
export interface QuerySpec {
  /**
   * Name of the query.
   */
  name: string;
  /**
   * SQL of ClickHouse. `{{table}}` stands for the table on the side where the query runs; `{{source.table}}` where several sources hold it.
   */
  sql?: string;
  /**
   * The ClickHouse server where the SQL runs, on both sides, in databases of the run's own. Left out: the embedded engine.
   */
  clickhouse?: {
    /**
     * Secret with the keys `url` (of the HTTP interface), `user`, `password` and optionally `database`, `ca` and `cluster`.
     */
    secretRef: {
      /**
       * Name of the secret.
       */
      name: string;
    };
  };
  /**
   * HogQL, run by PostHog's query endpoint on both sides where the baseline can be linked there, else on the candidate's.
   */
  hogql?: {
    /**
     * The query. `{{table}}` and `{{source.table}}` stand for tables as in `sql`, `{{from}}` and `{{to}}` for the ends of the window.
     */
    query: string;
    /**
     * Secret with the keys `host`, `project` and `key`; with `accessKeyId` and `secretAccessKey`, which may read the workspace, the baseline is linked in PostHog. Left out: that of the PostHog pipeline.
     */
    secretRef?: {
      /**
       * Name of the secret.
       */
      name: string;
    };
    /**
     * Begin of the window of time that tables of PostHog's own (events, sessions, …) are read in, in UTC: `2026-01-01T00:00:00Z`.
     */
    from?: string;
    /**
     * End of the window, not in it.
     */
    to?: string;
    /**
     * Columns of the result, numbers or texts and never NULL, that together tell its rows apart: with them a result is read page by page. Left out: at most the 50,000 rows that PostHog gives at once.
     *
     * Items: A column of the result.
     */
    pageBy?: string[];
  };
  /**
   * Queries that somebody uses already: those that touch a table of the run become cases, named after this one. They are read once, at the start. What cannot run is listed with why.
   */
  inherited?: {
    /**
     * A file or a folder: `.sql` in ClickHouse's SQL, `.hogql`, and `.yaml` with a list of `{ name, sql }` or `{ name, hogql }`.
     */
    files?: {
      /**
       * `file:dir` relative to the manifest, `file:///dir`, or `s3://bucket/prefix`.
       */
      location: string;
      /**
       * `http(s)://host[:port]` of an S3-compatible server. Left out: AWS.
       */
      endpoint?: string;
      /**
       * Region of the bucket.
       */
      region?: string;
      /**
       * Secret with the keys `accessKeyId`, `secretAccessKey` and optionally `sessionToken`. Left out: the environment's credentials.
       */
      secretRef?: {
        /**
         * Name of the secret.
         */
        name: string;
      };
    };
    /**
     * The saved queries and the SQL insights of a PostHog project.
     */
    posthog?: {
      /**
       * Which. Left out: both.
       *
       * Items: A kind.
       */
      kinds?: ('SavedQueries' | 'Insights')[];
    };
    /**
     * Secret of PostHog with the keys `host`, `project` and `key`, for what is HogQL or fetched there. Left out: that of the PostHog pipeline.
     */
    secretRef?: {
      /**
       * Name of the secret.
       */
      name: string;
    };
    /**
     * The tables that a query must touch one of, and what they are called in the queries. Left out: every table of the run, by its own name.
     *
     * Items: One table.
     */
    tables?: {
      /**
       * The table of the run, `table` or `source.table`.
       */
      name: string;
      /**
       * Names that the queries use, such as `postgres_orders` or `shop.orders`. Left out: the table's own.
       *
       * Items: A name.
       */
      as?: string[];
    }[];
    /**
     * Begin of the window of time that `events` is read in, in UTC. Without a window, queries that read tables of PostHog's own are left out.
     */
    from?: string;
    /**
     * End of the window, not in it.
     */
    to?: string;
  };
  /**
   * Seconds after which the query counts as failed.
   */
  timeoutSeconds?: number;
  /**
   * What the result must be.
   */
  expect: {
    /**
     * `Baseline`: the same as on the baseline's side, in order where the query orders.
     */
    sameAs?: 'Baseline';
    /**
     * The rows themselves, each the JSON text of an array of column values: `["JFK", 111279]`.
     *
     * Items: A row as JSON text.
     */
    rows?: string[];
  };
}
/**
 * How tasks are run.
 */
export interface ExecutionSpec {
  /**
   * Tasks that run side by side.
   */
  parallelism?: number;
  /**
   * Times that a task is started again after a failure that may pass.
   */
  retries?: number;
  /**
   * Seconds after which a task is stopped and counts as failed.
   */
  timeoutSeconds?: number;
  /**
   * Memory of one task, as a quantity (`1Gi`), at least 256Mi.
   */
  memory?: string;
  /**
   * Threads of the engine in one task; on a cluster each asks for half a CPU.
   */
  threads?: number;
}
/**
 * Where reports go. They survive the run.
 */
export interface ReportsSpec {
  /**
   * `s3://bucket[/prefix]`, `file:///dir`, or `file:dir` relative to the manifest. Left out: the folder `reports` where the command runs.
   */
  location?: string;
  /**
   * `http(s)://host[:port]` of an S3-compatible server. Left out: AWS.
   */
  endpoint?: string;
  /**
   * Region of the bucket.
   */
  region?: string;
  /**
   * Secret with the keys `accessKeyId`, `secretAccessKey` and optionally `sessionToken`. Left out: the environment's credentials.
   */
  secretRef?: {
    /**
     * Name of the secret.
     */
    name: string;
  };
  /**
   * Which reports are written.
   *
   * Items: A format.
   */
  formats?: ('JSON' | 'HTML' | 'JUnit' | 'Markdown')[];
}
/**
 * What the run has come to. Rebuilt from the workspace and the tasks when lost; details lie in the report.
 */
export interface RunStatus {
  /**
   * Generation of the spec that this status is about.
   */
  observedGeneration?: number;
  /**
   * Where the run is, for people; derived from the conditions and never read back.
   */
  phase?: string;
  /**
   * When the run began.
   */
  startTime?: string;
  /**
   * When the verdict was reached.
   */
  completionTime?: string;
  /**
   * SHA-256 of the spec that the run has used since its beginning, plan merged and defaults applied; hexadecimal.
   */
  specDigest?: string;
  /**
   * Where the run works.
   */
  workspace?: string;
  /**
   * Seconds after its end when the run is deleted, as run and plan said at its end.
   */
  ttlSecondsAfterFinished?: number;
  /**
   * `SourcesProvisioned`, `SnapshotCopied`, `Rehydrated`, `Synced`, `Compared`, `QueriesPassed`, `CleanedUp`, `Finished`, `Succeeded`, and while they last `Reconciling` and `Stalled`.
   *
   * Items: One condition, as Kubernetes defines it.
   */
  conditions?: {
    /**
     * Which condition.
     */
    type: string;
    /**
     * Whether it holds.
     */
    status: 'True' | 'False' | 'Unknown';
    /**
     * Why, as one CamelCase word for machines.
     */
    reason: string;
    /**
     * Why, for people.
     */
    message: string;
    /**
     * Generation of the spec that it is about.
     */
    observedGeneration?: number;
    /**
     * When status last changed.
     */
    lastTransitionTime: string;
  }[];
  /**
   * The copied tables.
   */
  snapshot?: {
    /**
     * SHA-256 over the content of all tables, hexadecimal.
     */
    digest?: string;
    /**
     * Counts over all tables.
     */
    tables?: {
      /**
       * Number of tables.
       */
      count?: number;
      /**
       * Number of rows.
       */
      rows?: number;
      /**
       * Bytes copied.
       */
      bytes?: number;
    };
  };
  /**
   * How many tasks are in which state.
   */
  tasks?: {
    /**
     * Not started.
     */
    pending?: number;
    /**
     * Started.
     */
    running?: number;
    /**
     * Ended well.
     */
    succeeded?: number;
    /**
     * Ended badly.
     */
    failed?: number;
    /**
     * Names of tasks that are running, up to 64.
     *
     * Items: Name of a task.
     */
    active?: string[];
    /**
     * The first tasks that failed for good, up to 10.
     *
     * Items: One failure.
     */
    failures?: {
      /**
       * Name of the task.
       */
      task: string;
      /**
       * What failed, as one CamelCase word for machines.
       */
      code: string;
      /**
       * What failed, for people.
       */
      message: string;
      /**
       * What to do.
       */
      advice?: string;
    }[];
  };
  /**
   * The outcome.
   */
  result?: {
    /**
     * `Failed` means that the data differ; `Errored` that the test could not be carried out.
     */
    verdict?: 'Passed' | 'Failed' | 'Errored' | 'Cancelled';
    /**
     * Compared tables.
     */
    tables?: {
      /**
       * Tables without a difference that counts.
       */
      matched?: number;
      /**
       * Tables with one.
       */
      differing?: number;
      /**
       * Rows of the baselines that were compared, over all comparisons.
       */
      rows?: number;
    };
    /**
     * Differences that count against the run.
     */
    differences?: number;
    /**
     * Queries that were run.
     */
    queries?: {
      /**
       * Queries with the expected result.
       */
      passed?: number;
      /**
       * Queries with another result or none.
       */
      failed?: number;
    };
    /**
     * Digest of everything in the report that must repeat.
     */
    fingerprint?: string;
    /**
     * Where the report is.
     */
    report?: string;
  };
}

/** The same fields as in a run, without planRef. */
export type PlanSpec = Omit<RunSpec, 'planRef'>;

/** A reusable spec that runs take over by planRef, kept in Git. */
export interface PipelineParityPlan {
  apiVersion?: string;
  kind?: string;
  metadata?: PipelineParityRun['metadata'];
  spec: PlanSpec;
}
