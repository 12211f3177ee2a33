import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  DeliveryLogDocument,
  DeliveryLogsDocument,
  type DeliveryLogsQueryVariables,
  SendTestNotificationDocument,
  type SendTestNotificationMutationVariables,
} from '../../generated/operations.ts';
import { query, run } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';
import { allPages, FOREIGN_CURSORS, nodesOf } from '../../support/graphql-pages.ts';
import { postActivities, postWelcomes, settled } from '../../support/graph-seed.ts';

const TENANT = 'tenant-logs';

describe('delivery records', () => {
  let service: TestService;
  let producer: string;
  let admin: string;
  let ids: string[];
  const eventId = randomUUID();

  beforeAll(async () => {
    service = await startTestService();
    const tokenWith = (...permissions: string[]) => service.token({ tenant_id: TENANT, permissions });
    producer = await tokenWith('notif.ingest');
    admin = await tokenWith('notif.read.log', 'notif.read.template', 'notif.send.test');
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    ids = await postWelcomes(service, producer, TENANT, [
      ...Array.from({ length: 22 }, () => ({})),
      { event_code: 'no.template', trace_id: 'trace-of-failure' },
      { event_id: eventId },
    ]);
    ids.push(...(await postActivities(service, producer, TENANT, ['anna'], ['hello'])));
    await settled(service.databaseUrl, ids);
  });
  afterAll(() => service.close());

  const list = async (variables: DeliveryLogsQueryVariables = {}) =>
    (await query(service.url, admin, DeliveryLogsDocument, variables)).notificationLogs;
  const idsOf = async (filter: DeliveryLogsQueryVariables['filter']) =>
    (await list({ first: 100, filter })).edges.map(({ node }) => node.id);

  it.each([3, 24, 25, 100])('are returned completely, newest first, in pages of %i', async (first) => {
    const pages = await allPages((after) => list({ first, after }));
    expect(nodesOf(pages).map(({ id }) => id)).toEqual(ids.toReversed());
    expect(pages).toHaveLength(Math.ceil(25 / first));
  });

  it('can be filtered by every condition in combination', async () => {
    const [failed, known, activity] = ids.slice(-3) as [string, string, string];
    expect(await idsOf({ statuses: ['FAILED'] })).toEqual([failed]);
    expect(await idsOf({ statuses: ['SENT', 'FAILED'] })).toHaveLength(25);
    expect(await idsOf({ statuses: [] })).toEqual([]);
    expect(await idsOf({ channels: ['IN_APP'] })).toEqual([activity]);
    expect(await idsOf({ eventCode: 'no.template' })).toEqual([failed]);
    expect(await idsOf({ traceId: 'trace-of-failure' })).toEqual([failed]);
    expect(await idsOf({ eventId })).toEqual([known]);
    expect(await idsOf({ eventId: eventId.toUpperCase() })).toEqual([known]);
    expect(await idsOf({ eventId, statuses: ['FAILED'] })).toEqual([]);
    expect(await idsOf({ isTest: false })).toHaveLength(25);
    expect(await idsOf({ createdAfter: '2100-01-01T00:00:00Z' })).toEqual([]);
    expect(await idsOf({ createdBefore: '2100-01-01T00:00:00+07:00', eventId })).toEqual([known]);
  });

  it.each([
    ...[0, -1, 101].map((first) => ({ what: `a page of ${first}`, path: 'first', variables: { first } })),
    ...FOREIGN_CURSORS.map((after) => ({ what: `the cursor ${after}`, path: 'after', variables: { after } })),
    { what: 'an event id that is not a UUID', path: 'filter.eventId', variables: { filter: { eventId: 'x' } } },
  ])('refuse $what', async ({ path, variables }) => {
    const { status, errors } = await run(service.url, admin, DeliveryLogsDocument, variables);
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
  });

  it.each([
    ['an invalid time', { createdAfter: 'yesterday' }],
    ['an invalid status', { statuses: ['lost'] }],
    ['an unknown field', { colour: 'blue' }],
  ])('refuse a filter with %s as invalid input', async (_what, filter) => {
    const { status, data, errors } = await run(service.url, admin, DeliveryLogsDocument, {
      filter: filter as DeliveryLogsQueryVariables['filter'],
    });
    expect({ status, data }).toEqual({ status: 400, data: undefined });
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', error_code: 'validation_failed' } }]);
  });

  it('show each attempt and the template, and mask the address', async () => {
    const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id: ids[0] as string });
    expect(notificationLog).toMatchObject({
      status: 'SENT',
      channel: 'EMAIL',
      recipient: 's***@example.edu.vn',
      template: { eventCode: 'user.welcome', locale: 'vi' },
      templateVersion: 1,
      attempts: [
        {
          number: 1,
          channel: 'EMAIL',
          provider: 'sandbox',
          outcome: 'OK',
          durationMs: expect.any(Number),
          startedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
          errorCode: null,
        },
      ],
    });
    expect(JSON.stringify(notificationLog)).not.toContain('student@');
  });

  it('show why a notification was not sent', async () => {
    const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id: ids[22] as string });
    expect(notificationLog).toMatchObject({
      status: 'FAILED',
      errorCode: 'template_not_found',
      attempts: [],
      template: null,
      sentAt: null,
    });
  });

  it('are null when they do not exist', async () => {
    for (const id of ['x', '00000000-0000-0000-0000-000000000000']) {
      expect(await query(service.url, admin, DeliveryLogDocument, { id })).toEqual({ notificationLog: null });
    }
  });

  describe('of a test notification', () => {
    const input = (changes: Partial<SendTestNotificationMutationVariables['input']> = {}) => ({
      input: {
        eventCode: 'user.welcome',
        channel: 'EMAIL' as const,
        recipient: 'tester@example.com',
        params: { full_name: 'T', first_login_at: 'now' },
        ...changes,
      },
    });

    it('exist immediately, are marked as tests, and are delivered', async () => {
      const { sendTestNotification: sent } = await query(service.url, admin, SendTestNotificationDocument, input());
      expect(sent).toMatchObject({
        eventCode: 'user.welcome',
        isTest: true,
        recipient: 't***@example.com',
      });
      await settled(service.databaseUrl, [sent.id]);
      const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id: sent.id });
      expect(notificationLog).toMatchObject({
        id: sent.id,
        status: 'SENT',
        channel: 'EMAIL',
        isTest: true,
        locale: 'vi',
      });
      const [message] = await eventually(async () => {
        const rows = await sql<{ recipient: string; subject: string }>(
          service.databaseUrl,
          'select recipient, subject from sandbox_message where log_id = $1',
          [sent.id],
        );
        return rows.length > 0 && rows;
      });
      expect(message).toEqual({ recipient: 'tester@example.com', subject: 'Chào mừng T' });
      expect(await idsOf({ isTest: true })).toContain(sent.id);
    });

    it('have the trace id of the request', async () => {
      const { data } = await run(service.url, admin, SendTestNotificationDocument, input(), { 'x-trace-id': 'test-1' });
      expect(data?.sendTestNotification.traceId).toBe('test-1');
    });

    it.each([
      ['input.recipient', { recipient: 'nobody' }],
      ['input.recipient', { recipient: '' }],
      ['input.recipient', { recipient: 'a@example.com, b@example.com' }],
      ['input.recipient', { recipient: 'a@example.com\r\nBcc: b@example.com' }],
      ['input.recipient', { channel: 'SMS' as const, recipient: 'a@example.com' }],
      ['input.eventCode', { eventCode: '' }],
      ['input.eventCode', { eventCode: '../../etc/passwd' }],
      ['input.params.full_name', { params: { full_name: 'a\u0000b' } }],
    ])('are not written for invalid input, and the error names the field %s: %o', async (path, changes) => {
      const before = await idsOf({ isTest: true });
      const { status, data, errors } = await run(service.url, admin, SendTestNotificationDocument, input(changes));
      expect({ status, data: data ?? null }).toEqual({ status: 400, data: null });
      expect(errors).toMatchObject([{ extensions: { error_code: 'validation_failed', fields: [{ path }] } }]);
      expect(await idsOf({ isTest: true })).toEqual(before);
    });

    it('are not written without a published template, and the error names template, channel and locale', async () => {
      const unpublished = input({
        eventCode: 'order.shipped',
        channel: 'SMS',
        recipient: '+84901234567',
        locale: 'vi',
      });
      const before = await idsOf({ isTest: true });
      const { status, errors } = await run(service.url, admin, SendTestNotificationDocument, unpublished);
      expect({ status, errors }).toMatchObject({
        status: 400,
        errors: [
          {
            message: expect.stringContaining('order.shipped (sms, vi)'),
            extensions: { error_code: 'validation_failed', fields: [{ path: 'input.eventCode' }] },
          },
        ],
      });
      expect(await idsOf({ isTest: true })).toEqual(before);
    });

    it('are not written when an input field is missing or has the wrong type', async () => {
      for (const changes of [{ recipient: undefined }, { channel: 'pigeon' }, { params: 'x' }, { params: ['x'] }]) {
        const { status, errors } = await run(
          service.url,
          admin,
          SendTestNotificationDocument,
          input(changes as Partial<SendTestNotificationMutationVariables['input']>),
        );
        expect(status, JSON.stringify(changes)).toBe(400);
        expect(errors, JSON.stringify(changes)).toMatchObject([{ extensions: { error_code: 'validation_failed' } }]);
      }
    });
  });
});
