import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../../src/project-root.ts';
import { npm, program } from '../support/npm.ts';

/** Oldest version of graphql-ws in the range of the peer dependency. */
const OLDEST_GRAPHQL_WS = '6.0.0';

const APP = `
import { connect, type ConnectOptions, resume } from '@notification-subgraph/client';
import { createEmitter, type Destination } from '@notification-subgraph/client/emitter';

const options: ConnectOptions = { url: 'wss://notifications.example/stream', token: 'a.b.c' };
const client = connect(options);
export const follow = () =>
  resume<{ notificationCreated: { cursor: string } }>(client, {
    query: 'subscription ($after: String) { notificationCreated(after: $after) { cursor } }',
    cursorOf: (data) => data.notificationCreated.cursor,
  });
await client.dispose();

const published: string[] = [];
const { emit } = createEmitter({ publish: async (channel, message) => published.push(channel, message) });
const destination: Destination = { tenant: 'tenant-a' };
await emit('orders', { id: 7 }, destination);
globalThis.console.log(JSON.stringify(published));
`;

describe('the client package', () => {
  let folder: string;
  let copy: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-client-'));
    copy = join(folder, 'client');
    await cp(join(projectRoot, 'client'), copy, {
      recursive: true,
      filter: (path) => !/[/\\](dist|node_modules)$/.test(path),
    });
    await npm(copy, 'install');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('passes its type check in a copy of its folder', async () => {
    await expect(npm(copy, 'run', 'check:types')).resolves.toContain('tsc');
  });

  it(`passes its type check with graphql-ws ${OLDEST_GRAPHQL_WS}`, async () => {
    await npm(copy, 'install', '--no-save', `graphql-ws@${OLDEST_GRAPHQL_WS}`);
    await expect(npm(copy, 'run', 'check:types')).resolves.toContain('tsc');
  });

  it('packs into a tarball that an empty project installs, type-checks against and runs', async () => {
    await npm(copy, 'pack');
    const tarball = (await readdir(copy)).find((file) => file.endsWith('.tgz')) ?? '';
    const app = join(folder, 'app');
    await mkdir(app);
    await writeFile(join(app, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }));
    await writeFile(join(app, 'app.ts'), APP);
    await npm(app, 'install', join(copy, tarball), `graphql-ws@${OLDEST_GRAPHQL_WS}`);

    const installed = await readdir(join(app, 'node_modules', '@notification-subgraph', 'client'));
    expect(installed.toSorted()).toEqual(['README.md', 'dist', 'package.json']);
    const compiler = join(projectRoot, 'node_modules', '.bin', 'tsc');
    const options = ['--strict', '--target', 'es2024', '--lib', 'es2024,dom', '--module', 'nodenext', '--types', ''];
    await program(app, compiler, 'app.ts', ...options);
    const [channel, message] = JSON.parse(await program(app, process.execPath, 'app.js')) as [string, string];
    expect(channel).toBe('signal:emit');
    expect(JSON.parse(message)).toEqual({ topic: 'orders', data: { id: 7 }, destination: { tenant: 'tenant-a' } });
  });
});
