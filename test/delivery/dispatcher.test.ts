import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { eventually } from '../support/eventually.ts';
import { postEvent, startTestService, type TestService, WELCOME_TEMPLATE, welcomeEvent } from '../support/service.ts';
import { type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-dispatch';
const V1 = 'notification.triggered.v1';

interface LogRow {
  status: string;
  channel: string | null;
  attempts: number;
  error_code: string | null;
}

describe('the dispatcher', () => {
  let sink: SmtpSink;
  let service: TestService;
  let producer: string;

  beforeAll(async () => {
    sink = await startSmtpSink();
    service = await startTestService({
      DELIVERY_MODE: 'live',
      SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${sink.port}?from=no-reply@vas.example`,
    });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
  });
  afterAll(async () => {
    await service.close();
    await sink.close();
  });
  afterEach(() => {
    sink.mails.length = 0;
    sink.onMail = () => {};
  });

  const post = async (type: string, event: object): Promise<string> => {
    const { status, body } = await postEvent(service, producer, type, event);
    expect(status, JSON.stringify(body)).toBe(202);
    return body.results[0]?.log_id as string;
  };
  const ended = (id: string, databaseUrl = service.databaseUrl): Promise<LogRow> =>
    eventually(async () => {
      const [row] = await sql<LogRow>(
        databaseUrl,
        'select status, channel, attempts, error_code from notification_log where id = $1',
        [id],
      );
      return row && !['queued', 'sending', 'retrying'].includes(row.status) && row;
    }, `the end of ${id}`);
  const v2 = (changes: object): object => {
    const { channel: _channel, recipient: _recipient, ...event } = welcomeEvent(TENANT);
    return { ...event, ...changes };
  };

  it('records a mail once when the database was down at the time the relay accepted it', async () => {
    const taken = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    sink.onMail = async () => {
      taken.resolve();
      await answer.promise;
    };
    const id = await post(V1, welcomeEvent(TENANT));
    await taken.promise;

    const name = new URL(service.databaseUrl).pathname.slice(1);
    const admin = new URL(service.databaseUrl);
    admin.pathname = '/postgres';
    await sql(admin.href, `alter database ${name} allow_connections false`);
    await sql(admin.href, 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name]);
    answer.resolve();
    await eventually(() => sink.mails.length === 1, 'the mail');
    await sql(admin.href, `alter database ${name} allow_connections true`);

    expect(await ended(id)).toMatchObject({ status: 'sent', attempts: 1 });
    expect(sink.mails).toHaveLength(1);
  });

  it('does not claim its own rows when their leases have expired meanwhile', async () => {
    const holding = await startTestService({ DELIVERY_MODE: 'hold' });
    const privilege = (change: string) => sql(holding.databaseUrl, `${change} notif_worker`);
    try {
      await holding.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
      const lines: string[] = [];
      const dispatching = await holding.startAnother(
        {
          DELIVERY_MODE: 'live',
          LOG_LEVEL: 'error',
          SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${sink.port}?from=no-reply@vas.example`,
        },
        { write: (line) => lines.push(line) },
      );
      const token = await holding.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
      // Outcomes cannot be written while rows can be claimed: the worst kind of outage.
      await privilege('revoke insert on audit_event from');
      const { body } = await postEvent(holding, token, V1, welcomeEvent(TENANT));
      const failures = (): number => lines.filter((line) => line.includes('recording deliveries failed')).length;
      await eventually(() => failures() > 0, 'the failed record');
      await sql(holding.databaseUrl, `update notification_log set due_at = now() - interval '1 minute'`);
      // The delays between retries double. Before the fifth attempt the dispatcher has looked for due rows itself.
      await eventually(() => failures() >= 5, 'more failed records');
      await privilege('grant insert on audit_event to');

      const id = body.results[0]?.log_id as string;
      expect(await ended(id, holding.databaseUrl)).toMatchObject({ status: 'sent', attempts: 1 });
      expect(sink.mails).toHaveLength(1);
      await dispatching.close();
    } finally {
      await holding.close();
    }
  });

  it('records the other outcomes of a batch when the database refuses one', async () => {
    await sql(
      service.databaseUrl,
      `create function refuse() returns trigger language plpgsql as $$
       begin raise exception using errcode = '22000', message = 'refused'; end $$;
       create trigger refuse before update on notification_log for each row
         when (new.trace_id = 'poison' and new.status = 'sent') execute function refuse()`,
    );
    try {
      const good = await Promise.all(Array.from({ length: 9 }, () => post(V1, welcomeEvent(TENANT))));
      const bad = await post(V1, welcomeEvent(TENANT, { trace_id: 'poison' }));
      const more = await Promise.all(Array.from({ length: 9 }, () => post(V1, welcomeEvent(TENANT))));
      expect(await ended(bad)).toMatchObject({ status: 'failed', error_code: 'internal' });
      const attempts = 'select outcome from delivery_attempt where log_id = $1';
      expect(await sql(service.databaseUrl, attempts, [bad])).toEqual([{ outcome: 'ok' }]);
      for (const id of [...good, ...more]) expect(await ended(id)).toMatchObject({ status: 'sent', attempts: 1 });
    } finally {
      await sql(service.databaseUrl, 'drop function refuse cascade');
    }
  });

  it('tries the channels of an event in order until one can reach the recipient', async () => {
    await service.core.templates.publish(TENANT, [{ ...WELCOME_TEMPLATE, channel: 'in_app' }], null);
    const both = { user_id: 'anna', email: 'anna@example.com' };
    const inApp = await post('notification.triggered.v2', v2({ recipient: both, channels: ['in_app', 'email'] }));
    expect(await ended(inApp)).toMatchObject({ status: 'sent', channel: 'in_app' });
    const email = await post('notification.triggered.v2', v2({ recipient: both, channels: ['sms', 'email'] }));
    expect(await ended(email)).toMatchObject({ status: 'sent', channel: 'email' });
    const nobody = await post('notification.triggered.v2', v2({ recipient: both, channels: ['sms', 'push'] }));
    expect(await ended(nobody)).toMatchObject({ status: 'failed', channel: null, error_code: 'no_address' });
  });

  it('chooses a channel with a template and an address when the event has no channels', async () => {
    await service.core.templates.publish(
      TENANT,
      [{ ...WELCOME_TEMPLATE, eventCode: 'inbox.only', channel: 'in_app' }],
      null,
    );
    const recipient = { user_id: 'anna', email: 'anna@example.com' };
    const id = await post('notification.triggered.v2', v2({ recipient, event_code: 'inbox.only' }));
    expect(await ended(id)).toMatchObject({ status: 'sent', channel: 'in_app' });
    const known = await post('notification.triggered.v2', v2({ recipient }));
    expect(await ended(known)).toMatchObject({ status: 'sent', channel: 'email' });
  });

  it('waits for send_at', async () => {
    const id = await post(
      'notification.triggered.v2',
      v2({ recipient: { email: 'anna@example.com' }, send_at: '2999-01-01T00:00:00Z' }),
    );
    const other = await post(V1, welcomeEvent(TENANT));
    await ended(other);
    const [row] = await sql<LogRow>(service.databaseUrl, 'select status from notification_log where id = $1', [id]);
    expect(row).toMatchObject({ status: 'queued' });
    await sql(service.databaseUrl, 'update notification_log set due_at = now() where id = $1', [id]);
    expect(await ended(id)).toMatchObject({ status: 'sent' });
  });

  it('fails with channel_misconfigured instead of using another channel', async () => {
    await service.core.templates.publish(TENANT, [{ ...WELCOME_TEMPLATE, channel: 'sms' }], null);
    const id = await post(V1, welcomeEvent(TENANT, { channel: 'sms', recipient: '+84912345678' }));
    expect(await ended(id)).toMatchObject({ status: 'failed', error_code: 'channel_not_configured' });
  });

  it('gives up a row that crashes its process repeatedly', async () => {
    const id = await post(
      'notification.triggered.v2',
      v2({ recipient: { email: 'anna@example.com' }, send_at: '2999-01-01T00:00:00Z' }),
    );
    await sql(service.databaseUrl, 'update notification_log set claims = 30, due_at = now() where id = $1', [id]);
    expect(await ended(id)).toMatchObject({ status: 'failed', error_code: 'attempts_exhausted' });
  });

  it('processes a backlog with a bounded number of statements per batch', async () => {
    const holding = await startTestService({ DELIVERY_MODE: 'hold' });
    const rows = 500;
    try {
      await holding.core.templates.publish(TENANT, [{ ...WELCOME_TEMPLATE, channel: 'in_app' }], null);
      await sql(
        holding.databaseUrl,
        `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params,
           status, trace_id, event_created_at)
         select gen_random_uuid(), $1, gen_random_uuid(), 'notification.triggered.v1', 'user.welcome', '{in_app}',
           jsonb_build_object('user_id', 'user-' || n % 50), '{"full_name": "A", "first_login_at": "x"}', 'queued',
           'trace', now()
         from generate_series(1, ${rows}) n`,
        [TENANT],
      );
      const transactions = async (): Promise<number> => {
        await sql(holding.databaseUrl, 'select pg_stat_force_next_flush()');
        const [row] = await sql<{ n: number }>(
          holding.databaseUrl,
          'select xact_commit::int as n from pg_stat_database where datname = current_database()',
        );
        return row?.n ?? 0;
      };
      const before = await transactions();
      const dispatching = await holding.startAnother({ DELIVERY_MODE: 'live' });
      await eventually(async () => {
        const [row] = await sql<{ n: number }>(
          holding.databaseUrl,
          `select count(*)::int as n from notification_log where status = 'sent'`,
        );
        return row?.n === rows;
      }, 'the end of the backlog');
      await dispatching.close();
      // A few transactions per batch of 200 rows (claim, look-up, settle), plus start-up and polling.
      expect((await transactions()) - before).toBeLessThan(rows / 4);
      const unread = await sql(holding.databaseUrl, 'select sum(unread_count)::int as unread from inbox');
      expect(unread).toEqual([{ unread: rows }]);
    } finally {
      await holding.close();
    }
  });
});

describe('delivery modes', () => {
  it('hold keeps everything queued; sandbox captures it afterwards, and nothing is sent', async () => {
    const sink = await startSmtpSink();
    const service = await startTestService({
      DELIVERY_MODE: 'hold',
      SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${sink.port}?from=no-reply@vas.example`,
    });
    try {
      await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
      const producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
      await postEvent(service, producer, V1, welcomeEvent(TENANT));
      const statuses = () => sql<{ status: string }>(service.databaseUrl, 'select status from notification_log');
      expect(await statuses()).toEqual([{ status: 'queued' }]);

      const sandbox = await service.startAnother({ DELIVERY_MODE: 'sandbox' });
      await eventually(async () => (await statuses())[0]?.status === 'sent', 'the capture');
      const response = await fetch(`${sandbox.url}/mailbox/messages`);
      const { messages } = (await response.json()) as { messages: Record<string, unknown>[] };
      expect(messages).toMatchObject([
        { tenantId: TENANT, recipient: 'student@example.edu.vn', subject: 'Chào mừng Nguyễn Văn A' },
      ]);
      expect(sink.connections).toBe(0);
    } finally {
      await service.close();
      await sink.close();
    }
  });
});
