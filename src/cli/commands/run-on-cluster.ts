import { clean } from '../../report/terminal.ts';
import { ParityError, toParityError } from '../../support/error.ts';
import { type Cluster, type ClusterFlags, openCluster } from '../cluster/access.ts';
import { type AttendFlags, attend, displayOf, sayEnding } from '../cluster/attend.ts';
import { cancelRun } from '../cluster/cancel.ts';
import { createPlan, createRun } from '../cluster/create.ts';
import type { Ending } from '../cluster/ending.ts';
import { loadForCluster, namespaceIn } from '../cluster/manifest.ts';
import { exitCodeOf } from '../driver/events.ts';
import { listenForInterrupts } from '../driver/interrupts.ts';
import type { Io } from './io.ts';
import { type LoadFlags, readText } from './load.ts';
import { errorLine } from './problems.ts';
import { type CollectFlags, collectReports } from './wait.ts';

export interface ClusterRunFlags extends LoadFlags, ClusterFlags, AttendFlags, CollectFlags {
  readonly keep?: boolean;
  readonly resume?: string;
  readonly name?: string;
  readonly detach?: boolean;
  readonly replacePlan?: boolean;
}

/**
 * `parity run --cluster`: creates the run, and its plan where the manifest has it, then waits with the live view. Returns the exit
 * code of the run's verdict. The first Ctrl-C cancels the run and goes on waiting; the second leaves the rest to the cluster.
 */
export async function runOnCluster(manifest: string | undefined, flags: ClusterRunFlags, io: Io): Promise<number> {
  if (manifest === undefined || flags.resume !== undefined) {
    throw new ParityError('BadUsage', 'parity run --cluster needs a manifest, and knows no --resume', {
      advice: 'An operator resumes its runs by itself; wait for one with: parity wait NAME',
    });
  }
  const text = await readText(manifest, io);
  const namespace = flags.namespace ?? namespaceIn(text);
  const cluster = await openCluster({ ...flags, ...(namespace === undefined ? {} : { namespace }) });
  try {
    const { name, uid } = await create(cluster, manifest, text, flags, io);
    if (flags.detach === true) {
      sayCreated(cluster, name, uid, flags, io);
      return 0;
    }
    const ending = await attendOrCancel(cluster, name, uid, flags, io);
    sayEnding(ending, flags, io);
    const { reports: _, ...others } = flags;
    await collectReports(cluster, ending, bringsReports(flags) ? flags : others, io);
    return exitCodeOf(ending.verdict);
  } finally {
    cluster.client.close();
  }
}

async function create(cluster: Cluster, manifest: string, text: string, flags: ClusterRunFlags, io: Io) {
  const { run, plan } = await loadForCluster(
    cluster,
    {
      text,
      file: manifest === '-' ? undefined : manifest,
      ...(flags.plan === undefined ? {} : { planText: await readText(flags.plan, io), planFile: flags.plan }),
    },
    {
      set: [...(flags.set ?? []), ...settings(flags)],
      cwd: io.cwd,
      ...(flags.name === undefined ? {} : { name: flags.name }),
    },
  );
  if (plan !== undefined) {
    const done = await createPlan(cluster, plan, flags.replacePlan === true);
    if (done !== 'unchanged') io.err(`parity: plan ${clean(plan.metadata.name)} was ${done}\n`);
  }
  return (await createRun(cluster, run)).metadata;
}

/** What flags of a run on this machine mean here. */
function settings(flags: ClusterRunFlags): string[] {
  return [
    ...(flags.keep === true ? ['spec.cleanup.policy=Never'] : []),
    ...(flags.reports === undefined || bringsReports(flags)
      ? []
      : [`spec.reports.location=${JSON.stringify(flags.reports)}`]),
  ];
}

/** A folder is where the reports are brought to at the end; a location is where the cluster writes them. */
function bringsReports({ reports }: ClusterRunFlags): boolean {
  return reports !== undefined && !/^(s3:\/\/|file:)/.test(reports);
}

function sayCreated(cluster: Cluster, name: string, uid: string, flags: ClusterRunFlags, io: Io): void {
  const { namespace } = cluster;
  if (flags.json === true) io.out(`${JSON.stringify({ type: 'Created', run: { name, namespace, uid } })}\n`);
  else io.out(`${name} is run ${uid}; wait for it with: parity wait ${name} -n ${namespace}\n`);
}

async function attendOrCancel(
  cluster: Cluster,
  name: string,
  uid: string,
  flags: ClusterRunFlags,
  io: Io,
): Promise<Ending> {
  const display = displayOf(flags, io);
  const interrupts = listenForInterrupts(() => process.exit(3));
  const say = (text: string) => display.event({ time: new Date().toISOString(), type: 'Said', text });
  const cancel = async () => {
    try {
      await cancelRun(cluster, name, uid);
      say('The run is being cancelled; press Ctrl-C again to leave that to the cluster.');
    } catch (error) {
      say(`${errorLine(toParityError(error))}. Press Ctrl-C again to leave the run to the cluster.`);
    }
  };
  interrupts.signal.addEventListener('abort', () => void cancel(), { once: true });
  try {
    return await attend(cluster, name, flags, { display, uid, signal: interrupts.hurry, io });
  } finally {
    interrupts.dispose();
  }
}
