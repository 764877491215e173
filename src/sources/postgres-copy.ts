import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Client, Submittable, Connection as WireConnection } from 'pg';
import { from } from 'pg-copy-streams';
import { ReaderGone } from './byte-server.ts';

/** Streams chunks into `COPY … FROM STDIN` and returns the rows that Postgres counted. A failing source of chunks fails the COPY. */
export async function copyIn(
  client: Client,
  sql: string,
  chunks: AsyncIterable<Uint8Array>,
  options: { signal: AbortSignal; onBytes: (bytes: number) => void },
): Promise<number> {
  const copy = client.query(from(sql, { highWaterMark: 4 * 1024 * 1024 }));
  await pipeline(counted(chunks, options.onBytes), copy, { signal: options.signal });
  return copy.rowCount;
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    onBytes(bytes);
    yield chunk;
  }
}

/**
 * Writes what `COPY … TO STDOUT` sends to a sink, waiting for it, and returns the rows that Postgres counted. Postgres sends each row as a message of
 * its own. A stream of one object a row costs more than the database does, and so does moving the rows together; so a message's header is overwritten in place
 * by a first column of its size, `rowPadding`, which the reader has to expect.
 */
export async function copyOut(client: Client, sql: string, sink: Writable): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const abandon = (): void => {
    reject(new ReaderGone());
    // The rest of the rows would be in the way of the next query.
    client.connection.stream.destroy();
  };
  sink.once('close', abandon);
  client.query(new CopyOut(sql, sink, resolve, reject));
  try {
    return await promise;
  } finally {
    sink.removeListener('close', abandon);
  }
}

/** https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY */
const message = { copyData: 0x64, copyOutResponse: 0x48, notice: 0x4e, parameterStatus: 0x53 } as const;

/** Takes the socket from `pg`'s parser while rows arrive, and hands it back with the first message that is not part of them. */
class CopyOut implements Submittable {
  readonly #sql: string;
  readonly #sink: Writable;
  readonly #resolve: (rows: number) => void;
  readonly #reject: (error: unknown) => void;
  #rows = 0;

  constructor(sql: string, sink: Writable, resolve: (rows: number) => void, reject: (error: unknown) => void) {
    this.#sql = sql;
    this.#sink = sink;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  submit(connection: WireConnection): void {
    const { stream } = connection;
    const parsers = stream.listeners('data').filter(isListener);
    const rows = new RowBytes((bytes) => {
      if (this.#sink.write(bytes)) return;
      stream.pause();
      const resume = (): unknown => stream.resume();
      once(this.#sink, 'drain').then(resume, resume);
    });
    const onData = (data: Buffer): void => {
      const foreign = rows.take(data);
      if (foreign === undefined) return;
      stream.removeListener('data', onData);
      for (const parse of parsers) stream.on('data', parse);
      stream.emit('data', foreign);
      // The last rows may have left the socket paused, and a sink that has been ended emits no `drain` any more: the connection would be
      // deaf to its next query.
      stream.resume();
    };
    stream.removeAllListeners('data');
    stream.on('data', onData);
    connection.query(this.#sql);
  }

  handleCommandComplete(complete: { readonly text?: string }): void {
    this.#rows = Number(/^COPY (\d+)/.exec(complete.text ?? '')?.[1] ?? Number.NaN);
  }

  handleReadyForQuery(): void {
    this.#resolve(this.#rows);
  }

  handleError(error: unknown): void {
    this.#reject(error);
  }

  // What `pg` may call on any query and means nothing to this one.
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyData(): void {}
}

/** A first column that a reader of `copyOut` has to expect: it stands where the header of a row's message was. */
export const rowPadding = '0000\t';

/** Cuts the stream of messages into runs of bytes that are only rows. */
class RowBytes {
  readonly #emit: (bytes: Buffer) => void;
  /** Bytes of the current row's message that are still to come. */
  #remaining = 0;
  /** The start of a message whose kind and length have not come in whole. */
  #head: Buffer | undefined;

  constructor(emit: (bytes: Buffer) => void) {
    this.#emit = emit;
  }

  /** Emits the rows of a chunk; returns what is not rows from the first foreign message on, once there is one. */
  take(data: Buffer): Buffer | undefined {
    const chunk = this.#head === undefined ? data : Buffer.concat([this.#head, data]);
    this.#head = undefined;
    let from = 0;
    let at = Math.min(this.#remaining, chunk.length);
    this.#remaining -= at;
    while (at < chunk.length) {
      const kind = chunk[at];
      const end = chunk.length - at < headerBytes ? Number.POSITIVE_INFINITY : at + 1 + chunk.readUInt32BE(at + 1);
      if (kind === message.copyData && end !== Number.POSITIVE_INFINITY) {
        chunk[at] = 0x30;
        chunk[at + 1] = 0x30;
        chunk[at + 2] = 0x30;
        chunk[at + 3] = 0x30;
        chunk[at + 4] = 0x09;
        at = Math.min(end, chunk.length);
        this.#remaining = end - at;
        continue;
      }
      this.#flush(chunk, from, at);
      if (!isOurs(kind)) return chunk.subarray(at);
      if (end > chunk.length) {
        this.#head = Buffer.from(chunk.subarray(at));
        return undefined;
      }
      from = end;
      at = end;
    }
    this.#flush(chunk, from, at);
    return undefined;
  }

  #flush(chunk: Buffer, from: number, to: number): void {
    if (to > from) this.#emit(chunk.subarray(from, to));
  }
}

/** A byte for its kind, four for its length. */
const headerBytes = rowPadding.length;

function isOurs(kind: number | undefined): boolean {
  switch (kind) {
    case message.copyData:
    case message.copyOutResponse:
    case message.notice:
    case message.parameterStatus:
      return true;
    default:
      return false;
  }
}

function isListener(value: unknown): value is (chunk: Buffer) => void {
  return typeof value === 'function';
}
