import {
  Client,
  Connection,
  isGrpcServiceError,
  NamespaceNotFoundError,
  ServiceError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { TemporalPipelineSpec } from '../api/resolved.ts';
import { ParityError } from '../support/error.ts';

type TemporalSpec = TemporalPipelineSpec['temporal'];
type Secret = Readonly<Record<string, string>> | undefined;

/** How long the first answer of a server may take, and any later one. */
const connectMs = 10_000;
export const answerMs = 15_000;

/**
 * A client of the server that the manifest names. TLS is used where the manifest or the secret asks for it; an API key is never sent without. Throws
 * `Unreachable`, and `AccessDenied` where the server does not let us in. The caller closes its connection.
 */
export async function connectTemporal(spec: TemporalSpec, secret: Secret): Promise<Client> {
  const { address, namespace, tls, secretRef } = spec;
  const { apiKey, cert, key, ca } = secret ?? {};
  const subject = `Temporal at ${address}`;
  if ((cert === undefined) !== (key === undefined))
    throw new ParityError(
      'AccessDenied',
      `the secret "${secretRef?.name}" of ${subject} has only one of cert and key`,
      {
        advice: 'It takes apiKey, or cert and key, and optionally ca.',
      },
    );
  const isSecure = tls !== undefined || [apiKey, cert, ca].some((value) => value !== undefined);
  const pair = cert === undefined || key === undefined ? undefined : { crt: Buffer.from(cert), key: Buffer.from(key) };
  try {
    const connection = await Connection.connect({
      address,
      connectTimeout: connectMs,
      tls: isSecure
        ? {
            ...(tls?.serverName === undefined ? {} : { serverNameOverride: tls.serverName }),
            ...(ca === undefined ? {} : { serverRootCACertificate: Buffer.from(ca) }),
            ...(pair === undefined ? {} : { clientCertPair: pair }),
          }
        : false,
      ...(apiKey === undefined ? {} : { apiKey }),
    });
    return new Client({ connection, namespace });
  } catch (error) {
    throw toTemporalError(error, spec, 'connecting');
  }
}

/** gRPC's own numbers: https://grpc.io/docs/guides/status-codes/ */
const status = {
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** Whether the server has no such workflow, nor a namespace that it could be in. */
export function isNoWorkflow(error: unknown): boolean {
  return error instanceof WorkflowNotFoundError || error instanceof NamespaceNotFoundError;
}

/** What a call's failure means: a server gone, a door closed, a namespace that is not there. */
export function toTemporalError(error: unknown, { address, namespace }: TemporalSpec, doing: string): ParityError {
  if (error instanceof ParityError) return error;
  const grpc = grpcErrorOf(error);
  const said = (grpc?.details ?? '') || (error instanceof Error ? error.message : String(error));
  const message = (found: string): string => `Temporal at ${address}, ${doing}: ${found}`;
  const options = { subject: address, cause: error };
  if (error instanceof NamespaceNotFoundError)
    return new ParityError('NotFound', message(`there is no namespace ${namespace}`), options);
  switch (grpc?.code) {
    case status.unauthenticated:
    case status.permissionDenied:
      return new ParityError('AccessDenied', message(`the server does not let us in (${said})`), {
        ...options,
        advice:
          'Check the API key or certificate in the secret that secretRef names, and what it may do in the namespace.',
      });
    case status.notFound:
      return new ParityError('NotFound', message(said), options);
    case status.unavailable:
    case status.deadlineExceeded:
    case status.resourceExhausted:
    case undefined:
      if (grpc !== undefined || /Failed to connect|connect timed out|deadline/i.test(said))
        return new ParityError('Unreachable', message(`the server does not answer (${said})`), {
          ...options,
          advice: 'See whether it runs, and whether it wants TLS.',
          isRetryable: true,
        });
      return new ParityError('PipelineFailed', message(said), options);
    default:
      return new ParityError('PipelineFailed', message(said), options);
  }
}

function grpcErrorOf(error: unknown): { code: number; details: string } | undefined {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (isGrpcServiceError(link)) return { code: link.code, details: link.details };
    if (link instanceof ServiceError && link.cause === undefined) return undefined;
  }
  return undefined;
}
