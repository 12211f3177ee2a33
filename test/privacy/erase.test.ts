import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { claimDue, type ClaimedLog } from '../../src/delivery/claim.ts';
import { settleBatch } from '../../src/delivery/settle.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { newId } from '../../src/ids.ts';
import { addressKeys, searchKey } from '../../src/intake/search-key.ts';
import { createKeyring } from '../../src/keyring.ts';
import { createLog } from '../../src/log.ts';
import { createErasures, eraseNext, type ErasureSubject } from '../../src/privacy/erase.ts';
import { noTenantFiles } from '../../src/tenants/files.ts';
import { createTenantSettings } from '../../src/tenants/settings.ts';
import { ErasePersonDocument, ErasureDocument, InboxDocument } from '../generated/operations.ts';
import { postActivities, postWelcomes, settled } from '../support/graph-seed.ts';
import { query, run } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { postEvent, startTestService, testDatabase, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

const TENANT = 'tenant-erase';
const EMAIL = 'Gone.Person@example.com';

/** Returns the whole database content of a tenant as one text. */
const dump = async (databaseUrl: string, needle: string): Promise<string[]> => {
  const tables = await sql<{ name: string }>(
    databaseUrl,
    `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
     where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace`,
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

    const keys = [searchKey('user', TENANT, 'gone-person'), ...addressKeys(TENANT, { email: EMAIL })];
    const found = 'select key from notification_log_key where key = any($1)';
    expect(await sql(service.databaseUrl, found, [keys])).toEqual([]);
    const others = addressKeys(TENANT, { email: 'stays@example.com' });
    expect(await sql(service.databaseUrl, found, [others])).not.toEqual([]);

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

  it('leaves no notification when it is requested while their notifications are being delivered', async () => {
    const titles = Array.from({ length: 600 }, (_unused, index) => `n${index}`);
    const ids = await postActivities(service, admin, TENANT, ['user-in-flight'], titles);
    await erase({ userId: 'user-in-flight' });
    await settled(service.databaseUrl, ids);
    const outcomes = await sql<{ outcome: string }>(
      service.databaseUrl,
      `select distinct coalesce(error_code, status) as outcome from notification_log
       where id = any($1) and status <> 'sent'`,
      [ids],
    );
    expect(outcomes.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'recipient_erased')).toEqual([]);
    expect((await dump(service.databaseUrl, 'user-in-flight')).filter((name) => name !== 'audit_event')).toEqual([]);
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

describe('eraseNext', () => {
  let files: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({ url: files.loginUrl, log: createLog('silent') });
  });
  afterAll(async () => {
    await database.close();
    await files.drop();
  });

  const claim = async (): Promise<ClaimedLog[]> => {
    const request = { owner: newId(), limit: 100, leaseMs: 60_000, after: '', capacity: new Map() };
    return (await claimDue(database, { ...request, defaultCapacity: 100 })).rows;
  };
  const settle = (logs: ClaimedLog[]) =>
    settleBatch(
      {
        database,
        settings: createTenantSettings({
          database,
          files: noTenantFiles,
          defaults: { defaultLocale: 'en', channels: {} },
          onChanged: () => {},
        }),
        keyring: createKeyring([]),
      },
      logs.map((log) => {
        const { id: logId, leaseToken, tenantId, audience, content } = log;
        if (!audience || !content) throw new Error(`record ${logId} has no audience or content`);
        const attempt = { number: 1, provider: 'in_app', outcome: 'ok' as const, durationMs: 0 };
        const entry = {
          logId,
          leaseToken,
          tenantId,
          audience,
          content,
          category: null,
          consent: 'not_needed' as const,
        };
        return { log, status: 'sent', channel: 'in_app', attempt, inbox: entry };
      }),
    );
  const insertRecord = async (tenantId: string, userIds: string[]): Promise<string> => {
    const id = newId();
    await sql(
      files.url,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, audience,
         content, params, status, trace_id, event_created_at)
       values ($1, $2, gen_random_uuid(), 'signal.activity-notification', 'load', '{in_app}', '{}', $3, $4, '{}',
         'queued', 'trace', now())`,
      [id, tenantId, { scope: 'users', userIds }, { type: 'load', title: 'load', body: 'load' }],
    );
    return id;
  };
  const eraseAll = async (tenantId: string, who: string | ErasureSubject) => {
    const subject = typeof who === 'string' ? { userId: who } : who;
    const actor = { tenantId, userId: 'admin' } as Actor;
    const erasures = createErasures(database, () => {});
    const { id } = await erasures.request(actor, subject, 'trace');
    while (await eraseNext(database));
    return erasures.find(tenantId, id);
  };
  const recordOf = async (id: string) => {
    const [row] = await sql(
      files.url,
      `select status, error_code, lease_token, claims, is_reduced, audience->'userIds' as people
       from notification_log where id = $1`,
      [id],
    );
    return row;
  };
  const inboxes = async (tenantId: string) =>
    sql(
      files.url,
      `select user_id, (select count(*)::int from notification n where n.tenant_id = box.tenant_id
         and n.user_id = box.user_id) as count from inbox box where tenant_id = $1
       union all select user_id, count(*)::int from notification n where tenant_id = $1
         and not exists (select from inbox box where box.tenant_id = n.tenant_id and box.user_id = n.user_id)
       group by user_id`,
      [tenantId],
    );

  it('suppresses a claimed record whose only recipient is the person, so that its dispatcher writes nothing', async () => {
    const id = await insertRecord('tenant-only', ['gone']);
    const claimed = await claim();
    expect(claimed).toHaveLength(1);
    expect(await eraseAll('tenant-only', 'gone')).toMatchObject({ completedAt: expect.any(Date), deliveryRecords: 1 });
    expect(await settle(claimed)).toEqual({ logs: [], notifications: [] });
    expect(await recordOf(id)).toEqual({
      status: 'suppressed',
      error_code: 'recipient_erased',
      lease_token: null,
      claims: 1,
      is_reduced: true,
      people: [],
    });
    expect(await inboxes('tenant-only')).toEqual([]);
    expect(await claim()).toEqual([]);
  });

  it('queues a claimed record again for the other people of its audience', async () => {
    const id = await insertRecord('tenant-others', ['gone', 'stays']);
    const claimed = await claim();
    await eraseAll('tenant-others', 'gone');
    expect(await settle(claimed)).toEqual({ logs: [], notifications: [] });
    expect(await recordOf(id)).toEqual({
      status: 'queued',
      error_code: null,
      lease_token: null,
      claims: 0,
      is_reduced: false,
      people: ['stays'],
    });
    await settle(await claim());
    expect(await recordOf(id)).toMatchObject({ status: 'sent' });
    expect(await inboxes('tenant-others')).toEqual([{ user_id: 'stays', count: 1 }]);
  });

  it('suppresses a waiting record whose audience becomes empty', async () => {
    const id = await insertRecord('tenant-waiting', ['gone']);
    await eraseAll('tenant-waiting', 'gone');
    expect(await recordOf(id)).toMatchObject({ status: 'suppressed', error_code: 'recipient_erased' });
  });

  it('deletes a notification that a dispatcher wrote before the erasure reached its record', async () => {
    const id = await insertRecord('tenant-written', ['gone', 'stays']);
    await settle(await claim());
    expect(await eraseAll('tenant-written', 'gone')).toMatchObject({ notifications: 1, deliveryRecords: 1 });
    expect(await recordOf(id)).toMatchObject({ status: 'sent', people: ['stays'] });
    expect(await inboxes('tenant-written')).toEqual([{ user_id: 'stays', count: 1 }]);
  });

  const insertRejected = async (
    tenantId: string,
    raws: Record<string, string | Buffer>,
  ): Promise<Map<string, string>> => {
    const names = new Map<string, string>();
    for (const [name, raw] of Object.entries(raws)) {
      const id = newId();
      names.set(id, name);
      await sql(
        files.url,
        `insert into rejected_event (id, tenant_id, reason, message, raw, headers, source)
         values ($1, $2, 'validation_failed', 'invalid', $3, '{}', 'http')`,
        [id, tenantId, Buffer.from(raw)],
      );
    }
    return names;
  };
  const keptOf = async (tenantId: string, names: Map<string, string>): Promise<(string | undefined)[]> =>
    (await sql<{ id: string }>(files.url, 'select id from rejected_event where tenant_id = $1', [tenantId]))
      .map(({ id }) => names.get(id))
      .toSorted();

  it('deletes only the rejected events that name the user id', async () => {
    const names = await insertRejected('tenant-ids', {
      'kept: part of an id': '{"recipient_ids": ["user-1", "10", "21"]}',
      'kept: a number': '{"amount": 1, "price": 1.1}',
      'kept: part of a text': '{"text": "You have 1 new message"}',
      'kept: a text with a backslash': '{"text": "line\\nline"}',
      'kept: a key': '{"1": "one"}',
      'kept: part of an id in bytes that are not JSON': 'user-1, {"ids": ["21", "1.1"',
      'kept: invalid UTF-8': Buffer.from([0xff, 0xfe, 0x00, 0x80]),
      value: '{"recipient_ids": ["2", "1"]}',
      'nested value': '{"data": {"actor": [{"id": "1"}]}}',
      'escaped value': '{"id": "\\u0031"}',
      'embedded document': JSON.stringify({ data: JSON.stringify({ id: '1' }) }),
      'document of one string': '"1"',
      'cut off': '{"recipient_ids": ["1"',
      'cut off, escaped': '{"recipient_ids": ["\\u0031"',
      'invalid UTF-8 around it': Buffer.concat([Buffer.from([0xff]), Buffer.from('"1"'), Buffer.from([0xc3])]),
    });
    const other = await insertRejected('tenant-other', { 'of another tenant': '{"id": "1"}' });
    const kept = [...names.values()].filter((name) => name.startsWith('kept'));
    expect(await eraseAll('tenant-ids', '1')).toMatchObject({ others: names.size - kept.length });
    expect(await keptOf('tenant-ids', names)).toEqual(kept.toSorted());
    expect(await keptOf('tenant-other', other)).toEqual(['of another tenant']);
  });

  it('deletes only the rejected events that name an address', async () => {
    const names = await insertRejected('tenant-addresses', {
      'kept: longer local part': '{"email": "not.ann@example.com", "text": "for x-ann@example.com"}',
      'kept: longer domain': '{"email": "ann@example.com.vn"}',
      'kept: longer phone number': '{"phone": "+849012345678"}',
      'kept: longer URL': 'https://example.com/hookshot',
      'in upper case': '{"recipient": "ANN@Example.com"}',
      escaped: '{"recipient": "ann\\u0040example.com"}',
      'in a text': '{"text": "Write to Ann@example.com."}',
      'with an umlaut': '{"recipient": "ann@example.com", "name": "Änn"}',
      phone: '{"phone": "+84901234567"}',
      'URL with escaped slashes': '{"url": "https:\\/\\/example.com\\/hook"}',
      'not JSON': 'to=ann@EXAMPLE.com;',
    });
    const kept = [...names.values()].filter((name) => name.startsWith('kept'));
    const addresses = { email: 'Ann@example.com', phone: '+84901234567', webhook_url: 'https://example.com/hook' };
    expect(await eraseAll('tenant-addresses', addresses)).toMatchObject({ others: names.size - kept.length });
    expect(await keptOf('tenant-addresses', names)).toEqual(kept.toSorted());
  });

  it('finds an address with letters outside of ASCII in any case', async () => {
    const names = await insertRejected('tenant-umlaut', {
      value: '{"recipient": "MÜLLER@example.com"}',
      'kept: another name': '{"recipient": "mueller@example.com"}',
    });
    await eraseAll('tenant-umlaut', { email: 'müller@example.com' });
    expect(await keptOf('tenant-umlaut', names)).toEqual(['kept: another name']);
  });

  it('checks all rejected events in batches of bounded number and size', async () => {
    await sql(
      files.url,
      `insert into rejected_event (id, tenant_id, reason, message, raw, headers, source)
       select gen_random_uuid(), 'tenant-many', 'validation_failed', 'invalid', convert_to(json_build_object(
         'id', case when n % 1500 = 0 then 'gone' else 'stays' end,
         'text', case when n % 1500 = 0 then repeat('x', 5000000) end)::text, 'UTF8'), '{}', 'http'
       from generate_series(1, 4500) n`,
    );
    expect(await eraseAll('tenant-many', 'gone')).toMatchObject({ others: 3 });
    const [left] = await sql(
      files.url,
      `select count(*)::int as count from rejected_event where tenant_id = 'tenant-many'`,
    );
    expect(left).toEqual({ count: 4_497 });
  });
});
