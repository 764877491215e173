import { ParityError } from '../../support/error.ts';
import type { DeltaProtocol } from './types.ts';

/**
 * Reader features that we read exactly. Every other one changes what the rows are, so a table that has one is refused by name;
 * features for writers only do not change what is read and are accepted
 * (https://github.com/delta-io/delta/blob/master/PROTOCOL.md#table-features).
 */
const READER_FEATURES: ReadonlySet<string> = new Set([
  'deletionVectors',
  'columnMapping',
  'timestampNtz',
  'v2Checkpoint',
  'vacuumProtocolCheck',
]);

/** Throws `UnsupportedFeature`, naming version or features, for a table that this reader would read wrongly. */
export function checkProtocol(protocol: DeltaProtocol, url: string): void {
  if (protocol.minReaderVersion > 3) {
    throw new ParityError(
      'UnsupportedFeature',
      `${url} needs a Delta reader of version ${protocol.minReaderVersion}; versions up to 3 are supported`,
      { subject: url },
    );
  }
  const unknown = protocol.readerFeatures.filter((feature) => !READER_FEATURES.has(feature));
  if (unknown.length === 0) return;
  throw new ParityError(
    'UnsupportedFeature',
    `${url} needs the Delta reader ${unknown.length === 1 ? 'feature' : 'features'} ${unknown.join(', ')}, which this version cannot read exactly`,
    {
      subject: url,
      advice: `Supported are ${[...READER_FEATURES].join(', ')}; test a copy of the table without the feature`,
    },
  );
}
