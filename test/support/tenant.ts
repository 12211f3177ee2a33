import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Channel } from '../../src/intake/channel.ts';
import type { TenantFile } from '../../src/tenants/files.ts';
import { eventually } from './eventually.ts';
import { postEvent, startTestService, type TestService, WELCOME_TEMPLATE, welcomeEvent } from './service.ts';
import { sql } from './sql.ts';

/** A service with a file per tenant, as operators configure it. Their hosts may be on loopback. */
export interface TenantService extends TestService {
  /** Creates a tenant with a template for each of these channels. */
  newTenant(file: TenantFile, channels?: Channel[]): Promise<TestTenant>;
}

export interface LogRow {
  id: string;
  status: string;
  channel: string | null;
  provider: string | null;
  attempts: number;
  error_code: string | null;
  due_at: Date;
}

export interface TestTenant {
  id: string;
  /** Posts `notification.triggered.v2` or another type, and returns the id of its delivery record. */
  post(changes: Record<string, unknown>, type?: string): Promise<string>;
  row(logId: string): Promise<LogRow>;
  /** Waits until a delivery has this status. */
  reached(logId: string, status: string): Promise<LogRow>;
  attempts(logId: string): Promise<{ channel: string; provider: string; outcome: string | null }[]>;
  token(permissions: string[], sub?: string): Promise<string>;
}

export async function startTenantService(env: Record<string, string> = {}): Promise<TenantService> {
  const folder = await mkdtemp(join(tmpdir(), 'notification-tenants-'));
  const service = await startTestService({ DELIVERY_MODE: 'live', TENANT_CONFIG_SECRET_PATH: folder, ...env });
  const newTenant = async (file: TenantFile, channels: Channel[] = ['email']): Promise<TestTenant> => {
    const id = `tenant-${randomUUID()}`;
    await writeFile(join(folder, `${id}.json`), JSON.stringify({ defaultLocale: 'vi', ...file }));
    await service.core.templates.publish(
      id,
      channels.map((channel) => ({ ...WELCOME_TEMPLATE, channel, subject: 'Chào {{full_name}}', body: 'Xin chào' })),
      null,
    );
    const token = (permissions: string[], sub = 'admin-1') => service.token({ tenant_id: id, sub, permissions });
    const producer = await token(['notif.ingest']);
    const row = async (logId: string): Promise<LogRow> => {
      const [found] = await sql<LogRow>(service.databaseUrl, 'select * from notification_log where id = $1', [logId]);
      if (!found) throw new Error('the delivery record does not exist');
      return found;
    };
    return {
      id,
      token,
      row,
      post: async (changes, type = 'notification.triggered.v2') => {
        const { channel: _channel, recipient: _recipient, ...event } = welcomeEvent(id);
        const { status, body } = await postEvent(service, producer, type, { ...event, ...changes });
        if (status !== 202) throw new Error(`${status} ${JSON.stringify(body)}`);
        return body.results[0]?.log_id as string;
      },
      reached: (logId, status) =>
        eventually(async () => {
          const found = await row(logId);
          return found.status === status && found;
        }, `status ${status}`),
      attempts: (logId) =>
        sql(
          service.databaseUrl,
          'select channel, provider, outcome from delivery_attempt where log_id = $1 order by number',
          [logId],
        ),
    };
  };
  return {
    ...service,
    newTenant,
    close: async () => {
      await service.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
