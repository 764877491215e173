import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { env } from '../support/env.ts';
import { ParityError } from '../support/error.ts';
import type { EmbeddedKind, ServerPaths } from './embedded.ts';
import { findProgram, giveToServerUser, programIn, runAsServerUser } from './server-process.ts';

const database = 'parity';
const rootArgs = ['--user=root'];

/** MariaDB or MySQL, whose programs have to be on the machine: on the PATH, in the usual folders, or in PARITY_MYSQL_BIN. */
export const mysqlServer: EmbeddedKind = {
  label: 'MySQL',
  database,

  async initialise({ dir, data, log, scratch }, _credentials, signal) {
    const done = join(data, 'parity.initialised');
    if ((await readFile(done, 'utf8').catch(() => undefined)) !== undefined) return;
    // Tried again for a moment: what a killed attempt started may write its last.
    await rm(data, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    await mkdir(data, { mode: 0o700 });
    await giveToServerUser(data);
    await giveToServerUser(scratch);
    const install = await installCommand(data, scratch);
    await runAsServerUser(install.file, install.args, {
      dir,
      data,
      log,
      signal,
      doing: 'making a MySQL data folder',
      rootArgs,
    });
    await writeFile(done, '');
  },

  async command(paths, { user, password, port }) {
    const server = await findServer();
    const initFile = await writeInitFile(paths, user, password);
    return {
      file: server.file,
      args: [...(server.isMariaDB ? mariadbFlags : mysqlFlags), ...commonFlags(paths, port), `--init-file=${initFile}`],
      env: {},
      rootArgs,
      stopSignal: 'SIGTERM',
    };
  },

  async ping({ host, port, user, password, database: name }) {
    const connection = await mysql.createConnection({
      host,
      port,
      user,
      password,
      database: name,
      connectTimeout: 5_000,
    });
    try {
      await connection.query('SELECT 1');
    } finally {
      connection.destroy();
    }
  },
};

interface ServerProgram {
  readonly file: string;
  readonly isMariaDB: boolean;
}

async function findServer(): Promise<ServerProgram> {
  const own = env.mysqlBinDir();
  const names = ['mariadbd', 'mysqld'];
  // Another server on the PATH is not the one that was named.
  const file = own === undefined ? findProgram(names, []) : programIn(names, [own, join(own, '..', 'sbin')]);
  if (file === undefined) {
    const where = own === undefined ? 'on this machine' : `in PARITY_MYSQL_BIN=${own}`;
    throw new ParityError('NotFound', `Starting MySQL: neither mariadbd nor mysqld is ${where}.`, {
      advice:
        'Install it (apt-get install mariadb-server, brew install mariadb), set PARITY_MYSQL_BIN to the folder of its programs, or name a server with sources[].external.',
    });
  }
  if (basename(file) === 'mariadbd') return { file, isMariaDB: true };
  const { stdout } = await promisify(execFile)(file, ['--no-defaults', '--version'], { timeout: 20_000 });
  return { file, isMariaDB: /mariadb/i.test(stdout) };
}

async function installCommand(data: string, scratch: string): Promise<{ file: string; args: string[] }> {
  const server = await findServer();
  const shared = ['--no-defaults', `--datadir=${data}`, `--tmpdir=${scratch}`];
  if (!server.isMariaDB) return { file: server.file, args: [...shared, '--initialize-insecure'] };
  const folder = dirname(server.file);
  const file = findProgram(
    ['mariadb-install-db', 'mysql_install_db'],
    [folder, join(folder, '..', 'bin'), join(folder, '..', 'scripts')],
  );
  if (file === undefined) {
    throw new ParityError('NotFound', `Starting MySQL: ${server.file} is there, but not mariadb-install-db.`, {
      advice: 'Install the whole server package, e.g. apt-get install mariadb-server.',
    });
  }
  return {
    file,
    args: [...shared, '--auth-root-authentication-method=socket', '--skip-test-db', '--skip-name-resolve'],
  };
}

/** Each statement on one line: the server runs the file at every start, so a kept folder keeps its user. */
async function writeInitFile({ scratch }: ServerPaths, user: string, password: string): Promise<string> {
  const file = join(scratch, 'init.sql');
  const account = `'${user}'@'127.0.0.1'`;
  const lines = [
    `CREATE DATABASE IF NOT EXISTS ${database};`,
    `CREATE USER IF NOT EXISTS ${account} IDENTIFIED BY '${password}';`,
    `ALTER USER ${account} IDENTIFIED BY '${password}';`,
    `GRANT ALL PRIVILEGES ON *.* TO ${account} WITH GRANT OPTION;`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  await giveToServerUser(file);
  return file;
}

function commonFlags({ data, scratch }: ServerPaths, port: number): string[] {
  return [
    `--datadir=${data}`,
    `--tmpdir=${scratch}`,
    // Relative to the data folder: a socket's path may have 107 characters at most.
    '--socket=mysqld.sock',
    '--pid-file=mysqld.pid',
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--skip-name-resolve',
    '--local-infile=1',
    `--secure-file-priv=${scratch}`,
    '--character-set-server=utf8mb4',
    '--default-time-zone=+00:00',
    '--sql-mode=STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    '--max-allowed-packet=1G',
    // A commit is handed to the system, so it outlives a crash of the server, but not waited for on the disk.
    '--innodb-flush-log-at-trx-commit=2',
    '--innodb-doublewrite=0',
    '--innodb-buffer-pool-size=256M',
    '--skip-log-bin',
    '--performance-schema=OFF',
  ];
}

const mariadbFlags = [
  '--no-defaults',
  '--collation-server=utf8mb4_nopad_bin',
  '--innodb-flush-method=nosync',
  '--innodb-log-file-size=256M',
];
const mysqlFlags = [
  '--no-defaults',
  '--collation-server=utf8mb4_0900_bin',
  '--innodb-flush-method=nosync',
  '--mysqlx=OFF',
];
