import { Readable } from 'node:stream';
import { CopyObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { backoffMs, delay } from '../support/retry.ts';
import type { Requests } from './requests.ts';
import { ANSWER_TIMEOUT_MS } from './s3-client.ts';

type Signer = Awaited<ReturnType<S3Client['config']['signer']>>;
type HttpRequest = Parameters<Signer['sign']>[0];

/** A copy that the server has accepted, without what is different for each. */
interface Template {
  readonly request: HttpRequest;
  /** The request's path before the key: where buckets are named in it, `/bucket/`. */
  readonly folder: string;
  readonly region: string;
  readonly signer: Signer;
}

/**
 * CopyObject for many objects. The SDK takes 0.7 ms of CPU to make, send and read such a request, which is most of the time that small files
 * take. So it sends the first, and what it sent is signed by its signer and sent by its connections again, for each key, in a third of that.
 * Whatever is not answered by a finished copy is left to the SDK: redirects, errors within an answer of 200, clocks that differ, refusals.
 */
export class ObjectCopies {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #requests: Requests;
  #template: Template | undefined;
  #first: Promise<void> | undefined;
  #isRepeatable = true;

  /** `requests`: what the client itself counts by. */
  constructor(client: S3Client, bucket: string, requests: Requests) {
    this.#client = client;
    this.#bucket = bucket;
    this.#requests = requests;
  }

  /**
   * Copies one object of at most 5 GB; `source` as the header x-amz-copy-source wants it. `asked` is called before every request.
   * Throws the SDK's errors.
   */
  async copy(source: string, key: string, asked: () => Promise<void>): Promise<void> {
    if (this.#first === undefined) {
      this.#first = this.#bySdk(source, key, asked);
      return this.#first;
    }
    await this.#first.catch(() => undefined);
    const template = this.#template;
    if (template === undefined) return this.#bySdk(source, key, asked);
    const answer = await this.#repeat(template, source, key, asked);
    if (answer === 'Copied') return;
    if (answer === 'Busy') await delay(backoffMs(1));
    await this.#bySdk(source, key, asked);
    // The SDK gets what it asks for and the repetition does not.
    if (answer === 'Refused') this.#giveUp();
  }

  async #bySdk(source: string, key: string, asked: () => Promise<void>): Promise<void> {
    const command = new CopyObjectCommand({ Bucket: this.#bucket, Key: key, CopySource: source });
    let sent: unknown;
    command.middlewareStack.add(
      (next) => async (args) => {
        await asked();
        sent = args.request;
        return next(args);
      },
      // Inside the SDK's retries, and after it has signed.
      { step: 'finalizeRequest', priority: 'low', name: 'parityCopy' },
    );
    await this.#client.send(command);
    if (this.#isRepeatable && this.#template === undefined) this.#template = await templateOf(sent, key, this.#client);
  }

  async #repeat(
    template: Template,
    source: string,
    key: string,
    asked: () => Promise<void>,
  ): Promise<'Copied' | 'Busy' | 'Refused'> {
    const { request, folder, region, signer } = template;
    const { config } = this.#client;
    await Promise.all([asked(), this.#requests.take()]);
    try {
      const signed = await signer.sign(
        { ...request, path: folder + encodeKey(key), headers: { ...request.headers, 'x-amz-copy-source': source } },
        { signingDate: new Date(Date.now() + config.systemClockOffset), signingRegion: region, signingService: 's3' },
      );
      const { response } = await config.requestHandler.handle(signed);
      const text = await textOf(response.body);
      if (response.statusCode === 200)
        return text.includes('<Error>') ? 'Busy' : COPIED.test(text) ? 'Copied' : 'Refused';
      return response.statusCode === 429 || response.statusCode >= 500 ? 'Busy' : 'Refused';
    } catch {
      return 'Busy';
    }
  }

  #giveUp(): void {
    this.#isRepeatable = false;
    this.#template = undefined;
  }
}

/** As the x-amz-copy-source header and a request's path want it: each part of the key percent-encoded. */
export function encodeKey(key: string): string {
  return key.split('/').map(encodePart).join('/');
}

/** An answer of 200 may hold an error: S3 begins it before the copy is done. */
const COPIED = /<CopyObjectResult[\s>].*<ETag>[^<]+<\/ETag>/s;

/** What is signed or made anew for each request. */
const OF_ONE_REQUEST = new Set([
  'authorization',
  'x-amz-date',
  'x-amz-security-token',
  'x-amz-copy-source',
  'amz-sdk-invocation-id',
  'amz-sdk-request',
]);

/** Undefined where the request is not signed in the plain way (Signature Version 4 for S3) or is not built as expected. */
async function templateOf(sent: unknown, key: string, client: S3Client): Promise<Template | undefined> {
  if (!isHttpRequest(sent)) return undefined;
  const region = SIGNED.exec(sent.headers.authorization ?? '')?.groups?.region;
  const encoded = encodeKey(key);
  if (region === undefined || !sent.path.endsWith(`/${encoded}`)) return undefined;
  const headers = Object.fromEntries(Object.entries(sent.headers).filter(([name]) => !OF_ONE_REQUEST.has(name)));
  return {
    request: { ...sent, headers },
    folder: sent.path.slice(0, -encoded.length),
    region,
    signer: await client.config.signer(),
  };
}

const SIGNED = /^AWS4-HMAC-SHA256 Credential=.+\/\d{8}\/(?<region>[^/]+)\/s3\/aws4_request,/;

function isHttpRequest(value: unknown): value is HttpRequest {
  return typeof value === 'object' && value !== null && 'path' in value && 'headers' in value && 'hostname' in value;
}

/** encodeURIComponent leaves !'()* as they are, which signatures want encoded. */
function encodePart(part: string): string {
  return encodeURIComponent(part).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A short body's text. A body that does not end in time is given up. */
async function textOf(body: unknown): Promise<string> {
  if (!(body instanceof Readable)) return '';
  const timer = setTimeout(() => body.destroy(new Error('the answer does not end')), ANSWER_TIMEOUT_MS);
  try {
    // Events, where a loop over the body would take as long as all the rest of the answer.
    return await new Promise((resolve, reject) => {
      let text = '';
      body.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      body.once('end', () => resolve(text)).once('error', reject);
      body.once('close', () => reject(new Error('the answer was cut short')));
    });
  } finally {
    clearTimeout(timer);
  }
}
