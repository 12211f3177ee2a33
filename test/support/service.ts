import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { inject } from 'vitest';

import { readConfig } from '../../src/config.ts';
import type { DevClaims } from '../../src/identity/dev-keys.ts';
import { createLog } from '../../src/log.ts';
import { type Service, type ServiceOptions, startService } from '../../src/service.ts';
import type { TemplateText } from '../../src/templates/templates.ts';
import { createTestDatabase, type TestDatabase } from './template-database.ts';

export interface TestService extends Service {
  env: Record<string, string>;
  /** Returns a token signed with the development key. */
  token(claims: Partial<DevClaims> & { tenant_id: string }, lifetime?: string): Promise<string>;
  databaseUrl: string;
  /** Starts another instance with the same database. */
  startAnother(env?: Record<string, string>, logTo?: { write(line: string): void }): Promise<Service>;
}

/** A separate, fully migrated database. */
export const testDatabase = (): Promise<TestDatabase> =>
  createTestDatabase(inject('databaseUrl'), inject('templateDatabase'));

/**
 * Starts the whole service in this process, as `src/service.ts` builds it: with a separate database, a free port, an
 * in-process bus unless `env` contains REDIS_URL, and in sandbox mode unless `env` sets another.
 */
export async function startTestService(
  env: Record<string, string> = {},
  options: Pick<ServiceOptions, 'graphiqlToken'> = {},
): Promise<TestService> {
  const database = await testDatabase();
  const dataPath = await mkdtemp(join(tmpdir(), 'notification-test-'));
  const fullEnv: Record<string, string> = {
    ENVIRONMENT: 'dev',
    SERVICE_PORT: '0',
    LOG_LEVEL: process.env['LOG_LEVEL'] ?? 'silent',
    DATABASE_URL: database.loginUrl,
    DATABASE_OWNER_URL: database.url,
    DATA_PATH: dataPath,
    ...env,
  };
  const start = async (
    overrides: Record<string, string> = {},
    logTo?: { write(line: string): void },
  ): Promise<Service> => {
    const config = readConfig({ ...fullEnv, ...overrides });
    return startService(config, { ...options, log: createLog(config.logLevel, logTo) });
  };
  const service = await start();
  const others: Service[] = [];
  return {
    ...service,
    env: fullEnv,
    databaseUrl: database.url,
    token: (claims, lifetime) => {
      if (!service.devIdentity) throw new Error('the service has configured keys, so it has no development key');
      return service.devIdentity.issueToken({ sub: 'user-1', ...claims }, lifetime);
    },
    startAnother: async (overrides, logTo) => {
      const other = await start(overrides, logTo);
      others.push(other);
      return other;
    },
    close: async () => {
      for (const other of others) await other.close();
      await service.close();
      await database.drop();
      await rm(dataPath, { recursive: true, force: true });
    },
  };
}

/** The example of the specification with a new id. */
export function welcomeEvent(tenantId: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    event_id: randomUUID(),
    tenant_id: tenantId,
    event_code: 'user.welcome',
    channel: 'email',
    recipient: 'student@example.edu.vn',
    params: { full_name: 'Nguyễn Văn A', first_login_at: '2025-06-01T10:00:00Z' },
    trigger_by: 'admin_123',
    trace_id: 'x-trace-abc-789',
    created_at: '2025-06-14T07:32:00Z',
    ...changes,
  };
}

export function activityEvent(tenantId: string, userIds: string[], changes: Record<string, unknown> = {}) {
  return {
    id: randomUUID(),
    tenant_id: tenantId,
    type: 'payment.succeeded',
    title: 'Thanh toán thành công',
    body: 'Đơn hàng #1024 đã được thanh toán.',
    data: { order_id: 1024 },
    action_url: '/orders/1024',
    actor_id: 'user-042',
    recipient_scope: 'users',
    recipient_ids: userIds,
    created_at: '2025-06-14T07:32:00Z',
    ...changes,
  };
}

export const WELCOME_TEMPLATE: TemplateText = {
  eventCode: 'user.welcome',
  channel: 'email',
  locale: 'vi',
  subject: 'Chào mừng {{full_name}}',
  body: '<p>Xin chào <b>{{full_name}}</b>, lần đăng nhập đầu tiên: {{first_login_at}}.</p>',
};

/** Posts CloudEvents in structured mode and returns status and body. */
export async function postEvent(
  service: Pick<Service, 'url'>,
  token: string,
  type: string,
  data: unknown,
): Promise<{ status: number; body: EventAnswer }> {
  const response = await fetch(`${service.url}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ specversion: '1.0', id: randomUUID(), source: '/test', type, data }),
  });
  return { status: response.status, body: (await response.json()) as EventAnswer };
}

export interface EventAnswer {
  error_code?: string;
  message?: string;
  results: {
    status: string;
    log_id?: string;
    rejected_event_id?: string;
    error_code?: string;
    message?: string;
  }[];
}
