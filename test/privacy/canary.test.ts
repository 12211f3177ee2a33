import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';

import { openDatabase } from '../../src/database/database.ts';
import { devIdentity } from '../../src/identity/dev-keys.ts';
import { createLog } from '../../src/log.ts';
import { createTemplates, type TemplateText } from '../../src/templates/templates.ts';
import { type ChildService, startChild } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import { testDatabase, welcomeEvent } from '../support/service.ts';
import { startSmtpSink, smtpError, type SmtpSink } from '../support/smtp-sink.ts';
import { sql } from '../support/sql.ts';

const TENANT = 'tenant-canary';
/** Values that may appear only in the database and at the recipient. */
const CANARIES = {
  recipient: 'canary.bird@example.com',
  phone: '+84900000123',
  body: 'CanarySingsInTheBody',
  password: 'CanaryPassword7',
  key: 'Q2FuYXJ5S2V5Q2FuYXJ5S2V5Q2FuYXJ5S2V5Q2FuYXI=',
};

describe('personal data and secrets', () => {
  let database: Awaited<ReturnType<typeof testDatabase>>;
  let folder: string;
  let service: ChildService;
  let smtp: SmtpSink;
  let monitor: Redis;
  let token: string;
  const commands: string[] = [];
  const answers: string[] = [];

  beforeAll(async () => {
    database = await testDatabase();
    folder = await mkdtemp(join(tmpdir(), 'notification-canary-'));
    const redis = new Redis(inject('redisUrl'));
    monitor = await redis.monitor();
    redis.disconnect();
    monitor.on('monitor', (_time: string, args: string[]) => commands.push(args.join(' ')));
    smtp = await startSmtpSink();
    // Half of the mails are refused with a text that contains the recipient.
    let mails = 0;
    smtp.onRecipient = (address) => {
      mails += 1;
      if (mails % 2 === 0) throw smtpError(550, `5.1.1 <${address}> does not exist`);
    };
    service = await startChild({
      ENVIRONMENT: 'dev',
      DELIVERY_MODE: 'live',
      LOG_LEVEL: 'trace',
      DATABASE_URL: database.url,
      DATA_PATH: folder,
      REDIS_URL: inject('redisUrl'),
      DATA_KEYS: `one:${CANARIES.key}`,
      SMTP_PROVIDER_SECRET: `smtp://canary:${CANARIES.password}@127.0.0.1:${smtp.port}?from=no-reply@vas.example&tls=none`,
    });
    const identity = await devIdentity(folder);
    token = await identity.issueToken({
      sub: 'admin',
      tenant_id: TENANT,
      permissions: ['notif.ingest', 'notif.send.test', 'notif.write.config', 'notif.erase', 'notif.read.log'],
    });
  });
  afterAll(async () => {
    monitor.disconnect();
    await service.kill('SIGKILL');
    await smtp.close();
    await database.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<void> => {
    const response = await fetch(`${service.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    answers.push(await response.text());
  };
  const post = (type: string, data: unknown): Promise<void> =>
    ask(
      '/events',
      { specversion: '1.0', id: crypto.randomUUID(), source: '/test', type, data },
      {
        'content-type': 'application/cloudevents+json',
      },
    );
  const graph = (query: string, variables: object = {}): Promise<void> => ask('/graphql', { query, variables });

  it('appear in no log, metric, response or Redis message, in successes and failures', async () => {
    const params = { full_name: CANARIES.body, first_login_at: CANARIES.body };
    const event = (changes: object) => welcomeEvent(TENANT, { recipient: CANARIES.recipient, params, ...changes });
    const own = openDatabase({ url: database.url, log: createLog('silent') });
    const template = {
      eventCode: 'user.welcome',
      channel: 'email',
      locale: 'en',
      subject: 'Hello',
      body: '{{full_name}}',
    };
    await createTemplates({ database: own, onChanged: () => {} }).publish(TENANT, [template as TemplateText], null);
    await own.close();
    for (let index = 0; index < 4; index += 1) await post('notification.triggered.v1', event({}));
    // Inputs with many kinds of errors.
    await post('notification.triggered.v1', event({ channel: 'sms' }));
    await post('notification.triggered.v1', event({ recipient: `${CANARIES.recipient}, x@example.com` }));
    await post('notification.triggered.v1', event({ event_id: CANARIES.recipient }));
    await post('notification.triggered.v1', event({ params: CANARIES.body }));
    await post('notification.triggered.v1', event({ event_code: 'no.template' }));
    await post('notification.triggered.v2', event({ recipient: { phone: CANARIES.phone, email: 'a b' } }));
    await post('notification.unknown', event({}));
    await ask('/events', `{"broken": "${CANARIES.recipient} ${CANARIES.body}"`, {
      'content-type': 'application/cloudevents+json',
    });
    const test = { eventCode: 'user.welcome', channel: 'EMAIL', recipient: CANARIES.recipient, params };
    const mutation =
      'mutation ($input: SendTestNotificationInput!) { sendTestNotification(input: $input) { id recipient } }';
    await graph(mutation, { input: test });
    await graph(mutation, { input: { ...test, channel: 'SMS' } });
    await graph(mutation, { input: { ...test, recipient: `${CANARIES.recipient}\u0000` } });
    await graph('mutation ($input: SuppressAddressInput!) { suppressAddress(input: $input) { id address } }', {
      input: { channel: 'EMAIL', address: CANARIES.recipient },
    });
    await graph('mutation ($input: ErasePersonInput!) { erasePerson(input: $input) { id } }', {
      input: { phone: CANARIES.phone },
    });
    await graph('{ notificationLogs { edges { node { recipient errorMessage attempts { errorMessage } } } } }');
    await eventually(async () => {
      const open = await sql(
        database.url,
        `select 1 from notification_log where status in ('queued', 'sending', 'retrying')
         union all select 1 from erasure where completed_at is null`,
      );
      return open.length === 0;
    }, 'the end of all deliveries');
    await graph('{ notificationLogs { edges { node { recipient errorMessage attempts { errorMessage } } } } }');
    await sql(database.url, 'alter table suppression rename to suppression_gone');
    await graph('mutation ($input: SuppressAddressInput!) { suppressAddress(input: $input) { id address } }', {
      input: { channel: 'EMAIL', address: CANARIES.recipient },
    });
    const metrics = await (await fetch(`${service.url}/metrics`)).text();

    // The values did pass through the service.
    expect(smtp.mails.map(({ raw }) => raw).join()).toContain(CANARIES.body);
    expect(service.lines.length).toBeGreaterThan(10);
    expect(commands.join()).toContain(TENANT);
    const places = {
      log: service.lines.map((line) => JSON.stringify(line)).join('\n'),
      metrics,
      answers: answers.join('\n'),
      redis: commands.join('\n'),
    };
    const leaks = Object.entries(places).flatMap(([place, text]) =>
      [...Object.entries(CANARIES), ['token', token] as const]
        .filter(([, canary]) => text.includes(canary))
        .map(([name]) => `${name} in ${place}`),
    );
    expect(leaks).toEqual([]);
  });
});
