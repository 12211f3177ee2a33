import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createClient } from 'graphql-ws';

import { readConfig } from '../src/config.ts';
import { startService } from '../src/service.ts';
import { demoTokens, seedDemoTenant } from './seed.ts';

// npm run demo: starts the service with embedded parts, uses it over HTTP and WebSocket, and prints each result.
// The exit code is 0 when every step succeeded.

const STEP_LIMIT_MS = 15_000;
const missing: string[] = [];
const startedAt = performance.now();

const say = (text: string): void => {
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
  process.stdout.write(`${seconds.padStart(6)} s  ${text}\n`);
};

/** Runs a step and prints whether it succeeded within the time limit. */
async function step<T>(name: string, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('not seen in time')), STEP_LIMIT_MS);
  });
  try {
    const seen = await Promise.race([work, timeout]);
    say(`✓ ${name}`);
    return seen;
  } catch (error) {
    missing.push(`${name}: ${(error as Error).message}`);
    say(`✗ ${name}: ${(error as Error).message}`);
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

const show = (value: unknown): void => {
  const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2);
  process.stdout.write(`${text.replaceAll(/^/gm, '            │ ')}\n`);
};

function expect(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

const dataPath = await mkdtemp(join(tmpdir(), 'notification-demo-'));
const config = readConfig({
  ENVIRONMENT: 'dev',
  SERVICE_PORT: '0',
  DATA_PATH: dataPath,
  LOG_LEVEL: process.env['LOG_LEVEL'] ?? 'error',
});
const service = await startService(config, { ephemeral: true });
try {
  say(`✓ service is up at ${service.url}: embedded PostgreSQL, in-process bus, sandbox mailbox`);
  const { tenantId } = await seedDemoTenant(service);
  if (!service.devIdentity) throw new Error('dev keys expected');
  const tokens = await demoTokens(service.devIdentity, tenantId);
  say(`✓ tenant ${tenantId} has its templates and tokens`);

  const graphql = async (token: string, query: string, variables: object = {}): Promise<Record<string, unknown>> => {
    const response = await fetch(`${service.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors } = (await response.json()) as { data: Record<string, unknown>; errors?: unknown };
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  };
  const post = async (type: string, data: object): Promise<void> => {
    const response = await fetch(`${service.url}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json', authorization: `Bearer ${tokens.producer}` },
      body: JSON.stringify({ specversion: '1.0', id: randomUUID(), source: '/demo', type, data }),
    });
    const answer: unknown = await response.json();
    expect(response.status === 202, `HTTP ${response.status} ${JSON.stringify(answer)}`);
    show(answer);
  };

  const opened = Promise.withResolvers<void>();
  const client = createClient({
    url: `${service.url.replace('http', 'ws')}/graphql`,
    connectionParams: { token: tokens.user },
    on: { connected: () => opened.resolve(), error: (error) => opened.reject(error as Error) },
  });
  const live = client.iterate<{ notificationCreated: { title: string; data: unknown } }>({
    query: `subscription { notificationCreated { id cursor type title body data actionUrl actor { id } createdAt } }`,
  });
  const firstMessage = live.next();
  firstMessage.catch(() => {});
  await step(`${tokens.userId} watches the inbox over graphql-ws`, opened.promise);

  const eventId = '3a36f1d4-8fa7-4704-a94e-4c55e9142cb3';
  await step(
    'notification.triggered.v1 accepted',
    post('notification.triggered.v1', {
      event_id: eventId,
      tenant_id: tenantId,
      event_code: 'user.welcome',
      channel: 'email',
      recipient: 'student@example.edu.vn',
      params: { full_name: 'Nguyễn Văn A', first_login_at: '2025-06-01T10:00:00Z' },
      trigger_by: 'admin_123',
      trace_id: 'x-trace-abc-789',
      created_at: '2025-06-14T07:32:00Z',
    }),
  );

  await step(
    'mail rendered and captured, Vietnamese intact',
    (async () => {
      const mail = await until(async () => {
        const response = await fetch(`${service.url}/mailbox/messages?limit=1`);
        const { messages } = (await response.json()) as { messages: { subject: string; text: string }[] };
        return messages[0];
      });
      show(`To: student@example.edu.vn\nSubject: ${mail.subject}\n\n${mail.text}`);
      expect(`${mail.subject}${mail.text}`.includes('Nguyễn Văn A'), 'the name is not in the mail');
    })(),
  );

  await step(
    'delivery log says sent',
    (async () => {
      const log = await until(async () => {
        const data = await graphql(
          tokens.admin,
          `
            query ($eventId: ID) {
              notificationLogs(filter: { eventId: $eventId }) {
                edges {
                  node {
                    status
                    recipient
                    locale
                    templateVersion
                    traceId
                    sentAt
                    attempts {
                      provider
                      outcome
                    }
                  }
                }
              }
            }
          `,
          { eventId },
        );
        const { edges } = data['notificationLogs'] as { edges: { node: { status: string } }[] };
        return edges.find(({ node }) => node.status === 'SENT')?.node;
      });
      show(log);
    })(),
  );

  await step(
    'signal.activity-notification accepted',
    post('signal.activity-notification', {
      id: randomUUID(),
      tenant_id: tenantId,
      type: 'payment.succeeded',
      title: 'Thanh toán thành công',
      body: 'Đơn hàng #1024 đã được thanh toán 250.000 ₫.',
      data: { order_id: 1024 },
      action_url: '/orders/1024',
      actor_id: 'user-042',
      recipient_scope: 'users',
      recipient_ids: [tokens.userId],
      created_at: new Date().toISOString(),
    }),
  );

  await step(
    'live message arrived on the subscription',
    (async () => {
      const { value } = await firstMessage;
      const message = value?.data?.notificationCreated;
      show(message ?? value);
      expect(message?.title === 'Thanh toán thành công', 'the message is not the one that was sent');
    })(),
  );

  await step(
    'unread badge shows 1',
    (async () => {
      const data = await graphql(tokens.user, '{ unreadNotificationCount }');
      expect(data['unreadNotificationCount'] === 1, JSON.stringify(data));
    })(),
  );
  await client.dispose();
} catch (error) {
  missing.push((error as Error).message);
} finally {
  await service.close();
  await rm(dataPath, { recursive: true, force: true });
}

if (missing.length > 0) process.stderr.write(`\nNot seen:\n${missing.map((line) => `  - ${line}`).join('\n')}\n`);
else say('✓ everything was seen');
process.exit(missing.length > 0 ? 1 : 0);

/** Polls until `ask` returns a value. The time limit of the step bounds it. */
async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
