import { randomUUID } from 'node:crypto';

import { simpleParser } from 'mailparser';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import {
  ChangePreferenceDocument,
  ExplainDeliveryDocument,
  MyPreferencesDocument,
  SuppressAddressDocument,
  SuppressionsDocument,
  UnsuppressAddressDocument,
} from '../generated/operations.ts';
import { query, run } from '../support/client.ts';
import { activityEvent, postEvent } from '../support/service.ts';
import { smtpError, type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';
import { startTenantService, type TenantService, type TestTenant } from '../support/tenant.ts';

const categories = {
  marketing: { name: 'Offers', description: 'What is new' },
  security: { isMandatory: true },
  digest: { defaultEnabled: false, channels: ['email' as const] },
};

describe('user preferences', () => {
  let service: TenantService;
  let relay: SmtpSink;
  beforeAll(async () => {
    relay = await startSmtpSink();
    service = await startTenantService({
      PUBLIC_URL: 'http://notif.example',
      LINK_SECRET: 'a key that is long enough to sign links with',
    });
  });
  afterAll(async () => {
    await service.close();
    await relay.close();
  });
  afterEach(() => {
    relay.mails.length = 0;
    relay.onRecipient = () => {};
  });

  const email = () => ({ provider: 'smtp', config: { host: '127.0.0.1', port: relay.port, from: 'vas@example.com' } });
  const newTenant = (file: object = {}): Promise<TestTenant> =>
    service.newTenant({ channels: { email: email() }, categories, ...file }, ['email', 'in_app']);
  const anna = (): { user_id: string; email: string } => ({ user_id: 'anna', email: `${randomUUID()}@example.com` });
  const audits = (tenant: TestTenant) =>
    sql<{ details: Record<string, unknown> }>(
      service.databaseUrl,
      `select details from audit_event where tenant_id = $1 and action = 'notification.config.updated' order by id`,
      [tenant.id],
    );

  it('disable a category on one channel, and other notifications are still delivered', async () => {
    const tenant = await newTenant();
    const token = await tenant.token([], 'anna');
    const mail = { recipient: anna(), channels: ['email'] };
    const input = { category: 'marketing', channel: 'EMAIL' as const, isEnabled: false };
    await query(service.url, token, ChangePreferenceDocument, { input });

    const optedOut = await tenant.post({ ...mail, category: 'marketing' });
    expect(await tenant.reached(optedOut, 'suppressed')).toMatchObject({ error_code: 'opted_out', attempts: 0 });
    await tenant.reached(await tenant.post({ ...mail, category: 'security' }), 'sent');
    await tenant.reached(await tenant.post(mail), 'sent');
    await tenant.reached(
      await tenant.post({ ...mail, recipient: { ...anna(), user_id: 'bình' }, category: 'marketing' }),
      'sent',
    );
    const inbox = await tenant.post({ recipient: anna(), channels: ['in_app'], category: 'marketing' });
    await tenant.reached(inbox, 'sent');

    const mine = (await query(service.url, token, MyPreferencesDocument, {})).notificationPreferences;
    expect(mine.filter(({ category }) => category === 'digest')).toEqual([
      { category: 'digest', name: null, description: null, channel: 'EMAIL', isEnabled: false, isMandatory: false },
    ]);
    const marketing = mine.filter(({ category, isEnabled }) => category === 'marketing' && !isEnabled);
    expect(marketing).toMatchObject([{ channel: 'EMAIL', name: 'Offers' }]);
  });

  it('of an opt-in category are needed before it is delivered', async () => {
    const tenant = await newTenant();
    const mail = { recipient: anna(), channels: ['email'], category: 'digest' };
    expect(await tenant.reached(await tenant.post(mail), 'suppressed')).toMatchObject({ error_code: 'opted_out' });
    const token = await tenant.token([], 'anna');
    const input = { category: 'digest', channel: 'EMAIL' as const, isEnabled: true };
    await query(service.url, token, ChangePreferenceDocument, { input });
    await tenant.reached(await tenant.post(mail), 'sent');
  });

  it('exclude users from the audience of a category that they have disabled', async () => {
    const tenant = await newTenant();
    const input = { category: 'marketing', channel: 'IN_APP' as const, isEnabled: false };
    await query(service.url, await tenant.token([], 'anna'), ChangePreferenceDocument, { input });
    const producer = await tenant.token(['notif.ingest']);
    const event = activityEvent(tenant.id, ['anna', 'bình'], { category: 'marketing' });
    const { body } = await postEvent(service, producer, 'signal.activity-notification', event);
    await tenant.reached(body.results[0]?.log_id as string, 'sent');
    const rows = await sql(service.databaseUrl, 'select user_id from notification where tenant_id = $1', [tenant.id]);
    expect(rows).toEqual([{ user_id: 'bình' }]);
  });

  it('cannot disable a mandatory or unknown category', async () => {
    const tenant = await newTenant();
    const token = await tenant.token([], 'anna');
    for (const [input, path] of [
      [{ category: 'security', channel: 'EMAIL', isEnabled: false }, 'input.isEnabled'],
      [{ category: 'nonsense', channel: 'EMAIL', isEnabled: false }, 'input.category'],
      [{ category: 'digest', channel: 'SMS', isEnabled: true }, 'input.channel'],
      [{ category: 'digest', channel: 'EMAIL', isEnabled: true, timeZone: 'Mars/Olympus' }, 'input.timeZone'],
    ] as const) {
      const { errors } = await run(service.url, token, ChangePreferenceDocument, { input });
      expect(errors[0]?.extensions).toMatchObject({ error_code: 'validation_failed', fields: [{ path }] });
    }
  });

  it('are irrelevant for a bounced address: it is suppressed until an admin removes the suppression', async () => {
    const tenant = await newTenant();
    const recipient = anna();
    relay.onRecipient = () => {
      throw smtpError(550, '5.1.1 no such user');
    };
    const bounced = await tenant.post({ recipient, channels: ['email'] });
    await tenant.reached(bounced, 'failed');
    relay.onRecipient = () => {};
    const next = await tenant.post({ recipient: { email: recipient.email.toUpperCase() }, channels: ['email'] });
    expect(await tenant.reached(next, 'suppressed')).toMatchObject({ error_code: 'address_suppressed' });

    const admin = await tenant.token(['notif.read.log', 'notif.write.config']);
    const [entry] = (await query(service.url, admin, SuppressionsDocument, {})).suppressions.edges;
    expect(entry?.node).toMatchObject({
      channel: 'EMAIL',
      reason: 'HARD_BOUNCE',
      category: null,
      sourceLogId: bounced,
    });
    expect(JSON.stringify(entry)).not.toContain(recipient.email.split('@')[0]);
    await query(service.url, admin, UnsuppressAddressDocument, { id: entry?.node.id ?? '' });
    await tenant.reached(await tenant.post({ recipient, channels: ['email'] }), 'sent');
    expect(await audits(tenant)).toMatchObject([{ details: { unsuppressed: { reason: 'hard_bounce' } } }]);
  });

  it('and suppressions, by provider feedback or by an admin, apply only in their tenant', async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const recipient = anna();
    const feedback = { channel: 'email', recipient: recipient.email, created_at: '2026-01-01T00:00:00Z' };
    await tenant.post({ ...feedback, kind: 'soft_bounce' }, 'notification.feedback.v1');
    await tenant.reached(await tenant.post({ recipient, channels: ['email'] }), 'sent');
    await tenant.post({ ...feedback, kind: 'complaint' }, 'notification.feedback.v1');
    await tenant.reached(await tenant.post({ recipient, channels: ['email'] }), 'suppressed');
    await other.reached(await other.post({ recipient, channels: ['email'] }), 'sent');

    const admin = await other.token(['notif.write.config']);
    const input = { channel: 'EMAIL' as const, address: recipient.email };
    const { suppressAddress: first } = await query(service.url, admin, SuppressAddressDocument, { input });
    const { suppressAddress: again } = await query(service.url, admin, SuppressAddressDocument, { input });
    expect(again.id).toBe(first.id);
    await other.reached(await other.post({ recipient, channels: ['email'] }), 'suppressed');
    expect(await audits(other)).toHaveLength(1);
  });

  it('change by one POST to the unsubscribe link, and not by a GET', async () => {
    const tenant = await newTenant();
    const mail = { recipient: { email: `${randomUUID()}@example.com` }, channels: ['email'], category: 'marketing' };
    await tenant.reached(await tenant.post(mail), 'sent');
    const raw = relay.mails[0]?.raw ?? '';
    expect(raw).toContain('List-Unsubscribe-Post: List-Unsubscribe=One-Click');
    const link = /^List-Unsubscribe:\s*<([^>]+)>/im.exec(raw.replaceAll(/\r\n[ \t]+/g, ' '))?.[1]?.replaceAll(' ', '');
    const url = link?.replace('http://notif.example', service.url) ?? '';
    expect(url).not.toContain(mail.recipient.email);

    expect((await fetch(url)).status).toBe(200);
    await tenant.reached(await tenant.post(mail), 'sent');
    const click = { method: 'POST', body: new URLSearchParams({ 'List-Unsubscribe': 'One-Click' }) };
    expect((await fetch(url, click)).status).toBe(200);
    expect((await fetch(url, click)).status).toBe(200);
    expect(await audits(tenant)).toMatchObject([{ details: { unsubscribed: { category: 'marketing' } } }]);
    expect(await tenant.reached(await tenant.post(mail), 'suppressed')).toMatchObject({
      error_code: 'address_suppressed',
    });
    await tenant.reached(await tenant.post({ ...mail, category: 'security' }), 'sent');
    expect(
      (
        await fetch(
          url.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
          click,
        )
      ).status,
    ).toBe(404);
    expect((await fetch(`${service.url}/unsubscribe?token=nonsense`, click)).status).toBe(404);
  });

  it('change by the link in the text of an email, which a mandatory category does not have', async () => {
    const tenant = await newTenant();
    const body = '<p>{{#if @unsubscribeUrl}}Stop: <a href="{{@unsubscribeUrl}}">here</a>{{else}}no link{{/if}}</p>';
    const template = { eventCode: 'news', channel: 'email' as const, locale: 'vi', subject: 's', body };
    await service.core.templates.publish(tenant.id, [template], null);
    const mail = { event_code: 'news', recipient: anna(), channels: ['email'] };
    await tenant.reached(await tenant.post({ ...mail, category: 'marketing' }), 'sent');
    const { html, text, headers } = await simpleParser(relay.mails[0]?.raw ?? '');
    const url = /\[(http:[^\]]+)\]/.exec(text ?? '')?.[1] ?? '';
    expect(headers.get('list')).toMatchObject({ unsubscribe: { url } });
    expect(html).toContain(`<a href="${url.replace('=', '&#x3D;')}">here</a>`);
    await tenant.reached(await tenant.post({ ...mail, category: 'security' }), 'sent');
    expect(relay.mails[1]?.raw).toContain('no link');
    expect((await fetch(url.replace('http://notif.example', service.url), { method: 'POST' })).status).toBe(200);
    expect(await tenant.reached(await tenant.post({ ...mail, category: 'marketing' }), 'suppressed')).toMatchObject({
      error_code: 'opted_out',
    });
  });

  it('of a user with an id change when the user unsubscribes through any address', async () => {
    const tenant = await newTenant();
    const mail = { recipient: anna(), channels: ['email'], category: 'marketing' };
    await tenant.reached(await tenant.post(mail), 'sent');
    const raw = relay.mails[0]?.raw.replaceAll(/\r\n[ \t]+/g, '') ?? '';
    const path = /unsubscribe\?token=[^>]+/.exec(raw)?.[0];
    await fetch(`${service.url}/${path}`, { method: 'POST' });
    const elsewhere = { ...mail, recipient: anna() };
    expect(await tenant.reached(await tenant.post(elsewhere), 'suppressed')).toMatchObject({ error_code: 'opted_out' });
  });

  it('do not affect collapse keys: only the newest notification of a key is sent', async () => {
    const tenant = await newTenant();
    const mail = { recipient: anna(), channels: ['email'], collapse_key: 'order-1024' };
    const later = new Date(Date.now() + 3_600_000).toISOString();
    const old = await tenant.post({ ...mail, send_at: later });
    const otherUser = await tenant.post({ ...mail, recipient: { ...anna(), user_id: 'bình' }, send_at: later });
    const fresh = await tenant.post(mail);
    await tenant.reached(fresh, 'sent');
    await sql(service.databaseUrl, 'update notification_log set due_at = now() where id = any($1)', [[old, otherUser]]);
    expect(await tenant.reached(old, 'suppressed')).toMatchObject({ error_code: 'collapsed' });
    await tenant.reached(otherUser, 'sent');
  });

  it("delay notifications in the quiet hours of the user's time zone, except those with high priority", async () => {
    const clock = (shift: number): string => new Date(Date.now() + shift * 60_000).toISOString().slice(11, 16);
    // Quiet now in UTC, but no longer for the user, whose time zone is two hours ahead.
    const tenant = await newTenant({ quietHours: { from: clock(-30), to: clock(60) } });
    const mail = { recipient: anna(), channels: ['email'] };
    const waiting = await tenant.post(mail);
    await tenant.reached(await tenant.post({ ...mail, priority: 'high' }), 'sent');
    await tenant.reached(await tenant.post({ ...mail, channels: ['in_app'] }), 'sent');
    const row = await tenant.row(waiting);
    expect(row).toMatchObject({ status: 'queued', attempts: 0 });
    expect(row.due_at.getTime()).toBeGreaterThan(Date.now() + 50 * 60_000);

    const token = await tenant.token([], 'anna');
    const input = { category: 'marketing', channel: 'EMAIL' as const, isEnabled: true, timeZone: 'Etc/GMT-2' };
    await query(service.url, token, ChangePreferenceDocument, { input });
    await tenant.reached(await tenant.post(mail), 'sent');

    const expires_at = new Date(Date.now() + 10 * 60_000).toISOString();
    const short = await tenant.post({ ...mail, recipient: { ...anna(), user_id: 'bình' }, expires_at });
    expect(await tenant.reached(short, 'expired')).toMatchObject({ error_code: 'quiet_hours' });
  });

  it('are included in explainDelivery, which sends nothing', async () => {
    const tenant = await newTenant({ events: { 'user.welcome': { channels: ['sms', 'email', 'in_app'] } } });
    const admin = await tenant.token(['notif.send.test', 'notif.write.config']);
    const explain = async (changes: object) =>
      (
        await query(service.url, admin, ExplainDeliveryDocument, {
          input: {
            eventCode: 'user.welcome',
            recipient: { userId: 'anna', email: 'anna@example.com', phone: '+84912345678' },
            params: { full_name: 'Anna' },
            ...changes,
          },
        })
      ).explainDelivery;

    expect(await explain({})).toMatchObject({ status: 'SENT', channel: 'EMAIL', provider: 'smtp', mode: 'LIVE' });
    const named = await explain({ channels: ['EMAIL', 'SMS'] });
    expect(named.evaluated).toMatchObject([{ channel: 'EMAIL', verdict: 'chosen', provider: 'smtp', locale: 'vi' }]);
    expect(await explain({ eventCode: 'no.template', channels: ['EMAIL'] })).toMatchObject({
      status: 'FAILED',
      errorCode: 'template_not_found',
    });
    expect(await explain({ params: {}, channels: ['EMAIL'] })).toMatchObject({
      status: 'FAILED',
      errorCode: 'template_variable_missing',
      errorMessage: expect.stringContaining('full_name'),
    });
    expect(await explain({ sendAt: '2999-01-01T00:00:00Z' })).toMatchObject({
      status: 'QUEUED',
      waitReason: 'send_at',
    });
    const input = { channel: 'EMAIL' as const, address: 'anna@example.com' };
    await query(service.url, admin, SuppressAddressDocument, { input });
    expect(await explain({ channels: ['EMAIL'] })).toMatchObject({
      status: 'SENT_FALLBACK',
      channel: 'IN_APP',
      evaluated: [
        { channel: 'EMAIL', verdict: 'address_suppressed' },
        { channel: 'SMS', verdict: 'template_not_found' },
        { channel: 'IN_APP', verdict: 'chosen' },
      ],
    });
    expect(relay.mails).toEqual([]);
    expect(await sql(service.databaseUrl, 'select 1 from notification_log where tenant_id = $1', [tenant.id])).toEqual(
      [],
    );
  });
});
