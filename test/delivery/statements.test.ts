import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';

import { eventually } from '../support/eventually.ts';
import { startLeanSmtp } from '../support/lean-smtp.ts';
import { startTestService, type TestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import { type StatementProxy, statementProxy } from '../support/statement-proxy.ts';

describe('the number of statements of a dispatcher', () => {
  let holding: TestService;
  let proxy: StatementProxy;
  beforeEach(async () => {
    holding = await startTestService({ DELIVERY_MODE: 'hold' });
    const server = new URL(inject('databaseUrl'));
    proxy = await statementProxy(server.hostname, Number(server.port || 5432));
  });
  afterEach(async () => {
    await holding.close();
    await proxy.close();
  });

  const dispatch = (env: Record<string, string> = {}) => {
    const url = new URL(holding.databaseUrl);
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    return holding.startAnother({ DATABASE_URL: url.href, DELIVERY_MODE: 'live', ROLES: 'dispatcher', ...env });
  };
  const count = (text: RegExp): number => proxy.statements.filter((statement) => text.test(statement)).length;

  it('does not grow with the number of tenants while nothing is due', async () => {
    await sql(
      holding.databaseUrl,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
         status, due_at, trace_id, event_created_at)
       select gen_random_uuid(), 'tenant-' || n, gen_random_uuid(), 'notification.triggered.v1', 'user.welcome',
         '{in_app}', '{"user_id": "anna"}', '{}', 'queued', now() + interval '1 hour', 'trace', now()
       from generate_series(1, 250) n`,
    );
    const dispatching = await dispatch();
    const startedAt = performance.now();
    // Three claims cover 250 tenants. Then the dispatcher waits for a second.
    await eventually(() => count(/with recursive tenant/) >= 10, 'the claims');
    expect(performance.now() - startedAt).toBeGreaterThan(2_000);
    await dispatching.close();
  });

  it('is one per step for a batch of mails of any size', async () => {
    const rows = 3_000;
    const relay = await startLeanSmtp();
    await holding.core.templates.publish('tenant-batch', [WELCOME_TEMPLATE], null);
    await sql(
      holding.databaseUrl,
      `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
         category, status, trace_id, event_created_at)
       select gen_random_uuid(), 'tenant-batch', gen_random_uuid(), 'notification.triggered.v1', 'user.welcome',
         '{email}', jsonb_build_object('email', 'person-' || n || '@example.com', 'user_id', 'user-' || n),
         '{"full_name": "A", "first_login_at": "x"}', 'marketing', 'queued', 'trace', now()
       from generate_series(1, ${rows}) n`,
    );
    const dispatching = await dispatch({
      SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${relay.port}?from=no-reply@vas.example`,
    });
    const sent = `select count(*)::int as n from notification_log where status = 'sent'`;
    await eventually(async () => (await sql<{ n: number }>(holding.databaseUrl, sent))[0]?.n === rows, 'every mail');
    await dispatching.close();

    const claims = count(/with recursive tenant/);
    const looked = count(/^\s*select slot, 'suppressed'/);
    const opened = count(/insert into delivery_attempt \(log_id, number, tenant_id, channel, provider, deduplicates\)/);
    const settled = count(/with input as \(\s+select \* from jsonb_to_recordset\(\$1::jsonb\) as settlement/);
    expect(looked).toBeLessThanOrEqual(claims);
    // The size of a batch depends on the machine, and only mails that the relay is about to take have an attempt. Batches of
    // one mail would take twice as many statements as rows.
    expect(claims + opened + settled).toBeLessThan(rows * 1.5);
    // Each has begin, set role and commit; all but one set how they are planned, and a settlement locks its rows. Others:
    // settings and templates once, and what runs every few seconds, such as the renewal of leases.
    const heartbeats = count(/insert into dispatcher_instance/);
    const planned = claims + opened + settled + heartbeats;
    const others = proxy.statements.length - 5 * planned - 4 * looked - settled;
    expect(others, JSON.stringify([claims, looked, opened, settled])).toBeLessThan(rows / 10);
    expect(relay.received.size).toBe(rows);
    await relay.close();
  });
});
