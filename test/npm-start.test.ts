import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { nodeVersionProblem } from '../src/node-version.ts';
import { projectRoot } from '../src/project-root.ts';
import { type Exit, exitOf, outputOf } from './support/child.ts';
import { eventually } from './support/eventually.ts';
import { installedNodes } from './support/nodes.ts';
import { shellEnv } from './support/npm.ts';
import { testDatabase } from './support/service.ts';

const main = join(projectRoot, 'dist', 'src', 'main.js');
const nodes = installedNodes();
const olderNode = nodes.find(({ version }) => nodeVersionProblem(version) !== undefined);

describe('npm start', () => {
  it.each(nodes)('stops the service when npm, on Node $version, gets SIGTERM', async ({ path }) => {
    const database = await testDatabase();
    const dataPath = await mkdtemp(join(tmpdir(), 'notification-start-'));
    const npm = spawn('npm', ['start'], {
      cwd: projectRoot,
      env: {
        ...shellEnv(),
        PATH: `${dirname(path)}${delimiter}${process.env['PATH']}`,
        ENVIRONMENT: 'dev',
        SERVICE_PORT: '0',
        DATABASE_URL: database.loginUrl,
        DATABASE_OWNER_URL: database.url,
        DATA_PATH: dataPath,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A separate process group, so that no process keeps running after a failed test.
      detached: true,
    });
    try {
      let printed = '';
      npm.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
      npm.stderr.resume();
      const url = await eventually(() => /"url":"([^"]+)".*service is up/.exec(printed)?.[1], 'the service');
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
      let exit: Exit | undefined;
      // Settles when the last process that holds the pipe to us has ended.
      void exitOf(npm).then((value) => (exit = value));
      npm.kill('SIGTERM');
      expect(await eventually(() => exit, 'the end of npm and of the service', 40_000)).toEqual({
        code: 0,
        signal: null,
      });
      expect(printed).toContain('"message":"stopped"');
      await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
    } finally {
      endGroup(npm.pid as number);
      await rm(dataPath, { recursive: true, force: true });
      await database.drop();
    }
  });

  it.each(['start', 'migrate', 'keys:rotate', 'statistics:rebuild', 'tenant:import', 'tenant:export'])(
    'prints one line that says what to run when the service is not compiled (npm run %s)',
    async (script) => {
      const clone = await mkdtemp(join(tmpdir(), 'notification-clone-'));
      await cp(join(projectRoot, 'package.json'), join(clone, 'package.json'));
      await cp(join(projectRoot, 'tools'), join(clone, 'tools'), {
        recursive: true,
        filter: (path) => !path.endsWith('node_modules'),
      });
      const npm = spawn('npm', ['run', '-s', script], { cwd: clone, env: shellEnv() });
      expect(await outputOf(npm)).toEqual({
        code: 1,
        signal: null,
        stdout: '',
        stderr: 'The service is not compiled. Run: npm ci && npm run build && npm prune --omit=dev --omit=optional\n',
      });
      await rm(clone, { recursive: true });
    },
  );

  it.skipIf(olderNode === undefined)('ends with one line and exit code 1 on an older Node', async () => {
    const { path, version } = olderNode as (typeof nodes)[number];
    expect(await outputOf(spawn(path, [main]))).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `Node ${version} is too old. notification-subgraph needs Node 22.18 or newer.\n`,
    });
  });
});

describe('nodeVersionProblem', () => {
  it.each(['18.20.8', '20.20.2', '22.17.1'])('refuses %s', (version) => {
    expect(nodeVersionProblem(version)).toContain(`Node ${version} is too old`);
  });

  it.each(['22.18.0', '22.20.0', '23.0.0', '24.21.0'])('accepts %s', (version) => {
    expect(nodeVersionProblem(version)).toBeUndefined();
  });

  it('contains the minimum version of package.json', () => {
    const { engines } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
      engines: { node: string };
    };
    const [, oldest] = /needs Node (\S+) or newer/.exec(nodeVersionProblem('0.0.0') ?? '') ?? [];
    expect(engines.node).toBe(`>=${oldest}`);
  });
});

/** Kills the remaining processes of a process group. */
function endGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // Every process has ended.
  }
}

describe('notification-subgraph', () => {
  it('lists its commands when the command is unknown', async () => {
    const { code, stderr } = await outputOf(spawn(process.execPath, [main, 'start']));
    expect(code).toBe(1);
    expect(stderr).toBe(
      'Unknown command `start`. Without a command the service starts. ' +
        'Commands: migrate, keys:rotate, statistics:rebuild, tenant:import, tenant:export.\n',
    );
  });
});
