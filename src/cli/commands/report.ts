import { clean } from '../../report/terminal.ts';
import { type ClusterFlags, openCluster, runNameOf } from '../cluster/access.ts';
import { readRun } from '../cluster/follow.ts';
import { readReports, reportFolder, saveReports } from '../cluster/reports.ts';
import type { Io } from './io.ts';

export interface ReportFlags extends ClusterFlags {
  readonly output?: string;
  readonly endpoint?: string;
  readonly json?: boolean;
}

/**
 * `parity report`: says where a run's report lies, brings its files to a folder, or prints it as JSON. Throws `NotFound` where there is
 * none, and what the store throws where it was to be read. Returns 0 whatever the verdict.
 */
export async function reportCommand(run: string, flags: ReportFlags, io: Io): Promise<number> {
  const name = runNameOf(run);
  const cluster = await openCluster(flags);
  try {
    const object = await readRun(cluster, name);
    const folder = reportFolder(object);
    if (flags.output === undefined && flags.json !== true) {
      io.out(`${clean(folder)}\n`);
      return 0;
    }
    const files = await readReports(cluster, object, flags.endpoint === undefined ? {} : { endpoint: flags.endpoint });
    if (flags.output !== undefined) {
      for (const path of await saveReports(files, flags.output, io.cwd)) io.err(`parity: wrote ${clean(path)}\n`);
    }
    if (flags.json === true) io.out(files.find(({ name }) => name === 'report.json')?.content.toString() ?? '');
    return 0;
  } finally {
    cluster.client.close();
  }
}
