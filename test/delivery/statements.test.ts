import { describe, expect, inject, it } from 'vitest';

import { eventually } from '../support/eventually.ts';
import { startLeanSmtp } from '../support/lean-smtp.ts';
import { startTestService, WELCOME_TEMPLATE } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import { statementDoor } from '../support/statement-door.ts';

describe('a queue in which nothing is due', () => {
  it('is looked through now and then, however many tenants it is of', async () => {
    const holding = await startTestService({ DELIVERY_MODE: 'hold' });
    const server = new URL(inject('databaseUrl'));
    const door = await statementDoor(server.hostname, Number(server.port || 5432));
    try {
      await sql(
        holding.databaseUrl,
        `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
           status, due_at, trace_id, event_created_at)
         select gen_random_uuid(), 'tenant-' || n, gen_random_uuid(), 'notification.triggered.v1', 'user.welcome',
           '{in_app}', '{"user_id": "anna"}', '{}', 'queued', now() + interval '1 hour', 'trace', now()
         from generate_series(1, 250) n`,
      );
      const url = new URL(holding.databaseUrl);
      url.hostname = '127.0.0.1';
      url.port = String(door.port);
      const dispatching = await holding.startAnother({
        DATABASE_URL: url.href,
        DELIVERY_MODE: 'live',
        ROLES: 'dispatcher',
      });
      const startedAt = performance.now();
      const claims = (): number => door.statements.filter((text) => text.includes('with recursive tenant')).length;
      // Three claims go once around 250 tenants; then it is waited for a second.
      await eventually(() => claims() >= 10, 'the claims');
      expect(performance.now() - startedAt).toBeGreaterThan(2_000);
      await dispatching.close();
    } finally {
      await holding.close();
      await door.close();
    }
  });
});

describe('a batch of mails', () => {
  it('is claimed, looked up, opened and settled with one statement each, however many there are', async () => {
    const rows = 3_000;
    const relay = await startLeanSmtp();
    const holding = await startTestService({ DELIVERY_MODE: 'hold' });
    const server = new URL(inject('databaseUrl'));
    const door = await statementDoor(server.hostname, Number(server.port || 5432));
    try {
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
      const url = new URL(holding.databaseUrl);
      url.hostname = '127.0.0.1';
      url.port = String(door.port);
      const dispatching = await holding.startAnother({
        DATABASE_URL: url.href,
        DELIVERY_MODE: 'live',
        ROLES: 'dispatcher',
        SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${relay.port}?from=no-reply@vas.example`,
      });
      await eventually(
        async () => {
          const [row] = await sql<{ n: number }>(
            holding.databaseUrl,
            `select count(*)::int as n from notification_log where status = 'sent'`,
          );
          return row?.n === rows;
        },
        'every mail',
        60_000,
      );
      await dispatching.close();

      const count = (text: RegExp): number => door.statements.filter((statement) => text.test(statement)).length;
      const claims = count(/with recursive tenant/);
      const looked = count(/^\s*select slot, 'suppressed'/);
      const opened = count(/insert into delivery_attempt \(log_id, number, tenant_id, channel, provider\)\s+select/);
      const settled = count(/with input as \(\s+select \* from jsonb_to_recordset\(\$1::jsonb\) as settlement/);
      expect(looked).toBeLessThanOrEqual(claims);
      expect(opened).toBeLessThanOrEqual(claims);
      expect(claims + settled).toBeLessThan(rows / 5);
      // Each of them in its transaction, settings and templates once, leases now and then, and nothing else.
      const others = door.statements.length - 3 * (claims + looked + opened + settled);
      expect(others, JSON.stringify([claims, looked, opened, settled])).toBeLessThan(100);
      expect(relay.received.size).toBe(rows);
    } finally {
      await holding.close();
      await door.close();
      await relay.close();
    }
  });
});
