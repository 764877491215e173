import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { assert } from 'chai';
import pg from 'pg';
import { type EmbeddedServer, startEmbedded } from '../../src/sources/embedded.ts';
import { clientOptions } from '../../src/sources/postgres.ts';
import { copyOut } from '../../src/sources/postgres-copy.ts';

describe('reading rows out of Postgres', () => {
  let dir: string;
  let server: EmbeddedServer;
  let client: pg.Client;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'parity-copy-out-'));
    server = await startEmbedded('Postgres', { dir, name: 'shop', signal: new AbortController().signal });
    client = new pg.Client({ ...clientOptions(server.connection), query_timeout: 10_000 });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('leaves the connection able to answer when the sink was full at the last row and never drains again', async () => {
    // What an HTTP response is that is ended in the same moment: it asks to wait, and then says nothing more.
    const sink = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void setImmediate(done) });
    const emit = sink.emit.bind(sink);
    sink.emit = (event: string | symbol, ...args: unknown[]) => (event === 'drain' ? false : emit(event, ...args));
    for (let round = 0; round < 3; round++) {
      assert.equal(await copyOut(client, 'COPY (SELECT 1) TO STDOUT', sink), 1);
      assert.deepEqual((await client.query('SELECT 2 AS two')).rows, [{ two: 2 }]);
    }
  });

  it('waits for a slow sink and loses nothing', async () => {
    let bytes = 0;
    const sink = new Writable({
      highWaterMark: 1,
      write: (chunk: Buffer, _encoding, done) => {
        bytes += chunk.length;
        setImmediate(done);
      },
    });
    const rows = await copyOut(client, "COPY (SELECT repeat('x', 100) FROM generate_series(1, 20000)) TO STDOUT", sink);
    assert.equal(rows, 20_000);
    // A row, its newline, and the padding in the place of its header.
    if (sink.writableLength > 0) await new Promise((resolve) => sink.once('drain', resolve));
    assert.equal(bytes, 20_000 * (100 + 1 + 5));
  });
});
