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
 * its own; their headers are cut out in place, a chunk at a time, because a stream of one object a row costs more than the database does.
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
const message = { copyData: 0x64, copyDone: 0x63, copyOutResponse: 0x48, notice: 0x4e, parameterStatus: 0x53 } as const;

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
    const pending = new Pending();
    const onData = (data: Buffer): void => {
      const chunk = pending.add(data);
      if (chunk === undefined) return;
      const { length, consumed, isOver } = stripHeaders(chunk);
      if (length > 0 && !this.#sink.write(chunk.subarray(0, length))) {
        stream.pause();
        const resume = (): unknown => stream.resume();
        once(this.#sink, 'drain').then(resume, resume);
      }
      // What is kept for the next chunk lies behind what was written now: the two never overlap.
      if (!isOver) {
        pending.keep(chunk.subarray(consumed));
        return;
      }
      stream.removeListener('data', onData);
      for (const parse of parsers) stream.on('data', parse);
      stream.emit('data', chunk.subarray(consumed));
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

/** Moves the rows of a chunk to its front. `length` bytes of rows, `consumed` bytes looked at; over at the first foreign message. */
function stripHeaders(chunk: Buffer): { length: number; consumed: number; isOver: boolean } {
  let at = 0;
  let length = 0;
  while (at + 5 <= chunk.length) {
    const kind = chunk[at];
    if (
      kind !== message.copyData &&
      kind !== message.copyOutResponse &&
      kind !== message.notice &&
      kind !== message.parameterStatus
    )
      return { length, consumed: at, isOver: true };
    const end = at + 1 + chunk.readUInt32BE(at + 1);
    if (end > chunk.length) break;
    if (kind === message.copyData) {
      chunk.copyWithin(length, at + 5, end);
      length += end - at - 5;
    }
    at = end;
  }
  return { length, consumed: at, isOver: false };
}

/** The start of a message whose end has not come yet; put together once, when all of it is there, however large it is. */
class Pending {
  #parts: Buffer[] = [];
  #sizeBytes = 0;
  #neededBytes = 0;

  keep(rest: Buffer): void {
    this.#parts = rest.length === 0 ? [] : [rest];
    this.#sizeBytes = rest.length;
    this.#neededBytes = rest.length >= 5 ? 1 + rest.readUInt32BE(1) : 0;
  }

  /** The bytes to look at, or undefined while the message is not whole. */
  add(data: Buffer): Buffer | undefined {
    if (this.#parts.length === 0) return data;
    this.#parts.push(data);
    this.#sizeBytes += data.length;
    return this.#sizeBytes < this.#neededBytes ? undefined : Buffer.concat(this.#parts, this.#sizeBytes);
  }
}

function isListener(value: unknown): value is (chunk: Buffer) => void {
  return typeof value === 'function';
}
