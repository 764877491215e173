import { expect } from 'chai';
import { errorOf } from '../../test/support/snapshot-run.ts';
import { checkVersion } from './server-version.ts';

describe('The version that a source asks for', () => {
  const table: readonly [wanted: string | undefined, found: string, isThere: boolean][] = [
    [undefined, '9.6', true],
    ['16', '16.4 (Debian 16.4-1.pgdg120+1)', true],
    ['16', '160.1', false],
    ['16.4', '16.40', false],
    ['8.4', '8.4.2', true],
    ['8.4', '8.0.39', false],
    ['10.11', '10.11.6-MariaDB-0+deb12u1', true],
    ['10.11.6', '10.11', false],
    ['16', '', false],
  ];
  for (const [engineVersion, found, isThere] of table) {
    it(`${engineVersion ?? 'of none'} is ${isThere ? '' : 'not '}${found || 'what says nothing'}`, async () => {
      const source = {
        name: 'shop',
        engine: 'Postgres',
        ...(engineVersion === undefined ? {} : { engineVersion }),
      } as const;
      const check = async (): Promise<void> => checkVersion(source, found);
      if (isThere) return await check();
      const error = await errorOf(check());
      expect(error.code).to.equal('InvalidSpec');
      expect(error.message).to.contain(`asks for Postgres ${engineVersion}`);
    });
  }
});
