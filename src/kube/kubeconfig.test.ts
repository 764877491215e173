import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect } from 'chai';
import { stringify } from 'yaml';
import { redact } from '../support/log.ts';
import { clusterAccess } from './kubeconfig.ts';

describe('the access of a kubeconfig', () => {
  let folder: string;
  const before = process.env.KUBECONFIG;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-kubeconfig-'));
  });
  afterEach(async () => {
    if (before === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = before;
    await rm(folder, { recursive: true, force: true });
  });

  async function write(user: object, cluster: object = {}, name = 'config', context = 'c'): Promise<string> {
    const path = join(folder, name);
    const config = {
      clusters: [{ name: 'k', cluster: { server: 'https://10.0.0.1:6443/base', ...cluster } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: context, context: { cluster: 'k', user: 'u', namespace: 'shop' } }],
      'current-context': context,
    };
    await writeFile(path, stringify(config));
    return path;
  }

  it('is its server, its namespace and its token, which no log shows', async () => {
    const access = await clusterAccess({ kubeconfig: await write({ token: 'a-token-of-the-test' }) });
    expect(access.server.href).to.equal('https://10.0.0.1:6443/base');
    expect(access.namespace).to.equal('shop');
    expect((await access.requestOptions()).headers).to.deep.equal({ authorization: 'Bearer a-token-of-the-test' });
    expect(redact('got a-token-of-the-test')).to.equal('got [redacted]');
    access.close();
  });

  it('reads a token file beside it again when the server refused the old one', async () => {
    await mkdir(join(folder, 'tokens'));
    await writeFile(join(folder, 'tokens', 't'), 'first-token\n');
    const access = await clusterAccess({ kubeconfig: await write({ tokenFile: 'tokens/t' }) });
    const header = async () => (await access.requestOptions()).headers;
    expect(await header()).to.deep.equal({ authorization: 'Bearer first-token' });
    await writeFile(join(folder, 'tokens', 't'), 'second-token\n');
    expect(await header()).to.deep.equal({ authorization: 'Bearer first-token' });
    access.forgetToken();
    expect(await header()).to.deep.equal({ authorization: 'Bearer second-token' });
    access.close();
  });

  it('impersonates, and signs in by name and password', async () => {
    const access = await clusterAccess({ kubeconfig: await write({ username: 'u', password: 'pass-word', as: 'ci' }) });
    expect((await access.requestOptions()).headers).to.deep.equal({
      authorization: `Basic ${Buffer.from('u:pass-word').toString('base64')}`,
      'impersonate-user': 'ci',
    });
    access.close();
  });

  it('gets a token from a credential plugin', async () => {
    const plugin = join(folder, 'plugin');
    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'plugged' },
    };
    await writeFile(plugin, `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`);
    await chmod(plugin, 0o755);
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' };
    const access = await clusterAccess({ kubeconfig: await write({ exec }) });
    expect((await access.requestOptions()).headers).to.have.property('Authorization', 'Bearer plugged');
    access.close();
  });

  it('is of the context that is named, from several files of which the first counts', async () => {
    const first = await write({ token: 'first-token' }, {}, 'one', 'c');
    const second = await write({ token: 'second-token' }, { server: 'https://10.0.0.2' }, 'two', 'other');
    process.env.KUBECONFIG = [first, second].join(delimiter);
    const access = await clusterAccess({ context: 'other' });
    expect(access.server.href).to.equal('https://10.0.0.1:6443/base');
    expect((await access.requestOptions()).headers).to.deep.equal({ authorization: 'Bearer first-token' });
    access.close();
  });

  const faults: readonly { says: string; config: object | string; message: RegExp }[] = [
    { says: 'no context', config: {}, message: /can't be used: it has no current context$/ },
    { says: 'another context', config: { 'current-context': 'x' }, message: /it has no context "x"$/ },
    {
      says: 'no cluster',
      config: { 'current-context': 'x', contexts: [{ name: 'x', context: { cluster: 'k' } }] },
      message: /it has no cluster "k" with a server$/,
    },
    {
      says: 'no user',
      config: {
        'current-context': 'x',
        contexts: [{ name: 'x', context: { cluster: 'k', user: 'u' } }],
        clusters: [{ name: 'k', cluster: { server: 'https://a' } }],
      },
      message: /it has no user "u"$/,
    },
    { says: 'no YAML', config: '{', message: /^reading the kubeconfig .*: YAML/ },
    { says: 'nothing', config: '', message: /it is no kubeconfig$/ },
  ];
  for (const { says, config, message } of faults)
    it(`refuses a file with ${says}, in a sentence`, async () => {
      const path = join(folder, 'config');
      await writeFile(path, typeof config === 'string' ? config : stringify(config));
      const error: unknown = await clusterAccess({ kubeconfig: path }).catch((error: unknown) => error);
      expect(error).to.have.property('code', 'BadUsage');
      expect(error).to.have.property('message').that.matches(message);
    });

  it('refuses a file that is not there', async () => {
    const error: unknown = await clusterAccess({ kubeconfig: join(folder, 'none') }).catch((error: unknown) => error);
    expect(error)
      .to.have.property('message')
      .that.matches(/ENOENT/);
  });
});
