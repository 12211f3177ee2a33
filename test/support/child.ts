import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

import { projectRoot } from '../../src/project-root.ts';

export interface ChildService {
  url: string;
  process: ChildProcess;
  /** Lines of its log. */
  lines: Record<string, unknown>[];
  /** Kills the process and waits until it has exited. */
  kill(signal: NodeJS.Signals): Promise<Exit>;
  exited: Promise<Exit>;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Runs a compiled script of the project in a separate process, without our environment variables except PATH. */
export function spawnScript(script: string, env: Record<string, string>, args: string[] = []): ChildProcess {
  return spawn(process.execPath, [join(projectRoot, 'dist', script), ...args], {
    cwd: projectRoot,
    // Enables the compile cache, because the script is started many times.
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: join(projectRoot, 'node_modules/.cache/compile'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export const exitOf = (child: ChildProcess): Promise<Exit> =>
  new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));

/** Collects the output of a process until it exits. */
export async function outputOf(child: ChildProcess): Promise<Exit & { stdout: string; stderr: string }> {
  const text = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()));
  return { ...(await exitOf(child)), ...text };
}

/** Starts the service in a separate process, so that it can be killed. */
export async function startChild(env: Record<string, string>): Promise<ChildService> {
  const child = spawnScript('src/main.js', { SERVICE_PORT: '0', LOG_LEVEL: 'info', ...env });
  const lines: Record<string, unknown>[] = [];
  const exited = exitOf(child);
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));

  const url = await new Promise<string>((resolve, reject) => {
    let rest = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      const parts = `${rest}${chunk.toString()}`.split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        const line = JSON.parse(part) as Record<string, unknown>;
        lines.push(line);
        if (line['message'] === 'service is up') resolve(String(line['url']));
      }
    });
    void exited.then(({ code }) => reject(new Error(`the service exited with code ${code}: ${errors}`)));
  });
  return {
    url,
    process: child,
    lines,
    exited,
    kill: (signal) => {
      child.kill(signal);
      return exited;
    },
  };
}
