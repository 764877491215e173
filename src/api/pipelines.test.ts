import { expect } from 'chai';
import { changed, load, problemsOf } from './manifest.fixture.ts';

const own = (yaml: string): string => changed(['      reference: {}\n', yaml.replaceAll(/^(?=.)/gm, '      ')]);
const command = 'command: { argv: [sync] }\n';
const posthog = 'posthog: { secretRef: { name: posthog } }\n';
const temporal = "temporal: { address: 'localhost:7233', taskQueue: q, workflowType: w, ";

/** What is wrong with a pipeline, and what is said about it, without its place. */
const cases: readonly (readonly [what: string, yaml: string, said: string])[] = [
  ['no kind', 'outputs: {}\n', 'pipelines[candidate]: exactly one of reference, command, job, temporal, posthog'],
  [
    'two kinds',
    `${command}reference: {}\n`,
    'pipelines[candidate]: exactly one of reference, command, job, temporal, posthog',
  ],
  [
    'outputs of the built-in pipeline',
    'reference: {}\noutputs: {}\n',
    'pipelines[candidate]: executions, timeoutSeconds, outputs and successWhen have no meaning for the built-in pipeline',
  ],
  [
    'executions of PostHog',
    `${posthog}executions: PerSource\noutputs: { location: "s3://warehouse/dlt" }\n`,
    'pipelines[candidate]: executions and successWhen have no meaning for PostHog, which syncs table by table and is judged by its jobs',
  ],
  [
    'PostHog without a bucket',
    posthog,
    "outputs.location: missing; PostHog lands outside the run's workspace: say where its folders team_… lie, such as s3://bucket/dlt",
  ],
  [
    'a place for each run in the bucket of PostHog',
    `${posthog}outputs: { location: "s3://warehouse/{{run}}" }\n`,
    'outputs.location: takes no placeholder here: PostHog names its folders itself, and the run asks it for them',
  ],
  [
    'Parquet of PostHog',
    `${posthog}outputs: { format: Parquet, location: "s3://warehouse/dlt" }\n`,
    'outputs: PostHog lands Delta tables; say by location where its bucket is, and leave format and database out',
  ],
  [
    'a sync type for a table that is not there',
    'posthog: { secretRef: { name: p }, tables: [{ name: flight, syncType: Append }] }\noutputs: { location: "s3://warehouse/dlt" }\n',
    'posthog.tables[flight].name: the snapshot has no table "flight"; did you mean "flights"?',
  ],
  [
    'a sync type that needs a cursor',
    'posthog: { secretRef: { name: p }, tables: [{ name: planes, syncType: Append }] }\noutputs: { location: "s3://warehouse/dlt" }\n',
    'posthog.tables[planes].syncType: Append needs a cursor, and table "planes" has none',
  ],
  [
    'a password as an argument',
    'command: { argv: [sync, "{{source.password}}"] }\n',
    'argv[1]: {{source.password}} is a secret, which everybody on the machine could read here; put it into env',
  ],
  [
    'one table where there are many',
    'command: { argv: [sync, "{{table}}"] }\n',
    'argv[1]: {{table}} has no value where one execution syncs all tables; write {{tables}} or {{request}}, or executions: PerTable',
  ],
  [
    'a misspelt variable',
    'command: { argv: ["{{moda}}"] }\n',
    'argv[0]: there is no {{moda}} here; did you mean "mode"?',
  ],
  [
    'a variable of the contract',
    'command: { argv: [sync], env: [{ name: PARITY_MODE, value: x }] }\n',
    "env[PARITY_MODE].name: names that begin with PARITY_ are the contract's; choose another",
  ],
  [
    'a password as an argument of a Job',
    'job: { image: i, args: ["{{source.password}}"] }\n',
    'args[0]: {{source.password}} is a secret, which everybody on the machine could read here; put it into env',
  ],
  [
    'one table where a Job has many',
    'job: { image: i, command: [sync, "{{table}}"] }\n',
    'command[1]: {{table}} has no value where one execution syncs all tables; write {{tables}} or {{request}}, or executions: PerTable',
  ],
  [
    "a variable of a Job that is the contract's",
    'job: { image: i, env: [{ name: PARITY_MODE, value: x }] }\n',
    "env[PARITY_MODE].name: names that begin with PARITY_ are the contract's; choose another",
  ],
  [
    'a variable of a Job with two values',
    'job: { image: i, env: [{ name: A, value: x, secretKeyRef: { name: s, key: k } }] }\n',
    'env[A]: exactly one of value, secretKeyRef',
  ],
  [
    "a folder of a Job over the contract's",
    'job: { image: i, mounts: [{ path: /parity/source/, secretRef: { name: s } }] }\n',
    'mounts[0].path: found "/parity/source", where the contract\'s files are; choose another folder',
  ],
  [
    'more memory asked for than allowed',
    'job: { image: i, resources: { requests: { memory: 2Gi }, limits: { memory: 2G } } }\n',
    'resources.requests.memory: found 2Gi, which is more than the limit of 2G',
  ],
  [
    'more processors asked for than allowed',
    'job: { image: i, resources: { requests: { cpu: "2" }, limits: { cpu: 1500m } } }\n',
    'resources.requests.cpu: found 2, which is more than the limit of 1500m',
  ],
  [
    'more time than the task has',
    `${command}timeoutSeconds: 7200\n`,
    'timeoutSeconds: found 7200, which is more than the 3600 s of its task; raise execution.timeoutSeconds too',
  ],
  [
    'a place outside the workspace that runs would share',
    `${command}outputs: { location: "s3://lake/landed/{{table}}" }\n`,
    `outputs.location: "s3://lake/landed/{{table}}" has no {{run}} in a folder's name, so runs would mix and nobody could clean up; write {{landing}}/{{table}}, or put {{run}} into it`,
  ],
  [
    'a bucket of its own',
    `${command}outputs: { location: "s3://{{run}}/{{table}}" }\n`,
    `outputs.location: "s3://{{run}}/{{table}}" has no {{run}} in a folder's name, so runs would mix and nobody could clean up; write {{landing}}/{{table}}, or put {{run}} into it`,
  ],
  [
    'a way out of the landing folder',
    `${command}outputs: { location: "{{landing}}/../../snapshot/{{table}}" }\n`,
    `outputs.location: found "{{landing}}/../../snapshot/{{table}}"; write it without '..'`,
  ],
  [
    'one place for two tables',
    `${command}outputs: { location: "{{landing}}/all" }\n`,
    'outputs.location: shop.flights and shop.planes would land in one place; put {{source}} or {{table}} into it',
  ],
  [
    'an endpoint for the workspace',
    `${command}outputs: { endpoint: "http://minio:9000" }\n`,
    'outputs.endpoint: has no meaning inside the workspace, which has its own; remove it',
  ],
  [
    'a step in the place of a table',
    `${command}outputs: { location: "{{landing}}/{{step}}/{{table}}" }\n`,
    'outputs.location: there is no {{step}} here; known are landing, run, pipeline, source, table, table.lower, table.upper, table.snake',
  ],
  [
    "the source's own table",
    `${command}outputs: { database: {} }\n`,
    "outputs.database: in the source's own database, landed tables need a schema or a name of their own",
  ],
  [
    "the schema of the source's own tables",
    `${command}outputs: { database: { schema: public } }\n`,
    `outputs.database.table: shop.flights would land in the source's own table "flights"; give landed tables a schema of their own or other names`,
  ],
  [
    "a spelling that is the source's own table",
    `${command}outputs: { database: { table: "{{table.lower}}" } }\n`,
    `outputs.database.table: shop.flights would land in the source's own table "flights"; give landed tables a schema of their own or other names`,
  ],
  [
    'a place inside the lake',
    `${command}outputs: { location: "file:///work/lake/{{run}}/{{table}}" }\n`,
    `outputs.location: "file:///work/lake/{{run}}/{{table}}" lies inside the snapshot's location, which is only ever read; write {{landing}}/{{table}}, or a place outside it`,
  ],
  [
    'half a server',
    `${command}outputs: { database: { engine: Postgres, table: "x_{{table}}" } }\n`,
    "outputs.database: engine and secretRef belong together; without them the tables lie in the source's own database",
  ],
  [
    'a schema of MySQL',
    `${command}outputs: { database: { engine: MySQL, secretRef: { name: dw }, schema: x } }\n`,
    'outputs.database.schema: MySQL has no schemas inside a database; give the tables names of their own with table',
  ],
  [
    'a schema of ClickHouse',
    `${command}outputs: { database: { engine: ClickHouse, secretRef: { name: dw }, schema: x } }\n`,
    'outputs.database.schema: ClickHouse has no schemas inside a database; give the tables names of their own with table',
  ],
  [
    'a schema of Snowflake',
    `${command}outputs: { database: { engine: Snowflake, secretRef: { name: dw }, schema: x } }\n`,
    'outputs.database.schema: in Snowflake the run has one schema of its own, which is dropped with it; give the tables names of their own with table',
  ],
  [
    'both a database and a format',
    `${command}outputs: { format: Delta, database: { schema: x } }\n`,
    'outputs.database: what lands in a database has no format, location, endpoint, region or secretRef of its own',
  ],
  [
    'two checks',
    `${command}successWhen: { sql: "select 1", http: { url: "http://x" } }\n`,
    'successWhen: exactly one of sql, http, query',
  ],
  [
    'a check of a table that is not there',
    `${command}successWhen: { sql: "select count() from {{flight}}" }\n`,
    'successWhen.sql: {{flight}}: the snapshot has no such table; did you mean "flights"?',
  ],
  [
    'arguments that are no list',
    `${temporal}args: '{"table": "{{table}}"}' }\n`,
    `temporal.args: found "{\\"table\\": \\"{{table}}\\"}"; it must be the JSON text of an array, such as ["{{request}}"]`,
  ],
  [
    'one table where a workflow has many',
    `${temporal}args: '["{{table}}"]' }\nexecutions: PerSource\n`,
    'temporal.args: {{table}} has no value where one execution syncs all tables; write {{tables}} or {{request}}, or executions: PerTable',
  ],
  [
    'an address that is a URL',
    "temporal: { address: 'http://x:7233', taskQueue: q, workflowType: w }\n",
    'it must be host:port',
  ],
  [
    'a query of a command',
    `${command}successWhen: { query: { type: landed, equals: "true" } }\n`,
    'successWhen.query: only a workflow of Temporal can be asked a query',
  ],
  [
    'an answer that is no JSON',
    `${temporal}args: '[]' }\nsuccessWhen: { query: { type: landed, equals: done } }\n`,
    'query.equals: found "done"; it must be JSON text, such as true or "done" with its quotes',
  ],
];

describe('A pipeline of the manifest', () => {
  const pairs: readonly (readonly [string, string, string | undefined])[] = [
    ['a place', 'location: "s3://lake/{{run}}/{{table}}"', 'outputs.location'],
    ['a place of its own', 'location: "s3://lake/{{run}}/{{pipeline}}/{{table}}"', undefined],
    ["a place in the source's database", 'database: { table: "l_{{table}}" }', 'outputs.database.table'],
    ['a database of its own', 'database: { engine: MySQL, secretRef: { name: dw } }', undefined],
  ];
  for (const [what, outputs, field] of pairs)
    it(`that lands like another in ${what} is ${field === undefined ? 'taken' : 'refused'}`, () => {
      const both = changed([
        '    - name: candidate\n      reference: {}\n',
        ['a', 'b']
          .map((name) => `    - { name: ${name}, command: { argv: [sync] }, outputs: { ${outputs} } }\n`)
          .join(''),
      ]);
      const text = `${both}  scenario: [{ name: s, sync: { mode: Full } }, { name: c, compare: { baseline: { pipeline: a }, candidate: { pipeline: b } } }]\n`;
      const said = problemsOf(text).map((line) => line.replace(/^\S+ /, ''));
      const message = `spec.pipelines[b].${field}: lands where pipeline "a" does; put {{pipeline}} into it`;
      expect(said).to.deep.equal(field === undefined ? [] : [message]);
    });

  for (const [what, yaml, said] of cases)
    it(`with ${what} is refused in so many words`, () => {
      const problems = problemsOf(own(yaml));
      expect(
        problems.map((problem) => problem.endsWith(said)),
        problems.join('\n'),
      ).to.include(true);
    });

  it('may not land over what the baseline is read from', () => {
    const place = 'file:///work/ws/parity-{{run}}/snapshot/{{table}}';
    const text = own(`${command}outputs: { location: "${place}" }\n`).replace('s3://', 'file:ws');
    expect(problemsOf(text).map((line) => line.replace(/^\S+ /, ''))).to.deep.equal([
      `spec.pipelines[candidate].outputs.location: "${place}" lies inside the workspace, where the baseline is kept too; write {{landing}}/{{table}}`,
    ]);
  });

  it('that is a workflow may be told the password, has every default, and one execution for each table', () => {
    const { spec } = load(own(`${temporal}args: '["{{source.password}}", "{{table}}"]' }\n`));
    expect(spec.pipelines[0]).to.deep.include({ executions: 'PerTable', timeoutSeconds: 3585 });
    expect(spec.pipelines[0]).to.have.nested.property('temporal.namespace', 'default');
  });

  it('that is a Job is for a cluster, wherever it is written', () => {
    const plan = 'apiVersion: pipelineparity.io/v1alpha1\nkind: PipelineParityPlan\nmetadata: { name: syncs }\n';
    const pipelines = 'pipelines: [{ name: candidate, job: { image: i } }]';
    const run = changed(
      ['pipelines:\n    - name: candidate\n      reference: {}\n', 'planRef: { name: syncs }\n'],
      ['embedded: {}', 'kubernetes: {}'],
    );
    const said = (text: string, planText?: string) =>
      problemsOf(text, { isCarriedOutHere: true, ...(planText === undefined ? {} : { planText }) });
    const message =
      'spec.pipelines[candidate].job: needs a cluster, which makes its Jobs; write command, or give the run to a cluster with --cluster';
    expect(said(own('job: { image: i }\n'))).to.deep.equal([`run.yaml:24:7: ${message}`]);
    expect(said(run, `${plan}spec: { ${pipelines} }\n`).map((line) => line.replace(/^\S+ /, ''))).to.deep.equal([
      message,
    ]);
    expect(problemsOf(own('job: { image: i }\n'))).to.deep.equal([]);
  });

  it('that is a Job has every default', () => {
    const [pipeline] = load(own('job: { image: i }\n')).spec.pipelines;
    expect(pipeline).to.deep.include({
      executions: 'PerSource',
      job: {
        image: 'i',
        ...{ imagePullSecrets: [], command: [], args: [], env: [], envFrom: [], mounts: [], tolerations: [] },
        resources: {},
        securityContext: { runAsNonRoot: true, readOnlyRootFilesystem: false },
      },
    });
  });

  it('that is a command has every default', () => {
    expect(load(own(command), { file: 'ci/run.yaml' }).spec.pipelines).to.deep.equal([
      {
        name: 'candidate',
        cursorBound: 'Inclusive',
        executions: 'PerSource',
        timeoutSeconds: 3585,
        outputs: { kind: 'files', format: 'Delta', location: '{{landing}}/{{table}}' },
        command: { argv: ['sync'], folder: 'file:///work/ci', env: [] },
      },
    ]);
  });
});
