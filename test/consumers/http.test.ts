import { randomUUID } from 'node:crypto';

import { CloudEvent, HTTP } from 'cloudevents';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { eventually } from '../support/eventually.ts';
import {
  activityEvent,
  type EventAnswer,
  startTestService,
  type TestService,
  WELCOME_TEMPLATE,
  welcomeEvent,
} from '../support/service.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-http';
const V1 = 'notification.triggered.v1';
const STRUCTURED = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';

interface Answer {
  status: number;
  body: EventAnswer & { required?: string; trace_id?: string };
}

interface RejectedRow {
  id: string;
  tenant_id: string | null;
  event_type: string | null;
  reason: string;
  message: string;
  raw: Buffer;
  headers: Record<string, string>;
  source: string;
  topic: string | null;
}

describe('POST /events', () => {
  let service: TestService;
  let producer: string;

  beforeAll(async () => {
    service = await startTestService();
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterAll(() => service.close());
  beforeEach(() => sql(service.databaseUrl, 'truncate rejected_event'));

  /** Sends no token when `token` is undefined in the headers. */
  async function post(
    body: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string>,
    token?: string,
  ): Promise<Answer> {
    const response = await fetch(`${service.url}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token ?? producer}`, ...headers },
      body,
    });
    return { status: response.status, body: (await response.json()) as Answer['body'] };
  }
  const event = (data: unknown, changes: Record<string, unknown> = {}): CloudEvent<unknown> =>
    new CloudEvent({ source: '/sale', type: V1, data, ...changes });
  const send = (cloudEvent: CloudEvent<unknown>, mode: 'binary' | 'structured', token?: string): Promise<Answer> => {
    const { headers, body } = HTTP[mode](cloudEvent);
    return post(String(body), headers as Record<string, string>, token);
  };
  const sendBatch = (items: unknown[]): Promise<Answer> => post(JSON.stringify(items), { 'content-type': BATCH });
  const logs = (eventId: unknown) =>
    sql<{ id: string; status: string; tenant_id: string; traceparent: string | null }>(
      service.databaseUrl,
      'select id, status, tenant_id, traceparent from notification_log where event_id = $1',
      [eventId],
    );
  const rejected = () => sql<RejectedRow>(service.databaseUrl, 'select * from rejected_event order by id');

  it.each(['structured', 'binary'] as const)('accepts an event in %s mode and delivers it', async (mode) => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const data = welcomeEvent(TENANT);
    const { status, body } = await send(event(data, { traceparent }), mode);
    expect({ status, body }).toEqual({
      status: 202,
      body: { results: [{ status: 'accepted', log_id: expect.any(String) }] },
    });
    // The row was committed before the response.
    expect(await logs(data['event_id'])).toMatchObject([{ id: body.results[0]?.log_id, traceparent }]);
    await eventually(async () => (await logs(data['event_id']))[0]?.status === 'sent', 'delivery');
    expect(await rejected()).toEqual([]);
  });

  it('returns a result for each event of a batch, in order, and stores the valid ones', async () => {
    const known = welcomeEvent(TENANT);
    await send(event(known), 'structured');
    const fresh = welcomeEvent(TENANT);
    const people = activityEvent(TENANT, ['anna']);
    const bad = event(welcomeEvent(TENANT, { recipient: 'not-an-address' }));
    const { status, body } = await sendBatch([
      event(fresh),
      bad,
      event(known),
      event({}, { type: 'notification.bulk.v1' }),
      event({ tenant_id: TENANT, at: '2025-06-14T07:32:00Z' }, { type: 'config.updated' }),
      event(people, { type: 'signal.activity-notification' }),
      'not an event',
    ]);
    expect(status).toBe(202);
    expect(body.results.map((result) => [result.status, result.error_code])).toEqual([
      ['accepted', undefined],
      ['rejected', 'validation_failed'],
      ['duplicate', undefined],
      ['rejected', 'unsupported_type'],
      ['accepted', undefined],
      ['accepted', undefined],
      ['rejected', 'malformed_event'],
    ]);
    expect((await logs(fresh['event_id']))[0]?.id).toBe(body.results[0]?.log_id);
    expect((await logs(known['event_id']))[0]?.id).toBe(body.results[2]?.log_id);
    expect((await logs(people.id))[0]?.id).toBe(body.results[5]?.log_id);

    const rows = await rejected();
    const refused = body.results.filter((result) => result.status === 'rejected');
    expect(new Set(rows.map((row) => row.id))).toEqual(new Set(refused.map((result) => result.rejected_event_id)));
    const row = rows.find(({ id }) => id === body.results[1]?.rejected_event_id);
    expect(row).toMatchObject({
      tenant_id: TENANT,
      event_type: V1,
      reason: 'validation_failed',
      message: 'recipient must be one email address',
      headers: { 'content-type': BATCH },
      source: 'http',
      topic: null,
    });
    expect(row?.raw.toString()).toBe(JSON.stringify(bad));
    expect(body.results[1]?.message).toBe('recipient must be one email address');
  });

  it('answers 400 when no event was accepted, and stores the bytes unchanged', async () => {
    const bytes = Buffer.concat([Buffer.from('{"specversion":"1.0",'), Buffer.from([0xff, 0x00, 0xfe])]);
    const { status, body } = await post(bytes, { 'content-type': STRUCTURED, 'x-secret': 'hidden' });
    expect({ status, code: body.error_code }).toEqual({ status: 400, code: 'validation_failed' });
    expect(body.results).toMatchObject([{ status: 'rejected', error_code: 'malformed_event' }]);
    const [row] = await rejected();
    expect(row).toMatchObject({ id: body.results[0]?.rejected_event_id, tenant_id: TENANT, reason: 'malformed_event' });
    expect(row?.raw.equals(bytes)).toBe(true);
    // Headers that do not describe the event, such as the token, are not stored.
    expect(row?.headers).toEqual({ 'content-type': STRUCTURED });
  });

  it.each([
    ['an empty body', '', STRUCTURED],
    ['null', 'null', STRUCTURED],
    ['a batch that is not a list', '{}', BATCH],
    ['a batch that is not JSON', '[', BATCH],
  ])('rejects %s', async (_name, text, contentType) => {
    const { status, body } = await post(text, { 'content-type': contentType });
    expect({ status, results: body.results }).toMatchObject({
      status: 400,
      results: [{ status: 'rejected', error_code: 'malformed_event' }],
    });
    expect((await rejected()).map((row) => row.raw.toString())).toEqual([text]);
  });

  it('rejects a binary event without a required attribute', async () => {
    const body = JSON.stringify(welcomeEvent(TENANT));
    const headers = { 'content-type': 'application/json', 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/sale' };
    const answer = await post(body, headers);
    expect({ status: answer.status, results: answer.body.results }).toMatchObject({
      status: 400,
      results: [{ error_code: 'malformed_event', message: 'not a CloudEvent: type missing' }],
    });
    expect((await rejected())[0]?.headers).toEqual(headers);
  });

  it('rejects one event of a batch that is nested too deeply to be serialized, and accepts the others', async () => {
    const good = welcomeEvent(TENANT);
    const deep = `{"specversion":"1.0","id":"1","source":"/s","type":"${V1}","data":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    const text = `[${JSON.stringify(event(good))},${deep}]`;
    const { status, body } = await post(text, { 'content-type': BATCH });
    expect(status).toBe(202);
    expect(body.results.map((result) => result.status)).toEqual(['accepted', 'rejected']);
    expect((await rejected())[0]?.raw.toString()).toBe(text);
  });

  it('rejects dates that the database cannot store', async () => {
    for (const created_at of ['2016-12-31T23:59:60Z', '0000-01-01T00:00:00Z', '2025-06-14T07:32:00+07']) {
      const { status, body } = await send(event(welcomeEvent(TENANT, { created_at })), 'structured');
      expect({ status, code: body.results[0]?.error_code }).toEqual({ status: 400, code: 'validation_failed' });
    }
  });

  it('stores a rejected event whose header is shortened in the middle of a character', async () => {
    const type = `${'x'.repeat(1_999)}😀`;
    const { status } = await sendBatch([event({}, { type })]);
    expect(status).toBe(400);
    expect((await rejected())[0]?.event_type?.isWellFormed()).toBe(true);
  });

  it('rejects an event of another tenant, and that tenant does not see it', async () => {
    const foreign = welcomeEvent('tenant-other');
    const own = welcomeEvent(TENANT);
    const { status, body } = await sendBatch([event(foreign), event(own)]);
    expect(status).toBe(202);
    expect(body.results).toMatchObject([{ status: 'rejected', error_code: 'tenant_mismatch' }, { status: 'accepted' }]);
    expect(await logs(foreign['event_id'])).toEqual([]);
    // The sender made the mistake, so the event is stored for the sender's tenant.
    expect(await rejected()).toMatchObject([{ tenant_id: TENANT, reason: 'tenant_mismatch' }]);

    const config = { tenant_id: 'tenant-other', at: '2025-06-14T07:32:00Z' };
    expect((await send(event(config, { type: 'config.updated' }), 'structured')).body.results).toMatchObject([
      { status: 'rejected', error_code: 'tenant_mismatch' },
    ]);
  });

  it('answers 401 without a token and 403 without the permission, and stores nothing', async () => {
    const body = JSON.stringify(event(welcomeEvent(TENANT)));
    const anonymous = await post(body, { 'content-type': STRUCTURED, authorization: 'Basic eDp5' });
    expect(anonymous).toMatchObject({ status: 401, body: { error_code: 'unauthenticated' } });
    const reader = await service.token({ tenant_id: TENANT, permissions: ['notif.read.log'] });
    expect(await post(body, { 'content-type': STRUCTURED }, reader)).toMatchObject({
      status: 403,
      body: { error_code: 'permission_denied', required: 'notif.ingest' },
    });
    expect(await rejected()).toEqual([]);
  });

  it('answers 403 when X-Tenant-ID differs from the tenant of the token', async () => {
    const body = JSON.stringify(event(welcomeEvent(TENANT)));
    expect(await post(body, { 'content-type': STRUCTURED, 'x-tenant-id': 'tenant-other' })).toMatchObject({
      status: 403,
      body: { error_code: 'tenant_mismatch' },
    });
    expect((await post(body, { 'content-type': STRUCTURED, 'x-tenant-id': TENANT })).status).toBe(202);
  });

  it('lets a superadmin send for the tenant in X-Tenant-ID only', async () => {
    const root = await service.token({ tenant_id: 'tenant-root', role: 'superadmin' });
    const data = welcomeEvent('tenant-other');
    const body = JSON.stringify(event(data));
    const headers = { 'content-type': STRUCTURED, 'x-tenant-id': 'tenant-other' };
    expect((await post(body, headers, root)).status).toBe(202);
    expect(await logs(data['event_id'])).toMatchObject([{ tenant_id: 'tenant-other' }]);
    const answer = await post(body, { 'content-type': STRUCTURED }, root);
    expect(answer).toMatchObject({
      status: 403,
      body: { error_code: 'tenant_mismatch', results: [{ error_code: 'tenant_mismatch' }] },
    });
  });

  it('answers 413 to a body over 4 MiB and to a batch of more than 1000 events, and accepts a batch of 1000', async () => {
    const large = await post(Buffer.alloc(4 * 1024 * 1024 + 1, 'x'), { 'content-type': STRUCTURED });
    expect(large).toMatchObject({ status: 413, body: { error_code: 'payload_too_large' } });

    const items = Array.from({ length: 1_001 }, () =>
      event(welcomeEvent(TENANT, { event_id: randomUUID(), event_code: 'no.template' })),
    );
    expect(await sendBatch(items)).toMatchObject({ status: 413, body: { error_code: 'payload_too_large' } });
    const [first] = items.map(({ data }) => data as Record<string, unknown>);
    expect(await logs(first?.['event_id'])).toEqual([]);

    const { status, body } = await sendBatch(items.slice(1));
    expect(status).toBe(202);
    expect(body.results.every((result) => result.status === 'accepted')).toBe(true);
    expect(body.results).toHaveLength(1_000);
  });

  it.each(['application/json', 'text/plain', 'not a type'])('answers 415 to content type %s', async (contentType) => {
    const body = JSON.stringify(welcomeEvent(TENANT));
    expect(await post(body, { 'content-type': contentType })).toMatchObject({
      status: 415,
      body: { error_code: 'unsupported_media_type' },
    });
    expect(await rejected()).toEqual([]);
  });

  it('answers 503 during an outage of PostgreSQL without storing anything, and accepts the same events afterwards', async () => {
    const name = new URL(service.databaseUrl).pathname.slice(1);
    const admin = new URL(service.databaseUrl);
    admin.pathname = '/postgres';
    const data = welcomeEvent(TENANT);
    const items = [event(data), event({ tenant_id: TENANT })];

    await sql(admin.href, `alter database ${name} allow_connections false`);
    try {
      await sql(admin.href, 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
      const { status, body } = await sendBatch(items);
      expect({ status, code: body.error_code }).toEqual({ status: 503, code: 'unavailable' });
      expect(body).not.toHaveProperty('results');
      expect(JSON.stringify(body)).not.toContain(name);
    } finally {
      await sql(admin.href, `alter database ${name} allow_connections true`);
    }
    expect(await logs(data['event_id'])).toEqual([]);
    expect(await rejected()).toEqual([]);
    const { status, body } = await sendBatch(items);
    expect(status).toBe(202);
    expect(body.results.map((result) => result.status)).toEqual(['accepted', 'rejected']);
    await eventually(async () => (await logs(data['event_id']))[0]?.status === 'sent', 'delivery');
  });
});
