/**
 * A process that leads when it is elected, and then writes as fast as it may: the config map `written`, by one more each time.
 *
 *     node test/support/lease-process.ts KUBECONFIG NAMESPACE IDENTITY LEASE_MS
 *
 * It says `leads` and `lost` on its output, one a line, and tries again after it has lost.
 */
import { leadOnce, leaseStore } from '../../operator/kube/lease.ts';
import { connect } from '../../src/kube/client.ts';
import { configMaps } from '../../src/kube/objects.ts';

const [kubeconfig = '', namespace = '', identity = '', lease = ''] = process.argv.slice(2);
const leaseMs = Number(lease);
const kube = await connect({ kubeconfig });
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const store = leaseStore(kube, { namespace, name: 'leader' }, { identity, deadlineMs: 500 });
while (!stop.signal.aborted) {
  const outcome = await leadOnce(
    { store, leaseMs, renewWithinMs: leaseMs * 0.6, retryMs: 200 },
    stop.signal,
    async (leadership) => {
      process.stdout.write('leads\n');
      const writer = kube.with({
        signal: leadership.signal,
        mayWrite: leadership.check,
        requestsPerSecond: 200,
        burst: 1,
      });
      for (let n = 0; !stop.signal.aborted && !leadership.signal.aborted; n++) {
        const data = { by: identity, n: String(n) };
        await writer.mergePatch(configMaps, { namespace, name: 'written' }, { data }).catch(() => {});
      }
    },
  );
  process.stdout.write(`${outcome === 'Lost' ? 'lost' : 'stopped'}\n`);
}
kube.close();
