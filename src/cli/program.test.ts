import { assert } from 'chai';
import { painter } from '../report/terminal.ts';
import { parityVersion } from '../report/version.ts';
import { ParityError } from '../support/error.ts';
import type { Io } from './commands/io.ts';
import { report } from './commands/problems.ts';
import { runProgram } from './program.ts';

/** Runs a command line in this process and gives back what it said. */
async function parity(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await runProgram(argv, testIo(said));
  return { code, ...said };
}

function testIo(said: { out: string; err: string }): Io {
  return {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    isTerminal: false,
    columns: () => 80,
    paint: painter(false),
    isColored: false,
    cwd: new URL('../..', import.meta.url).pathname,
  };
}

/** Of a cluster that nobody asks in these tests. */
const kubeconfig = new URL('./cluster/kubeconfig.fixture.yaml', import.meta.url).pathname;

describe('the command line', () => {
  const wrong: [string, string[], RegExp][] = [
    ['a misspelt command', ['runn'], /^parity: unknown command 'runn' — Did you mean run\?\n$/],
    ['a misspelt option', ['run', '--jsn', 'x'], /^parity: unknown option '--jsn' — Did you mean --json\?\n$/],
    ['an option that never was', ['gc', '--zzz'], /^parity: unknown option '--zzz' — See parity --help\n$/],
    ['a missing argument', ['compare', 'a'], /^parity: missing required argument 'candidate' — See parity --help\n$/],
    ['an argument too many', ['gc', 'x', 'y'], /^parity: too many arguments for 'gc'/],
    ['no manifest', ['run'], /^parity: parity run needs a manifest — Name its file/],
    ['a manifest that is not there', ['run', 'no.yaml'], /^parity: reading no.yaml: there is no such file — /],
    ['a folder as manifest', ['validate', 'src'], /^parity: reading src: it is a folder — /],
    [
      'a manifest and --resume',
      ['run', 'x.yaml', '--resume', 'y'],
      /^parity: a run that is resumed keeps its manifest — /,
    ],
    [
      'an option of a cluster without one',
      ['run', 'x.yaml', '-n', 'shop'],
      /^parity: --namespace is about a cluster — /,
    ],
    ['a name of a run that cannot be', ['wait', 'A b'], /^parity: 'A b' cannot be the name of a run — /],
    [
      'a time that is none',
      ['wait', 'x', '--timeout', 'soon', '--kubeconfig', kubeconfig],
      /^parity: --timeout soon is no duration — /,
    ],
    [
      'a kubeconfig that is not there',
      ['wait', 'x', '--kubeconfig', '/no/config'],
      /^parity: reading the kubeconfig \/no\/config: /,
    ],
    [
      'a context that is not there',
      ['wait', 'x', '--kubeconfig', kubeconfig, '--context', 'y'],
      /has no context "y" — /,
    ],
    ['--cluster and --resume', ['run', '--cluster', '--resume', 'x'], /^parity: parity run --cluster needs a manifest/],
    ['a collection in a cluster that is no look', ['gc', '--cluster'], /^parity: parity gc --cluster only looks — /],
    ['a setting that is no field', ['validate', 'examples/flights/run.yaml', '--set', 'spec.snapshto=1'], /snapshto/],
    ['a field that is not there', ['explain', 'spec.snapshto'], /did you mean "snapshot"/],
    ['a shell that is not known', ['completion', 'tcsh'], /^parity: there is no completion for the shell 'tcsh' — /],
    ['a tolerance without a number', ['compare', 'a', 'b', '--tolerance', 'x=much'], /'much' is no decimal number/],
    ['a rename of half a pair', ['compare', 'a', 'b', '--rename', 'x'], /--rename x is not of the form old=new/],
    ['samples that are no number', ['compare', 'a', 'b', '--samples', 'few'], /--samples few is not a whole number/],
  ];
  for (const [what, argv, expected] of wrong) {
    it(`answers ${what} with 64 and one sentence on stderr`, async () => {
      const { code, out, err } = await parity(...argv);
      assert.equal(code, 64);
      assert.equal(out, '');
      assert.match(err, expected);
    });
  }

  it('prints its version', async () => {
    assert.deepEqual(await parity('--version'), { code: 0, out: `${parityVersion()}\n`, err: '' });
  });

  it('without a command explains itself, with 64', async () => {
    const { code, err } = await parity();
    assert.equal(code, 64);
    assert.include(err, 'Usage: parity');
  });

  for (const command of [
    'run',
    'preview',
    'validate',
    'compare',
    'wait',
    'watch',
    'describe',
    'logs',
    'cancel',
    'report',
    'explain',
    'completion',
  ]) {
    it(`has an example in the help of ${command}`, async () => {
      const { code, out } = await parity(command, '--help');
      assert.equal(code, 0);
      assert.match(out, /Examples?:\n {2}(source <\()?parity /);
    });
  }

  it('does not advertise the task command', async () => {
    assert.notMatch((await parity('--help')).out, /^ {2}task/m);
  });

  it('validates the example', async () => {
    const { code, out } = await parity('validate', 'examples/flights/run.yaml');
    assert.equal(code, 0);
    assert.match(out, /^flights-round-trip is valid: 6 tables, 2 sources, 6 steps; digest [0-9a-f]{16}\n$/);
  });

  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`completes every command in ${shell}`, async () => {
      const { code, out } = await parity('completion', shell);
      assert.equal(code, 0);
      for (const word of ['run', 'preview', 'compare', 'snapshot', 'wait', 'spec.snapshot.tables'])
        assert.include(out, word);
      // The option of `parity logs` and a field of the status are no command.
      assert.notMatch(out, /(?<!--|-l |\.)\btask\b[^s]/);
    });
  }
});

describe('errors on the command line', () => {
  const say = (error: unknown) => {
    const said = { out: '', err: '' };
    return { code: report(error, testIo(said)), ...said };
  };

  const codes: [unknown, number][] = [
    [new ParityError('BadUsage', 'x'), 64],
    [new ParityError('InvalidSpec', 'x'), 64],
    [new ParityError('Cancelled', 'x'), 3],
    [new ParityError('NotFound', 'x'), 2],
    [new Error('x'), 2],
    ['x', 2],
  ];
  for (const [error, code] of codes) {
    it(`${String(error)} ends with ${code}`, () => assert.equal(say(error).code, code));
  }

  it('are one sentence with advice and without a stack', () => {
    const error = new ParityError('NotFound', 'reading a table\nnobody has', { advice: 'Look\nagain.' });
    assert.equal(say(error).err, 'parity: reading a table; nobody has — Look; again.\n');
  });
});
