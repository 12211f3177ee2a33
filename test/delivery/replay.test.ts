import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  RejectedEventsDocument,
  ReplayRejectedEventDocument,
  RetryNotificationDocument,
  DeliveryModeDocument,
  SetDeliveryModeDocument,
} from '../generated/operations.ts';
import { query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { activityEvent, postEvent, WELCOME_TEMPLATE, welcomeEvent } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import { startTenantService, type TenantService, type TestTenant } from '../support/tenant.ts';

const INBOX = { recipient: { user_id: 'anna' }, channels: ['in_app'] };

describe('an operator', () => {
  let service: TenantService;
  beforeAll(async () => {
    service = await startTenantService();
  });
  afterAll(() => service.close());

  const audits = (tenant: TestTenant) =>
    sql(
      service.databaseUrl,
      `select actor_id, details from audit_event where tenant_id = $1 and action = 'notification.replayed'`,
      [tenant.id],
    );
  const codeOf = (errors: readonly { extensions?: Record<string, unknown> }[]) => errors[0]?.extensions?.['error_code'];

  it('retries a failed notification: two concurrent requests send and audit it once', async () => {
    const tenant = await service.newTenant({}, []);
    const operator = await tenant.token(['notif.replay'], 'ops');
    const logId = await tenant.post(INBOX);
    expect(await tenant.reached(logId, 'failed')).toMatchObject({ error_code: 'template_not_found' });
    await service.core.templates.publish(tenant.id, [{ ...WELCOME_TEMPLATE, channel: 'in_app' }], null);
    const retries = await Promise.all(
      [1, 2, 3].map(() => run(service.url, operator, RetryNotificationDocument, { logId })),
    );
    // A request after the notification was sent is refused.
    for (const { errors } of retries) expect([undefined, 'conflict']).toContain(codeOf(errors));
    await tenant.reached(logId, 'sent');
    const rows = await sql(service.databaseUrl, 'select 1 from notification where log_id = $1', [logId]);
    expect(rows).toHaveLength(1);
    expect(await audits(tenant)).toMatchObject([
      { actor_id: 'ops', details: { log_id: logId, was: 'failed', error_code: 'template_not_found' } },
    ]);
    const again = await run(service.url, operator, RetryNotificationDocument, { logId });
    expect(codeOf(again.errors)).toBe('conflict');
  });

  it('cannot retry a record of another tenant', async () => {
    const [tenant, other] = [await service.newTenant({}, []), await service.newTenant({}, [])];
    const logId = await tenant.post(INBOX);
    await tenant.reached(logId, 'failed');
    const operator = await other.token(['notif.replay']);
    expect(codeOf((await run(service.url, operator, RetryNotificationDocument, { logId })).errors)).toBe('not_found');
    expect(await tenant.row(logId)).toMatchObject({ status: 'failed' });
  });

  it('sees rejected events, and replays one after the service supports it', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    const operator = await tenant.token(['notif.replay'], 'ops');
    const producer = await tenant.token(['notif.ingest']);
    const { body } = await postEvent(service, producer, 'notification.triggered.v1', {
      ...welcomeEvent(tenant.id),
      channel: 'in_app',
      recipient: '',
    });
    const id = body.results[0]?.rejected_event_id as string;
    const [edge] = (await query(service.url, operator, RejectedEventsDocument, {})).rejectedEvents.edges;
    expect(edge?.node).toMatchObject({ id, source: 'http', reason: 'validation_failed', replayedAt: null });
    expect(edge?.node.raw).toContain('user.welcome');

    const refused = await run(service.url, operator, ReplayRejectedEventDocument, { id });
    expect(codeOf(refused.errors)).toBe('validation_failed');
    // Simulates a newer version that parses the same bytes.
    await sql(
      service.databaseUrl,
      `update rejected_event set raw = convert_to(replace(convert_from(raw, 'UTF8'), '"recipient":""',
         '"recipient":"anna"'), 'UTF8') where id = $1`,
      [id],
    );
    const [first, second] = await Promise.all(
      [1, 2].map(() => query(service.url, operator, ReplayRejectedEventDocument, { id })),
    );
    const logId = first?.replayRejectedEvent.replayedLogId as string;
    expect(second?.replayRejectedEvent.replayedLogId).toBe(logId);
    await tenant.reached(logId, 'sent');
    expect(await audits(tenant)).toMatchObject([
      { actor_id: 'ops', details: { rejected_event_id: id, log_id: logId } },
    ]);

    const foreign = await (await service.newTenant({}, [])).token(['notif.replay']);
    expect(codeOf((await run(service.url, foreign, ReplayRejectedEventDocument, { id })).errors)).toBe('not_found');
    const list = await query(service.url, foreign, RejectedEventsDocument, {});
    expect(list.rejectedEvents.edges).toEqual([]);
  });

  it.each([
    ['token.revoked', { at: '2026-01-01T00:00:00Z' }],
    ['config.updated', { at: '2026-01-01T00:00:00Z' }],
    [
      'notification.feedback.v1',
      { channel: 'email', recipient: 'anna@example.com', kind: 'complaint', created_at: '2026-01-01T00:00:00Z' },
    ],
    ['notification.triggered.v1', { ...welcomeEvent('any'), channel: 'in_app', recipient: 'anna' }],
    ['signal.activity-notification', activityEvent('any', ['anna'])],
  ])('cannot apply a rejected %s event to another tenant', async (type, payload) => {
    const [tenant, victim] = [await service.newTenant({}, ['in_app']), await service.newTenant({}, ['in_app'])];
    const operator = await tenant.token(['notif.replay']);
    const producer = await tenant.token(['notif.ingest']);
    const sent = await postEvent(service, producer, type, { ...payload, tenant_id: victim.id });
    expect(sent.body.results).toMatchObject([{ status: 'rejected', error_code: 'tenant_mismatch' }]);
    const id = sent.body.results[0]?.rejected_event_id as string;

    const replayed = await run(service.url, operator, ReplayRejectedEventDocument, { id });
    expect(codeOf(replayed.errors)).toBe('validation_failed');
    for (const table of ['token_revocation', 'suppression', 'notification_log', 'notification']) {
      expect(await sql(service.databaseUrl, `select 1 from ${table} where tenant_id = $1`, [victim.id])).toEqual([]);
    }
    const [row] = await sql(service.databaseUrl, 'select reason, replayed_at from rejected_event where id = $1', [id]);
    expect(row).toEqual({ reason: 'tenant_mismatch', replayed_at: null });
  });

  it('sees events without a tenant only as a superadmin', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    const event = { ...welcomeEvent(tenant.id), channel: 'in_app', recipient: 'anna' };
    const [row] = await sql<{ id: string }>(
      service.databaseUrl,
      `insert into rejected_event (id, event_type, reason, message, raw, headers, source, topic, partition, "offset")
       values (gen_random_uuid(), 'notification.triggered.v1', 'malformed_event', 'x', convert_to($1, 'UTF8'), '{}',
         'kafka', 'notification.triggered.v1', 0, 7) returning id`,
      [JSON.stringify(event)],
    );
    const id = row?.id ?? '';
    const operator = await tenant.token(['notif.replay']);
    expect((await query(service.url, operator, RejectedEventsDocument, {})).rejectedEvents.edges).toEqual([]);
    expect(codeOf((await run(service.url, operator, ReplayRejectedEventDocument, { id })).errors)).toBe('not_found');

    const root = await service.token({ tenant_id: tenant.id, role: 'superadmin' });
    const seen = (await query(service.url, root, RejectedEventsDocument, {})).rejectedEvents.edges;
    expect(seen.map(({ node }) => node.id)).toContain(id);
    const { replayRejectedEvent } = await query(service.url, root, ReplayRejectedEventDocument, { id });
    await tenant.reached(replayRejectedEvent.replayedLogId ?? '', 'sent');
  });

  it('holds and resumes one tenant without affecting others', async () => {
    const [held, free] = [await service.newTenant({}, ['in_app']), await service.newTenant({}, ['in_app'])];
    const admin = await held.token(['notif.write.config']);
    const set = (mode: 'HOLD' | 'LIVE') => query(service.url, admin, SetDeliveryModeDocument, { mode });
    const current = async () => (await query(service.url, admin, DeliveryModeDocument)).deliveryMode;
    expect(await current()).toEqual({ mode: 'LIVE', process: 'LIVE', tenant: null, limitedBy: [], reason: null });
    expect(await set('HOLD')).toEqual({ setDeliveryMode: 'HOLD' });
    expect(await current()).toMatchObject({
      mode: 'HOLD',
      process: 'LIVE',
      tenant: 'HOLD',
      limitedBy: ['TENANT'],
      reason: expect.stringContaining('The tenant is in the mode HOLD'),
    });
    const waiting = await Promise.all(Array.from({ length: 5 }, () => held.post(INBOX)));
    await free.reached(await free.post(INBOX), 'sent');
    for (const id of waiting) expect(await held.row(id)).toMatchObject({ status: 'queued', attempts: 0 });
    await set('LIVE');
    for (const id of waiting) expect(await held.reached(id, 'sent')).toMatchObject({ attempts: 1 });
  });

  it('changes the mode of a running process only as a superadmin', async () => {
    const tenant = await service.newTenant({}, ['in_app']);
    const admin = await tenant.token(['notif.write.config']);
    const denied = await run(service.url, admin, SetDeliveryModeDocument, { mode: 'HOLD', process: true });
    expect(codeOf(denied.errors)).toBe('validation_failed');
    const root = await service.token({ tenant_id: tenant.id, role: 'superadmin' });
    const set = (mode: 'HOLD' | 'LIVE') => query(service.url, root, SetDeliveryModeDocument, { mode, process: true });
    const apiOnly = await service.startAnother({ ROLES: 'api' });
    const elsewhere = await run(apiOnly.url, root, SetDeliveryModeDocument, { mode: 'HOLD', process: true });
    expect(codeOf(elsewhere.errors)).toBe('validation_failed');
    await set('HOLD');
    const id = await tenant.post(INBOX);
    const sandboxed = await service.token({ tenant_id: tenant.id, permissions: ['notif.write.config'] });
    // The stricter of the two modes applies.
    const answer = await query(service.url, sandboxed, SetDeliveryModeDocument, { mode: 'LIVE' });
    expect(answer).toEqual({ setDeliveryMode: 'HOLD' });
    const { deliveryMode } = await query(service.url, sandboxed, DeliveryModeDocument);
    expect(deliveryMode).toMatchObject({
      mode: 'HOLD',
      process: 'HOLD',
      tenant: 'LIVE',
      limitedBy: ['PROCESS'],
      reason: expect.stringContaining('DELIVERY_MODE'),
    });
    expect(await tenant.row(id)).toMatchObject({ status: 'queued' });
    await set('LIVE');
    await eventually(async () => (await tenant.row(id)).status === 'sent', 'the notification');
    expect(await tenant.row(id)).toMatchObject({ attempts: 1 });
  });
});
