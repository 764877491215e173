import { expect } from 'chai';
import { spec } from '../../test/support/spec.ts';
import { notAllowed } from './allowed.ts';

describe('what a cluster allows', () => {
  it('has no folder that inherited queries could lie in', () => {
    const storage = { location: 's3://bucket' };
    const query = { expect: { sameAs: 'Baseline' }, timeoutSeconds: 60 } as const;
    const of = spec({
      snapshot: { ...spec().snapshot, ...storage },
      workspace: storage,
      reports: { ...spec().reports, ...storage },
      sources: [],
      queries: [
        { ...query, name: 'here', inherited: { from: { files: { location: 'file:///queries' } } } },
        { ...query, name: 'there', inherited: { from: { files: { location: 's3://bucket/queries' } } } },
      ],
    });
    const allow = { command: false, embedded: false, fileLocations: false };
    expect(notAllowed(of, { allow, executor: 'Jobs' })).to.deep.equal([
      {
        path: ['spec', 'queries', 0, 'inherited', 'files', 'location'],
        message: 'found "file:///queries"; a cluster has no folder of its own for this; write an s3:// location',
      },
    ]);
  });
});
