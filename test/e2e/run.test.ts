import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'chai';
import type { UnseenCounts } from '../../src/compare/result.ts';
import type { Report } from '../../src/report/model.ts';
import { type CommandResult, exampleLake, flightsManifest, Place, root } from '../support/runs.ts';

/** What the lake's own makers counted, each with another reader than ours. */
interface Expected {
  readonly tables: Readonly<
    Record<
      string,
      {
        readonly version: number;
        readonly changes: { readonly unseen: Readonly<Record<string, number>> };
        readonly versions: Readonly<Record<string, { readonly rows: number }>>;
        readonly baseVersion: number;
      }
    >
  >;
}

/** Their words for rows that a cursor cannot see, and ours. */
const words: Readonly<Record<string, keyof UnseenCounts>> = {
  deleted: 'deleted',
  insertedLate: 'lateRow',
  insertedTied: 'tiedCursor',
  insertedNull: 'nullCursor',
  updatedUnmoved: 'unmovedCursor',
};

describe('the flights example', function () {
  this.timeout(300_000);
  const ends: { place: Place; result: CommandResult; report: Report }[] = [];
  let expected: Expected;

  before(async () => {
    expected = JSON.parse(await readFile(join(exampleLake, 'expected.json'), 'utf8'));
    // The first as on a terminal that is none, the second for machines.
    for (const more of [[], ['--json']]) {
      const place = await Place.open();
      const result = await place.parity(['run', flightsManifest, '--reports', place.reports, ...more]);
      ends.push({ place, result, report: await place.report() });
    }
  });

  after(async () => {
    for (const { place } of ends) await place.close();
  });

  function first(): (typeof ends)[number] {
    const [end] = ends;
    if (end === undefined) throw new Error('the example has not run');
    return end;
  }

  it('passes with exit code 0, and says so last', () => {
    const { result, report } = first();
    expect(result.exitCode, result.stdout + result.stderr).to.equal(0);
    expect(report.verdict).to.equal('Passed');
    expect(result.stdout.trimEnd().split('\n').at(-1)).to.match(/^Passed {2}flights-round-trip: /);
    expect(result.stderr).to.equal('');
  });

  it('has the same fingerprint the second time', () => {
    const fingerprints = ends.map(({ report }) => report.fingerprint);
    expect(fingerprints[0]).to.match(/^[0-9a-f]{64}$/);
    expect(new Set(fingerprints).size).to.equal(1);
  });

  it('leaves no process, run, workspace or temp file', async () => {
    for (const { place } of ends) await place.expectNothingLeft();
  });

  it('compares every table of both sources before and after the incremental sync', () => {
    const { comparisons, queries } = first().report;
    const tables = [
      ...['flights', 'airlines', 'airports', 'types'].map((table) => `ops.${table}`),
      ...['planes', 'weather', 'types'].map((table) => `fleet.${table}`),
    ];
    const wanted = ['parity-at-base', 'parity'].flatMap((step) => tables.map((table) => `${step} ${table}`));
    expect(comparisons.map(({ step, source, table }) => `${step} ${source}.${table}`)).to.have.members(wanted);
    expect(comparisons.every(({ outcome, differences }) => outcome === 'Equal' && differences === 0)).to.equal(true);
    expect(queries.map(({ outcome }) => outcome)).to.deep.equal(['Equal', 'Equal', 'Equal']);
  });

  it('counts the rows that the lake has', () => {
    for (const { table, step, rows } of first().report.comparisons) {
      const { version, baseVersion, versions } = expected.tables[table] ?? expect.fail(`no table ${table}`);
      // The lake's makers chose a later base for planes than the example does.
      const at = step === 'parity' ? version : table === 'planes' ? 4 : baseVersion;
      expect(rows.baseline, `${table} at ${at}`).to.equal(versions[at]?.rows);
    }
  });

  it('sees exactly the rows as unseen that the lake’s makers hid from a cursor', () => {
    const compared = first().report.comparisons.filter(({ step }) => step === 'parity');
    for (const { table, source, unseen } of compared) {
      const wanted = { deleted: 0, nullCursor: 0, tiedCursor: 0, lateRow: 0, unmovedCursor: 0 };
      const hidden = Object.entries(expected.tables[table]?.changes.unseen ?? {});
      for (const [word, count] of hidden) wanted[words[word] ?? expect.fail(`no word for ${word}`)] = count;
      // The reference pipeline reads from the last value on, and so sees what ties with it.
      wanted.tiedCursor = 0;
      const { total, counted, ...counts } = unseen ?? expect.fail(`${source}.${table}: no unseen rows`);
      expect(counts, `${source}.${table}`).to.deep.equal(wanted);
      expect(total).to.equal(Object.values(wanted).reduce((sum, count) => sum + count, 0));
      expect(counted).to.equal(false);
    }
  });

  it('writes its report in every format, the JSON by its published schema', async () => {
    const { place, report } = first();
    const folder = join(place.reports, (await readdir(place.reports))[0] ?? '');
    expect((await readdir(folder)).sort()).to.deep.equal(['report.html', 'report.json', 'report.md', 'report.xml']);
    const schema = JSON.parse(await readFile(join(root, 'src/report/report.schema.json'), 'utf8'));
    const validate = new Ajv2020({ strict: false }).compile(schema);
    expect(validate(report), JSON.stringify(validate.errors)).to.equal(true);
    for (const name of ['report.html', 'report.md', 'report.xml']) {
      expect(await readFile(join(folder, name), 'utf8'), name).to.include(report.fingerprint ?? 'none');
    }
  });

  it('ends with one line for machines that holds verdict, fingerprint and conditions', () => {
    const { result, report } = ends[1] ?? first();
    const lines = result.stdout.trimEnd().split('\n');
    const last = JSON.parse(lines.at(-1) ?? '');
    expect(last).to.include({ type: 'Result', verdict: 'Passed', fingerprint: report.fingerprint });
    expect(last.conditions.map((one: { status: string }) => one.status)).to.deep.equal(Array(9).fill('True'));
    expect(last.cleanup).to.deep.equal({ kind: 'Removed' });
    for (const line of lines) expect(() => JSON.parse(line), line).not.to.throw();
  });
});
