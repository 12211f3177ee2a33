import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

import { projectRoot } from '../../src/project-root.ts';
import type { Memory } from './probe.ts';

export const pinned = existsSync('/usr/bin/taskset') && availableParallelism() > 1;

interface StartOptions {
  env?: Record<string, string | undefined>;
  /** `pipe` to read the output of the process. It must then be read, or the process blocks. */
  stdout?: 'inherit' | 'pipe';
}

/** Starts a script with an IPC channel, pinned to a core if `taskset` is available. */
function startOn(core: 0 | 1, flags: string[], script: string, { env, stdout = 'inherit' }: StartOptions) {
  const node = [process.execPath, ...flags, join(projectRoot, script)];
  // taskset replaces itself by the script, so the process id is that of the script.
  const [command = '', ...args] = pinned ? ['taskset', '-c', String(core), ...node] : node;
  const stdio: StdioOptions = ['ignore', stdout, 'inherit', 'ipc'];
  return spawn(command, args, { env: { ...process.env, NODE_ENV: 'production', ...env }, stdio });
}

/** Starts a measured server on core 0. */
export const startServer = (script: string, options: StartOptions = {}): ChildProcess =>
  startOn(0, ['--expose-gc', '--import', join(projectRoot, 'bench/fanout/probe.ts')], script, options);

/** Starts a load generator or producer on core 1. */
export const startLoad = (script: string, options: StartOptions = {}): ChildProcess => startOn(1, [], script, options);

/** Waits for the next matching message of a process. Rejects when the process ends first. */
export async function nextMessage<T extends object>(child: ChildProcess, key: keyof T): Promise<T> {
  const stop = new AbortController();
  const message = (async () => {
    for (;;) {
      const [found] = (await once(child, 'message', { signal: stop.signal })) as [object];
      if (key in found) return found as T;
    }
  })();
  const ended = once(child, 'exit', { signal: stop.signal }).then(([code]) => {
    throw new Error(`${child.spawnargs.at(-1)} exited with code ${code}`);
  });
  ended.catch(() => {});
  message.catch(() => {});
  try {
    return await Promise.race([message, ended]);
  } finally {
    stop.abort();
  }
}

/** Sends a request and waits for its reply. Requests must not overlap. */
export function ask<T extends object>(child: ChildProcess, question: object, key: keyof T): Promise<T> {
  const answer = nextMessage<T>(child, key);
  child.send(question);
  return answer;
}

export async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

/** Returns the user and system time of a process, in milliseconds (100 ticks per second on Linux). */
export function cpuMs(child: ChildProcess): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Returns the memory of a server after a garbage collection. */
export async function memoryOf(server: ChildProcess): Promise<Memory> {
  const { memory } = await ask<{ memory: Memory }>(server, { ask: 'memory' }, 'memory');
  return memory;
}
