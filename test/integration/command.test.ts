import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import mysql from 'mysql2/promise';
import { clickHouseClient } from '../../src/sources/clickhouse-client.ts';
import { formatConnection } from '../../src/sources/connection.ts';
import { sharedClickHouse } from '../support/clickhouse/start.ts';
import { sharedServer } from '../support/databases.ts';
import { type CommandResult, Place, root, smallSpec, startJobs } from '../support/runs.ts';

const node = join(root, 'node_modules/.bin/node');
const program = join(root, 'test/support/command-pipeline.ts');

interface End {
  readonly result: CommandResult;
  readonly left: string;
  /** What the test looks at while the place is there. */
  readonly seen: string;
}

interface Case {
  readonly behaviour: string;
  readonly more?: object;
  readonly exitCode: number;
  readonly said: RegExp;
}

/** What a pipeline does, and what the run says of it. */
const cases: Readonly<Record<string, Case>> = {
  'lands Delta tables as it should': { behaviour: 'Delta', exitCode: 0, said: /^Passed {2}run: / },
  'lands Parquet files': {
    behaviour: 'Parquet',
    more: { outputs: { format: 'Parquet' } },
    exitCode: 0,
    said: /^Passed/,
  },
  'lands Iceberg tables': {
    behaviour: 'Iceberg',
    more: { outputs: { format: 'Iceberg' } },
    // A column is missing there, which is the comparison's to find.
    exitCode: 1,
    said: /airlines: column updated_at differs in the schema \(Missing\)|column updated_at is missing/,
  },
  'is started once for each table': {
    behaviour: 'Delta',
    more: { executions: 'PerTable' },
    exitCode: 0,
    said: /^Passed/,
  },
  'copies tables inside the database': {
    behaviour: 'Copy',
    more: { outputs: { database: { schema: 'landed', table: 'v2_{{table}}' } } },
    exitCode: 0,
    said: /^Passed/,
  },
  'lands nothing': {
    behaviour: 'Nothing',
    exitCode: 2,
    said: /Reading what pipeline candidate landed of airlines: it has landed no Delta table at file:\/\//,
  },
  'lands an empty table': {
    behaviour: 'Empty',
    exitCode: 2,
    said: /says that it has synced airlines, but the landed table has no row, and its source has 16/,
  },
  'lands another table': {
    behaviour: 'OtherTable',
    exitCode: 2,
    said: /says that it has synced airlines, but the landed table has no column carrier of the key \(it has x_carrier, x_name, x_updated_at\)/,
  },
  'leaves half a Delta log': {
    behaviour: 'HalfLog',
    exitCode: 2,
    said: /CorruptTable: .*Reading what pipeline candidate landed of airlines: /,
  },
  'never ends': {
    behaviour: 'Hang',
    more: { timeoutSeconds: 3 },
    exitCode: 2,
    said: /Timeout: .*did not end within 3 s; the last that was seen of it: waiting for a lock/,
  },
  'fails a check of what it landed': {
    behaviour: 'Delta',
    more: { successWhen: { sql: 'SELECT count() > 1000 FROM {{airlines}}', timeoutSeconds: 1 } },
    exitCode: 2,
    said: /ended well, but successWhen did not hold within 1 s: the query's first value is 0/,
  },
  'passes a check of what it landed': {
    behaviour: 'Delta',
    more: { successWhen: { sql: 'SELECT count() > 10 FROM {{airlines}}' } },
    exitCode: 0,
    said: /^Passed/,
  },
};

describe('a run of a command', function () {
  this.timeout(600_000);
  let end: (name: string) => Promise<End>;

  before(() => {
    const jobs = Object.entries(cases).map(
      ([what, { behaviour, more }]) => [what, () => runWith(behaviour, more)] as const,
    );
    end = startJobs(2, new Map(jobs));
  });

  for (const [what, { exitCode, said }] of Object.entries(cases))
    it(`that ${what} ends with ${exitCode} and says why`, async () => {
      const { result, left } = await end(what);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(exitCode);
      expect(result.stdout).to.match(new RegExp(said.source, 'm'));
      expect(left, 'what is left').to.equal('nothing');
    });

  it('that lands outside the workspace is read there, and its folder goes with the run', async () => {
    const { result, left, seen } = await runWith('Delta', undefined, (place) => ({
      outputs: { location: `${pathToFileURL(place.root).href}/elsewhere/{{run}}/{{table}}` },
    }));
    expect(result.exitCode, result.stdout).to.equal(0);
    expect(left).to.equal('nothing');
    expect(seen).to.equal('elsewhere: ');
  });

  it('that lands in a database of another server is read there, and the database goes with the run', async () => {
    const server = (await sharedServer('MySQL')).connection;
    const { result, left } = await runWith(
      'Load',
      { outputs: { database: { engine: 'MySQL', secretRef: { name: 'landing' } } } },
      undefined,
      { landing: formatConnection(server) },
    );
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    expect(left).to.equal('nothing');
    const client = await mysql.createConnection(secretOf(server));
    const [rows] = await client.query<mysql.RowDataPacket[]>("SHOW DATABASES LIKE 'parity\\_%'");
    await client.end();
    expect(rows.map((row) => Object.values(row)[0])).to.not.satisfy((names: string[]) =>
      names.some((name) => /^parity_[0-9a-f]{8}_/.test(name)),
    );
  });

  it('that lands in ClickHouse (the embedded engine behind its HTTP interface) is read and asked there, and the databases go with the run', async () => {
    const server = await sharedClickHouse();
    const clickhouse = { secretRef: { name: 'landing' } };
    const sql = 'SELECT carrier, max(updated_at) FROM {{airlines}} GROUP BY carrier ORDER BY carrier';
    const { result, left } = await runWith(
      'Load',
      { outputs: { database: { engine: 'ClickHouse', secretRef: { name: 'landing' } } } },
      undefined,
      { landing: server.secret },
      { queries: [{ name: 'latest', sql, clickhouse, expect: { sameAs: 'Baseline' } }] },
    );
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    expect(left).to.equal('nothing');
    const views = (await server.seen()).filter((statement) => statement.startsWith('CREATE OR REPLACE VIEW'));
    // What has landed is read where it lies; the other side's rows were brought there.
    expect(views.map((statement) => statement.includes(' FINAL'))).to.deep.equal([false, true]);
    const client = clickHouseClient(server.connection);
    expect(await client.rows(`SELECT name FROM system.databases WHERE name LIKE 'parity\\_%'`)).to.deep.equal([]);
    client.close();
  });

  it('that is to be judged by an HTTP answer waits for it', async () => {
    let asked = 0;
    const server = createServer((request, response) => {
      asked++;
      response.statusCode = asked < 3 ? 503 : 200;
      response.end(`done with ${new URL(request.url ?? '/', 'http://x').searchParams.get('of')}`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const http = { url: `http://127.0.0.1:${port}/?of={{source}}`, contains: 'done with {{source}}' };
    const { result } = await runWith('Delta', { successWhen: { http } });
    server.close();
    expect(result.exitCode, result.stdout).to.equal(0);
    expect(asked).to.equal(3);
  });

  it('ends with its driver, killed, and the run goes on where it was when it is resumed', async () => {
    const place = await Place.open();
    try {
      const manifest = await place.manifest(specOf('Delta', { command: commandOf('Delta', 'sleep 1; exec') }));
      let uid = '';
      const { ended } = place.start(['run', manifest, '--json'], (event, process) => {
        if (event.type === 'RunStarted') uid = event.run.uid;
        if (event.type === 'TaskStarted' && event.task.input.kind === 'sync') {
          void untilExists(join(place.stateDir, 'runs', uid, 'executions')).then(() => process.kill('SIGKILL'));
        }
      });
      await ended;
      const result = await place.parity(['run', '--resume', uid]);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      await place.expectNothingLeft();
    } finally {
      await place.close();
    }
  });

  it('leaves nothing behind when its driver is killed and gc is run', async () => {
    const place = await Place.open();
    try {
      const manifest = await place.manifest(specOf('Hang'));
      const { ended } = place.start(['run', manifest, '--json'], (event, process) => {
        if (event.type === 'TaskProgress' && event.progress.note === 'waiting for a lock') process.kill('SIGKILL');
      });
      await ended;
      // The command does not outlive its driver, whoever comes to clean up.
      for (const deadline = Date.now() + 60_000; (await place.processes()).length > 0; await sleep(100))
        if (Date.now() > deadline) expect.fail(`still there: ${(await place.processes()).join('\n')}`);
      const result = await place.parity(['gc']);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      await place.expectNothingLeft();
    } finally {
      await place.close();
    }
  });
});

describe('an example with a command', function () {
  this.timeout(900_000);
  for (const name of ['dlt', 'dbt'])
    it(`of ${name} passes, in full and incrementally`, async () => {
      const { environmentOf } = await import('../support/python.ts');
      const bin = await environmentOf(join(root, 'examples', name, 'requirements.txt'));
      const place = await Place.open();
      try {
        const result = await place.parity(
          ['run', join(root, 'examples', name, 'run.yaml'), '--reports', place.reports],
          {
            PATH: `${bin}:${process.env.PATH}`,
          },
        );
        expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
        await place.expectNothingLeft();
      } finally {
        await place.close();
      }
    });
});

function commandOf(behaviour: string, before = 'exec'): object {
  return { argv: ['sh', '-c', `${before} "$0" "$@"`, node, program, behaviour], folder: pathToFileURL(root).href };
}

function specOf(behaviour: string, more: object = {}): object {
  const spec = smallSpec(['airlines']);
  const tables = spec.snapshot.tables.map(({ baseVersion, ...table }) => ({ ...table, version: baseVersion }));
  return {
    ...spec,
    snapshot: { ...spec.snapshot, tables },
    pipelines: [{ name: 'candidate', command: commandOf(behaviour), ...more }],
  };
}

async function runWith(
  behaviour: string,
  more: object = {},
  inPlace: (place: Place) => object = () => ({}),
  secrets: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
  ofRun: object = {},
): Promise<End> {
  const place = await Place.open();
  try {
    await mkdir(join(place.root, 'elsewhere'));
    for (const [name, keys] of Object.entries(secrets)) await place.secret(name, keys);
    const result = await place.parity([
      'run',
      await place.manifest({ ...specOf(behaviour, { ...more, ...inPlace(place) }), ...ofRun }),
    ]);
    const left = await place.expectNothingLeft().then(
      () => 'nothing',
      (error: unknown) => String(error),
    );
    const elsewhere = await readdir(join(place.root, 'elsewhere'));
    return { result, left, seen: `elsewhere: ${elsewhere.join(', ')}` };
  } finally {
    await place.close();
  }
}

function secretOf({ host, port, user, password }: { host: string; port: number; user: string; password: string }) {
  return { host, port, user, password };
}

async function untilExists(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 10));
}
