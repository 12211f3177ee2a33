import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { DeliveryLogDocument } from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { postEvent, startTestService, type TestService, WELCOME_TEMPLATE, welcomeEvent } from '../support/service.ts';
import { type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

/** Each relay is a real SMTP server. The relay that receives the mail shows which settings applied. */
describe('tenant settings', () => {
  const sinks: Record<'environment' | 'file' | 'database', SmtpSink> = {} as never;
  let folder: string;
  let secrets: string;
  let service: TestService;

  beforeAll(async () => {
    for (const name of ['environment', 'file', 'database'] as const) sinks[name] = await startSmtpSink();
    folder = await mkdtemp(join(tmpdir(), 'notification-tenants-'));
    secrets = await mkdtemp(join(tmpdir(), 'notification-secrets-'));
    await writeFile(join(secrets, 'smtp-notif'), `smtp://127.0.0.1:${sinks.environment.port}?from=env@vas.example\n`);
    service = await startTestService({
      DELIVERY_MODE: 'live',
      SMTP_PROVIDER_SECRET: 'secret://smtp-notif',
      SECRETS_PATH: secrets,
      TENANT_CONFIG_SECRET_PATH: folder,
      OUTBOUND_ALLOW: '127.0.0.1',
    });
  });
  afterAll(async () => {
    await service.close();
    for (const sink of Object.values(sinks)) await sink.close();
    await rm(folder, { recursive: true });
    await rm(secrets, { recursive: true });
  });

  const channels = (port: number, from: string): string =>
    `channels:\n  email:\n    provider: smtp\n    config: { host: 127.0.0.1, port: ${port}, from: ${from} }\n`;

  /** Sends one mail for a tenant and returns its outcome. */
  async function send(tenantId: string) {
    const producer = await service.token({ tenant_id: tenantId, permissions: ['notif.ingest'] });
    const admin = await service.token({ tenant_id: tenantId, permissions: ['notif.read.log', 'notif.read.template'] });
    const { body } = await postEvent(service, producer, 'notification.triggered.v1', welcomeEvent(tenantId));
    const id = body.results[0]?.log_id as string;
    return eventually(async () => {
      const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id });
      const isOpen = ['QUEUED', 'SENDING'].includes(notificationLog?.status ?? '');
      return !isOpen && notificationLog;
    });
  }
  const receivers = (): string[] => {
    const names = Object.entries(sinks).filter(([, sink]) => sink.mails.length > 0);
    for (const [, sink] of names) sink.mails.length = 0;
    return names.map(([name]) => name);
  };
  const newTenant = async (): Promise<string> => {
    const tenantId = `tenant-${randomUUID()}`;
    await service.core.templates.publish(tenantId, [WELCOME_TEMPLATE, { ...WELCOME_TEMPLATE, locale: 'en' }], null);
    return tenantId;
  };

  it('come from the environment by default', async () => {
    expect(await send(await newTenant())).toMatchObject({ status: 'SENT', locale: 'en' });
    expect(receivers()).toEqual(['environment']);
  });

  it('of the tenant file override the environment', async () => {
    const tenantId = await newTenant();
    await writeFile(
      join(folder, `${tenantId}.yaml`),
      `defaultLocale: vi\n${channels(sinks.file.port, 'f@vas.example')}`,
    );
    expect(await send(tenantId)).toMatchObject({ status: 'SENT', locale: 'vi' });
    expect(receivers()).toEqual(['file']);
  });

  it('of the database override all others and take effect after config.updated', async () => {
    const tenantId = await newTenant();
    await writeFile(join(folder, `${tenantId}.yaml`), channels(sinks.file.port, 'f@vas.example'));
    await send(tenantId);
    expect(receivers()).toEqual(['file']);
    await mkdir(join(secrets, tenantId));
    await writeFile(
      join(secrets, tenantId, 'database-relay'),
      JSON.stringify({ host: '127.0.0.1', port: sinks.database.port, from: 'db@vas.example' }),
    );
    await sql(
      service.databaseUrl,
      `insert into channel_config (id, tenant_id, channel, provider, config)
       values (gen_random_uuid(), $1, 'email', 'smtp', '{"url": "secret://database-relay"}')`,
      [tenantId],
    );
    const producer = await service.token({ tenant_id: tenantId, permissions: ['notif.ingest'] });
    await postEvent(service, producer, 'config.updated', { tenant_id: tenantId, at: '2026-01-01T00:00:00Z' });
    await send(tenantId);
    expect(receivers()).toEqual(['database']);
  });

  it('of a tenant file stay in use when the file becomes invalid', async () => {
    const tenantId = await newTenant();
    await writeFile(join(folder, `${tenantId}.yaml`), channels(sinks.file.port, 'f@vas.example'));
    await send(tenantId);
    receivers();
    const counted = async (): Promise<number> =>
      Number(/^notif_config_load_errors_total (\d+)$/m.exec(await (await fetch(`${service.url}/metrics`)).text())?.[1]);
    for (const broken of ['channels: [', 'channels:\n  fax: {}\n', 'unknown: true\n']) {
      await writeFile(join(folder, `${tenantId}.yaml`), broken);
      const before = await counted();
      await service.core.settings.save(tenantId, { defaultLocale: 'vi' }, { userId: null });
      await send(tenantId);
      expect(receivers(), broken).toEqual(['file']);
      expect(await counted(), broken).toBeGreaterThan(before);
    }
  });

  it('that are invalid fail the delivery with the reason, without the secret', async () => {
    const tenantId = await newTenant();
    const configure = async (config: object): Promise<void> => {
      await sql(
        service.databaseUrl,
        `insert into channel_config (id, tenant_id, channel, provider, config)
         values (gen_random_uuid(), $1, 'email', 'smtp', $2)
         on conflict (tenant_id, channel, provider, name) do update set config = excluded.config`,
        [tenantId, config],
      );
      await service.core.settings.save(tenantId, { defaultLocale: 'vi' }, { userId: null });
    };
    await configure({ host: '127.0.0.1', password: 'hunter2' });
    const incomplete = await send(tenantId);
    expect(incomplete).toMatchObject({ status: 'FAILED', errorCode: 'channel_misconfigured' });
    expect(incomplete.errorMessage).toMatch(/port/);
    await configure({ url: 'secret://nobody-mounted-it' });
    const missing = await send(tenantId);
    expect(missing).toMatchObject({ status: 'FAILED', errorCode: 'channel_misconfigured' });
    expect(missing.errorMessage).toContain('secret://nobody-mounted-it');
    expect(JSON.stringify([incomplete, missing])).not.toContain('hunter2');
    expect(receivers()).toEqual([]);
  });

  it('with an unknown provider fail the delivery with the reason', async () => {
    const tenantId = await newTenant();
    await writeFile(join(folder, `${tenantId}.json`), '{"channels":{"email":{"provider":"pigeon","config":{}}}}');
    expect(await send(tenantId)).toMatchObject({ status: 'FAILED', errorCode: 'channel_misconfigured' });
  });
});
