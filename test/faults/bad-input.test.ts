import { cp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { RunEvent } from '../../src/cli/driver/events.ts';
import type { ErrorCode } from '../../src/support/error.ts';
import { sharedServer } from '../support/databases.ts';
import {
  type CommandResult,
  type ExampleTable,
  exampleLake,
  exampleTables,
  Place,
  smallSpec,
  startJobs,
} from '../support/runs.ts';
import { uploadExample } from '../support/s3-lake.ts';
import { type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import { mountSmallDisk, unmount } from '../support/small-disk.ts';

/** Something that is not as it should be, and what a run has to say of it. */
interface Fault {
  readonly title: string;
  /** Makes the spec of the run, in its place. */
  readonly arrange: (place: Place) => Promise<object>;
  /** Does harm while the run goes on. */
  readonly meanwhile?: (place: Place, event: RunEvent) => Promise<void>;
  /** Undoes what `arrange` did outside the place. */
  readonly after?: (place: Place) => Promise<void>;
  readonly exitCode?: 64;
  readonly code: ErrorCode;
  /** All of it in the one sentence. */
  readonly says: readonly (string | RegExp)[];
  /** Where nothing can be written there is no report; on a full disk there may be room for one, once what could not be written whole is gone. */
  readonly report?: 'None' | 'Perhaps';
}

const one = smallSpec(['airlines']);

describe('a run', function () {
  this.timeout(300_000);
  let s3: SeaweedFs;
  let doomed: SeaweedFs;
  let outcome: (title: string) => Promise<Seen>;

  before(async () => {
    [s3, doomed] = await Promise.all([startSeaweedFs({ writerBuckets: ['own'] }), startSeaweedFs()]);
    for (const bucket of ['production', 'empty', 'own']) await s3.createBucket(bucket);
    await uploadExample(s3, 'production', ['airlines']);
    await doomed.createBucket('production');
    await uploadExample(doomed, 'production', ['flights']);
    outcome = startJobs(2, new Map(faults.map((fault) => [fault.title, () => carryOut(fault)])));
  });

  after(async () => {
    await Promise.all([s3.stop(), doomed.stop()]);
  });

  const inS3 =
    (location: string, secret: string, server = () => s3) =>
    async (place: Place) => {
      await place.secret('admin', { ...server().admin });
      await place.secret('reader', { ...server().reader });
      await place.secret('wrong', { accessKeyId: server().reader.accessKeyId, secretAccessKey: 'not-the-secret' });
      const storage = { location, endpoint: server().endpoint, region: 'us-east-1', secretRef: { name: secret } };
      return { ...one, snapshot: { ...one.snapshot, ...storage } };
    };

  const faults: readonly Fault[] = [
    {
      title: 'with wrong keys to the lake',
      arrange: inS3('s3://production', 'wrong'),
      code: 'AccessDenied',
      says: ['s3://production'],
    },
    {
      title: 'with a secret that is not there',
      arrange: inS3('s3://production', 'forgotten'),
      code: 'NotFound',
      says: ['secret "forgotten"'],
    },
    {
      title: 'of a bucket that is empty',
      arrange: inS3('s3://empty', 'reader'),
      code: 'NotFound',
      says: ['airlines', 's3://empty'],
    },
    {
      title: 'of a bucket that is not there',
      arrange: inS3('s3://nowhere', 'reader'),
      code: 'NotFound',
      says: ['bucket', 'nowhere'],
    },
    {
      title: 'of a server that is not there',
      arrange: async (place) => {
        const spec = await inS3('s3://production', 'reader')(place);
        return { ...spec, snapshot: { ...spec.snapshot, endpoint: 'http://127.0.0.1:9' } };
      },
      code: 'Unreachable',
      says: ['127.0.0.1:9'],
    },
    {
      title: 'whose workspace may not be written to',
      arrange: async (place) => {
        await place.secret('reader', { ...s3.reader });
        const workspace = { location: 's3://own', endpoint: s3.endpoint, secretRef: { name: 'reader' } };
        return { ...one, workspace };
      },
      code: 'AccessDenied',
      says: ['s3://own'],
      report: 'None',
    },
    {
      title: 'with wrong keys to the workspace',
      arrange: async (place) => {
        await place.secret('wrong', { accessKeyId: 'nobody', secretAccessKey: 'nothing' });
        return { ...one, workspace: { location: 's3://', endpoint: s3.endpoint, secretRef: { name: 'wrong' } } };
      },
      code: 'AccessDenied',
      says: ['Creating s3://parity-', 'refused these credentials'],
      report: 'None',
    },
    {
      title: 'whose workspace is on a server that is not there',
      arrange: async (place) => {
        await place.secret('admin', { ...s3.admin });
        const workspace = { location: 's3://own', endpoint: 'http://127.0.0.1:9', secretRef: { name: 'admin' } };
        return { ...one, workspace, execution: { retries: 0 } };
      },
      code: 'Unreachable',
      says: ['127.0.0.1:9'],
      report: 'None',
    },
    {
      title: 'of a table that is not there',
      arrange: async () => withTable({ name: 'airlines', path: 'airlanes', key: ['carrier'] }),
      code: 'NotFound',
      says: ['airlanes'],
    },
    {
      title: 'of a version that is not there',
      arrange: async () => withTable({ ...exampleTables.airlines, version: '7' }),
      code: 'VersionGone',
      says: ['airlines', /Version 7/, /0.*4/],
    },
    {
      title: 'of a version whose log was cleaned up',
      arrange: withLake(
        async (lake) => {
          for (const version of [0, 1, 2, 3, 4]) await rm(join(lake, 'planes/_delta_log', logName(version)));
        },
        ['planes'],
      ),
      code: 'VersionGone',
      says: ['planes', /[Vv]ersion 4/, /6.*9/],
    },
    {
      title: 'of a key column that is not there',
      arrange: async () => withTable({ ...exampleTables.airlines, key: ['carier'] }),
      code: 'InvalidSpec',
      says: ['airlines', 'carier'],
    },
    {
      title: 'of a Parquet file that was truncated',
      arrange: withLake(async (lake) => {
        const file = await dataFile(lake);
        await truncate(file, (await stat(file)).size - 10);
      }),
      code: 'CorruptTable',
      says: ['airlines', '.parquet'],
    },
    {
      title: 'of a Parquet file with flipped bytes in its data',
      arrange: withLake(async (lake) => flip(await dataFile(lake), 200, 64)),
      code: 'CorruptTable',
      says: [/^The file .*airlines.*\.parquet cannot be read: ZSTD.*corruption/],
    },
    {
      title: 'of a Parquet file with flipped bytes in its footer',
      arrange: withLake(async (lake) => {
        const file = await dataFile(lake);
        await flip(file, (await stat(file)).size - 8, 4);
      }),
      code: 'CorruptTable',
      says: ['airlines'],
    },
    {
      title: 'of a data file that is gone',
      arrange: withLake(async (lake) => rm(await dataFile(lake))),
      code: 'VersionGone',
      says: ['airlines'],
    },
    {
      title: 'of a log that ends in the middle of a line',
      arrange: withLake(async (lake) => {
        const file = join(lake, 'airlines/_delta_log', logName(3));
        await truncate(file, (await stat(file)).size - 20);
      }),
      code: 'CorruptTable',
      says: ['airlines', logName(3)],
    },
    {
      title: 'of a log with a gap',
      arrange: withLake(async (lake) => rm(join(lake, 'airlines/_delta_log', logName(2)))),
      code: 'CorruptTable',
      says: ['airlines', /2/],
    },
    {
      title: 'of a table with a reader feature that nobody knows',
      arrange: withLake(async (lake) => {
        const file = join(lake, 'airlines/_delta_log', logName(4));
        const protocol = {
          minReaderVersion: 3,
          minWriterVersion: 7,
          readerFeatures: ['timeTravelForward'],
          writerFeatures: ['timeTravelForward'],
        };
        await writeFile(file, `${(await readFile(file, 'utf8')).trimEnd()}\n${JSON.stringify({ protocol })}\n`);
      }),
      code: 'UnsupportedFeature',
      says: ['airlines', 'timeTravelForward'],
    },
    {
      title: 'that would copy more than it may',
      arrange: async () => ({ ...one, snapshot: { ...one.snapshot, limits: { maxBytes: '1Ki' } } }),
      code: 'LimitExceeded',
      says: [/1 KiB|1,024|1024/],
    },
    {
      title: 'with the wrong password to its database server',
      arrange: async (place) => {
        const { host, port, user, database } = (await sharedServer('Postgres')).connection;
        await place.secret('shop', { host, port: String(port), user, password: 'not-the-password', database });
        return {
          ...one,
          sources: [{ ...one.sources[0], embedded: undefined, external: { secretRef: { name: 'shop' } } }],
        };
      },
      code: 'AccessDenied',
      says: ['127.0.0.1', 'user parity was refused'],
    },
    {
      title: 'whose database server is killed in the middle of a load',
      arrange: async () => smallSpec(['weather']),
      meanwhile: async (place, event) => {
        if (event.type === 'TaskStarted' && event.task.input.kind === 'rehydrate') await killServer(place);
      },
      code: 'Crashed',
      says: ['shop', /server/],
    },
    {
      title: 'whose workspace is on a full disk',
      arrange: async (place) => {
        await mountSmallDisk(join(place.stateDir, 'workspaces'), 3);
        return smallSpec(['flights']);
      },
      after: async (place) => unmount(join(place.stateDir, 'workspaces')),
      report: 'Perhaps',
      code: 'DiskFull',
      says: ['flights', /disk/],
    },
    {
      title: 'whose database is on a full disk',
      arrange: async (place) => {
        // Enough for the database itself, and not for what is loaded into it.
        await mountSmallDisk(join(place.stateDir, 'runs'), 100);
        return smallSpec(['flights']);
      },
      after: async (place) => unmount(join(place.stateDir, 'runs')),
      code: 'DiskFull',
      says: ['flights', /disk/],
    },
    {
      title: 'whose lake’s server is killed in the middle of the copy',
      arrange: async (place) => {
        const spec = await inS3('s3://production', 'reader', () => doomed)(place);
        // Slowly, so that there is a middle.
        const limits = { maxRequestsPerSecond: 10 };
        const snapshot = { ...spec.snapshot, limits, tables: [exampleTables.flights] };
        return { ...smallSpec(['flights']), snapshot };
      },
      meanwhile: async (_, event) => {
        if (event.type === 'TaskProgress' && event.taskId === 'snapshot-0') await doomed.stop();
      },
      code: 'Unreachable',
      says: ['flights', '127.0.0.1'],
    },
    {
      title: 'whose report cannot be written',
      arrange: async () => ({ ...one, reports: { location: 'file:///proc/nowhere', formats: ['JSON'] } }),
      code: 'NotFound',
      // Said before anything is copied, and once more by the report itself.
      says: ['no report could be written at the end', '/proc/nowhere'],
      report: 'Perhaps',
    },
    {
      title: 'whose workspace lies inside the snapshot',
      arrange: async () => ({ ...one, workspace: { location: `${one.snapshot.location}/airlines/ws` } }),
      exitCode: 64,
      code: 'InvalidSpec',
      says: ['workspace', 'snapshot'],
      report: 'None',
    },
    {
      title: 'whose reports lie inside the snapshot',
      arrange: async () => ({ ...one, reports: { location: one.snapshot.location, formats: ['JSON'] } }),
      exitCode: 64,
      code: 'InvalidSpec',
      says: ['reports', 'snapshot'],
      report: 'None',
    },
    {
      title: 'of a manifest with a field that does not exist',
      arrange: async () => ({ ...one, pipelins: [] }),
      exitCode: 64,
      code: 'InvalidSpec',
      says: ['pipelins', 'pipelines', /run\.yaml:\d+:\d+/],
      report: 'None',
    },
    {
      title: 'of an incremental sync of a table whose key is not unique',
      arrange: async () => withTable({ ...exampleTables.airports, key: ['dst'] }),
      code: 'PipelineFailed',
      says: ['airports', 'dst'],
    },
    {
      title: 'of text with NUL characters in Postgres',
      arrange: async () => ({
        ...smallSpec(['types']),
        sources: [{ ...smallSpec(['types']).sources[0], columns: [] }],
      }),
      code: 'UnrepresentableValue',
      says: ['types', 'text_nul', 'NUL'],
    },
    {
      title: 'of NaN in MySQL',
      arrange: async () => {
        const spec = smallSpec(['types'], { engine: 'MySQL' });
        return { ...spec, sources: [{ ...spec.sources[0], columns: [] }] };
      },
      code: 'UnrepresentableValue',
      says: ['types', 'float_special', /NaN|infinite|negative zero/],
    },
  ];

  it('of a table whose key is not unique goes on without a PRIMARY KEY, and its report says so', async () => {
    const place = await Place.open();
    try {
      const airports = { name: 'airports', path: 'airports', version: '5', key: ['dst', 'tzone'] };
      const result = await place.parity(['run', await place.manifest(withTable(airports))]);
      expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
      const { notes, comparisons } = await place.report();
      expect(comparisons.map(({ differences }) => differences)).to.deep.equal([0]);
      const note = notes.find(({ about }) => about.includes('airports'))?.note;
      expect(note, JSON.stringify(notes)).to.match(/no primary key: .*dst, tzone/);
      await place.expectNothingLeft();
    } finally {
      await place.close();
    }
  });

  for (const { title, exitCode = 2, code, says, report } of faults) {
    it(`${title} says so in one sentence, with exit code ${exitCode}, and leaves nothing`, async () => {
      const { result, errors, left, hasReport } = await outcome(title);
      const said = result.stdout + result.stderr;
      expect(result.exitCode, said).to.equal(exitCode);
      const [error, ...others] = errors;
      expect(error?.code, said).to.equal(code);
      // A report that finds no room either says so too.
      if (report !== 'Perhaps') expect(others, said).to.deep.equal([]);
      for (const word of says) {
        if (typeof word === 'string') expect(error?.message).to.include(word);
        else expect(error?.message).to.match(word);
      }
      expect(error?.message, 'one line').to.not.match(/\n/);
      expect(said, 'no stack trace').to.not.match(/^\s+at .*:\d+:\d+/m);
      expect(left).to.equal('nothing');
      if (report !== 'Perhaps') expect(hasReport).to.equal(report !== 'None');
    });
  }
});

interface Seen {
  readonly result: CommandResult;
  readonly errors: readonly { readonly code: string; readonly message: string }[];
  readonly left: string;
  readonly hasReport: boolean;
}

async function carryOut({ arrange, meanwhile, after }: Fault): Promise<Seen> {
  const place = await Place.open();
  try {
    const harm: Promise<void>[] = [];
    const { ended } = place.start(['run', await place.manifest(await arrange(place)), '--json'], (event) => {
      if (meanwhile !== undefined) harm.push(meanwhile(place, event));
    });
    const result = await ended;
    await Promise.all(harm);
    const left = await place.expectNothingLeft().then(
      () => 'nothing',
      (error: unknown) => String(error),
    );
    const hasReport = (await readdir(place.reports).catch(() => [])).length > 0;
    return { result, errors: errorsOf(result), left, hasReport };
  } finally {
    await after?.(place);
    await place.close();
  }
}

/** The errors of the result, or the problems of a manifest with which no run begins. */
function errorsOf({ stdout, stderr }: CommandResult): Seen['errors'] {
  const last: unknown = JSON.parse(stdout.trimEnd().split('\n').at(-1) || 'null');
  if (isResult(last)) return last.errors.map(({ error }) => error);
  const [, ...problems] = stderr.trimEnd().split('\n');
  return problems.map((message) => ({ code: 'InvalidSpec', message }));
}

function isResult(value: unknown): value is { errors: { error: { code: string; message: string } }[] } {
  return typeof value === 'object' && value !== null && 'errors' in value && Array.isArray(value.errors);
}

function withTable<T extends { name: string }>(table: T, more: object = {}): object {
  return {
    ...one,
    ...more,
    snapshot: { ...one.snapshot, tables: [table] },
    sources: [{ ...one.sources[0], tables: [table.name] }],
  };
}

/** A run over a copy of the example's table that something was done to. */
function withLake(
  harm: (lake: string) => Promise<void>,
  tables: readonly ExampleTable[] = ['airlines'],
): Fault['arrange'] {
  return async (place) => {
    const lake = join(place.root, 'lake');
    for (const table of tables) await cp(join(exampleLake, table), join(lake, table), { recursive: true });
    await harm(lake);
    const spec = smallSpec(tables);
    return { ...spec, snapshot: { ...spec.snapshot, location: pathToFileURL(lake).href } };
  };
}

function logName(version: number): string {
  return `${String(version).padStart(20, '0')}.json`;
}

/** The data file that the last version of the table reads. */
async function dataFile(lake: string): Promise<string> {
  const log = await readFile(join(lake, 'airlines/_delta_log', logName(4)), 'utf8');
  for (const line of log.trim().split('\n')) {
    const action: unknown = JSON.parse(line);
    if (typeof action === 'object' && action !== null && 'add' in action) {
      const { add } = action;
      if (typeof add === 'object' && add !== null && 'path' in add) return join(lake, 'airlines', String(add.path));
    }
  }
  throw new Error('the last version adds no file');
}

async function flip(path: string, at: number, count: number): Promise<void> {
  const bytes = await readFile(path);
  for (let i = at; i < at + count; i++) bytes[i] = ~(bytes[i] ?? 0) & 0xff;
  await writeFile(path, bytes);
}

/** Kills the run's only database server, which is there once something is loaded into it. */
async function killServer(place: Place): Promise<void> {
  const [uid = ''] = await place.runs();
  const pid = Number(await readFile(join(place.stateDir, 'runs', uid, 'sources/shop/server.pid'), 'utf8'));
  process.kill(pid, 'SIGKILL');
}
