/**
 * What a field is where neither the run nor its plan says. They are here and not in the CRD, because the API server would fill
 * them into a run before its plan is merged, and so hide what the plan says.
 */
export const DEFAULTS = {
  pipeline: { cursorBound: 'Inclusive', bug: 'None' },
  posthog: { cursorBound: 'Exclusive', sshPort: 22 },
  job: { runAsNonRoot: true, readOnlyRootFilesystem: false },
  outputs: { format: 'Delta', location: '{{landing}}/{{table}}', table: '{{table}}' },
  temporal: { namespace: 'default', args: '["{{request}}"]' },
  check: { timeoutSeconds: 60, status: 200 },
  comparison: { profile: 'Exact', unseen: 'Expected', maxDifferences: 0, samples: 20, values: 'Masked' },
  queryTimeoutSeconds: 300,
  execution: { parallelism: 2, retries: 2, timeoutSeconds: 3600, memory: '1Gi', threads: 2 },
  cleanupPolicy: 'Always',
  reports: { location: 'file:reports', formats: ['JSON', 'HTML', 'JUnit', 'Markdown'] },
} as const;

/** The smallest memory that a task is given: the engine does not start in less. */
export const MIN_MEMORY = '256Mi';

/** The default of a field, as text for documents; fields without one are not here. Keys are paths without item names. */
export const DOCUMENTED_DEFAULTS: Readonly<Record<string, string>> = {
  'spec.workspace.location': "the installation's",
  'spec.snapshot.tables[].version': 'the newest',
  'spec.snapshot.tables[].sample.by': 'the first column of the key',
  'spec.sources[].engineVersion': 'see the description',
  'spec.sources[].image': 'the official one',
  'spec.sources[].embedded': '{} on one machine',
  'spec.sources[].argocd': '{} in a cluster with Argo CD',
  'spec.sources[].kubernetes': '{} in other clusters',
  'spec.pipelines[].cursorBound': `${DEFAULTS.pipeline.cursorBound}; ${DEFAULTS.posthog.cursorBound} for PostHog`,
  'spec.pipelines[].executions': 'PerTable for workflows and PostHog, else PerSource',
  'spec.pipelines[].temporal.namespace': DEFAULTS.temporal.namespace,
  'spec.pipelines[].temporal.args': DEFAULTS.temporal.args,
  'spec.pipelines[].outputs.format': DEFAULTS.outputs.format,
  'spec.pipelines[].outputs.location': DEFAULTS.outputs.location,
  'spec.pipelines[].outputs.database.table': DEFAULTS.outputs.table,
  'spec.pipelines[].successWhen.timeoutSeconds': String(DEFAULTS.check.timeoutSeconds),
  'spec.pipelines[].successWhen.http.status': String(DEFAULTS.check.status),
  'spec.pipelines[].command.folder': "the manifest's folder",
  'spec.pipelines[].job.securityContext.runAsNonRoot': String(DEFAULTS.job.runAsNonRoot),
  'spec.pipelines[].job.securityContext.readOnlyRootFilesystem': String(DEFAULTS.job.readOnlyRootFilesystem),
  'spec.pipelines[].posthog.syncType': 'see the description',
  'spec.pipelines[].posthog.sshTunnel.port': String(DEFAULTS.posthog.sshPort),
  'spec.pipelines[].reference.bug': DEFAULTS.pipeline.bug,
  'spec.scenario': 'see the description',
  'spec.scenario[].sync.pipelines': 'all pipelines',
  'spec.scenario[].compare.baseline': 'snapshot: {}',
  'spec.scenario[].compare.candidate': 'the only pipeline',
  'spec.scenario[].query.names': 'all queries',
  'spec.comparison.profile': DEFAULTS.comparison.profile,
  'spec.comparison.unseen': DEFAULTS.comparison.unseen,
  'spec.comparison.maxDifferences': String(DEFAULTS.comparison.maxDifferences),
  'spec.comparison.samples': String(DEFAULTS.comparison.samples),
  'spec.comparison.values': DEFAULTS.comparison.values,
  'spec.queries[].timeoutSeconds': String(DEFAULTS.queryTimeoutSeconds),
  'spec.execution.parallelism': String(DEFAULTS.execution.parallelism),
  'spec.execution.retries': String(DEFAULTS.execution.retries),
  'spec.execution.timeoutSeconds': String(DEFAULTS.execution.timeoutSeconds),
  'spec.execution.memory': DEFAULTS.execution.memory,
  'spec.execution.threads': String(DEFAULTS.execution.threads),
  'spec.cleanup.policy': DEFAULTS.cleanupPolicy,
  'spec.reports.location': DEFAULTS.reports.location,
  'spec.reports.formats': DEFAULTS.reports.formats.join(', '),
};
