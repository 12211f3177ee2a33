import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { seedDemoHistory } from '../../demo/history.ts';
import { type DemoTokens, demoTokens, seedDemoTenant } from '../../demo/seed.ts';
import {
  AuditTrailDocument,
  ChannelsDocument,
  DeliveryLogsDocument,
  InboxDocument,
  MyPreferencesDocument,
  PolicyDefinitionsDocument,
  RejectedEventsDocument,
  StatisticsDocument,
  SuppressionsDocument,
  TemplatesDocument,
} from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestService, type TestService } from '../support/service.ts';

describe('the demo tenant', () => {
  let service: TestService;
  let tokens: DemoTokens;

  const seed = async (): Promise<void> => {
    const { tenantId } = await seedDemoTenant(service);
    await seedDemoHistory(service, tenantId);
    if (!service.devIdentity) throw new Error('dev keys expected');
    tokens = await demoTokens(service.devIdentity, tenantId);
  };
  const logs = async () =>
    (await query(service.url, tokens.admin, DeliveryLogsDocument, { first: 100 })).notificationLogs.edges.map(
      ({ node }) => node,
    );
  const isOpen = ({ status }: { status: string }): boolean => ['SENDING', 'RETRYING'].includes(status);
  const settled = () =>
    eventually(async () => {
      const rows = await logs();
      return rows.filter(({ status }) => status === 'QUEUED').length === 1 && !rows.some(isOpen) && rows;
    }, 'the end of all deliveries but the one that waits');

  beforeAll(async () => {
    service = await startTestService();
    await seed();
  });
  afterAll(() => service.close());

  it('has a delivery record of each outcome', async () => {
    const rows = await settled();
    expect(new Set(rows.map(({ status }) => status))).toEqual(
      new Set(['SENT', 'SENT_FALLBACK', 'SUPPRESSED', 'EXPIRED', 'FAILED', 'QUEUED']),
    );
    const reasons = rows.flatMap(({ errorCode }) => (errorCode === null ? [] : [errorCode]));
    expect(reasons).toEqual(expect.arrayContaining(['template_variable_missing', 'template_not_found', 'expired']));
  });

  it('has read and unread notifications in the inbox', async () => {
    const { notifications } = await query(service.url, tokens.user, InboxDocument, {});
    const read = notifications.edges.map(({ node }) => node.readAt !== null);
    expect(new Set(read)).toEqual(new Set([true, false]));
  });

  it('shows something in each list', async () => {
    await settled();
    const ask = async (name: string, work: Promise<object>): Promise<[string, boolean]> => {
      const list = Object.values(await work).find((value) => typeof value === 'object') as
        | unknown[]
        | { edges: unknown[] };
      return [name, (Array.isArray(list) ? list : list.edges).length > 0];
    };
    const { url } = service;
    const { admin, user } = tokens;
    const range = {
      from: new Date(Date.now() - 3_600_000).toISOString(),
      to: new Date(Date.now() + 3_600_000).toISOString(),
    };
    const lists = await Promise.all([
      ask('templates', query(url, admin, TemplatesDocument, {})),
      ask('channels', query(url, admin, ChannelsDocument, {})),
      ask('policies', query(url, admin, PolicyDefinitionsDocument, {})),
      ask('suppressions', query(url, admin, SuppressionsDocument, {})),
      ask('rejected events', query(url, admin, RejectedEventsDocument, {})),
      ask('audit events', query(url, admin, AuditTrailDocument, {})),
      ask('statistics', query(url, admin, StatisticsDocument, range)),
      ask('preferences', query(url, user, MyPreferencesDocument, {})),
      ask('inbox of the admin', query(url, admin, InboxDocument, {})),
    ]);
    expect(lists.filter(([, isFilled]) => !isFilled)).toEqual([]);
  });

  it('stays the same when it is seeded again', async () => {
    const count = async (): Promise<number[]> => [
      (await settled()).length,
      (await query(service.url, tokens.admin, RejectedEventsDocument, {})).rejectedEvents.edges.length,
      (await query(service.url, tokens.admin, AuditTrailDocument, { first: 100 })).auditEvents.edges.length,
    ];
    const before = await count();
    await seed();
    expect(await count()).toEqual(before);
  });
});
