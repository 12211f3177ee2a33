import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ErasePersonDocument, ErasureDocument, InboxDocument } from '../generated/operations.ts';
import { postActivities, postWelcomes, settled } from '../support/graph-seed.ts';
import { query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { postEvent, startTestService, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-erase';
const EMAIL = 'Gone.Person@example.com';

/** Returns the whole database content of a tenant as one text. */
const dump = async (databaseUrl: string, needle: string): Promise<string[]> => {
  const tables = await sql<{ name: string }>(
    databaseUrl,
    `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
     where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await sql<{ row: string }>(
      databaseUrl,
      `select row_to_json(t)::text as row from "${name}" t where tenant_id = $1`,
      [TENANT],
    );
    if (rows.some(({ row }) => row.toLowerCase().includes(needle.toLowerCase()))) found.push(name);
  }
  return found;
};

describe('erasure of a person', () => {
  let service: TestService;
  let admin: string;
  beforeAll(async () => {
    service = await startTestService();
    admin = await service.token({ tenant_id: TENANT, sub: 'admin', permissions: ['notif.erase', 'notif.ingest'] });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
  });
  afterAll(() => service.close());

  const erase = async (input: object) => {
    const { erasePerson } = await query(service.url, admin, ErasePersonDocument, { input });
    return eventually(async () => {
      const { erasure } = await query(service.url, admin, ErasureDocument, { id: erasePerson.id });
      return erasure?.completedAt ? erasure : undefined;
    }, 'the end of the erasure');
  };

  it('removes all their data from the database and changes no data of others', async () => {
    const titles = Array.from({ length: 30 }, (_unused, index) => `n${index}`);
    const ids = [
      ...(await postActivities(service, admin, TENANT, ['gone-person', 'stays'], titles)),
      ...(await postWelcomes(service, admin, TENANT, [
        { recipient: EMAIL, params: { full_name: 'Gone Person', first_login_at: 'x' } },
        { recipient: EMAIL, event_code: 'no.template', params: { full_name: 'gone-person' } },
        { recipient: 'stays@example.com', trigger_by: 'gone-person' },
      ])),
    ];
    await settled(service.databaseUrl, ids);
    await postEvent(service, admin, 'notification.triggered.v1', { tenant_id: TENANT, note: `about ${EMAIL}` });
    const own = await service.token({ tenant_id: TENANT, sub: 'gone-person' });
    await run(
      service.url,
      own,
      `mutation { updateNotificationPreference(input: {category: "marketing", channel: EMAIL, isEnabled: false}) { category } }`,
    );
    expect(await dump(service.databaseUrl, EMAIL)).toEqual(
      expect.arrayContaining(['notification_log', 'sandbox_message']),
    );
    expect(await dump(service.databaseUrl, 'gone-person')).toEqual(
      expect.arrayContaining(['notification', 'notification_log', 'inbox']),
    );

    const done = await erase({ userId: 'gone-person', email: EMAIL.toLowerCase() });
    expect(done).toMatchObject({ notifications: 30, others: expect.any(Number) });
    expect(done?.deliveryRecords).toBe(33);
    expect(await dump(service.databaseUrl, EMAIL)).toEqual([]);
    // Audit events of their own actions remain, because they cannot be changed.
    expect((await dump(service.databaseUrl, 'gone-person')).filter((name) => name !== 'audit_event')).toEqual([]);

    const stays = await service.token({ tenant_id: TENANT, sub: 'stays' });
    const { notifications } = await query(service.url, stays, InboxDocument, { first: 100 });
    expect(notifications.edges).toHaveLength(30);
    expect(await dump(service.databaseUrl, 'stays@example.com')).toContain('notification_log');
    const trail = await sql<{ action: string; details: object }>(
      service.databaseUrl,
      `select action, details from audit_event where tenant_id = $1 and action like 'person.%' order by id`,
      [TENANT],
    );
    expect(trail).toEqual([
      { action: 'person.erasure_requested', details: { erasure_id: done?.id, known_by: ['email', 'user_id'] } },
      {
        action: 'person.erased',
        details: { erasure_id: done?.id, notifications: 30, delivery_records: 33, others: done?.others },
      },
    ]);
  });

  it('cancels notifications that are still waiting', async () => {
    const [id] = await postWelcomes(service, admin, TENANT, []);
    expect(id).toBeUndefined();
    const { body } = await postEvent(service, admin, 'notification.triggered.v2', {
      event_id: '5b1f7c52-6a5f-4d0c-8d3a-0c5f5b0c9a10',
      tenant_id: TENANT,
      event_code: 'user.welcome',
      recipient: { email: 'waits@example.com' },
      channels: ['email'],
      params: { full_name: 'W', first_login_at: 'x' },
      trace_id: 'trace-waits',
      send_at: new Date(Date.now() + 3_600_000).toISOString(),
      created_at: new Date().toISOString(),
    });
    const logId = body.results[0]?.log_id as string;
    await erase({ email: 'waits@example.com' });
    const [row] = await sql(
      service.databaseUrl,
      'select status, error_code, recipient from notification_log where id = $1',
      [logId],
    );
    expect(row).toEqual({ status: 'suppressed', error_code: 'recipient_erased', recipient: {} });
  });

  it.each([
    ['no identifier', {}, 'input'],
    ['an invalid email address', { email: 'not an address' }, 'input.email'],
    ['an invalid phone number', { phone: '123' }, 'input.phone'],
  ])('with %s is refused', async (_what, input, path) => {
    const { status, errors } = await run(service.url, admin, ErasePersonDocument, { input });
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
  });
});
