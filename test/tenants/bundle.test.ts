import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { projectRoot } from '../../src/project-root.ts';
import { ChannelsDocument, DeliveryLogDocument, TenantSettingsDocument } from '../generated/operations.ts';
import { postBatch, settled } from '../support/graph-seed.ts';
import { outputOf, spawnScript } from '../support/child.ts';
import { query } from '../support/client.ts';
import { startTestService, type TestService, welcomeEvent } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const STARTER = join(projectRoot, 'tenants', 'starter.yaml');

const KEY = `one:${randomBytes(32).toString('base64')}`;

const PARAMS = {
  full_name: 'Nguyễn Văn A',
  reset_url: 'https://example.com/reset',
  expires_at: '2026-01-02T03:04:05Z',
  amount: 1_250_000,
  currency: 'VND',
  invoice_number: 'HD-1',
  order_number: 'DH-1',
  carrier: 'GHN',
};

describe('tenant bundle', () => {
  let service: TestService;
  let folder: string;
  beforeAll(async () => {
    service = await startTestService();
    folder = await mkdtemp(join(tmpdir(), 'notification-bundle-'));
  });
  afterAll(async () => {
    await service.close();
    await rm(folder, { recursive: true });
  });

  const tool = async (...args: string[]) => {
    const env = { DATABASE_URL: service.env['DATABASE_URL'] as string, DATA_KEYS: KEY };
    const child = spawnScript('src/main.js', env, args);
    return outputOf(child);
  };
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const templatesOf = (tenantId: string) =>
    sql(service.databaseUrl, 'select event_code, published_version from notification_template where tenant_id = $1', [
      tenantId,
    ]);

  it('contains default templates, and each of them can be sent after the import', async () => {
    const first = await tool('tenant:import', STARTER, '--tenant', 'tenant-new');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout.trim().split('\n')).toHaveLength(33);
    expect(first.stdout).toContain('+ template user.welcome email vi\n');
    // A second import changes nothing.
    expect((await tool('tenant:import', STARTER, '--tenant', 'tenant-new')).stdout).toBe('No changes.\n');

    const token = await service.token({
      tenant_id: 'tenant-new',
      permissions: ['notif.ingest', 'notif.read.log', 'notif.read.template'],
    });
    const events = ['user.welcome', 'user.password_reset', 'invoice.paid', 'order.shipped'].flatMap((event_code) =>
      ['vi', 'en'].flatMap((locale) =>
        ['email', 'sms', 'push', 'in_app'].map((channel) => ({
          ...welcomeEvent('tenant-new', { event_code, params: PARAMS, channels: [channel] }),
          recipient: {
            user_id: 'anna',
            email: 'anna@example.com',
            phone: '+84900000001',
            device_token: 'token-1',
            locale,
          },
        })),
      ),
    );
    const ids = await postBatch(service, token, 'notification.triggered.v2', events);
    await settled(service.databaseUrl, ids);
    for (const [index, id] of ids.entries()) {
      const { notificationLog } = await query(service.url, token, DeliveryLogDocument, { id });
      const { status, locale, errorMessage } = notificationLog ?? {};
      expect({ status, locale, errorMessage }).toEqual({
        status: 'SENT',
        locale: events[index]?.recipient.locale,
        errorMessage: null,
      });
    }
    const [mail] = await sql<{ html: string }>(
      service.databaseUrl,
      `select html from sandbox_message where subject = 'Đã thanh toán hóa đơn HD-1'`,
    );
    expect(mail?.html).toContain('1.250.000\u00a0₫');
  });

  it('is shown in a dry run, imported as a whole, and exported unchanged', async () => {
    const path = await file(
      'shop.yaml',
      `defaultLocale: vi
timeZone: Asia/Ho_Chi_Minh
categories: { offers: { name: Offers, defaultEnabled: false } }
channels:
  email:
    - { provider: smtp, config: { host: smtp.example.com, port: 587, from: shop@example.com, password: secret://relay } }
templates:
  - { eventCode: user.welcome, channel: sms, locale: vi, body: 'Xin chào {{name}}' }
`,
    );
    const dry = await tool('tenant:import', path, '--tenant', 'tenant-shop', '--dry-run');
    expect(
      dry.stdout
        .split('\n')
        .filter((line) => /^\S/.test(line))
        .toSorted(),
    ).toEqual([
      '+ channel email smtp',
      '+ setting categories',
      '+ setting defaultLocale',
      '+ setting timeZone',
      '+ template user.welcome sms vi',
      '5 would be changed',
    ]);
    expect(await templatesOf('tenant-shop')).toEqual([]);
    expect((await tool('tenant:import', path, '--tenant', 'tenant-shop')).stdout).toContain('5 changed');

    const { stdout: exported } = await tool('tenant:export', 'tenant-shop');
    expect(exported).toContain('password: secret://relay');
    const copy = await file('copy.yaml', exported);
    expect((await tool('tenant:import', copy, '--tenant', 'tenant-shop')).stdout).toBe('No changes.\n');
    expect((await tool('tenant:import', copy, '--tenant', 'tenant-copy')).stdout).toContain('5 changed');
    expect((await tool('tenant:export', 'tenant-copy')).stdout).toBe(exported);
    const admin = await service.token({ tenant_id: 'tenant-copy', permissions: ['notif.write.config'] });
    const { tenantSettings } = await query(service.url, admin, TenantSettingsDocument);
    expect(tenantSettings).toMatchObject({ defaultLocale: 'vi', sources: { timeZone: 'database' } });
  });

  it('keeps the failover order and the disabled providers', async () => {
    const config = '{ host: smtp.example.com, port: 587, from: shop@example.com }';
    const path = await file(
      'turns.yaml',
      `channels:
  email:
    - { provider: smtp, name: spare, config: ${config}, position: 7 }
    - { provider: smtp, config: ${config}, position: 2 }
    - { provider: smtp, name: old, config: ${config}, isEnabled: false }
`,
    );
    await tool('tenant:import', path, '--tenant', 'tenant-turns');
    const admin = await service.token({ tenant_id: 'tenant-turns', permissions: ['notif.write.config'] });
    const { channelConfigs } = await query(service.url, admin, ChannelsDocument);
    expect(channelConfigs.map(({ name, position, isEnabled }) => ({ name, position, isEnabled }))).toEqual([
      { name: 'smtp', position: 2, isEnabled: true },
      { name: 'spare', position: 7, isEnabled: true },
      { name: 'old', position: 2, isEnabled: false },
    ]);
    const { stdout: exported } = await tool('tenant:export', 'tenant-turns');
    const copy = await file('turns.yaml', exported);
    expect((await tool('tenant:import', copy, '--tenant', 'tenant-turns')).stdout).toBe('No changes.\n');
    await tool('tenant:import', copy, '--tenant', 'tenant-turns-too');
    expect((await tool('tenant:export', 'tenant-turns-too')).stdout).toBe(exported);
  });

  it('is shown as a diff in a dry run, without its secrets', async () => {
    const write = (port: number, password: string, body: string) =>
      file(
        'diff.json',
        JSON.stringify({
          timeZone: 'UTC',
          channels: {
            email: [{ provider: 'smtp', config: { host: 'smtp.example.com', port, from: 'a@example.com', password } }],
          },
          templates: [{ eventCode: 'a', channel: 'sms', locale: 'en', body }],
        }),
      );
    const run = async (path: string, ...args: string[]) =>
      (await tool('tenant:import', path, '--tenant', 'tenant-diff', ...args)).stdout;
    await run(await write(25, 'first-secret', 'Hello\n{{name}}\nBye'));
    const changed = await write(587, 'second-secret', 'Hello\n{{full_name}}\nBye');
    const dry = await run(changed, '--dry-run');
    expect(dry).toContain('~ channel email smtp\n');
    expect(dry).toContain('    -  port: 25\n    +  port: 587\n');
    expect(dry).toContain('~ template a sms en\n');
    expect(dry).toContain('    -  {{name}}\n    +  {{full_name}}\n');
    expect(dry).not.toContain('setting');
    expect(dry).not.toContain('-secret');
    expect(await run(changed)).toBe('~ channel email smtp\n~ template a sms en\n2 changed\n');
    const secretAlone = await write(587, 'third-secret', 'Hello\n{{full_name}}\nBye');
    expect(await run(secretAlone, '--dry-run')).toBe('~ channel email smtp\n    (a secret)\n1 would be changed\n');
  });

  it('may be JSON, and reports one change for one difference', async () => {
    const bundle = {
      templates: [
        { eventCode: 'a', channel: 'sms', locale: 'en', body: 'one' },
        { eventCode: 'b', channel: 'sms', locale: 'en', body: 'two' },
      ],
    };
    await tool('tenant:import', await file('a.json', JSON.stringify(bundle)), '--tenant', 'tenant-json');
    (bundle.templates[1] as { body: string }).body = 'three';
    const { stdout } = await tool(
      'tenant:import',
      await file('a.json', JSON.stringify(bundle)),
      '--tenant',
      'tenant-json',
    );
    expect(stdout).toBe('~ template b sms en\n1 changed\n');
    expect(await templatesOf('tenant-json')).toEqual(
      expect.arrayContaining([
        { event_code: 'a', published_version: 1 },
        { event_code: 'b', published_version: 2 },
      ]),
    );
  });

  it('keeps the digits of default params', async () => {
    const template = (params: string): string =>
      `templates:\n  - { eventCode: n, channel: sms, locale: en, body: "{{id}}", defaultParams: ${params} }\n`;
    const params = '{ id: 12345678901234567890, price: 1.10, list: [ 5.0, 1e2, 7 ] }';
    const bundle = await file('numbers.yaml', template(params));
    expect((await tool('tenant:import', bundle, '--tenant', 'tenant-numbers')).code).toBe(0);
    const { stdout } = await tool('tenant:export', 'tenant-numbers');
    for (const text of ['id: 12345678901234567890\n', 'price: 1.10\n', '- 5.0\n', '- 100\n', '- 7\n']) {
      expect(stdout).toContain(text);
    }
    const again = await tool('tenant:import', await file('again.yaml', stdout), '--tenant', 'tenant-numbers');
    expect(again.stdout).not.toContain('template');
  });

  it.each([
    ['invalid YAML', 'a: [', /file/],
    ['an unknown key', 'colour: red', /file\.colour: is not an allowed field/],
    [
      'an invalid template',
      `templates:\n  - { eventCode: a, channel: sms, locale: en, body: "a\\n{{#if}}" }`,
      /templates\[0\] \(a sms en\).body.*line 2, column 1/,
    ],
    [
      'a duplicate template',
      `templates:\n${'  - { eventCode: a, channel: sms, locale: en, body: x }\n'.repeat(2)}`,
      /is a duplicate/,
    ],
    [
      'an invalid channel',
      'channels: { email: [{ provider: smtp, config: { host: x } }] }',
      /channels\.email\[0\]\.config\.port: is missing/,
    ],
  ])('is not imported at all with %s, and the error contains the path', async (_what, text, message) => {
    const whole = `${text.startsWith('templates') || text.startsWith('a:') ? '' : 'templates: [{ eventCode: z, channel: sms, locale: en, body: x }]\n'}${text}\n`;
    const { code, stderr } = await tool('tenant:import', await file('wrong.yaml', whole), '--tenant', 'tenant-wrong');
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(await templatesOf('tenant-wrong')).toEqual([]);
  });

  it('says that the file does not exist', async () => {
    const missing = join(folder, 'nofile.yaml');
    expect(await tool('tenant:import', missing, '--tenant', 'tenant-wrong')).toMatchObject({
      code: 1,
      stderr: `The file ${missing} does not exist.\n`,
    });
  });

  it('says on stderr that the exported tenant has nothing', async () => {
    expect(await tool('tenant:export', 'tenant-empty')).toMatchObject({
      code: 0,
      stdout: '{}\n',
      stderr: 'Tenant tenant-empty has no settings, providers or templates in the database.\n',
    });
  });

  it('prints the usage for wrong arguments', async () => {
    expect(await tool('tenant:import', STARTER)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--tenant ID'),
    });
    expect(await readFile(join(projectRoot, 'docs', 'admins.md'), 'utf8')).toContain('npm run tenant:import');
  });
});
