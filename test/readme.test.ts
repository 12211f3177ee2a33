import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { demoTokens, seedDemoTenant } from '../demo/seed.ts';
import { createProviders } from '../src/channels/registry.ts';
import type { Channel } from '../src/intake/channel.ts';
import { createLog } from '../src/log.ts';
import { projectRoot } from '../src/project-root.ts';
import { tenantFiles } from '../src/tenants/files.ts';
import { UnreadCountDocument } from './generated/operations.ts';
import { outputOf, spawnScript } from './support/child.ts';
import { query } from './support/client.ts';
import { eventually } from './support/eventually.ts';
import { startTestService, type TestService } from './support/service.ts';

const text = readFileSync(join(projectRoot, 'README.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map((match) => match[1] as string);
const scripts = (JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { scripts: object }).scripts;

describe('the README', () => {
  let service: TestService;
  let env: Record<string, string>;

  beforeAll(async () => {
    service = await startTestService();
    const { tenantId } = await seedDemoTenant(service);
    if (!service.devIdentity) throw new Error('dev keys expected');
    const tokens = await demoTokens(service.devIdentity, tenantId);
    env = {
      PATH: process.env['PATH'] ?? '',
      PRODUCER: tokens.producer,
      ADMIN: tokens.admin,
      USER_TOKEN: tokens.user,
    };
  });
  afterAll(() => service.close());

  const here = (code: string): string => code.replaceAll('127.0.0.1:8080', new URL(service.url).host);

  const shell = async (code: string): Promise<unknown> => {
    const { stdout } = await promisify(execFile)('bash', ['-c', here(code)], { env });
    return JSON.parse(stdout) as unknown;
  };

  it('shows only npm scripts that exist', () => {
    const named = [...text.matchAll(/npm (?:run )?([a-z][a-z:-]*)/g)].map((match) => match[1] as string);
    const known = new Set([...Object.keys(scripts), 'ci', 'run']);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  it('shows a file of settings that is taken as it stands, and each of its providers', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'notification-readme-'));
    const [file = ''] = blocks('yaml');
    await writeFile(join(folder, 'tenant.yaml'), file);
    const settings = await tenantFiles(folder, createLog('silent')).read('tenant');
    await rm(folder, { recursive: true });
    expect(Object.keys(settings ?? {})).toEqual(Object.keys(parse(file) as object));
    const providers = createProviders({ readSecret: async () => '', outboundAllow: [], mailThreads: 0 });
    const table = [...text.matchAll(/^\| `([a-z_]+)` +\| `(\w+)`/gm)].map(([, channel, name]) => [channel, name]);
    expect(table.map(([channel, name]) => providers.find(channel as Channel, name as string)?.name)).toEqual(
      table.map(([, name]) => name),
    );
    await providers.close();
  });

  it('shows requests that work as they stand, and a subscription that sees what they send', async () => {
    const [welcome, logs, activity, ...others] = blocks('sh').filter((block) => block.startsWith('curl'));
    expect(others).toEqual([]);
    expect(await shell(welcome as string)).toMatchObject({ results: [{ status: 'accepted' }] });
    expect(await shell(welcome as string)).toMatchObject({ results: [{ status: 'duplicate' }] });
    expect(await shell(logs as string)).toMatchObject({
      data: { notificationLogs: { edges: [{ node: { eventCode: 'user.welcome' } }] } },
    });

    const [subscription] = blocks('js');
    const watching = promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', here(subscription as string)],
      {
        cwd: projectRoot,
        env,
      },
    );
    // The snippet starts from now on, so notifications are sent until it has seen one.
    let isSeen = false;
    void watching.finally(() => (isSeen = true)).catch(() => {});
    let sent = 0;
    while (!isSeen && sent < 1_000) {
      await shell((activity as string).replace('"id": "2"', `"id": "activity-${sent}"`));
      sent += 1;
    }
    expect((await watching).stdout).toContain('Thanh toán thành công');
  });

  it('says the truth about the demo: exit code 0 and every step seen', async () => {
    const { code, stdout, stderr } = await outputOf(spawnScript('demo/demo.js', {}));
    expect(stderr).toBe('');
    for (const step of [
      'notification.triggered.v1 accepted',
      'Chào mừng Nguyễn Văn A',
      'delivery log says sent',
      'live message arrived',
      'everything was seen',
    ]) {
      expect(stdout).toContain(step);
    }
    expect(code).toBe(0);
  });

  it('says the truth about the service left running: its addresses and its tokens work', async () => {
    const dataPath = await mkdtemp(join(tmpdir(), 'notification-dev-'));
    await chmod(dataPath, 0o755);
    const child = spawnScript('demo/dev.js', { SERVICE_PORT: '0', DATA_PATH: dataPath });
    const output = outputOf(child);
    let printed = '';
    child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    try {
      await eventually(() => printed.includes('GraphiQL, signed in as admin'), 'the addresses and tokens');
      const [base] = /http:\/\/127\.0\.0\.1:\d+/.exec(printed) ?? [''];
      for (const path of ['graphiql/', 'mailbox', 'healthz', 'readyz']) {
        expect((await fetch(`${base}/${path}`)).status, path).toBe(200);
      }
      const token = /^ {2}user user-001: (\S+)$/m.exec(printed)?.[1];
      expect(await query(base, token as string, UnreadCountDocument)).toEqual({ unreadNotificationCount: 0 });
    } finally {
      child.kill('SIGTERM');
      expect((await output).code).toBe(0);
      await rm(dataPath, { recursive: true, force: true });
    }
  });

  it('names every environment variable that the configuration reads, and no other', () => {
    const source = readFileSync(join(projectRoot, 'src', 'config.ts'), 'utf8');
    const read = new Set([...source.matchAll(/'([A-Z][A-Z_]{3,})'/g)].map((match) => match[1] as string));
    const table = text.slice(text.indexOf('## Configure'), text.indexOf('## Test'));
    const documented = new Set([...table.matchAll(/`([A-Z][A-Z_]{3,})`/g)].map((match) => match[1] as string));
    expect([...documented].toSorted()).toEqual([...read].toSorted());
  });
});
