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
  /** `pipe` where its output is to be read; it must be read then. */
  stdout?: 'inherit' | 'pipe';
}

/** Runs a script on one core, where that can be said, with a channel for messages. */
function startOn(core: 0 | 1, flags: string[], script: string, { env, stdout = 'inherit' }: StartOptions) {
  const node = [process.execPath, ...flags, join(projectRoot, script)];
  // taskset becomes the script's process, so it is its id that we get.
  const [command = '', ...args] = pinned ? ['taskset', '-c', String(core), ...node] : node;
  const stdio: StdioOptions = ['ignore', stdout, 'inherit', 'ipc'];
  return spawn(command, args, { env: { ...process.env, NODE_ENV: 'production', ...env }, stdio });
}

/** A server that is measured, on core 0. */
export const startServer = (script: string, options: StartOptions = {}): ChildProcess =>
  startOn(0, ['--expose-gc', '--import', join(projectRoot, 'bench/fanout/probe.ts')], script, options);

/** Whatever puts load on it, on core 1. */
export const startLoad = (script: string, options: StartOptions = {}): ChildProcess => startOn(1, [], script, options);

/** The next message of a process that satisfies; fails where it ends first. */
export async function nextMessage<T extends object>(child: ChildProcess, key: keyof T): Promise<T> {
  const stop = new AbortController();
  const message = (async () => {
    for (;;) {
      const [found] = (await once(child, 'message', { signal: stop.signal })) as [object];
      if (key in found) return found as T;
    }
  })();
  const ended = once(child, 'exit', { signal: stop.signal }).then(([code]) => {
    throw new Error(`${child.spawnargs.at(-1)} ended with ${code}`);
  });
  ended.catch(() => {});
  message.catch(() => {});
  try {
    return await Promise.race([message, ended]);
  } finally {
    stop.abort();
  }
}

/** One question, one answer; never two questions at a time. */
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

/** User and system time of a process so far, all of its threads, in milliseconds (100 ticks a second on Linux). */
export function cpuMs(child: ChildProcess): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** What a server holds once its garbage is gone. */
export async function memoryOf(server: ChildProcess): Promise<Memory> {
  const { memory } = await ask<{ memory: Memory }>(server, { ask: 'memory' }, 'memory');
  return memory;
}
