import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { devIdentity } from '../../src/identity/dev-keys.ts';
import { type ChildService, startChild } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import {
  activityEvent,
  postEvent,
  startTestService,
  type TestService,
  WELCOME_TEMPLATE,
  welcomeEvent,
} from '../support/service.ts';
import { type ReceivedMail, type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-crash';
const V1 = 'notification.triggered.v1';

interface LogRow {
  id: string;
  status: string;
  attempts: number;
}

/** The process is killed between two steps of one event, and another one takes over. */
describe('a process that dies', () => {
  let sink: SmtpSink;
  let setup: TestService;
  let env: Record<string, string>;
  let producer: string;
  const children: ChildService[] = [];

  beforeAll(async () => {
    sink = await startSmtpSink();
    // In hold mode: it provides the database and tokens but never delivers.
    setup = await startTestService({ DELIVERY_MODE: 'hold' });
    await setup.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    producer = await setup.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    env = {
      ...setup.env,
      LOG_LEVEL: 'info',
      DELIVERY_MODE: 'live',
      SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${sink.port}?from=no-reply@vas.example`,
    };
  });
  afterAll(async () => {
    await setup.close();
    await sink.close();
  });
  afterEach(async () => {
    sink.onMail = () => {};
    sink.mails.length = 0;
    await Promise.all(children.splice(0).map((child) => child.kill('SIGKILL')));
  });

  const start = async (overrides: Record<string, string> = {}): Promise<ChildService> => {
    const child = await startChild({ ...env, ...overrides });
    children.push(child);
    return child;
  };
  const logOf = async (eventId: unknown): Promise<LogRow | undefined> =>
    (
      await sql<LogRow>(setup.databaseUrl, `select id, status, attempts from notification_log where event_id = $1`, [
        eventId,
      ])
    )[0];
  const ended = (eventId: unknown, status: string): Promise<LogRow> =>
    eventually(async () => {
      const log = await logOf(eventId);
      return log?.status === status && log;
    }, `status ${status}`);
  const attemptsOf = (logId: string) =>
    sql(setup.databaseUrl, 'select outcome from delivery_attempt where log_id = $1 order by number', [logId]);
  /** Lets the lease of the dead process expire. */
  const leaseRunsOut = () =>
    sql(setup.databaseUrl, `update notification_log set due_at = now() where status = 'sending'`);

  /** Locks a table, so that a process stops in the middle of a step that writes to it. */
  async function blocking(table: string): Promise<{ isBlocking(): Promise<boolean>; release(): Promise<void> }> {
    const client = new pg.Client({ connectionString: setup.databaseUrl });
    await client.connect();
    await client.query(`begin; lock table ${table} in access exclusive mode`);
    return {
      isBlocking: async () => {
        const waiting = await sql(
          setup.databaseUrl,
          `select 1 from pg_locks where relation = '${table}'::regclass and not granted`,
        );
        return waiting.length > 0;
      },
      release: async () => {
        await client.query('rollback');
        await client.end();
      },
    };
  }

  it('before an event is committed has not acknowledged it', async () => {
    const event = welcomeEvent(TENANT);
    const child = await start();
    const lock = await blocking('notification_log');
    const answer = postEvent(child, producer, V1, event).then(
      ({ status }) => status,
      () => 'no answer',
    );
    await eventually(() => lock.isBlocking(), 'the blocked insert');
    await child.kill('SIGKILL');
    await lock.release();
    expect(await answer).toBe('no answer');

    // The producer got no response and sends again. The event is stored once.
    const next = await start();
    expect((await postEvent(next, producer, V1, event)).status).toBe(202);
    await ended(event['event_id'], 'sent');
    expect(sink.mails).toHaveLength(1);
  });

  it('after an event is committed leaves it to another process', async () => {
    const event = welcomeEvent(TENANT);
    const holding = await start({ DELIVERY_MODE: 'hold' });
    expect((await postEvent(holding, producer, V1, event)).status).toBe(202);
    await holding.kill('SIGKILL');
    expect(await logOf(event['event_id'])).toMatchObject({ status: 'queued' });

    await start();
    await ended(event['event_id'], 'sent');
    expect(sink.mails).toHaveLength(1);
  });

  it('while the relay has the mail leaves an unknown attempt, and the retry has the same Message-ID', async () => {
    const event = welcomeEvent(TENANT);
    const received: ReceivedMail[] = [];
    const first = Promise.withResolvers<void>();
    sink.onMail = async (mail) => {
      received.push(mail);
      if (received.length === 1) {
        first.resolve();
        await new Promise(() => {});
      }
    };
    const child = await start();
    await postEvent(child, producer, V1, event);
    await first.promise;
    await child.kill('SIGKILL');
    expect(await logOf(event['event_id'])).toMatchObject({ status: 'sending', attempts: 1 });

    await start();
    await leaseRunsOut();
    const log = await ended(event['event_id'], 'sent');
    expect(await attemptsOf(log.id)).toEqual([{ outcome: 'unknown' }, { outcome: 'ok' }]);
    expect(received).toHaveLength(2);
    expect(received[1]?.mail.messageId).toBe(received[0]?.mail.messageId);
  });

  it('between the acceptance of the mail and its record sends it again once, with the same Message-ID', async () => {
    const event = welcomeEvent(TENANT);
    const child = await start();
    const lock = await blocking('audit_event');
    await postEvent(child, producer, V1, event);
    await eventually(() => sink.mails.length === 1, 'the mail');
    await eventually(() => lock.isBlocking(), 'the blocked record');
    await child.kill('SIGKILL');
    await lock.release();

    await start();
    await leaseRunsOut();
    const log = await ended(event['event_id'], 'sent');
    expect(await attemptsOf(log.id)).toEqual([{ outcome: 'unknown' }, { outcome: 'ok' }]);
    expect(new Set(sink.mails.map(({ mail }) => mail.messageId)).size).toBe(1);
    const audits = await sql(setup.databaseUrl, `select 1 from audit_event where details->>'log_id' = $1`, [log.id]);
    expect(audits).toHaveLength(1);
  });

  it('while the relay takes no mail leaves no attempt of those that wait, and others take over without the lease', async () => {
    const first = Promise.withResolvers<void>();
    const never = new Promise<void>(() => {});
    let isDead = false;
    sink.onMail = async () => {
      if (isDead) return;
      first.resolve();
      await never;
    };
    const child = await start();
    const events = Array.from({ length: 60 }, () => welcomeEvent(TENANT));
    await Promise.all(events.map((event) => postEvent(child, producer, V1, event)));
    await first.promise;
    const ids = events.map((event) => event['event_id']);
    const count = async (condition: string): Promise<number> => {
      const text = `select count(*)::int as count from notification_log where event_id = any($1) and ${condition}`;
      const [row] = await sql<{ count: number }>(setup.databaseUrl, text, [ids]);
      return row?.count ?? 0;
    };
    await eventually(async () => (await count(`status = 'sending'`)) === events.length, 'all deliveries in flight');
    await child.kill('SIGKILL');
    isDead = true;

    // The lease is the default of 60 seconds. The database counts the time, so it is asked for it.
    const [died] = await sql<{ at: Date }>(setup.databaseUrl, 'select now() as at');
    await start();
    await eventually(async () => (await count(`status = 'sent'`)) === events.length, 'every mail', 30_000);
    const [late] = await sql<{ seconds: number }>(
      setup.databaseUrl,
      `select extract(epoch from max(started_at) - $2)::float8 as seconds from delivery_attempt attempt
       join notification_log log on log.id = attempt.log_id where log.event_id = any($1)`,
      [ids, died?.at],
    );
    expect(late?.seconds).toBeLessThan(20);
    const unknown = await sql(
      setup.databaseUrl,
      `select 1 from delivery_attempt attempt join notification_log log on log.id = attempt.log_id
       where log.event_id = any($1) and attempt.outcome = 'unknown'`,
      [ids],
    );
    // There are ten connections to the relay.
    expect(unknown.length).toBeLessThanOrEqual(40);
    expect(await count('attempts > 2')).toBe(0);
  });

  it('while it writes inboxes leaves each of them correct', async () => {
    const users = ['anna', 'bình', 'chi'];
    const event = activityEvent(TENANT, users);
    const child = await start();
    const lock = await blocking('notification');
    await postEvent(child, producer, 'signal.activity-notification', event);
    await eventually(() => lock.isBlocking(), 'the blocked inbox');
    await child.kill('SIGKILL');
    await lock.release();

    await start();
    await leaseRunsOut();
    await ended(event.id, 'sent');
    const inboxes = await sql(
      setup.databaseUrl,
      `select user_id, last_seq::int, unread_count,
              (select count(*)::int from notification n where (n.tenant_id, n.user_id) = (b.tenant_id, b.user_id)) as rows
       from inbox b where tenant_id = $1 order by user_id`,
      [TENANT],
    );
    expect(inboxes).toEqual(users.map((user_id) => ({ user_id, last_seq: 1, unread_count: 1, rows: 1 })));
  });

  it('is replaced by several processes, and each mail is sent once', async () => {
    const events = Array.from({ length: 60 }, () => welcomeEvent(TENANT));
    const pair = await Promise.all([start(), start()]);
    await Promise.all(events.map((event, index) => postEvent(pair[index % 2] as ChildService, producer, V1, event)));
    const sent = `select id from notification_log where status = 'sent' and event_id = any($1)`;
    const ids = events.map((event) => event['event_id']);
    await eventually(async () => (await sql(setup.databaseUrl, sent, [ids])).length === events.length, 'every mail');
    const messageIds = sink.mails.map(({ mail }) => mail.messageId);
    expect(messageIds).toHaveLength(events.length);
    expect(new Set(messageIds).size).toBe(events.length);
  });

  it('finishes deliveries in flight after SIGTERM and exits with 0', async () => {
    const event = welcomeEvent(TENANT);
    const inHand = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    sink.onMail = async () => {
      inHand.resolve();
      await answer.promise;
    };
    const child = await start();
    await postEvent(child, producer, V1, event);
    await inHand.promise;
    child.process.kill('SIGTERM');
    await eventually(() => child.lines.some((line) => line['message'] === 'stopping'), 'the shutdown');
    expect(child.process.exitCode).toBeNull();
    answer.resolve();
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(await logOf(event['event_id'])).toMatchObject({ status: 'sent', attempts: 1 });
    expect(sink.mails).toHaveLength(1);
  });

  it('starts no new sends after SIGTERM and requeues deliveries that wait for a slow relay', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'notification-crash-'));
    const config = { host: '127.0.0.1', port: sink.port, from: 'no-reply@vas.example' };
    const email = { provider: 'smtp', config, limits: { concurrency: 1 } };
    await writeFile(join(folder, `${TENANT}.json`), JSON.stringify({ channels: { email } }));
    const inHand = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    sink.onMail = async () => {
      inHand.resolve();
      await answer.promise;
    };
    const child = await start({ TENANT_CONFIG_SECRET_PATH: folder });
    const events = Array.from({ length: 8 }, () => welcomeEvent(TENANT));
    await Promise.all(events.map((event) => postEvent(child, producer, V1, event)));
    await inHand.promise;
    const logs = () => Promise.all(events.map((event) => logOf(event['event_id'])));
    await eventually(async () => (await logs()).every((log) => log?.status === 'sending'), 'all deliveries in flight');
    child.process.kill('SIGTERM');
    await eventually(() => child.lines.some((line) => line['message'] === 'stopping'), 'the shutdown');
    answer.resolve();
    expect(await child.exited).toEqual({ code: 0, signal: null });
    const left = (await logs()).filter((log) => log?.status !== 'sent');
    expect(left).toHaveLength(7);
    expect(left).toEqual(left.map((log) => ({ id: log?.id, status: 'queued', attempts: 0 })));
    for (const log of left) expect(await attemptsOf(log?.id ?? '')).toEqual([]);
    expect(sink.mails).toHaveLength(1);
    await rm(folder, { recursive: true });
    await sql(setup.databaseUrl, `update notification_log set status = 'failed' where status = 'queued'`);
  });

  it('leaves a log in which an event is found by its ids, without recipients and tokens', async () => {
    const event = welcomeEvent(TENANT, { trace_id: 'trace-to-find' });
    const child = await start({ LOG_LEVEL: 'trace' });
    await postEvent(child, producer, V1, event);
    await ended(event['event_id'], 'sent');
    await child.kill('SIGTERM');
    const found = child.lines.filter((line) => line['trace_id'] === 'trace-to-find');
    const ids = { tenant_id: TENANT, event_id: event['event_id'] };
    expect(found).toMatchObject([
      { ...ids, level: 'info', message: 'event accepted' },
      { ...ids, channel: 'email', status: 'sent', template_id: expect.any(String) },
    ]);
    const everything = JSON.stringify(child.lines);
    for (const secret of [event['recipient'], 'Nguyễn Văn A', producer]) expect(everything).not.toContain(secret);
  });
});

describe('a process that dies with its embedded database', () => {
  it('finds all data again after a restart', async () => {
    const dataPath = await mkdtemp(join(tmpdir(), 'notification-embedded-crash-'));
    await chmod(dataPath, 0o755);
    const env = { ENVIRONMENT: 'dev', DATA_PATH: dataPath };
    const first = await startChild({ ...env, DELIVERY_MODE: 'hold' });
    const identity = await devIdentity(dataPath);
    const producer = await identity.issueToken({ sub: 'p', tenant_id: TENANT, permissions: ['notif.ingest'] });
    const user = await identity.issueToken({ sub: 'anna', tenant_id: TENANT });
    await postEvent(first, producer, 'signal.activity-notification', activityEvent(TENANT, ['anna']));
    await first.kill('SIGKILL');

    const second = await startChild(env);
    try {
      await eventually(async () => {
        const response = await fetch(`${second.url}/graphql`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${user}` },
          body: '{"query":"{ unreadNotificationCount }"}',
        });
        const { data } = (await response.json()) as { data: { unreadNotificationCount: number } };
        return data.unreadNotificationCount === 1;
      }, 'the notification');
    } finally {
      expect(await second.kill('SIGTERM')).toEqual({ code: 0, signal: null });
      await rm(dataPath, { recursive: true, force: true });
    }
  });
});
