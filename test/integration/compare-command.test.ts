import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';

const root = fileURLToPath(new URL('../..', import.meta.url));
const flights = (version: number) => `delta:${join(root, 'examples/lake/flights')}@${version}`;

interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

describe('parity compare', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-compare-test-'));
    await writeFile(join(folder, 'before.csv'), 'id,name,cost\n1,Ann,1.50\n2,Bob,2.25\n3,,3.75\n4,Dan,4.00\n');
    await writeFile(join(folder, 'same.csv'), 'id,name,cost\n4,Dan,4.00\n3,,3.75\n2,Bob,2.25\n1,Ann,1.50\n');
    await writeFile(
      join(folder, 'after.csv'),
      'id,name,price\n1,Ann,1.50\n2,bob,2.25\n4,Dan,4.00\n4,Dan,4.00\n5,Eve,5.00\n',
    );
  });

  after(async () => {
    await rm(folder, { recursive: true });
  });

  /** Runs the real command in the folder, with a temporary folder of its own to see what is left in it. */
  async function compare(...argv: string[]): Promise<Said> {
    const child = spawn(process.execPath, [join(root, 'bin/parity.js'), 'compare', ...argv], {
      cwd: folder,
      env: { ...process.env, TMPDIR: folder },
    });
    const code = new Promise<number | null>((settle) => child.once('exit', settle));
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return { code: await code, out, err };
  }

  it('says Equal and ends with 0 for the same rows in another order', async () => {
    const { code, out } = await compare('csv:before.csv', 'csv:same.csv', '--key', 'id');
    assert.equal(code, 0);
    assert.match(out, /^Equal$/m);
  });

  it('prints exactly the promised JSON and ends with 1', async () => {
    const { code, out } = await compare(
      'csv:before.csv',
      'csv:after.csv',
      '--key',
      'id',
      '--rename',
      'cost=price',
      '--json',
    );
    const result = JSON.parse(out);
    assert.equal(code, 1);
    assert.hasAllKeys(result, ['verdict', 'rows', 'columns', 'schema', 'samples']);
    assert.equal(result.verdict, 'Different');
    assert.deepEqual(result.rows, {
      baseline: 4,
      candidate: 5,
      matched: 2,
      missing: 1,
      extra: 1,
      changed: 1,
      duplicated: 1,
    });
    assert.deepEqual(
      result.columns.filter(({ changed }: { changed: number }) => changed > 0),
      [{ name: 'name', changed: 1 }],
    );
  });

  it('takes what several options say of one column together', async () => {
    await writeFile(join(folder, 'near.csv'), 'id,name,price\n1,Ann,1.504\n2,Bob,2.25\n3,,3.75\n4,Dan,4.00\n');
    const options = ['--key', 'id', '--rename', 'cost=price', '--tolerance', 'cost=0.01'];
    const { code, out } = await compare('csv:before.csv', 'csv:near.csv', ...options);
    await rm(join(folder, 'near.csv'));
    assert.equal(code, 0, out);
  });

  it('leaves out an ignored column that cannot be read, and says of one that is not ignored how to', async () => {
    // A row { id: 1, t: 00:00:00.000001 }, written by Arrow.
    const file =
      'UEFSMRUAFRwVHCwVAhUAFQYVBhwAAAACAAAAAgEBAAAAAAAAABUAFRwVHCwVAhUAFQYVBhwAAAACAAAAAgEBAAAAAAAAABUEGTw1ABgGc2NoZW1hFQQAFQQlAhgCaWQAFQQlAhgBdGx8EhwsAAAAAAAWAhkcGSwmABwVBBklBgAZGAJpZBUAFgIWQhZCJghJHBUAFQAVAgA8KQYZJgACAAAAJgAcFQQZJQYAGRgBdBUAFgIWQhZCJkpJHBUAFQAVAgA8KQYZJgACAAAAFoQBFgImCBaEAQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGSwcAAAcAAAAvAAAAFBBUjE=';
    await writeFile(join(folder, 'time.parquet'), Buffer.from(file, 'base64'));
    const refused = await compare('parquet:time.parquet', 'parquet:time.parquet');
    const { code, out } = await compare('parquet:time.parquet', 'parquet:time.parquet', '--ignore', 't');
    await rm(join(folder, 'time.parquet'));
    assert.equal(refused.code, 2);
    assert.match(refused.err, /TIME, which is not read .*--ignore t/);
    assert.equal(code, 0, out);
  });

  it('masks values unless it is told to show them', async () => {
    const argv = ['csv:before.csv', 'csv:after.csv', '--key', 'id', '--rename', 'cost=price'];
    for (const json of [[], ['--json']]) {
      assert.notInclude((await compare(...argv, ...json)).out, 'bob');
      assert.include((await compare(...argv, ...json, '--show-values')).out, 'bob');
    }
  });

  it('reads versions of a Delta table and leaves nothing behind', async () => {
    const { code, out } = await compare(flights(14), flights(15), '--key', 'id', '--json');
    assert.equal(code, 0);
    assert.equal(JSON.parse(out).verdict, 'Equal');
    assert.deepEqual((await readdir(folder)).sort(), ['after.csv', 'before.csv', 'same.csv']);
  });

  const wrong: [string, string[], number, RegExp][] = [
    ['a table that is not there', ['csv:before.csv', 'csv:nobody.csv'], 2, /nobody\.csv/],
    ['a version that is not there', [flights(14), flights(99)], 2, /99/],
    ['a format that is not known', ['xls://before', 'csv:after.csv'], 64, /names no table/],
    ['a key of no column', ['csv:before.csv', 'csv:same.csv', '--key', ','], 64, /names no column/],
    ['a key that is no column', ['csv:before.csv', 'csv:same.csv', '--key', 'idd'], 64, /idd/],
  ];
  for (const [what, argv, expected, message] of wrong) {
    it(`answers ${what} with ${expected} and one sentence`, async () => {
      const { code, out, err } = await compare(...argv);
      assert.equal(code, expected, err);
      assert.equal(out, '');
      assert.match(err, message);
      assert.match(err, /^parity: [^\n]+\n$/);
    });
  }
});
