import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Operating system user of the command. Default: ours. */
export interface RunAs {
  uid?: number;
  gid?: number;
}

export interface ServerProcess {
  pid: number;
  hasExited(): boolean;
  /** The last lines of its output, for an error message. */
  lastLog(): Promise<string>;
  /** Ends the process and deletes its directory. May be called twice. */
  stop(): Promise<void>;
}

interface ServerProcessOptions extends RunAs {
  command: string;
  args: string[];
  /** Temporary directory of the process. It contains the log and is deleted with the process. */
  directory: string;
  stopSignal: 'SIGKILL' | 'SIGQUIT';
}

interface RunOptions extends RunAs {
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  timeoutMs?: number;
}

const execute = promisify(execFile);
const givenOut = new Set<number>();

/** Runs a command to completion and returns its output: stdout and stderr. */
export async function run(command: string, args: string[], options: RunOptions = {}) {
  const { timeoutMs = 60_000, ...rest } = options;
  try {
    return await execute(command, args, { ...rest, timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const output = lastLines(`${stdout}\n${stderr}`);
    throw new Error(`${command} ${args[0] ?? ''} failed: ${output || (error as Error).message}`, { cause: error });
  }
}

/**
 * Starts a server that can't outlive us. A process can't clean up after its own SIGKILL, so a watchdog does it:
 * a shell that reads from a pipe which only we hold open. However we end, the pipe closes, and the shell ends the
 * server and deletes its directory. Both run in sessions of their own, so that Ctrl-C in a terminal reaches only us.
 */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const { command, args, directory, stopSignal, ...runAs } = options;
  const logPath = join(directory, 'server.log');
  const log = await open(logPath, 'a');
  const child = spawn(command, args, {
    ...runAs,
    cwd: directory,
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  try {
    await once(child, 'spawn');
  } finally {
    await log.close();
  }
  const pid = child.pid!;
  const dismissWatchdog = startWatchdog(pid, stopSignal, directory);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      // From here on another process may get this pid.
      dismissWatchdog();
      resolve();
    });
  });
  const hasExited = () => child.exitCode !== null || child.signalCode !== null;
  child.unref();

  return {
    pid,
    hasExited,
    lastLog: async () => lastLines(await readFile(logPath, 'utf8').catch(() => '')),
    stop: async () => {
      if (!hasExited()) {
        // `exited` alone would not keep us waiting, because an unreferenced child lets the event loop end.
        child.ref();
        child.kill('SIGCONT');
        child.kill(stopSignal);
        const insist = setTimeout(() => child.kill('SIGKILL'), 10_000);
        await exited;
        clearTimeout(insist);
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Calls `start` with a new temporary directory, which is deleted when it fails. Later the server deletes it. */
export async function inNewDirectory<T>(server: string, start: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), `notification-subgraph-${server}-`));
  try {
    return await start(directory);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** Polls until the server answers. Fails early when its process has exited. */
export async function untilItAnswers(
  name: string,
  ask: () => Promise<void>,
  options: { process?: ServerProcess; timeoutMs?: number } = {},
): Promise<void> {
  const { process: server, timeoutMs = 60_000 } = options;
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const ended = server?.hasExited() === true;
      if (ended || Date.now() > deadline) {
        const log = (await server?.lastLog()) ?? '';
        const patience = timeoutMs > 0 ? ` within ${timeoutMs / 1000} s` : '';
        const what = ended ? 'ended at its start' : `did not answer${patience}`;
        throw new Error(`${name} ${what}: ${log || (error as Error).message}`, { cause: error });
      }
      await delay(100);
    }
  }
}

/**
 * Returns a port below the ephemeral range of the system, so that no outgoing connection uses it between
 * this check and the start of the server.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_768);
    if (!givenOut.has(port) && (await isFree(port))) {
      givenOut.add(port);
      return port;
    }
  }
  throw new Error('No free port between 20000 and 32767 on 127.0.0.1');
}

/** Runs tasks one at a time, in order. */
export function createQueue(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const result = last.then(task);
    last = result.catch(() => {});
    return result;
  };
}

function startWatchdog(pid: number, signal: string, directory: string): () => void {
  const script = `
    cat >/dev/null
    kill -CONT "$1"
    kill -"$2" "$1"
    tries=0
    while kill -0 "$1" && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    rm -rf -- "$3"
  `;
  const watchdog = spawn('sh', ['-c', script, 'watchdog', String(pid), signal.replace('SIG', ''), directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // Without a shell (Windows) there is no watchdog, and only stop() ends the server.
  watchdog.on('error', () => {});
  watchdog.unref();
  return () => {
    watchdog.kill('SIGKILL');
  };
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-15).join('\n');
}
