import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { redact, redactError } from './log.ts';
import { readSecret, writeSecret } from './secrets.ts';

describe('a secret', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'parity-secrets-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('is read as Kubernetes mounts it, from the first folder that has it', async () => {
    await mkdir(join(folder, 'a', 'db', '..2026'), { recursive: true });
    await mkdir(join(folder, 'b', 'db'), { recursive: true });
    await symlink('..2026', join(folder, 'a', 'db', '..data'));
    await writeFile(join(folder, 'a', 'db', '..2026', 'password'), 'mounted-words\n');
    await symlink('..data/password', join(folder, 'a', 'db', 'password'));
    await writeFile(join(folder, 'b', 'db', 'password'), 'hidden-words');
    expect(await readSecret('db', [join(folder, 'none'), join(folder, 'a'), join(folder, 'b')])).to.deep.equal({
      password: 'mounted-words',
    });
  });

  it('that is nowhere is an error that names it and says where it belongs', async () => {
    for (const name of ['nothing', '../etc', '']) {
      const error: unknown = await readSecret(name, [folder]).catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'NotFound', subject: name });
    }
  });

  it('is written for this user only, and replaced as a whole', async () => {
    await writeSecret(folder, 'source-shop', { host: 'h', password: 'earlier-words' });
    await writeSecret(folder, 'source-shop', { password: 'later-words' });
    expect(await readSecret('source-shop', [folder])).to.deep.equal({ password: 'later-words' });
    expect((await stat(join(folder, 'source-shop', 'password'))).mode & 0o777).to.equal(0o600);
    expect((await stat(join(folder, 'source-shop'))).mode & 0o777).to.equal(0o700);
  });

  it('that is written again as it was stays as it is: somebody may be reading it', async () => {
    await writeSecret(folder, 'source-shop', { host: 'h', password: 'some-words' });
    const { ino } = await stat(join(folder, 'source-shop'));
    await writeSecret(folder, 'source-shop', { password: 'some-words', host: 'h' });
    expect((await stat(join(folder, 'source-shop'))).ino).to.equal(ino);
  });

  it('is read whole while it is replaced again and again', async () => {
    const versions = ['one', 'two'].map((word) => ({ host: word, password: `${word}-words`, user: word }));
    const [first = {}] = versions;
    await writeSecret(folder, 'db', first);
    let isWriting = true;
    const writing = (async () => {
      for (let round = 0; round < 200; round++) await writeSecret(folder, 'db', versions[round % 2] ?? {});
      isWriting = false;
    })();
    const seen = new Set<string>();
    while (isWriting) {
      // Between two versions there may be none.
      const keys = await readSecret('db', [folder]).catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'NotFound') return undefined;
        throw error;
      });
      if (keys !== undefined) seen.add(Object.keys(keys).sort().join());
    }
    await writing;
    expect([...seen]).to.deep.equal(['host,password,user']);
  });

  it('never shows in a text, in any spelling, once it was read or written', async () => {
    const password = 'p"ss w/rd+1';
    await writeSecret(folder, 'db', { host: 'db.example', password, ca: 'PUBLIC CERTIFICATE' });
    const spellings = [
      password,
      JSON.stringify(password),
      encodeURIComponent(password),
      Buffer.from(password).toString('base64'),
    ];
    for (const text of spellings) expect(redact(`url=${text};`), text).to.not.include(text.replaceAll('"', ''));
    expect(redact('db.example has a PUBLIC CERTIFICATE')).to.equal('db.example has a PUBLIC CERTIFICATE');
    const error = redactError({
      code: 'Internal',
      message: `a ${password}`,
      advice: `b ${password}`,
      isRetryable: false,
    });
    expect(error).to.include({ message: 'a [redacted]', advice: 'b [redacted]' });
  });
});
