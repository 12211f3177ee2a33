import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { InboxDocument, UnreadCountDocument } from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { activityEvent, postEvent, startTestService, type TestService } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-inbox';

describe('the audience of an activity notification', () => {
  let service: TestService;
  let producer: string;

  beforeAll(async () => {
    service = await startTestService();
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    await sql(
      service.databaseUrl,
      `insert into policy_definition (id, tenant_id, user_id, role, scope, scope_id)
       select gen_random_uuid(), p.* from (values
         ($1, 'anna', 'owner', 'merchant', 'm-1'), ($1, 'anna', 'cashier', 'merchant', 'm-1'),
         ($1, 'bình', 'cashier', 'merchant', 'm-1'), ($1, 'chi', 'owner', 'merchant', 'm-2'),
         ($1, 'chi', 'admin', 'organization', 'm-1'), ('tenant-other', 'dũng', 'owner', 'merchant', 'm-1')
       ) as p (tenant_id, user_id, role, scope, scope_id)`,
      [TENANT],
    );
  });
  afterAll(() => service.close());

  async function send(changes: Record<string, unknown>) {
    const event = activityEvent(TENANT, [], changes);
    const { status, body } = await postEvent(service, producer, 'signal.activity-notification', event);
    expect(status, JSON.stringify(body)).toBe(202);
    const id = body.results[0]?.log_id as string;
    const log = await eventually(async () => {
      const [row] = await sql<{ status: string; error_code: string | null }>(
        service.databaseUrl,
        'select status, error_code from notification_log where id = $1',
        [id],
      );
      return row?.status !== 'queued' && row?.status !== 'sending' && row;
    });
    const people = await sql<{ user_id: string; tenant_id: string }>(
      service.databaseUrl,
      'select user_id, tenant_id from notification where log_id = $1 order by user_id',
      [id],
    );
    expect(people.every((person) => person.tenant_id === TENANT)).toBe(true);
    return { ...log, people: people.map((person) => person.user_id) };
  }
  const unread = async (sub: string): Promise<number> =>
    (await query(service.url, await service.token({ tenant_id: TENANT, sub }), UnreadCountDocument))
      .unreadNotificationCount;

  it('of scope users contains each named user once', async () => {
    const sent = await send({ recipient_scope: 'users', recipient_ids: ['x', 'y', 'x'] });
    expect(sent).toMatchObject({ status: 'sent', people: ['x', 'y'] });
    expect([await unread('x'), await unread('y')]).toEqual([1, 1]);
  });

  it('of scope merchant contains each user of the tenant with any role over the merchant once', async () => {
    const sent = await send({ recipient_scope: 'merchant', merchant_id: 'm-1', recipient_ids: undefined });
    expect(sent).toMatchObject({ status: 'sent', people: ['anna', 'bình'] });
  });

  it('of scope organization contains the users with any role over the organization', async () => {
    const sent = await send({ recipientScope: 'organization', organizationId: 'm-1', recipient_scope: undefined });
    expect(sent).toMatchObject({ status: 'sent', people: ['chi'] });
  });

  it('suppresses the notification with audience_empty when it contains no user', async () => {
    const sent = await send({ recipient_scope: 'merchant', merchant_id: 'nobody' });
    expect(sent).toMatchObject({ status: 'suppressed', error_code: 'audience_empty', people: [] });
  });

  it('receives the title, body, data and other fields of the event', async () => {
    await send({ recipient_scope: 'users', recipient_ids: ['reader'], category: 'payments' });
    const token = await service.token({ tenant_id: TENANT, sub: 'reader' });
    const { notifications, unreadNotificationCount } = await query(service.url, token, InboxDocument, {});
    expect(unreadNotificationCount).toBe(1);
    expect(notifications.edges.map(({ node }) => node)).toMatchObject([
      {
        type: 'payment.succeeded',
        category: 'payments',
        title: 'Thanh toán thành công',
        body: 'Đơn hàng #1024 đã được thanh toán.',
        data: { order_id: 1024 },
        actionUrl: '/orders/1024',
        recipientScope: 'USERS',
        actor: { id: 'user-042' },
        readAt: null,
      },
    ]);
  });

  it('receives concurrent notifications at positions without gaps, with a correct unread count', async () => {
    const count = 60;
    await Promise.all(
      Array.from({ length: count }, () => send({ recipient_scope: 'users', recipient_ids: ['busy', 'idle'] })),
    );
    for (const user of ['busy', 'idle']) {
      const rows = await sql<{ seq: number }>(
        service.databaseUrl,
        'select created_seq::int as seq from notification where user_id = $1 order by created_seq',
        [user],
      );
      expect(rows.map((row) => row.seq)).toEqual(Array.from({ length: count }, (_unused, index) => index + 1));
      expect(await unread(user)).toBe(count);
    }
  });
});
