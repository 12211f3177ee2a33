import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { PERMISSIONS } from '../src/identity/permissions.ts';
import {
  AuditTrailDocument,
  CreateTemplateDocument,
  DeliveryLogDocument,
  PreviewTemplateDocument,
  PublishTemplateDocument,
  SendTestNotificationDocument,
  UpdateChannelConfigDocument,
  UpdateTemplateDocument,
} from './generated/operations.ts';
import { outputOf, spawnScript } from './support/child.ts';
import { query, run } from './support/client.ts';
import { eventually } from './support/eventually.ts';
import { startTestService, type TestService } from './support/service.ts';
import { type SmtpSink, startSmtpSink } from './support/smtp-sink.ts';

const TENANT = 'tenant-admin';

describe("an admin's day", () => {
  let service: TestService;
  let relays: { old: SmtpSink; new: SmtpSink };
  let folder: string;
  let admin: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'notification-admin-'));
    relays = { old: await startSmtpSink(), new: await startSmtpSink() };
    service = await startTestService({
      DELIVERY_MODE: 'live',
      REDIS_URL: inject('redisUrl'),
      OUTBOUND_ALLOW: '127.0.0.1',
      DATA_KEYS: `one:${randomBytes(32).toString('base64')}`,
    });
    admin = await service.token({ tenant_id: TENANT, sub: 'admin', permissions: [...PERMISSIONS] });
  });
  afterAll(async () => {
    await service.close();
    await Promise.all([relays.old.close(), relays.new.close()]);
    await rm(folder, { recursive: true });
  });

  it('succeeds: import a file, edit a template, send test mails, change the relay, roll back', async () => {
    const file = join(folder, 'tenant.yaml');
    await writeFile(
      file,
      `defaultLocale: vi
channels: { email: [{ provider: smtp, config: { host: 127.0.0.1, port: ${relays.old.port}, from: shop@vas.example } }] }
`,
    );
    const env = { DATABASE_URL: service.env['DATABASE_URL'] as string, REDIS_URL: inject('redisUrl') };
    const imported = await outputOf(spawnScript('src/main.js', env, ['tenant:import', file, '--tenant', TENANT]));
    expect(imported).toMatchObject({ code: 0, stdout: expect.stringContaining('2 changed') });

    // First a mistake, which is reported with its position; then without it.
    const draft = {
      eventCode: 'order.paid',
      channel: 'EMAIL' as const,
      locale: 'vi',
      subject: 'Đơn hàng {{order.number}}',
    };
    const mistaken =
      '<h1>Cảm ơn {{name}}</h1>\n<p>{{#if order.total}}{{formatMony order.total currency="VND"}}{{/if}}</p>';
    const refused = await run(service.url, admin, CreateTemplateDocument, { input: { ...draft, body: mistaken } });
    expect(refused.errors[0]?.extensions).toMatchObject({
      error_code: 'validation_failed',
      fields: [{ path: 'input.body', line: 2, column: 25, message: expect.stringContaining('"formatMony"') }],
    });
    const body = mistaken.replace('formatMony', 'formatMoney');
    const { createNotificationTemplate: template } = await query(service.url, admin, CreateTemplateDocument, {
      input: { ...draft, body },
    });

    const params = { name: 'Anna', order: { number: 'A-1', total: 1_250_000 } };
    const preview = async (locale: string) =>
      (await query(service.url, admin, PreviewTemplateDocument, { input: { templateId: template.id, params, locale } }))
        .previewTemplate;
    expect((await preview('vi')).html).toContain('1.250.000\u00a0₫');
    expect((await preview('en')).html).toContain('₫1,250,000');
    await query(service.url, admin, PublishTemplateDocument, { id: template.id, version: 1 });

    /** Sends a test and returns the mail that arrives at a relay. */
    const sendTest = async (relay: SmtpSink) => {
      const before = relay.mails.length;
      const { sendTestNotification } = await query(service.url, admin, SendTestNotificationDocument, {
        input: { eventCode: 'order.paid', channel: 'EMAIL', recipient: 'anna@example.com', params },
      });
      await eventually(() => relay.mails.length > before, 'the mail');
      const { notificationLog } = await eventually(async () => {
        const found = await query(service.url, admin, DeliveryLogDocument, { id: sendTestNotification.id });
        return found.notificationLog?.status === 'SENT' && found;
      }, 'the record of the mail');
      return { mail: relay.mails.at(-1)?.mail, log: notificationLog };
    };
    const first = await sendTest(relays.old);
    expect(first.mail?.subject).toBe('Đơn hàng A-1');
    expect(first.mail?.text).toContain('1.250.000\u00a0₫');
    expect(first.log).toMatchObject({ isTest: true, templateVersion: 1, locale: 'vi' });

    // Another relay, with an entered password, without a restart.
    const config = {
      host: '127.0.0.1',
      port: relays.new.port,
      tls: 'none',
      from: 'new@vas.example',
      user: 'shop',
      password: 'typed in',
    };
    await query(service.url, admin, UpdateChannelConfigDocument, {
      input: { channel: 'EMAIL', provider: 'smtp', config },
    });
    const second = await sendTest(relays.new);
    expect(second.mail?.from?.text).toBe('new@vas.example');
    expect(relays.old.mails).toHaveLength(1);

    await query(service.url, admin, UpdateTemplateDocument, {
      input: { id: template.id, subject: 'Khuyến mãi!!!', expectedVersion: 1 },
    });
    await query(service.url, admin, PublishTemplateDocument, { id: template.id, version: 2 });
    expect((await sendTest(relays.new)).mail?.subject).toBe('Khuyến mãi!!!');
    await query(service.url, admin, PublishTemplateDocument, { id: template.id, version: 1 });
    const last = await sendTest(relays.new);
    expect(last.mail?.subject).toBe('Đơn hàng A-1');
    expect(last.mail?.html).toBe(first.mail?.html);

    const { auditEvents } = await query(service.url, admin, AuditTrailDocument, { first: 100 });
    const trail = auditEvents.edges.map(({ node }) => {
      const { change, channel } = node.details as { change?: string; channel?: string };
      return [node.action, change ?? channel].join(' ');
    });
    expect(trail.toReversed()).toEqual([
      'notification.config.updated ',
      'notification.config.updated email',
      'notification.template.updated created',
      'notification.template.updated published',
      'notification.test_sent email',
      'notification.config.updated email',
      'notification.test_sent email',
      'notification.template.updated drafted',
      'notification.template.updated published',
      'notification.test_sent email',
      'notification.template.updated rolled_back',
      'notification.test_sent email',
    ]);
    expect(JSON.stringify(auditEvents)).not.toContain('typed in');
  });
});
