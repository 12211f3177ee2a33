import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { ChannelsDocument, SetDeliveryModeDocument } from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { answer, type HttpPeer, startHttpPeer } from '../support/http-peer.ts';
import { smtpError, type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';
import { startTenantService, type TenantService } from '../support/tenant.ts';

const ANNA = { user_id: 'anna', email: 'anna@example.com', phone: '+84912345678' };
const retry = { maxAttempts: 3, baseDelayMs: 1, maxDelayMs: 5 };

describe('a delivery', () => {
  let service: TenantService;
  let relay: SmtpSink;
  let spare: SmtpSink;
  let gateway: HttpPeer;
  beforeAll(async () => {
    [relay, spare, gateway] = await Promise.all([startSmtpSink(), startSmtpSink(), startHttpPeer()]);
    service = await startTenantService();
  });
  afterAll(async () => {
    await service.close();
    await Promise.all([relay, spare, gateway].map((peer) => peer.close()));
  });
  afterEach(() => {
    for (const sink of [relay, spare]) {
      sink.mails.length = 0;
      sink.onMail = () => {};
      sink.onRecipient = () => {};
    }
    gateway.requests.length = 0;
    gateway.onRequest = (_request, response) => answer(response, { status: 200 });
  });

  const smtp = (sink: SmtpSink) => ({ host: '127.0.0.1', port: sink.port, from: 'vas@example.com' });
  const email = () => ({ provider: 'smtp', config: smtp(relay) });
  const sms = () => ({ provider: 'http', config: { url: `${gateway.url}/sms` } });
  const policy = (...channels: ('email' | 'sms' | 'in_app')[]) => ({ 'user.welcome': { channels } });

  it('continues with the next channel, its template and its address after a permanent failure', async () => {
    const tenant = await service.newTenant(
      { retry, channels: { email: email(), sms: sms() }, events: policy('email', 'sms', 'in_app') },
      ['email', 'sms', 'in_app'],
    );
    relay.onRecipient = () => {
      throw smtpError(550, '5.2.2 mailbox full');
    };
    const id = await tenant.post({ recipient: ANNA });
    expect(await tenant.reached(id, 'sent_fallback')).toMatchObject({ channel: 'sms', attempts: 2, error_code: null });
    expect(await tenant.attempts(id)).toEqual([
      { channel: 'email', provider: 'smtp', outcome: 'permanent' },
      { channel: 'sms', provider: 'http', outcome: 'ok' },
    ]);
    expect(JSON.parse(gateway.requests[0]?.body ?? '')).toMatchObject({ to: '+84912345678', text: 'Xin chào' });
  });

  it('repeats a mail once when its outcome is unknown, and then ends without a fallback', async () => {
    const tenant = await service.newTenant(
      { retry: { ...retry, maxAttempts: 6 }, channels: { email: email(), sms: sms() }, events: policy('email', 'sms') },
      ['email', 'sms'],
    );
    let taken = 0;
    // The relay accepts the mail and breaks the connection instead of answering.
    relay.onMail = () => {
      taken += 1;
      relay.breakConnections();
    };
    const id = await tenant.post({ recipient: ANNA });
    expect(await tenant.reached(id, 'failed')).toMatchObject({ error_code: 'delivery_unknown', attempts: 2 });
    expect(await tenant.attempts(id)).toEqual([
      { channel: 'email', provider: 'smtp', outcome: 'unknown' },
      { channel: 'email', provider: 'smtp', outcome: 'unknown' },
    ]);
    expect(taken).toBe(2);
    expect(gateway.requests).toEqual([]);
  });

  it('falls back through all channels to the inbox, and fails with the reason when none is left', async () => {
    const failing = { retry, channels: { email: email(), sms: sms() } };
    relay.onMail = () => {
      throw smtpError(451, 'later');
    };
    gateway.onRequest = (_request, response) => answer(response, { status: 500 });
    const withInbox = await service.newTenant({ ...failing, events: policy('email', 'sms', 'in_app') }, [
      'email',
      'sms',
      'in_app',
    ]);
    const saved = await withInbox.post({ recipient: ANNA });
    expect(await withInbox.reached(saved, 'sent_fallback')).toMatchObject({ channel: 'in_app', attempts: 7 });

    const without = await service.newTenant({ ...failing, events: policy('email', 'sms') }, ['email', 'sms']);
    const lost = await without.post({ recipient: ANNA });
    expect(await without.reached(lost, 'failed')).toMatchObject({
      channel: 'sms',
      attempts: 6,
      error_code: 'http_500',
    });
  });

  it('uses the channel of the event, then those of the policy, and skips channels without an address', async () => {
    const tenant = await service.newTenant(
      { retry, channels: { email: email(), sms: sms() }, events: policy('sms', 'in_app') },
      ['email', 'sms', 'in_app'],
    );
    relay.onRecipient = () => {
      throw smtpError(550, '5.1.1 unknown');
    };
    const { phone: _phone, ...withoutPhone } = ANNA;
    const id = await tenant.post({ recipient: withoutPhone, channels: ['email'] });
    expect(await tenant.reached(id, 'sent_fallback')).toMatchObject({ channel: 'in_app' });
    expect(gateway.requests).toEqual([]);
  });

  it('tries the next provider immediately, and excludes one that refuses permanently', async () => {
    const tenant = await service.newTenant(
      {
        retry,
        channels: {
          sms: [
            { provider: 'twilio', config: { accountSid: 'AC1', authToken: 'x', from: '+1', baseUrl: gateway.url } },
            sms(),
          ],
        },
      },
      ['sms'],
    );
    gateway.onRequest = ({ path }, response) => answer(response, { status: path === '/sms' ? 200 : 401 });
    const id = await tenant.post({ recipient: ANNA, channels: ['sms'] });
    expect(await tenant.reached(id, 'sent')).toMatchObject({ channel: 'sms', attempts: 2 });
    expect(await tenant.attempts(id)).toEqual([
      { channel: 'sms', provider: 'twilio', outcome: 'permanent' },
      { channel: 'sms', provider: 'http', outcome: 'ok' },
    ]);
  });

  it('fails over between two relays of one provider with different names', async () => {
    const tenant = await service.newTenant({
      retry,
      channels: { email: [email(), { provider: 'smtp', name: 'spare', config: smtp(spare) }] },
    });
    relay.onMail = () => {
      throw smtpError(421, 'closing');
    };
    const id = await tenant.post({ recipient: ANNA, channels: ['email'] });
    await tenant.reached(id, 'sent');
    expect(await tenant.attempts(id)).toEqual([
      { channel: 'email', provider: 'smtp', outcome: 'transient' },
      { channel: 'email', provider: 'spare', outcome: 'ok' },
    ]);
    expect(spare.mails.map(({ mail }) => mail.messageId)).toHaveLength(1);
  });

  it('skips a configured provider that does not exist', async () => {
    const tenant = await service.newTenant({ retry, channels: { sms: [{ provider: 'nobody', config: {} }, sms()] } }, [
      'sms',
    ]);
    const id = await tenant.post({ recipient: ANNA, channels: ['sms'] });
    await tenant.reached(id, 'sent');
    const alone = await service.newTenant({ channels: { sms: { provider: 'nobody', config: {} } } }, ['sms']);
    const lost = await alone.post({ recipient: ANNA, channels: ['sms'] });
    expect(await alone.reached(lost, 'failed')).toMatchObject({ error_code: 'channel_misconfigured' });
  });

  it('expires instead of being retried too late', async () => {
    const tenant = await service.newTenant(
      {
        retry: { ...retry, baseDelayMs: 3_600_000, maxDelayMs: 3_600_000 },
        channels: { sms: sms() },
      },
      ['sms'],
    );
    gateway.onRequest = (_request, response) => answer(response, { status: 429, headers: { 'retry-after': '3600' } });
    const expires_at = new Date(Date.now() + 60_000).toISOString();
    const id = await tenant.post({ recipient: ANNA, channels: ['sms'], expires_at });
    expect(await tenant.reached(id, 'expired')).toMatchObject({ error_code: 'http_429', attempts: 1 });
  });

  it('skips a provider whose circuit breaker is open, shows its state, and uses it again after recovery', async () => {
    const tenant = await service.newTenant(
      {
        retry: { ...retry, maxAttempts: 100, baseDelayMs: 1, maxDelayMs: 1 },
        channels: { sms: sms() },
      },
      ['sms'],
    );
    gateway.onRequest = (_request, response) => answer(response, { status: 503 });
    const id = await tenant.post({ recipient: ANNA, channels: ['sms'] });
    const admin = await tenant.token(['notif.write.config']);
    const circuit = async () => (await query(service.url, admin, ChannelsDocument, {})).channelConfigs[0]?.circuit;
    await eventually(async () => (await circuit())?.state === 'OPEN', 'the open circuit');
    expect(gateway.requests).toHaveLength(5);
    expect((await circuit())?.retryAt).not.toBeNull();
    expect(await tenant.row(id)).toMatchObject({ attempts: 5 });

    gateway.onRequest = (_request, response) => answer(response, { status: 200 });
    expect(await tenant.reached(id, 'sent')).toMatchObject({ attempts: 6 });
    await eventually(async () => (await circuit())?.state === 'CLOSED', 'the closed circuit');
  });

  it("waits for the tenant's rate limit, and each message is sent once", async () => {
    const tenant = await service.newTenant(
      {
        channels: { sms: { ...sms(), limits: { ratePerSecond: 20, burst: 3 } } },
      },
      ['sms'],
    );
    const ids = await Promise.all(
      Array.from({ length: 12 }, () => tenant.post({ recipient: ANNA, channels: ['sms'] })),
    );
    for (const id of ids) expect(await tenant.reached(id, 'sent')).toMatchObject({ attempts: 1 });
    expect(gateway.requests).toHaveLength(12);
    const [first, last] = await sql<{ at: Date }>(
      service.databaseUrl,
      `select min(started_at) as at from delivery_attempt where tenant_id = $1
       union all select max(started_at) from delivery_attempt where tenant_id = $1`,
      [tenant.id],
    );
    // Nine messages above the burst at 20 per second take at least this time.
    expect((last?.at.getTime() ?? 0) - (first?.at.getTime() ?? 0)).toBeGreaterThan(9 * 50 - 100);
  });

  it("respects the tenant's limit of concurrent deliveries", async () => {
    const tenant = await service.newTenant({ limits: { concurrency: 2 }, channels: { sms: sms() } }, ['sms']);
    let inHand = 0;
    let most = 0;
    gateway.onRequest = (_request, response) => {
      inHand += 1;
      most = Math.max(most, inHand);
      setImmediate(() => {
        inHand -= 1;
        answer(response, { status: 200 });
      });
    };
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => tenant.post({ recipient: ANNA, channels: ['sms'] })),
    );
    for (const id of ids) expect(await tenant.reached(id, 'sent')).toMatchObject({ attempts: 1 });
    expect(most).toBeLessThanOrEqual(2);
  });

  it('of a tenant with one message is not delayed by a tenant with thousands', async () => {
    const flood = await service.newTenant({}, ['in_app']);
    const single = await service.newTenant({}, ['in_app']);
    const admin = await flood.token(['notif.write.config']);
    await query(service.url, admin, SetDeliveryModeDocument, { mode: 'HOLD' });
    await sql(
      service.databaseUrl,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
         status, trace_id, event_created_at)
       select gen_random_uuid(), $1, gen_random_uuid(), 'notification.triggered.v1', 'user.welcome', '{in_app}',
         jsonb_build_object('user_id', 'user-' || n % 50), '{"full_name": "A", "first_login_at": "x"}', 'queued',
         'trace', now() - interval '1 hour'
       from generate_series(1, 5000) n`,
      [flood.id],
    );
    await query(service.url, admin, SetDeliveryModeDocument, { mode: 'LIVE' });
    const id = await single.post({ recipient: ANNA, channels: ['in_app'] });
    await single.reached(id, 'sent');
    const [left] = await sql<{ n: number }>(
      service.databaseUrl,
      `select count(*)::int as n from notification_log where tenant_id = $1 and status = 'queued'`,
      [flood.id],
    );
    expect(left?.n).toBeGreaterThan(0);
  });

  it('with high priority comes first within a tenant', async () => {
    const tenant = await service.newTenant({ limits: { concurrency: 1 }, channels: { sms: sms() } }, ['sms']);
    const order: string[] = [];
    const first = Promise.withResolvers<void>();
    gateway.onRequest = async ({ body }, response) => {
      order.push((JSON.parse(body) as { to: string }).to);
      await first.promise;
      answer(response, { status: 200 });
    };
    const send = (phone: string, priority: string) =>
      tenant.post({ recipient: { phone }, channels: ['sms'], priority });
    const ids = [await send('+84900000000', 'normal')];
    await eventually(() => order.length === 1, 'the first');
    ids.push(
      await send('+84900000003', 'low'),
      await send('+84900000002', 'normal'),
      await send('+84900000001', 'high'),
    );
    first.resolve();
    for (const id of ids) await tenant.reached(id, 'sent');
    expect(order).toEqual(['+84900000000', '+84900000001', '+84900000002', '+84900000003']);
  });
});
