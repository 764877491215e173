import { ParityError } from '../support/error.ts';

const FACTORS: Readonly<Record<string, bigint>> = {
  '': 1n,
  k: 10n ** 3n,
  M: 10n ** 6n,
  G: 10n ** 9n,
  T: 10n ** 12n,
  P: 10n ** 15n,
  Ki: 2n ** 10n,
  Mi: 2n ** 20n,
  Gi: 2n ** 30n,
  Ti: 2n ** 40n,
  Pi: 2n ** 50n,
};

/**
 * The bytes that a Kubernetes quantity such as `50Gi` or `1.5G` says, exactly; a fraction of a byte is rounded up, as Kubernetes
 * does. Throws `InvalidSpec` for anything that is no quantity, or for more bytes than a number holds exactly (8 PiB).
 * Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
export function bytesOf(quantity: string): number {
  const match = /^([0-9]+)(?:[.]([0-9]+))?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$/.exec(quantity);
  const factor = match === null ? undefined : FACTORS[match[3] ?? ''];
  if (match === null || factor === undefined) throw invalid(quantity, 'it is not a quantity such as 512Mi or 50Gi');
  const fraction = match[2] ?? '';
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(`${match[1]}${fraction}`) * factor;
  const bytes = (scaled + scale - 1n) / scale;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(quantity, 'it is more than 8Pi');
  return Number(bytes);
}

function invalid(quantity: string, found: string): ParityError {
  return new ParityError('InvalidSpec', `The quantity "${quantity}" cannot be used: ${found}`, {
    advice: 'Write whole bytes with a suffix, such as 512Mi or 50Gi.',
  });
}
