import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { PERMISSIONS } from '../../../src/identity/permissions.ts';
import type { Service } from '../../../src/service.ts';
import { run } from '../../support/client.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../../support/service.ts';
import { sql } from '../../support/sql.ts';
import { type StatementProxy, statementProxy } from '../../support/statement-proxy.ts';
import { postActivities, postWelcomes, settled } from '../../support/graph-seed.ts';

const TENANT = 'tenant-statements';
const USER = 'anna';

describe('the number of statements of a query', () => {
  let service: TestService;
  let watched: Service;
  let proxy: StatementProxy;
  let token: string;
  let ids: { log: string[]; notification: string[]; template: string };

  beforeAll(async () => {
    service = await startTestService();
    const server = new URL(inject('databaseUrl'));
    proxy = await statementProxy(server.hostname, Number(server.port || 5432));
    const url = new URL(service.env['DATABASE_URL'] as string);
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    watched = await service.startAnother({ DATABASE_URL: url.href, ROLES: 'api' });
    token = await service.token({ tenant_id: TENANT, sub: USER, permissions: [...PERMISSIONS] });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    const titles = Array.from({ length: 60 }, (_unused, index) => `n${index}`);
    const log = [
      ...(await postWelcomes(
        service,
        token,
        TENANT,
        titles.map(() => ({})),
      )),
      ...(await postActivities(service, token, TENANT, [USER], titles)),
    ];
    await settled(service.databaseUrl, log);
    const idsOf = async (table: string): Promise<string[]> =>
      (await sql<{ id: string }>(service.databaseUrl, `select id from ${table} where tenant_id = $1`, [TENANT])).map(
        ({ id }) => id,
      );
    ids = {
      log,
      notification: await idsOf('notification'),
      template: (await idsOf('notification_template'))[0] as string,
    };
  });
  afterAll(async () => {
    await service.close();
    await proxy.close();
  });

  /** Returns the statements of a query, without begin and commit. */
  const statementsOf = async (text: string, variables: Record<string, unknown> = {}): Promise<string[]> => {
    // Statements whose results are cached do not count.
    await run(watched.url, token, text, variables);
    const before = proxy.statements.length;
    const { status, errors } = await run(watched.url, token, text, variables);
    expect({ status, errors }).toEqual({ status: 200, errors: [] });
    const said = proxy.statements.slice(before);
    return said.filter((statement) => !/^\s*(begin|commit|select set_config)/.test(statement));
  };

  const LOGS = `notificationLogs(first: $first) { edges { node { id recipient attempts { number } template { id subject } } } }`;
  it.each([
    ['delivery records with their templates and attempts', `query ($first: Int) { ${LOGS} }`, 2],
    ['templates', 'query ($first: Int) { notificationTemplates(first: $first) { edges { node { id body } } } }', 1],
    ['policy definitions', 'query ($first: Int) { policyDefinitions(first: $first) { edges { node { id } } } }', 1],
    ['suppressions', 'query ($first: Int) { suppressions(first: $first) { edges { node { id } } } }', 1],
    ['rejected events', 'query ($first: Int) { rejectedEvents(first: $first) { edges { node { id } } } }', 1],
    ['audit events', 'query ($first: Int) { auditEvents(first: $first) { edges { node { id details } } } }', 1],
    ['connected clients', 'query ($first: Int) { connectedClients(first: $first) { edges { node { id } } } }', 1],
    ['preferences', 'query { notificationPreferences { category channel isEnabled } }', 1],
    ['provider configurations', 'query { channelConfigs { channel provider } }', 1],
    [
      'provider configurations with their circuit breakers',
      'query { channelConfigs { channel circuit { state } } }',
      2,
    ],
  ])('for %s does not grow with the number of rows', async (_what, text, limit) => {
    for (const first of [1, 100]) {
      const statements = await statementsOf(text, { first });
      expect(statements.length, statements.join('\n')).toBeLessThanOrEqual(limit);
    }
  });

  it('for references of a gateway is one per type, for any number of references', async () => {
    const text = `query ($list: [_Any!]!) { _entities(representations: $list) {
      ... on Notification { id title } ... on NotificationLog { id status template { id } } ... on NotificationTemplate { id } } }`;
    const list = [
      ...ids.notification.map((id) => ({ __typename: 'Notification', id })),
      ...ids.log.map((id) => ({ __typename: 'NotificationLog', id })),
      { __typename: 'NotificationTemplate', id: ids.template },
    ];
    const statements = await statementsOf(text, { list });
    expect(statements.length, statements.join('\n')).toBeLessThanOrEqual(4);
  });

  it('for a page of the inbox with its count and details is two, in one round trip', async () => {
    const text = `query ($first: Int!) { unreadNotificationCount
      notifications(first: $first) { liveCursor edges { node { id body actor { id } } } } }`;
    await run(watched.url, token, text, { first: 100 });
    const before = proxy.statements.length;
    await run(watched.url, token, text, { first: 100 });
    expect(proxy.statements.slice(before)).toEqual([
      'begin',
      expect.stringMatching(/^select set_config/),
      expect.any(String),
      expect.any(String),
      'commit',
    ]);
  });

  describe('for a page of an inbox', () => {
    const SIZES = { small: 1_000, large: 100_000 };
    let client: pg.Client;
    let statement: string;
    beforeAll(async () => {
      await sql(
        service.databaseUrl,
        `insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, body, recipient_scope, read_at)
         select gen_random_uuid(), '${TENANT}', size.name, n, n, gen_random_uuid(), 'payment.succeeded', 'Paid.', 'users',
           case when n % 3 = 0 then now() end
         from (values ${Object.entries(SIZES)
           .map(([name, rows]) => `('${name}', ${rows})`)
           .join(', ')}) size (name, rows),
           lateral generate_series(1, size.rows) n`,
      );
      await sql(service.databaseUrl, 'vacuum analyze notification');
      client = new pg.Client({ connectionString: service.env['DATABASE_URL'] as string });
      await client.connect();
      const before = proxy.statements.length;
      const fresh = 'query { notifications(first: 20, filter: {isRead: false}) { edges { node { id } } } }';
      await run(watched.url, token, fresh);
      statement = proxy.statements.slice(before).find((text) => text.includes('from notification n')) as string;
    });
    afterAll(() => client.end());

    /** Returns the number of database pages that the statement reads, and the kinds of access. */
    const explain = async (user: string): Promise<{ blocks: number; plan: string }> => {
      await client.query('begin');
      await client.query(`select set_config('role', 'notif_api', true), set_config('app.tenant_id', $1, true)`, [
        TENANT,
      ]);
      const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
        `explain (analyze, buffers, format json) ${statement}`,
        [TENANT, user, 21, false],
      );
      await client.query('rollback');
      const Plan = rows[0]?.['QUERY PLAN'][0].Plan ?? {};
      const blocks = (Plan['Shared Hit Blocks'] ?? 0) + (Plan['Shared Read Blocks'] ?? 0);
      return { blocks, plan: JSON.stringify(Plan) };
    };

    it('is the same among 100 000 notifications as among 1 000, with an index scan and without a sort', async () => {
      await explain('small');
      const small = await explain('small');
      const large = await explain('large');
      for (const { plan } of [small, large]) {
        expect(plan).toMatch(/"Index Name":"notification_(position|unread)"/);
        expect(plan).not.toMatch(/"Node Type":"(Sort|Seq Scan)"/);
      }
      // At most one more index level for each index.
      expect(large.blocks).toBeLessThanOrEqual(small.blocks + 4);
      expect(large.blocks).toBeLessThan(60);
    });
  });
});
