import { expect } from 'chai';
import { Admission } from './admission.ts';
import { cleanupFinalizer } from './names.ts';
import type { RunObject } from './types.ts';

describe('which runs may begin', () => {
  it('lets the oldest begin, as many as may', () => {
    const admission = new Admission();
    const [a, b, c] = [run('a', 1), run('b', 2), run('c', 3)];
    for (const each of [c, b, a]) admission.note(each);
    expect([c, b, a].map((each) => admission.admits(each, 2))).to.deep.equal([false, true, true]);
  });

  it('remembers whom it let begin before the mirror shows it', () => {
    const admission = new Admission();
    const [a, b] = [run('a', 1), run('b', 2)];
    admission.note(b);
    expect(admission.admits(b, 1)).to.equal(true);
    admission.note(a);
    expect(admission.admits(a, 1)).to.equal(false);
  });

  it('asks the one that has waited longest when another ends or goes', () => {
    const admission = new Admission();
    const [a, b, c] = [run('a', 1, true), run('b', 2), run('c', 3)];
    for (const each of [a, b, c]) admission.note(each);
    expect(admission.admits(b, 1)).to.equal(false);
    expect(admission.ended('shop/a')).to.deep.equal(['shop/b']);
    expect(admission.admits(b, 1)).to.equal(true);
    expect(admission.forget('shop/b')).to.deep.equal(['shop/c']);
  });

  it('counts neither runs that have ended nor those that are suspended before they began', () => {
    const admission = new Admission();
    const ended = { ...run('a', 1, true), status: { conditions: [finished] } };
    const suspended = { ...run('b', 2), spec: { suspend: true } };
    const waiting = run('c', 3);
    for (const each of [ended, suspended, waiting]) admission.note(each);
    expect(admission.admits(waiting, 1)).to.equal(true);
  });

  it('never takes the place of one that has begun from it', () => {
    const admission = new Admission();
    const begun = run('b', 2, true);
    for (const each of [run('a', 1, true), begun]) admission.note(each);
    expect(admission.admits(begun, 1)).to.equal(true);
  });
});

const finished = { type: 'Finished', status: 'True', reason: 'Passed', message: '', lastTransitionTime: '' } as const;

function run(name: string, second: number, hasBegun = false): RunObject {
  return {
    apiVersion: 'pipelineparity.io/v1alpha1',
    kind: 'PipelineParityRun',
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-${name}`,
      resourceVersion: '1',
      creationTimestamp: `2026-03-01T12:00:0${second}Z`,
      finalizers: hasBegun ? [cleanupFinalizer] : [],
    },
    spec: {},
  };
}
