import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import pg from 'pg';

import type { Log } from '../log.ts';
import { type Binaries, findBinaries, serverFolder } from './embedded-binaries.ts';
import { createRoles } from './migrate.ts';

export interface EmbeddedDatabase {
  /** URL for the service. Its login owns no table, and row-level security applies to it. */
  url: string;
  /** URL for migrations. */
  ownerUrl: string;
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Folder for the data; kept between starts unless `ephemeral`. */
  dataPath: string;
  ephemeral?: boolean;
  log: Log;
}

const DATABASE = 'notifications';
/** Login of the service. It is `noinherit`: it has no privileges until a transaction sets a role. */
const LOGIN = 'notification';
const START_LIMIT_MS = 30_000;

/** Data folders of the servers that this process runs. */
const running = new Set<string>();

/**
 * Starts the PostgreSQL server from npm, for a machine without one. Locking and row-level security are the same as in
 * production. It has its own port and password and listens on localhost only.
 *
 * The programs are started directly, because the wrapper of the package stops the server on SIGTERM, while the service
 * still has deliveries to record.
 *
 * @throws when another live process already uses the same folder.
 */
export async function startEmbeddedDatabase(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { log, ephemeral = false } = options;
  const binaries = await findBinaries();
  const home = await serverFolder(join(options.dataPath, 'postgres'), binaries.user);
  const cluster = join(home, 'cluster');
  await takeOver(home, cluster, log);
  const password = await initialise(home, cluster, binaries);

  const port = await freePort();
  const server = startServer(cluster, port, binaries, log);
  const urlOf = (user: string, database: string): string =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;
  await createDatabase(urlOf('postgres', 'postgres'), server);
  await createLogin(urlOf('postgres', DATABASE), password);
  running.add(home);

  return {
    url: urlOf(LOGIN, DATABASE),
    ownerUrl: urlOf('postgres', DATABASE),
    stop: async () => {
      // SIGINT is PostgreSQL's fast shutdown: it rolls back open transactions and writes committed ones to disk.
      const { child, exited } = server;
      child.kill('SIGINT');
      await exited;
      running.delete(home);
      await rm(join(home, 'owner.pid'), { force: true });
      if (ephemeral) await rm(home, { recursive: true, force: true });
    },
  };
}

/**
 * Finds the embedded database that another process of this machine runs, such as `npm run dev`.
 *
 * @returns the URL of the service's login; undefined when no server runs in `dataPath`.
 */
export async function findEmbeddedDatabase(dataPath: string): Promise<string | undefined> {
  const { user } = await findBinaries();
  const home = await serverFolder(join(dataPath, 'postgres'), user);
  const pidFile = join(home, 'cluster', 'postmaster.pid');
  const pid = await readPid(pidFile);
  if (pid === undefined || !isAlive(pid)) return undefined;
  // The fourth line of this file is the port.
  const port = (await readFile(pidFile, 'utf8')).split('\n')[3];
  const password = (await readFile(join(home, 'password'), 'utf8')).trim();
  return `postgres://${LOGIN}:${password}@127.0.0.1:${port}/${DATABASE}`;
}

/** Creates the cluster if it does not exist. @returns the password of its superuser. */
async function initialise(home: string, cluster: string, { initdb, user }: Binaries): Promise<string> {
  const passwordFile = join(home, 'password');
  if (existsSync(join(cluster, 'PG_VERSION')) && existsSync(passwordFile)) {
    return (await readFile(passwordFile, 'utf8')).trim();
  }
  const password = randomBytes(18).toString('base64url');
  await rm(cluster, { recursive: true, force: true });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user) await chown(passwordFile, user.uid, user.gid);
  await promisify(execFile)(
    initdb,
    [
      `--pgdata=${cluster}`,
      '--username=postgres',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      '--encoding=UTF8',
      '--locale-provider=builtin',
      '--locale=C.UTF-8',
      '--no-sync',
    ],
    { cwd: home, ...user },
  );
  return password;
}

interface Server {
  child: ChildProcess;
  exited: Promise<void>;
  /** The last lines of the server's output. */
  output: string[];
}

function startServer(cluster: string, port: number, { postgres, user }: Binaries, log: Log): Server {
  const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200'];
  const child = spawn(postgres, ['-D', cluster, '-p', String(port), ...settings.flatMap((text) => ['-c', text])], {
    cwd: cluster,
    stdio: ['ignore', 'ignore', 'pipe'],
    // Starts a process group, so that Ctrl-C in a terminal does not stop the server before the service has ended.
    detached: true,
    ...user,
  });
  const output: string[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.push(text.trim());
    if (output.length > 20) output.shift();
    log.debug({ postgres: text.trim() }, 'embedded database');
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      output.push(error.message);
      resolve();
    });
  });
  return { child, exited, output };
}

/** Waits until the server responds and creates the database. */
async function createDatabase(adminUrl: string, { exited, output }: Server): Promise<void> {
  let hasExited = false;
  void exited.then(() => (hasExited = true));
  const deadline = performance.now() + START_LIMIT_MS;
  for (;;) {
    const client = new pg.Client({ connectionString: adminUrl });
    client.on('error', () => {});
    try {
      await client.connect();
      const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
      if (rowCount === 0) await client.query(`create database ${DATABASE}`);
      return;
    } catch (error) {
      if (hasExited || performance.now() > deadline) {
        throw new Error(`The embedded database did not start:\n${output.join('\n')}`, { cause: error });
      }
      await sleep(20);
    } finally {
      await client.end().catch(() => {});
    }
  }
}

async function createLogin(ownerUrl: string, password: string): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [LOGIN]);
    const verb = rowCount === 0 ? 'create' : 'alter';
    await client.query(`${verb} role ${LOGIN} login noinherit nosuperuser password ${pg.escapeLiteral(password)}`);
    await createRoles(client, { login: LOGIN });
  } finally {
    await client.end();
  }
}

/** Throws when a live process runs this cluster. Stops a server that a crashed process left behind. */
async function takeOver(home: string, cluster: string, log: Log): Promise<void> {
  const ownerFile = join(home, 'owner.pid');
  const pidFile = join(cluster, 'postmaster.pid');
  const server = await readPid(pidFile);
  if (server !== undefined && isAlive(server)) {
    const owner = await readPid(ownerFile);
    const isOwned = running.has(home) || (owner !== undefined && owner !== process.pid && isAlive(owner));
    if (isOwned) {
      throw new Error(`Process ${owner} uses the embedded database in ${home}. Stop it, or set DATA_PATH.`);
    }
    log.warn('stopping the embedded database that a crashed process left behind');
    process.kill(server, 'SIGINT');
    // The server removes this file when all data is on disk. Its process may still exist as a zombie.
    const deadline = performance.now() + START_LIMIT_MS;
    while (existsSync(pidFile)) {
      if (performance.now() > deadline)
        throw new Error(`PostgreSQL (process ${server}) in ${home} has not stopped. Stop it, or set DATA_PATH.`);
      await sleep(20);
    }
  }
  await writeFile(ownerFile, String(process.pid));
}

async function readPid(file: string): Promise<number | undefined> {
  if (!existsSync(file)) return undefined;
  const pid = Number((await readFile(file, 'utf8')).split('\n')[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve((address as { port: number }).port));
    });
  });
}
