import { expect } from 'chai';
import { changed, problemsOf, withSpec } from './manifest.fixture.ts';

/** What is wrong, the manifest, and exactly what is said about it. */
type Case = readonly [title: string, manifest: string, ...problems: string[]];

const STRUCTURE: readonly Case[] = [
  ['a field twice', withSpec('pipelines: []'), 'run.yaml:25:3: is not valid YAML: map keys must be unique'],
  [
    'another version',
    changed(['v1alpha1', 'v2']),
    'run.yaml:1:13: apiVersion: found "pipelineparity.io/v2"; it must be pipelineparity.io/v1alpha1',
  ],
  [
    'a misspelt kind',
    changed(['kind: PipelineParityRun', 'kind: PipelineParityRunn']),
    'run.yaml:2:7: kind: found "PipelineParityRunn"; it must be PipelineParityRun or PipelineParityPlan; did you mean "PipelineParityRun"?',
  ],
  [
    'a bad name',
    changed(['round-trip', 'Round_Trip']),
    `run.yaml:3:19: metadata.name: found "Round_Trip"; it must be at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit`,
  ],
  [
    'an unknown field',
    withSpec('paused: true'),
    'run.yaml:25:3: spec.paused: unknown field; known are planRef, snapshot, workspace, sources, pipelines, scenario, comparison, queries, execution, cleanup, reports, suspend, …',
  ],
  [
    'an unknown field of an empty object',
    changed(['embedded: {}', 'embedded: { port: 1 }']),
    'run.yaml:21:19: spec.sources[shop].embedded.port: unknown field; there are none',
  ],
  [
    'a Snowflake account that the run is to start',
    changed(['engine: Postgres', 'engine: Snowflake']),
    'run.yaml:18:7: spec.sources[shop].external: missing; source "shop" is a Snowflake account, which no run can start: name the secret that it is reached by, external: { secretRef: { name: … } }',
  ],
  [
    'clones in a database that makes none',
    changed(['embedded: {}', 'embedded: {}\n      cloneFrom: { schema: A.B }']),
    'run.yaml:22:7: spec.sources[shop].cloneFrom: only Snowflake clones tables; remove cloneFrom',
  ],
  [
    'clones of what is no schema',
    changed(
      ['engine: Postgres', 'engine: Snowflake'],
      ['embedded: {}', 'external: { secretRef: { name: x } }\n      cloneFrom: { schema: A.B; }'],
    ),
    'run.yaml:22:28: spec.sources[shop].cloneFrom.schema: found "A.B;"; it must be a schema such as DATABASE.SCHEMA',
  ],
  [
    'clones of a table that is sampled, and types for its columns',
    changed(
      ['engine: Postgres', 'engine: Snowflake'],
      [
        'embedded: {}',
        'external: { secretRef: { name: x } }\n      cloneFrom: { schema: A."b" }\n      columns: [{ table: planes, column: a, type: variant }]',
      ],
      ['name: planes', 'name: planes\n        sample: { percent: 10, by: a }'],
    ),
    'run.yaml:23:7: spec.sources[shop].cloneFrom: table "planes" is sampled, and its clone would be all of it, as it is; have it loaded',
    'run.yaml:24:51: spec.sources[shop].columns[planes.a].type: "a" has the type that it has where it is cloned from; remove this entry',
  ],
  [
    'nothing where an object goes',
    changed(['embedded: {}', 'embedded:']),
    'run.yaml:21:7: spec.sources[shop].embedded: found nothing; write {} or its fields',
  ],
  [
    'a text where a number goes',
    withSpec('execution: { threads: two }'),
    'run.yaml:25:25: spec.execution.threads: found "two"; it must be a whole number',
  ],
  [
    'a fraction',
    withSpec('execution: { threads: 1.5 }'),
    'run.yaml:25:25: spec.execution.threads: found 1.5; it must be a whole number',
  ],
  [
    'too large a number',
    withSpec('execution: { retries: 11 }'),
    'run.yaml:25:25: spec.execution.retries: found 11; it must be at most 10',
  ],
  [
    'a float for a tolerance',
    withSpec('comparison: { columns: [{ table: planes, column: a, tolerance: 0.1 }] }'),
    'run.yaml:25:66: spec.comparison.columns[planes.a].tolerance: found 0.1, a number; it is text: write it in quotes, "0.1"',
  ],
  [
    'a text that is no quantity',
    withSpec('snapshot2: {}\nexecution: { memory: 1 GB }').replace('  snapshot2: {}\n', ''),
    'run.yaml:25:24: spec.execution.memory: found "1 GB"; it must be a quantity of bytes such as 512Mi or 50Gi',
  ],
  [
    'a version with a leading zero',
    changed(['"12"', '"012"']),
    'run.yaml:10:18: spec.snapshot.tables[flights].version: found "012"; it must be a version number such as "12"',
  ],
  [
    'two tables of one name',
    changed(['name: planes', 'name: flights']),
    'run.yaml:14:9: spec.snapshot.tables[flights]: another item has the same name; keep one of them',
  ],
  [
    'a column named twice',
    changed(['[id]', '[id, id]']),
    'run.yaml:12:9: spec.snapshot.tables[flights].key: lists "id" twice; list it once',
  ],
  [
    'a list where an object goes',
    withSpec('cleanup: [Always]'),
    'run.yaml:25:3: spec.cleanup: found a list; it must be an object (field: value)',
  ],
];

const RULES: readonly Case[] = [
  [
    'no action in a step',
    withSpec('scenario: [{ name: a }]'),
    'run.yaml:25:14: spec.scenario[a]: exactly one of sync, advance, compare, query',
  ],
  [
    'two actions in a step',
    withSpec('scenario: [{ name: a, advance: {}, query: {} }]'),
    'run.yaml:25:14: spec.scenario[a]: exactly one of sync, advance, compare, query',
  ],
  [
    'steps of one name',
    withSpec('scenario: [{ name: a, sync: { mode: Full } }, { name: a, compare: {} }]'),
    'run.yaml:25:3: spec.scenario: steps must have different names',
  ],
  [
    'a base above the version',
    changed(['"9"', '"12"']),
    'run.yaml:11:22: spec.snapshot.tables[flights].baseVersion: baseVersion must be lower than version',
  ],
  ['a base that is lower only as text', changed(['"12"', '"100"'], ['"9"', '"99"'])],
  [
    'a masked cursor',
    changed(['[id]', '[id]\n        mask: [{ column: updated_at, with: Hmac }]']),
    'run.yaml:13:9: spec.snapshot.tables[flights].mask: the cursor cannot be masked, because its order would be lost',
  ],
  [
    'a path out of the lake',
    changed(['path: planes', 'path: a/../../b']),
    "run.yaml:15:15: spec.snapshot.tables[planes].path: path must lie below the snapshot's location, without a leading slash and without '..'",
  ],
  [
    'two providers',
    changed(['embedded: {}', 'embedded: {}\n      external: { secretRef: { name: s } }']),
    'run.yaml:18:7: spec.sources[shop]: at most one of embedded, external, argocd, kubernetes',
  ],
  [
    'an image of a server that is not deployed',
    changed(['embedded: {}', 'embedded: {}\n      image: postgres:16']),
    'run.yaml:18:7: spec.sources[shop]: image, size, tls and allowFrom are about a server that the run deploys by argocd or kubernetes',
  ],
  [
    'a chart without its folder',
    changed(['embedded: {}', 'argocd: { repoURL: https://git.example/charts }']),
    'run.yaml:21:7: spec.sources[shop].argocd: a repoURL needs the path and the targetRevision of its chart',
  ],
  [
    'a peer that is pods and addresses',
    changed(['embedded: {}', 'allowFrom: [{ namespace: etl, cidr: 10.0.0.0/8 }]']),
    'run.yaml:21:19: spec.sources[shop].allowFrom[0]: either cidr, or namespace and pods or one of them',
  ],
  [
    'a side that is two',
    withSpec(
      'scenario: [{ name: s, sync: { mode: Full } }, { name: c, compare: { candidate: { pipeline: candidate, snapshot: {} } } }]',
    ),
    'run.yaml:25:71: spec.scenario[c].compare.candidate: exactly one of snapshot, pipeline, location',
  ],
  [
    'a column exception that says nothing',
    withSpec('comparison: { columns: [{ table: planes, column: a }] }'),
    'run.yaml:25:27: spec.comparison.columns[planes.a]: exactly one of ignore, rename, tolerance',
  ],
  [
    'ignore: false',
    withSpec('comparison: { columns: [{ table: planes, column: a, ignore: false }] }'),
    'run.yaml:25:63: spec.comparison.columns[planes.a].ignore: ignore can only be true; leave the entry out to compare the column',
  ],
  [
    'two expectations',
    withSpec('queries: [{ name: q, sql: s, expect: { sameAs: Baseline, rows: [] } }]'),
    'run.yaml:25:32: spec.queries[q].expect: exactly one of sameAs, rows',
  ],
  [
    'a query of two languages',
    withSpec('queries: [{ name: q, sql: s, hogql: { query: s }, expect: { rows: [] } }]'),
    'run.yaml:25:13: spec.queries[q]: exactly one of sql, hogql, inherited',
  ],
  [
    'HogQL on a ClickHouse server',
    withSpec(
      'queries: [{ name: q, hogql: { query: s }, clickhouse: { secretRef: { name: ch } }, expect: { rows: [] } }]',
    ),
    'run.yaml:25:45: spec.queries[q].clickhouse: on a ClickHouse server only SQL runs: sql, or inherited.files',
  ],
  [
    'queries of PostHog on a ClickHouse server',
    withSpec(
      'queries: [{ name: q, clickhouse: { secretRef: { name: ch } }, inherited: { posthog: {} }, expect: { sameAs: Baseline } }]',
    ),
    'run.yaml:25:24: spec.queries[q].clickhouse: on a ClickHouse server only SQL runs: sql, or inherited.files',
  ],
  [
    'a ClickHouse server without its secret',
    withSpec('queries: [{ name: q, sql: s, clickhouse: {}, expect: { sameAs: Baseline } }]'),
    'run.yaml:25:32: spec.queries[q].clickhouse.secretRef: missing; add it: Secret with the keys `url` (of the HTTP interface), `user`, `password` and optionally `database`, `ca` and `cluster`.',
  ],
  [
    'rows for inherited queries',
    withSpec('queries: [{ name: q, inherited: { files: { location: "file:q" } }, expect: { rows: [] } }]'),
    'run.yaml:25:13: spec.queries[q]: inherited queries are compared with the baseline: expect { sameAs: Baseline }',
  ],
  [
    'a window with one end',
    withSpec('queries: [{ name: q, hogql: { query: s, from: "2026-01-01T00:00:00Z" }, expect: { rows: [] } }]'),
    'run.yaml:25:24: spec.queries[q].hogql: a window has both ends: from and to',
  ],
  [
    'neither snapshot nor plan',
    'apiVersion: pipelineparity.io/v1alpha1\nkind: PipelineParityRun\nmetadata: { name: a }\nspec: {}\n',
    'run.yaml:4:1: spec: a run needs a snapshot of its own or a planRef that supplies one',
  ],
];

const WHOLE: readonly Case[] = [
  [
    'no workspace anywhere',
    changed(['  workspace: { location: s3:// }\n', '']),
    'run.yaml:4:1: spec.workspace.location: missing, and this installation has no default; add where the run may work',
  ],
  [
    'no tables',
    changed(['tables: [flights, planes]', 'tables: [flights, plains]']),
    'run.yaml:14:9: spec.snapshot.tables[planes]: no source holds this table, so no pipeline lands it; add it to a source, or remove it',
    'run.yaml:20:25: spec.sources[shop].tables[1]: the snapshot has no table "plains"; did you mean "planes"?',
  ],
  [
    'tables that differ in case',
    changed(['name: planes', 'name: Flights'], ['[flights, planes]', '[flights, Flights]']),
    'run.yaml:14:15: spec.snapshot.tables[Flights].name: "Flights" differs from "flights" only in case, which databases do not tell apart; rename one',
  ],
  [
    'an excluded cursor',
    changed(['[id]', '[id]\n        exclude: [updated_at]']),
    'run.yaml:14:17: spec.snapshot.tables[flights].cursor: "updated_at" is in exclude as well; take it out of one of them',
  ],
  [
    'a sample without a column',
    changed(['path: planes', 'path: planes\n        sample: { percent: 5 }']),
    'run.yaml:16:9: spec.snapshot.tables[planes].sample.by: missing, and the table has no key to sample by; name a column',
  ],
  [
    'a mask without a secret',
    changed(['path: planes', 'path: planes\n        mask: [{ column: a, with: Hmac }]']),
    'run.yaml:5:3: spec.snapshot.maskSecretRef: missing; table "planes" has masks, which are made with this secret',
  ],
  [
    'a zone that is none',
    changed(['path: planes', 'path: planes\n        partitionTimeZone: Berlin']),
    'run.yaml:16:28: spec.snapshot.tables[planes].partitionTimeZone: found "Berlin", which is no IANA time zone; write one such as Europe/Berlin',
  ],
  [
    'an omitted key',
    changed(['embedded: {}', 'columns: [{ table: flights, column: id, omit: true }]']),
    `run.yaml:21:53: spec.sources[shop].columns[flights.id].omit: "id" is the table's key, which a source cannot be without`,
  ],
  [
    'addresses that are none',
    changed(['embedded: {}', 'allowFrom: [{ cidr: 10.0.0.0/33 }, { cidr: "fd00::/33" }]']),
    'run.yaml:21:27: spec.sources[shop].allowFrom[0].cidr: found "10.0.0.0/33", which is no block of addresses; write one such as 10.1.0.0/16',
  ],
  [
    'no room for a database',
    changed(['embedded: {}', 'size: 1Mi']),
    'run.yaml:21:13: spec.sources[shop].size: found "1Mi", which holds no database; write 1Gi or more',
  ],
  [
    "a chart's value that is the run's to give",
    changed(['embedded: {}', 'argocd: { values: "auth: { password: hunter2 }" }']),
    'run.yaml:21:25: spec.sources[shop].argocd.values: "auth" is what the run says to the chart itself; take it out',
  ],
  [
    "a chart's value that has a field",
    changed(['embedded: {}', 'argocd: { values: "image: postgres" }']),
    'run.yaml:21:25: spec.sources[shop].argocd.values: "image" is what the run says to the chart itself; write the source\'s field image',
  ],
  [
    'values that are no object',
    changed(['embedded: {}', 'argocd: { values: "- a" }']),
    'run.yaml:21:25: spec.sources[shop].argocd.values: must be an object (name: value) as YAML text',
  ],
  [
    'an ignored key',
    withSpec('comparison: { columns: [{ table: flights, column: id, ignore: true }] }'),
    'run.yaml:25:65: spec.comparison.columns[flights.id].ignore: "id" is part of the key, by which rows are found; it is compared exactly',
  ],
  [
    'events without a window',
    withSpec(
      'queries: [{ name: q, hogql: { query: "select 1 from events", secretRef: { name: p } }, expect: { sameAs: Baseline } }]',
    ),
    'run.yaml:25:40: spec.queries[q].hogql.query: reads events, which grows all the time; bound it by {{from}} and {{to}}, and set hogql.from and hogql.to',
  ],
  [
    'an end of no window',
    withSpec(
      'queries: [{ name: q, hogql: { query: "select {{from}}", secretRef: { name: p } }, expect: { sameAs: Baseline } }]',
    ),
    'run.yaml:25:40: spec.queries[q].hogql.query: {{from}}: the query has no window; add hogql.from and hogql.to',
  ],
  [
    'a function of the time in HogQL',
    withSpec(
      'queries: [{ name: q, hogql: { query: "select now()", secretRef: { name: p } }, expect: { sameAs: Baseline } }]',
    ),
    'run.yaml:25:40: spec.queries[q].hogql.query: calls now(), which gives another result each time',
  ],
  [
    'a window that ends before it begins',
    withSpec(
      'queries: [{ name: q, hogql: { query: "select 1", secretRef: { name: p }, from: "2026-01-02T00:00:00Z", to: "2026-01-01T00:00:00Z" }, expect: { sameAs: Baseline } }]',
    ),
    'run.yaml:25:110: spec.queries[q].hogql.to: must be later than from',
  ],
  [
    'HogQL without a secret',
    withSpec('queries: [{ name: q, hogql: { query: select 1 }, expect: { sameAs: Baseline } }]'),
    'run.yaml:25:24: spec.queries[q].hogql.secretRef: missing, and there is no PostHog pipeline whose secret it could be; name one with host, project and key',
  ],
  [
    'a query of nothing',
    withSpec('queries: [{ name: q, sql: "select 1", expect: { sameAs: Baseline } }]'),
    'run.yaml:25:29: spec.queries[q].sql: reads no table of the run, so it would pass whatever the data; write {{table}} for one',
  ],
  [
    'a query that names its table in a comment only',
    withSpec('queries: [{ name: q, sql: "select 1 -- from {{flights}}", expect: { sameAs: Baseline } }]'),
    'run.yaml:25:29: spec.queries[q].sql: reads no table of the run, so it would pass whatever the data; write {{table}} for one',
  ],
  [
    'a function of chance in SQL',
    withSpec(
      'queries: [{ name: q, sql: "select id from {{flights}} where rand() % 2 = 0", expect: { sameAs: Baseline } }]',
    ),
    'run.yaml:25:29: spec.queries[q].sql: calls rand(), which gives another result each time',
  ],
  [
    'an unknown placeholder',
    withSpec('queries: [{ name: q, sql: "select 1 from {{ fligths }}", expect: { sameAs: Baseline } }]'),
    'run.yaml:25:29: spec.queries[q].sql: {{ fligths }}: the snapshot has no table "fligths"; did you mean "flights"?',
  ],
  [
    'an unknown source of a placeholder',
    withSpec('queries: [{ name: q, sql: "select 1 from {{shp.flights}}", expect: { sameAs: Baseline } }]'),
    'run.yaml:25:29: spec.queries[q].sql: {{shp.flights}}: there is no source "shp"; did you mean "shop"?',
  ],
  [
    'an ambiguous placeholder',
    changed([
      '  pipelines:',
      '    - { name: b, engine: MySQL, tables: [planes] }\n  queries: [{ name: q, sql: "from {{planes}}", expect: { sameAs: Baseline } }]\n  pipelines:',
    ]),
    'run.yaml:23:29: spec.queries[q].sql: {{planes}}: several sources hold this table; write {{shop.planes}} or {{b.planes}}',
  ],
  [
    'a row that is no array',
    withSpec(`queries: [{ name: q, sql: "from {{planes}}", expect: { rows: ['["a", 1]', 'JFK'] } }]`),
    `run.yaml:25:77: spec.queries[q].expect.rows[1]: found "JFK"; it must be the JSON text of an array of column values, such as '["JFK", 1]'`,
  ],
  [
    'too little memory',
    withSpec('execution: { memory: 1Mi }'),
    'run.yaml:25:24: spec.execution.memory: found 1048576 bytes; a task needs at least 256Mi',
  ],
  [
    'more bytes than can be counted',
    withSpec('execution: { memory: 99999999Pi }'),
    'run.yaml:25:24: spec.execution.memory: found "99999999Pi", which is more than can be counted; write at most 8Pi',
  ],
];

const LOCATIONS: readonly Case[] = [
  [
    'a workspace inside the lake',
    changed(['s3://', '"file:lake/tmp"']),
    `run.yaml:16:26: spec.workspace.location: "file:///work/lake/tmp" lies inside the snapshot's location "file:///work/lake", which is only ever read; write to another place`,
  ],
  [
    'reports in the lake itself',
    withSpec('reports: { location: "file:./lake/" }'),
    `run.yaml:25:24: spec.reports.location: "file:///work/lake" lies inside the snapshot's location "file:///work/lake", which is only ever read; write to another place`,
  ],
  ['a workspace beside the lake', changed(['s3://', '"file:lake2"'])],
  [
    'an endpoint of a file',
    changed(['location: file:lake', 'location: file:lake\n    endpoint: http://a']),
    'run.yaml:7:15: spec.snapshot.endpoint: has no meaning for a file location; remove it, or write an s3:// location',
  ],
  [
    'a lake without a bucket',
    changed(['file:lake', 's3://']),
    'run.yaml:6:15: spec.snapshot.location: found "s3://", which names no bucket; write s3://bucket/prefix',
  ],
  [
    'a key in a location',
    changed(['file:lake', 's3://key:secret@bucket']),
    'run.yaml:6:15: spec.snapshot.location: it has an @; write s3://bucket/prefix, and credentials in the secret that secretRef names',
  ],
  [
    'a password in an endpoint',
    changed(['{ location: s3:// }', '{ location: "s3://tmp", endpoint: "http://u:hunter2@h" }']),
    'run.yaml:16:48: spec.workspace.endpoint: has a user or password; write http(s)://host:port, and credentials in the secret that secretRef names',
  ],
  [
    'a path in an endpoint',
    changed(['{ location: s3:// }', '{ location: "s3://tmp", endpoint: "http://h/x" }']),
    'run.yaml:16:48: spec.workspace.endpoint: found "http://h/x"; write only http(s)://host:port, and the rest in location',
  ],
  [
    'a host in a file location',
    changed(['file:lake', 'file://lake']),
    'run.yaml:6:15: spec.snapshot.location: found "file://lake"; write file:///folder (three slashes) or file:folder',
  ],
];

const FULL = '{ name: f, sync: { mode: Full } }';
const COMPARE = '{ name: c, compare: {} }';
const ADVANCE = '{ name: a, advance: {} }';
const INCREMENTAL = '{ name: i, sync: { mode: Incremental } }';
const scenario = (...steps: string[]): string => withSpec(`scenario:\n${steps.map((step) => `- ${step}`).join('\n')}`);

const SCENARIOS: readonly Case[] = [
  ['a full sync and a comparison', scenario(FULL, COMPARE)],
  [
    'a comparison before any sync',
    scenario(COMPARE, FULL, '{ name: d, compare: {} }'),
    'run.yaml:26:16: spec.scenario[c].compare.candidate: pipeline "candidate" has landed nothing yet; put a sync step before this one',
  ],
  [
    'nothing compared',
    scenario(FULL),
    'run.yaml:25:3: spec.scenario: no step compares or queries, so the run could find nothing; add a compare step',
  ],
  [
    'a last sync that nobody looks at',
    scenario(FULL, COMPARE, ADVANCE, INCREMENTAL),
    'run.yaml:29:16: spec.scenario[i].sync: no later step looks at what pipeline "candidate" landed here; put a compare step after this one',
  ],
  [
    'a table that neither a comparison nor a query reads',
    `${scenario(FULL, '{ name: q, query: {} }')}  queries: [{ name: q, sql: "from {{planes}}", expect: { sameAs: Baseline } }]\n`,
    'run.yaml:8:9: spec.snapshot.tables[flights]: no step compares this table and no query reads it; add a compare step, or remove it',
  ],
  [
    'a last sync of which queries read one table only',
    `${scenario(FULL, COMPARE, ADVANCE, INCREMENTAL, '{ name: q, query: {} }')}  queries: [{ name: q, sql: "from {{flights}}", expect: { sameAs: Baseline } }]\n`,
    'run.yaml:29:16: spec.scenario[i].sync: no later step looks at what pipeline "candidate" landed here of "planes"; put a compare step after this one',
  ],
  [
    'a pipeline that queries pass over',
    `${scenario(FULL, '{ name: c, compare: { candidate: { pipeline: candidate } } }', '{ name: q, query: {} }').replace('    - name: candidate', '    - { name: other, reference: {} }\n    - name: candidate')}  queries: [{ name: q, sql: "from {{planes}}", expect: { sameAs: Baseline } }]\n`,
    'run.yaml:27:16: spec.scenario[f].sync: no later step looks at what pipeline "other" landed here; put a compare step after this one',
  ],
  [
    'an incremental sync first',
    scenario(ADVANCE, INCREMENTAL, COMPARE),
    'run.yaml:27:30: spec.scenario[i].sync.mode: pipeline "candidate" has not been synced before; put a step with mode Full before this one',
  ],
  [
    'an incremental sync without an advance',
    scenario(FULL, INCREMENTAL, COMPARE),
    'run.yaml:27:30: spec.scenario[i].sync.mode: nothing has changed in the sources yet; give tables a baseVersion and put an advance step before this one',
  ],
  [
    'an advance that no sync follows',
    scenario(FULL, ADVANCE, COMPARE),
    'run.yaml:28:16: spec.scenario[c].compare.candidate: the sources were advanced after pipeline "candidate" was last synced; put a sync step before this one',
  ],
  [
    'an advance twice',
    scenario(FULL, ADVANCE, '{ name: b, advance: {} }', INCREMENTAL, COMPARE),
    'run.yaml:28:16: spec.scenario[b].advance: the sources are at their version already; remove this step',
  ],
  [
    'an advance of nothing',
    changed(
      ['        baseVersion: "9"\n', ''],
      [
        '      reference: {}\n',
        `      reference: {}\n  scenario: [${FULL}, ${ADVANCE}, { name: g, sync: { mode: Full } }, ${COMPARE}]\n`,
      ],
    ),
    'run.yaml:24:60: spec.scenario[a].advance: no table has a baseVersion to advance from; add one, or remove this step',
  ],
  [
    'an incremental table without a cursor',
    changed(['        cursor: updated_at\n', '']),
    'run.yaml:8:9: spec.snapshot.tables[flights].cursor: missing; the scenario syncs this table incrementally, which needs it. Add it, or remove baseVersion',
  ],
  [
    'a side in no bucket',
    scenario(FULL, COMPARE, '{ name: d, compare: { baseline: { location: "delta:s3://" } } }'),
    'run.yaml:28:49: spec.scenario[d].compare.baseline.location: found "s3://", which names no bucket; write s3://bucket/prefix',
  ],
  [
    'a comparison of equals that are spelt in two ways',
    scenario(
      FULL,
      COMPARE,
      '{ name: d, compare: { baseline: { location: "file:v" }, candidate: { location: "delta:file:///work/v/" } } }',
    ),
    'run.yaml:28:16: spec.scenario[d].compare: both sides are location "file:///work/v"; compare two different ones',
  ],
  [
    'a comparison with what the snapshot is taken from',
    scenario(FULL, COMPARE, '{ name: d, compare: { candidate: { location: "file:lake" } } }'),
    'run.yaml:28:50: spec.scenario[d].compare.candidate.location: this is where the snapshot of table "planes" is taken from, so it would be compared with itself; name other tables, or the version to compare with by tables[].version',
  ],
  [
    'a comparison of equals',
    scenario(FULL, COMPARE, '{ name: d, compare: { candidate: { snapshot: {} } } }'),
    'run.yaml:28:16: spec.scenario[d].compare: both sides are the snapshot; compare two different ones',
  ],
  [
    'an unknown pipeline',
    scenario('{ name: f, sync: { mode: Full, pipelines: [candidat] } }', COMPARE),
    'run.yaml:23:7: spec.pipelines[candidate]: no step syncs this pipeline; add a sync step, or remove it',
    'run.yaml:26:48: spec.scenario[f].sync.pipelines[0]: there is no pipeline "candidat"; did you mean "candidate"?',
    'run.yaml:27:16: spec.scenario[c].compare.candidate: pipeline "candidate" has landed nothing yet; put a sync step before this one',
  ],
  [
    'a query that nobody runs',
    `${scenario(FULL, COMPARE)}  queries: [{ name: q, sql: "from {{planes}}", expect: { sameAs: Baseline } }]\n`,
    'run.yaml:28:13: spec.queries[q]: no step runs this query; add a step with query: {}, or remove it',
  ],
  [
    'a query step without queries',
    scenario(FULL, COMPARE, '{ name: q, query: {} }'),
    'run.yaml:28:16: spec.scenario[q].query: there is no query to run; add one to spec.queries, or remove this step',
  ],
  [
    'two pipelines and no word which',
    changed(['      reference: {}\n', '      reference: {}\n    - { name: other, reference: {} }\n']),
    'run.yaml:4:1: spec.scenario[1].compare.candidate: missing, and there are 2 pipelines (candidate, other); say which one is compared',
    'run.yaml:4:1: spec.scenario[4].compare.candidate: missing, and there are 2 pipelines (candidate, other); say which one is compared',
  ],
];

for (const [heading, cases] of Object.entries({ STRUCTURE, RULES, WHOLE, LOCATIONS, SCENARIOS })) {
  describe(`What a manifest is told about ${heading.toLowerCase()}`, () => {
    for (const [title, manifest, ...problems] of cases) {
      it(problems.length === 0 ? `accepts ${title}` : `refuses ${title}`, () => {
        expect(problemsOf(manifest)).to.deep.equal(problems);
      });
    }
  });
}
