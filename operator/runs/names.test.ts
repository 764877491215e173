import { expect } from 'chai';
import { isOfRun, jobName, pipelineJobName, runLabels, sourceName } from './names.ts';

const uid = '0f8fad5b-d9cb-469f-a165-70867728950e';

describe('names in the cluster', () => {
  it('fit into labels and DNS names whatever they are made of, and stay apart', () => {
    const long = 'a-step-with-a-name-sync-a-pipeline-with-a-name-a-source-12';
    const names = [1, 2, 10].flatMap((attempt) => [
      jobName(uid, long, attempt),
      jobName(uid, `${long.slice(0, -1)}3`, attempt),
    ]);
    expect(new Set(names).size).to.equal(names.length);
    for (const name of names) expect(name).to.match(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
    expect(jobName(uid, 'snapshot-0', 1)).to.equal('parity-0f8fad5b-snapshot-0-1');
    expect(sourceName(uid, 'shop')).to.equal('parity-0f8fad5b-shop');
  });

  it('of Jobs of a pipeline stay apart for tables whose names differ only in letters that a DNS name has not', () => {
    const named = (table: string, attempt = 1) => pipelineJobName(uid, ['candidate', 'first', 'shop', table], attempt);
    expect(named('flights', 2)).to.equal('parity-0f8fad5b-job-candidate-first-shop-flights-2');
    const names = ['Flights', 'flights', 'flights_', 'flights.', 'FLIGHTS', 'f'.repeat(60)].map((table) =>
      named(table),
    );
    expect(new Set(names).size).to.equal(names.length);
    for (const name of names) expect(name).to.match(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  });

  it('prove whose an object is by the whole uid and the installation', () => {
    const run = { name: 'n'.repeat(200), uid, installation: 'here' };
    const labels = runLabels(run);
    expect(labels['pipelineparity.io/run']).to.have.length(63);
    expect(isOfRun({ metadata: { labels } }, run)).to.equal(true);
    expect(isOfRun({ metadata: { labels } }, { ...run, installation: 'there' })).to.equal(false);
    expect(isOfRun({ metadata: { labels } }, { ...run, uid: uid.replace('e', 'f') })).to.equal(false);
    expect(isOfRun({ metadata: {} }, run)).to.equal(false);
  });
});
