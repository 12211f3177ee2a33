import { access } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createQueue, run, untilItAnswers, type ServerProcess } from './processes.ts';

/** A server for the tests. `stop` does nothing for a server that was already running. */
export interface ProvidedServer {
  url: string;
  stop(): Promise<void>;
}

/** One way to get a server. Throws when it is not possible here. */
interface Source {
  name: string;
  get(): Promise<ProvidedServer>;
}

const composeFile = fileURLToPath(new URL('../../compose.yaml', import.meta.url));
// Concurrent `docker compose up` conflict on the project's network, concurrent `apt-get` on the lock of dpkg.
const inComposeOrder = createQueue();
const inInstallOrder = createQueue();
let packageLists: Promise<unknown> | undefined;

/** Returns the server of the first source that works. If none does, the error lists all reasons. */
export async function firstThatWorks(server: string, sources: Source[]): Promise<ProvidedServer> {
  const failures: string[] = [];
  for (const source of sources) {
    try {
      return await source.get();
    } catch (error) {
      failures.push(`- ${source.name}: ${(error as Error).message}`);
    }
  }
  throw new Error(`No ${server} for the tests. Tried:\n${failures.join('\n')}`);
}

/** A running server, given by an environment variable or on its standard port. */
export async function alreadyRunning(
  name: string,
  url: string,
  ask: (url: string) => Promise<void>,
  timeoutMs = 0,
): Promise<ProvidedServer> {
  await untilItAnswers(name, () => ask(url), { timeoutMs });
  return { url, stop: async () => {} };
}

/** A server given by an environment variable. An invalid value is an error and not a reason to try other sources. */
export function namedByVariable(
  variable: string,
  ask: (url: string) => Promise<void>,
): Promise<ProvidedServer> | undefined {
  const url = process.env[variable];
  // It may still be starting, like the service containers of a CI job.
  return url ? alreadyRunning(`The server of ${variable}`, url, ask, 15_000) : undefined;
}

/** A server that we started. It is stopped when it does not answer. */
export async function whenItAnswers(
  name: string,
  server: ServerProcess,
  url: string,
  ask: (url: string) => Promise<void>,
): Promise<ProvidedServer> {
  try {
    await untilItAnswers(name, () => ask(url), { process: server });
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { url, stop: server.stop };
}

export async function fromCompose(
  service: 'postgres' | 'redis' | 'kafka',
  url: string,
  ask: (url: string) => Promise<void>,
): Promise<ProvidedServer> {
  await run('docker', ['info', '--format', '{{.ServerVersion}}']);
  const wasRunning = await inComposeOrder(async () => {
    const running = await compose('ps', '--status', 'running', '--quiet', service);
    try {
      await compose('up', '--detach', '--wait', '--wait-timeout', '180', service);
    } catch (error) {
      if (running === '') await removeComposeService(service);
      throw error;
    }
    return running !== '';
  });
  const stop = async () => {
    if (!wasRunning) await inComposeOrder(() => removeComposeService(service));
  };
  try {
    await untilItAnswers(`The compose service ${service}`, () => ask(url));
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

export async function installDebianPackages(...packages: string[]): Promise<void> {
  const isDebian = await exists('/etc/debian_version');
  if (!isDebian || process.getuid?.() !== 0) {
    throw new Error(`installing ${packages.join(', ')} needs root on Debian`);
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const aptGet = (...args: string[]) =>
    run('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], { env, timeoutMs: 600_000 });
  await inInstallOrder(async () => {
    packageLists ??= aptGet('update');
    await packageLists;
    // Without upgrades, which would restart servers that other programs use.
    await aptGet('install', '--yes', '--no-install-recommends', '--no-upgrade', ...packages);
  });
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function compose(...args: string[]): Promise<string> {
  // Long enough to pull an image over a slow connection.
  const { stdout } = await run('docker', ['compose', '--file', composeFile, ...args], { timeoutMs: 900_000 });
  return stdout.trim();
}

async function removeComposeService(service: string): Promise<void> {
  await compose('rm', '--force', '--stop', '--volumes', service);
  // The last server also removes the network of the project.
  if ((await compose('ps', '--all', '--quiet')) === '') await compose('down');
}
