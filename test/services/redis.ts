import { Redis } from 'ioredis';
import { freePort, inNewDirectory, run, startServerProcess } from './processes.ts';
import {
  alreadyRunning,
  firstThatWorks,
  fromCompose,
  installDebianPackages,
  namedByVariable,
  whenItAnswers,
  type ProvidedServer,
} from './sources.ts';

const standardUrl = urlOf(6379);

export async function provideRedis(): Promise<ProvidedServer> {
  return (
    namedByVariable('TEST_REDIS_URL', askRedis) ??
    firstThatWorks('Redis', [
      { name: '127.0.0.1:6379', get: () => alreadyRunning('Redis', standardUrl, askRedis) },
      { name: 'Docker', get: () => fromCompose('redis', standardUrl, askRedis) },
      { name: 'Debian packages', get: startDebianRedis },
    ])
  );
}

async function askRedis(url: string): Promise<void> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 3000,
    commandTimeout: 3000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // connect() reports only that the connection is closed. The event contains the reason.
  let reason: Error | undefined;
  client.on('error', (error: Error) => {
    reason = error;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    throw reason ?? error;
  } finally {
    client.disconnect();
  }
}

async function startDebianRedis(): Promise<ProvidedServer> {
  const isInstalled = await run('redis-server', ['--version']).then(
    () => true,
    () => false,
  );
  if (!isInstalled) await installDebianPackages('redis-server');

  return inNewDirectory('redis', async (directory) => {
    const port = await freePort();
    const server = await startServerProcess({
      command: 'redis-server',
      args: ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no'],
      directory,
      stopSignal: 'SIGKILL',
    });
    return whenItAnswers('Redis', server, urlOf(port), askRedis);
  });
}

function urlOf(port: number): string {
  return `redis://127.0.0.1:${port}`;
}
