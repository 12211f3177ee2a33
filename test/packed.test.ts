import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../src/project-root.ts';
import { type Exit, exitOf, outputOf } from './support/child.ts';
import { eventually } from './support/eventually.ts';
import { npm, program, shellEnv } from './support/npm.ts';
import { testDatabase } from './support/service.ts';

/** Maximum size of an installation without the embedded database, in MB on disk. */
const MAX_MEGABYTES = 200;

const KEY = `k:${randomBytes(32).toString('base64')}`;

describe('the packed service', () => {
  let folder: string;
  let app: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-packed-'));
    const clone = join(folder, 'clone');
    app = join(folder, 'app');
    // Packing builds in `dist`, which the other tests run, so it happens in a copy.
    await cp(projectRoot, clone, {
      recursive: true,
      filter: (path) => !/[/\\](node_modules|dist|coverage|\.git|\.data|\.cache)$/.test(path),
    });
    for (const packages of ['node_modules', 'resolvers/graphiql/app/node_modules']) {
      await symlink(join(projectRoot, packages), join(clone, packages));
    }
    await npm(clone, 'pack');
    const tarball = (await readdir(clone)).find((file) => file.endsWith('.tgz')) ?? '';
    await mkdir(app);
    await writeFile(join(app, 'package.json'), JSON.stringify({ name: 'app', private: true }));
    await npm(app, 'install', '--omit=dev', '--omit=optional', join(clone, tarball));
  }, 300_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it(`installs less than ${MAX_MEGABYTES} MB without optional packages`, async () => {
    const [megabytes] = (await program(app, 'du', '-sm', 'node_modules')).split('\t');
    expect(Number(megabytes)).toBeLessThan(MAX_MEGABYTES);
  });

  it('contains neither sources nor tests', async () => {
    const contents = await readdir(join(app, 'node_modules', 'notification-subgraph'));
    expect(contents.toSorted()).toEqual(['README.md', 'dist', 'migrations', 'package.json', 'schema']);
  });

  const runCommand = (database: { url: string }, file: string, cwd: string, ...args: string[]) =>
    outputOf(spawn(file, args, { cwd, env: { ...shellEnv(), DATABASE_URL: database.url, DATA_KEYS: KEY } }));

  it('runs the commands migrate, keys:rotate, statistics:rebuild, tenant:import and tenant:export', async () => {
    const database = await testDatabase();
    const bin = join(app, 'node_modules', '.bin', 'notification-subgraph');
    const file = join(folder, 'tenant.yaml');
    await writeFile(file, 'defaultLocale: vi\n');
    try {
      const run = (...args: string[]) => runCommand(database, bin, app, ...args);
      expect(await run('migrate')).toMatchObject({ code: 0, stdout: 'The database is up to date.\n' });
      expect(await run('statistics:rebuild')).toMatchObject({ code: 0, stdout: expect.stringContaining('Counted 0 ') });
      expect(await run('keys:rotate')).toMatchObject({ code: 0, stdout: expect.stringContaining('Encrypted 0 ') });
      expect(await run('tenant:import', file, '--tenant', 'packed')).toMatchObject({ code: 0, stderr: '' });
      expect(await run('tenant:export', 'packed')).toMatchObject({ code: 0, stdout: 'defaultLocale: vi\n' });
    } finally {
      await database.drop();
    }
  });

  it('runs the npm scripts of a clone that has no development dependencies', async () => {
    const database = await testDatabase();
    const pruned = join(folder, 'pruned');
    for (const path of ['package.json', 'dist', 'tools', 'migrations']) {
      await cp(join(folder, 'clone', path), join(pruned, path), { recursive: true });
    }
    await symlink(join(app, 'node_modules'), join(pruned, 'node_modules'));
    const script = (name: string, ...args: string[]) =>
      runCommand(database, 'npm', pruned, 'run', '-s', name, '--', ...args);
    try {
      expect(await script('migrate')).toMatchObject({ code: 0, stdout: 'The database is up to date.\n' });
      expect(await script('statistics:rebuild')).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('Counted 0 '),
      });
      expect(await script('keys:rotate')).toMatchObject({ code: 0, stdout: expect.stringContaining('Encrypted 0 ') });
      const starter = join(projectRoot, 'tenants', 'starter.yaml');
      expect((await script('tenant:import', starter, '--tenant', 'pruned')).stdout).toContain('32 changed');
      expect((await script('tenant:export', 'pruned')).stdout).toMatch(/^templates:/m);
    } finally {
      await database.drop();
    }
  });

  it('starts in an empty project, serves GraphQL and GraphiQL, and stops on SIGTERM', async () => {
    const database = await testDatabase();
    const service = spawn(join(app, 'node_modules', '.bin', 'notification-subgraph'), {
      cwd: app,
      env: {
        ...shellEnv(),
        ENVIRONMENT: 'dev',
        SERVICE_PORT: '0',
        DATABASE_URL: database.loginUrl,
        DATABASE_OWNER_URL: database.url,
        DATA_PATH: join(folder, 'data'),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let exit: Exit | undefined;
    void exitOf(service).then((value) => (exit = value));
    let printed = '';
    service.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    service.stderr.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    try {
      const url = await eventually(() => {
        if (exit) throw new Error(printed);
        return /"url":"([^"]+)".*service is up/.exec(printed)?.[1];
      }, 'the service');
      const introspection = await fetch(`${url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: '{ __schema { queryType { name } } }' }),
      });
      expect(await introspection.json()).toEqual({ data: { __schema: { queryType: { name: 'Query' } } } });
      expect((await fetch(`${url}/graphiql/`)).status).toBe(200);
      service.kill('SIGTERM');
      expect(await eventually(() => exit, 'the end of the service')).toEqual({ code: 0, signal: null });
    } finally {
      service.kill('SIGKILL');
      await database.drop();
    }
  });
});
