import { homedir } from 'node:os';
import { join } from 'node:path';

/** The one place that reads the environment. Every variable that the project looks at is here. */
export const env = {
  /** Folder of this installation's id and of its runs' local state. */
  stateDir: (): string =>
    process.env.PARITY_STATE_DIR ?? join(xdg('XDG_STATE_HOME', '.local/state'), 'pipeline-parity'),
  /** Folder of downloads and builds that outlive a checkout. */
  cacheDir: (): string => process.env.PARITY_CACHE_DIR ?? join(xdg('XDG_CACHE_HOME', '.cache'), 'pipeline-parity'),
  /** Folder with one sub-folder per secret and one file per key, as Kubernetes mounts them. */
  secretsDir: (): string | undefined => process.env.PARITY_SECRETS_DIR,
  logLevel: (): string => process.env.PARITY_LOG_LEVEL ?? 'warn',
  stepSummary: (): string | undefined => process.env.GITHUB_STEP_SUMMARY,
  /** Folder of the programs of another Postgres than the package's. */
  postgresBinDir: (): string | undefined => process.env.PARITY_POSTGRES_BIN,
  /** Folder of MariaDB or MySQL binaries, where they are not on the PATH. */
  mysqlBinDir: (): string | undefined => process.env.PARITY_MYSQL_BIN,
  /** Whether the user has said where Node keeps compiled code, or that it keeps none, or measures coverage, which such code would blur. */
  hasOwnCompileCache: (): boolean =>
    [process.env.NODE_COMPILE_CACHE, process.env.NODE_DISABLE_COMPILE_CACHE, process.env.NODE_V8_COVERAGE].some(
      Boolean,
    ),
  /** Has the processes that this one starts keep compiled code there. */
  passCompileCache: (folder: string): void => {
    process.env.NODE_COMPILE_CACHE = folder;
  },
  /** Paths of kubeconfig files, parted as PATH is. */
  kubeconfig: (): string | undefined => process.env.KUBECONFIG,
  /** The API server of the cluster that this process is a pod of. */
  kubernetesServer: (): string | undefined => {
    const host = process.env.KUBERNETES_SERVICE_HOST;
    if (host === undefined || host === '') return undefined;
    return `https://${host.includes(':') ? `[${host}]` : host}:${process.env.KUBERNETES_SERVICE_PORT ?? '443'}`;
  },
  /** A variable that a manifest hands on to a command; undefined where it is not set. */
  variable: (name: string): string | undefined => process.env[name],
  /** What every command is given of this environment: nothing that could be a credential. */
  forCommands: (): Record<string, string> =>
    Object.fromEntries(
      Object.entries(process.env).flatMap(([name, value]) =>
        value !== undefined && /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_[A-Z]+|TZ|TMPDIR)$/.test(name)
          ? [[name, value]]
          : [],
      ),
    ),
  /** Keeps the Snowflake driver from asking where it runs (by requests to cloud metadata addresses), loading a native part, and reporting on it. */
  quietSnowflakeDriver: (): void => {
    process.env.SNOWFLAKE_DISABLE_PLATFORM_DETECTION = 'true';
    process.env.SNOWFLAKE_DISABLE_MINICORE = 'true';
    process.env.SF_TELEMETRY_DISABLE_CONNECTION_SHAPE = 'true';
  },
  /** Has what this process makes in the folder for temporary files go to another one while the action runs. */
  withTempFolder: async <Result>(folder: string, action: () => Promise<Result>): Promise<Result> => {
    const before = process.env.TMPDIR;
    process.env.TMPDIR = folder;
    try {
      return await action();
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
    }
  },
  isCI: (): boolean => process.env.CI === 'true',
} as const;

function xdg(variable: string, fallback: string): string {
  const value = process.env[variable];
  return value === undefined || value === '' ? join(homedir(), fallback) : value;
}
