import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { type PostHog, startPostHog } from '../support/posthog/start.ts';
import type { Defect } from '../support/posthog/state.ts';
import { type ExampleTable, Place, smallSpec } from '../support/runs.ts';

describe('a run of PostHog (a server written from its routes)', function () {
  this.timeout(600_000);
  let place: Place;
  let bucket: string;
  let posthog: PostHog;

  beforeEach(async () => {
    place = await Place.open();
    // Outside of the place: PostHog's process names it, and is not the run's.
    bucket = await mkdtemp(join(tmpdir(), 'posthog-bucket-'));
  });

  afterEach(async () => {
    await posthog.stop();
    await place.close();
    await rm(bucket, { recursive: true, force: true });
  });

  async function manifestOf(tables: readonly ExampleTable[], defects: readonly Defect[] = []): Promise<string> {
    posthog = await startPostHog({ bucket: { location: pathToFileURL(bucket).href }, defects });
    await place.secret('posthog', posthog.secret);
    return await place.manifest({
      ...smallSpec(tables),
      pipelines: [
        {
          name: 'candidate',
          posthog: { secretRef: { name: 'posthog' } },
          outputs: { location: pathToFileURL(bucket).href },
        },
      ],
      comparison: { profile: 'PostHog' },
    });
  }

  async function expectNothingLeft(): Promise<void> {
    await place.expectNothingLeft();
    expect((await posthog.seen()).sources, 'sources in PostHog').to.deep.equal([]);
    expect(await readdir(bucket), 'folders in its bucket').to.deep.equal([]);
  }

  it('passes full and incremental, and leaves nothing there', async () => {
    const result = await place.parity(['run', await manifestOf(['airlines', 'airports'])]);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    expect(result.stdout).to.match(/^Passed {2}run: /m);
    await expectNothingLeft();
  });

  it('fails where the first chunk lands twice', async () => {
    const result = await place.parity(['run', await manifestOf(['airlines'], ['DuplicatedChunk'])]);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(1);
    expect(result.stdout).to.match(/airlines: 16 duplicated rows/);
    await expectNothingLeft();
  });

  it('that was killed is removed by gc, in PostHog too', async () => {
    const manifest = await manifestOf(['airlines'], ['HangingJob']);
    const { ended, process } = place.start(['run', manifest, '--json'], () => undefined);
    while ((await posthog.seen()).jobs.length === 0) {
      expect(process.exitCode, 'the run has ended by itself').to.equal(null);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    process.kill('SIGKILL');
    await ended;
    expect((await posthog.seen()).sources).to.have.length(1);
    const result = await place.parity(['gc']);
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    await expectNothingLeft();
  });
});
