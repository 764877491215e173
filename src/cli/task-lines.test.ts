import { expect } from 'chai';
import { taskId } from '../run/task-id.ts';
import type { Progress } from '../tasks/task.ts';
import { formatTaskArguments, parseTaskArguments } from './task-arguments.ts';
import { parseTaskLine, throttle } from './task-lines.ts';

describe('a line of a task', () => {
  const cases: readonly { text: string; type: string | undefined }[] = [
    { text: '{"type":"progress","progress":{"table":"flights","rows":1}}', type: 'progress' },
    { text: '{"type":"failure","error":{"code":"Internal","message":"m","isRetryable":false}}', type: 'failure' },
    { text: '{"type":"progress"}', type: undefined },
    { text: '{"type":"progress","progress":', type: undefined },
    { text: 'a library that prints', type: undefined },
    { text: '', type: undefined },
  ];
  for (const { text, type } of cases) {
    it(`reads ${text || 'nothing'} as ${type ?? 'somebody else’s'}`, () => {
      expect(parseTaskLine(text)?.type).to.equal(type);
    });
  }
});

describe('progress', () => {
  it('passes on one line per table and interval, and loses none of the last ones', () => {
    let now = 0;
    const sent: Progress[] = [];
    const throttled = throttle(
      (progress) => sent.push(progress),
      200,
      () => now,
    );
    for (const rows of [1, 2, 3]) for (const table of ['a', 'b']) throttled.progress({ table, rows });
    expect(sent).to.deep.equal([
      { table: 'a', rows: 1 },
      { table: 'b', rows: 1 },
    ]);
    now = 250;
    throttled.progress({ table: 'a', rows: 4 });
    throttled.flush();
    throttled.flush();
    expect(sent.slice(2)).to.deep.equal([
      { table: 'a', rows: 4 },
      { table: 'b', rows: 3 },
    ]);
  });
});

describe('the arguments of a task process', () => {
  it('come back as they went', () => {
    const args = {
      id: taskId('snapshot', 0),
      workspace: { location: 's3://b/p', endpoint: 'http://h:1', region: 'r', secretRef: { name: 's' } },
      scratch: '/tmp/x y',
      attempt: 3,
      secretFolders: ['/a', '/b'],
    };
    expect(parseTaskArguments(formatTaskArguments(args))).to.deep.equal(args);
  });

  for (const argv of [
    [],
    ['Bad Id'],
    ['a', 'b'],
    ['a', '--workspace=w'],
    ['a', '--unknown'],
    ['a', '--workspace=w', '--scratch=s', '--attempt=0'],
  ]) {
    it(`are refused as bad usage: ${JSON.stringify(argv)}`, () => {
      expect(() => parseTaskArguments(argv))
        .to.throw()
        .with.property('code', 'BadUsage');
    });
  }
});
