import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readOptions } from './options.ts';

const needed = ['--installation=here', '--namespace=parity', '--image=parity@sha256:1'];

describe("the operator's options", () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-options-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function file(text: string): Promise<string> {
    const path = join(folder, 'options.yaml');
    await writeFile(path, text);
    return `--options=${path}`;
  }

  it('come from flags, with nothing allowed unless it is said', async () => {
    expect(await readOptions(needed)).to.deep.include({
      installation: 'here',
      executor: 'Jobs',
      allow: { command: false, embedded: false, fileLocations: false },
      lease: { name: 'pipeline-parity' },
      healthPort: 8080,
      sweepMs: 600_000,
    });
  });

  it('come from a file as the chart writes it, and flags go over it', async () => {
    const text = `
installation: chart
namespace: parity
image: "parity@sha256:1"
imagePullSecrets: ["registry"]
executor: Jobs
allow: {"command":false,"embedded":false,"fileLocations":false}
defaultWorkspace: {"location":"s3://work","secretRef":{"name":"keys"}}
argocd: {"namespace":"argocd","project":"parity","repoURL":"https://git.example/parity","path":"argocd/sources","targetRevision":"v1","destinationServer":"https://kubernetes.default.svc"}
namespaces: ["shop"]
parallelRuns: 3
nodeSelector: {}
tolerations: [{"key":"data","operator":"Exists"}]
`;
    const options = await readOptions([
      await file(text),
      '--installation=flag',
      '--allow=command',
      '--sweep-seconds=0',
    ]);
    expect(options).to.deep.include({ installation: 'flag', namespaces: ['shop'], parallelRuns: 3 });
    expect(options?.allow).to.deep.equal({ command: true, embedded: false, fileLocations: false });
    expect(options).to.not.have.property('sweepMs');
  });

  it('need no image where tasks are processes', async () => {
    const options = await readOptions(['--installation=here', '--namespace=parity', '--executor=Process', '--lease=']);
    expect(options).to.include({ executor: 'Process' }).and.to.not.have.property('lease');
  });

  const wrong: readonly { what: string; argv?: readonly string[]; text?: string; says: RegExp }[] = [
    { what: 'nothing', argv: [], says: /must have required property 'installation'/ },
    { what: 'an unknown flag', argv: [...needed, '--verbose'], says: /--verbose/ },
    {
      what: 'an unknown permission',
      argv: [...needed, '--allow=all'],
      says: /--allow=all: it is command, embedded, fileLocations/,
    },
    { what: 'no number', argv: [...needed, '--port=http'], says: /--port=http: it is a whole number from 0/ },
    {
      what: 'an installation that is no label',
      argv: [...needed, '--installation=a b'],
      says: /installation must match pattern/,
    },
    { what: 'a misspelt field', argv: needed, text: 'parallelruns: 3', says: /additional properties: parallelruns/ },
    {
      what: 'a file that is no object',
      argv: needed,
      text: '- 1',
      says: /must NOT have additional properties|no YAML object/,
    },
    {
      what: 'a workspace without a location',
      argv: needed,
      text: 'defaultWorkspace: { region: eu }',
      says: /defaultWorkspace must have required property 'location'/,
    },
    { what: 'no parallel runs', argv: needed, text: 'parallelRuns: 0', says: /parallelRuns must be >= 1/ },
  ];
  for (const { what, argv = [], text, says } of wrong) {
    it(`refuse ${what}, by name`, async () => {
      const flags = text === undefined ? argv : [...argv, await file(text)];
      const error: unknown = await readOptions(flags).catch((thrown: unknown) => thrown);
      expect(error).to.have.property('code', 'BadUsage');
      expect(String(error)).to.match(says);
    });
  }
});
