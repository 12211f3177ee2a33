import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { DeliveryLogsDocument, DeliveryLogDocument } from '../generated/operations.ts';
import { query } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { postEvent, startTestService, type TestService, WELCOME_TEMPLATE, welcomeEvent } from '../support/service.ts';
import { smtpError, type SmtpSink, startSmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-email';

describe('email over SMTP', () => {
  let sink: SmtpSink;
  let service: TestService;
  let producer: string;
  let admin: string;

  beforeAll(async () => {
    sink = await startSmtpSink();
    service = await startTestService({
      DELIVERY_MODE: 'live',
      SMTP_PROVIDER_SECRET: `smtp://127.0.0.1:${sink.port}?from=VAS%20%3Cno-reply@vas.example%3E`,
    });
    await service.core.templates.publish(TENANT, [WELCOME_TEMPLATE], null);
    // The pause before a retry is random. It must be long enough for a test to see the state in between.
    const retry = { baseDelayMs: 3_600_000, maxDelayMs: 3_600_000 };
    await service.core.settings.save(TENANT, { retry }, { userId: 'admin' });
    producer = await service.token({ tenant_id: TENANT, permissions: ['notif.ingest'] });
    admin = await service.token({ tenant_id: TENANT, permissions: ['notif.read.log', 'notif.read.template'] });
  });
  afterAll(async () => {
    await service.close();
    await sink.close();
  });
  beforeEach(() => {
    sink.mails.length = 0;
    sink.onMail = () => {};
    sink.onRecipient = () => {};
  });

  const post = async (changes: Record<string, unknown> = {}): Promise<string> => {
    const { status, body } = await postEvent(
      service,
      producer,
      'notification.triggered.v1',
      welcomeEvent(TENANT, changes),
    );
    expect(status).toBe(202);
    return body.results[0]?.log_id as string;
  };
  const logIn = (id: string, status: string) =>
    eventually(async () => {
      const { notificationLog } = await query(service.url, admin, DeliveryLogDocument, { id });
      return notificationLog?.status === status && notificationLog;
    }, `log ${id} ${status}`);

  it("renders the tenant's template and sends it through the relay, with Vietnamese text intact", async () => {
    const id = await post();
    const log = await logIn(id, 'SENT');

    const [received] = sink.mails;
    expect(sink.mails).toHaveLength(1);
    expect(received?.envelope).toEqual({ from: 'no-reply@vas.example', to: ['student@example.edu.vn'] });
    expect(received?.mail.subject).toBe('Chào mừng Nguyễn Văn A');
    expect(received?.mail.html).toContain('Xin chào <b>Nguyễn Văn A</b>');
    expect(received?.mail.text).toContain('Xin chào Nguyễn Văn A, lần đăng nhập đầu tiên: 2025-06-01T10:00:00Z.');
    expect(received?.mail.from?.text).toBe('"VAS" <no-reply@vas.example>');
    expect(log).toMatchObject({
      channel: 'EMAIL',
      recipient: 's***@example.edu.vn',
      locale: 'vi',
      templateVersion: 1,
      template: { eventCode: 'user.welcome', locale: 'vi' },
      traceId: 'x-trace-abc-789',
      attempts: [{ number: 1, channel: 'EMAIL', provider: 'smtp', outcome: 'OK' }],
    });
  });

  it('derives Message-ID from the event, so that duplicates can be detected', async () => {
    const event = welcomeEvent(TENANT);
    await postEvent(service, producer, 'notification.triggered.v1', event);
    const received = await eventually(() => sink.mails[0]);
    expect(received.mail.messageId).toMatch(
      new RegExp(`^<${String(event['event_id'])}\\.email\\.[0-9a-f]{16}@vas.example>$`),
    );
  });

  it('retries after a transient answer with the same Message-ID', async () => {
    const seen: (string | undefined)[] = [];
    sink.onMail = ({ mail }) => {
      seen.push(mail.messageId);
      if (seen.length === 1) throw smtpError(451, 'try again later');
    };
    const id = await post();
    const retrying = await logIn(id, 'RETRYING');
    expect(retrying).toMatchObject({
      errorCode: 'smtp_451',
      attempts: [{ number: 1, outcome: 'TRANSIENT', errorCode: 'smtp_451' }],
    });
    await sql(service.databaseUrl, `update notification_log set due_at = now() where id = $1`, [id]);
    const sent = await logIn(id, 'SENT');
    expect(sent).toMatchObject({ errorCode: null, attempts: [{ outcome: 'TRANSIENT' }, { number: 2, outcome: 'OK' }] });
    expect(seen).toHaveLength(2);
    expect(seen[0]).toBe(seen[1]);
  });

  it('fails after a permanent answer, with the text of the relay but without the address', async () => {
    sink.onRecipient = (address) => {
      throw smtpError(550, `no mailbox ${address} here`);
    };
    const log = await logIn(await post(), 'FAILED');
    expect(log).toMatchObject({ errorCode: 'smtp_550', attempts: [{ outcome: 'PERMANENT', errorCode: 'smtp_550' }] });
    expect(log.errorMessage).toBe('The SMTP relay refused the recipient: 550 no mailbox [address] here.');
    expect(JSON.stringify(log)).not.toContain('student@');
  });

  it('fails with the name of the variable when params lack one', async () => {
    const log = await logIn(await post({ params: { full_name: 'A' } }), 'FAILED');
    expect(log).toMatchObject({ errorCode: 'template_variable_missing', attempts: [] });
    expect(log.errorMessage).toContain('"first_login_at"');
    expect(sink.mails).toHaveLength(0);
  });

  it('does not use a template of another channel, event or tenant', async () => {
    await service.core.templates.publish(
      TENANT,
      [{ ...WELCOME_TEMPLATE, eventCode: 'only.sms', channel: 'sms' }],
      null,
    );
    await service.core.templates.publish('tenant-other', [{ ...WELCOME_TEMPLATE, eventCode: 'only.other' }], null);
    for (const event_code of ['only.sms', 'only.other', 'no.such']) {
      expect(await logIn(await post({ event_code }), 'FAILED')).toMatchObject({ errorCode: 'template_not_found' });
    }
    expect(sink.mails).toHaveLength(0);
  });

  it('uses a new version as soon as it is published', async () => {
    await service.core.templates.publish(TENANT, [{ ...WELCOME_TEMPLATE, eventCode: 'v', subject: 'one' }], null);
    await logIn(await post({ event_code: 'v' }), 'SENT');
    await service.core.templates.publish(TENANT, [{ ...WELCOME_TEMPLATE, eventCode: 'v', subject: 'two' }], null);
    expect(await logIn(await post({ event_code: 'v' }), 'SENT')).toMatchObject({ templateVersion: 2 });
    expect(sink.mails.map(({ mail }) => mail.subject)).toEqual(['one', 'two']);
  });

  it('sends one mail for an event that is posted 100 times concurrently', async () => {
    const event = welcomeEvent(TENANT);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => postEvent(service, producer, 'notification.triggered.v1', event)),
    );
    expect(answers.every(({ status }) => status === 202)).toBe(true);
    const ids = new Set(answers.map(({ body }) => body.results[0]?.log_id));
    expect(ids.size).toBe(1);
    expect(answers.filter(({ body }) => body.results[0]?.status === 'accepted')).toHaveLength(1);
    const [id] = ids;
    await logIn(id as string, 'SENT');
    const { notificationLogs } = await query(service.url, admin, DeliveryLogsDocument, {
      filter: { eventId: String(event['event_id']) },
    });
    expect(notificationLogs.edges).toHaveLength(1);
    expect(sink.mails).toHaveLength(1);
  });

  it('records a test event as a test, in the delivery record and in the audit event', async () => {
    const { body } = await postEvent(service, producer, 'notification.test.v1', welcomeEvent(TENANT));
    const log = await logIn(body.results[0]?.log_id as string, 'SENT');
    expect(log.isTest).toBe(true);
    const audits = await sql<{ action: string; details: Record<string, unknown> }>(
      service.databaseUrl,
      `select action, details from audit_event where details->>'log_id' = $1`,
      [log.id],
    );
    expect(audits).toMatchObject([
      { action: 'notification.test_sent', details: { status: 'sent', recipient: 's***@example.edu.vn' } },
    ]);
  });

  it('ends as expired after expires_at', async () => {
    const { channel: _channel, ...event } = welcomeEvent(TENANT);
    const { body } = await postEvent(service, producer, 'notification.triggered.v2', {
      ...event,
      recipient: { email: 'late@example.com' },
      expires_at: '2020-01-01T00:00:00Z',
    });
    expect(await logIn(body.results[0]?.log_id as string, 'EXPIRED')).toMatchObject({ errorCode: 'expired' });
    expect(sink.mails).toHaveLength(0);
  });
});
