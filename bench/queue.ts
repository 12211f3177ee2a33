import type { Channel } from '../src/intake/channel.ts';
import { LOAD_TENANT } from '../test/support/load.ts';
import { sql } from '../test/support/sql.ts';

export type BenchChannel = Extract<Channel, 'email' | 'in_app' | 'webhook'>;

/** Empties the tables and queues a number of notifications of one channel. */
export async function fillQueue(
  url: string,
  channel: BenchChannel,
  rows: number,
  { httpPort = 0, tenant = LOAD_TENANT }: { httpPort?: number; tenant?: string } = {},
): Promise<void> {
  const recipient = {
    email: `jsonb_build_object('email', 'person-' || n || '@example.com')`,
    in_app: `jsonb_build_object('user_id', 'user-' || n % 500)`,
    webhook: `jsonb_build_object('webhook_url', 'http://127.0.0.1:${httpPort}/hook')`,
  }[channel];
  await sql(url, 'truncate notification_log, delivery_attempt, notification, inbox, audit_event');
  await sql(
    url,
    `insert into notification_log (id, tenant_id, event_id, event_type, event_code, channels, recipient, params, status,
       trace_id, event_created_at)
     select gen_random_uuid(), $1, gen_random_uuid(), 'notification.triggered.v1', 'load.test', array[$2], ${recipient},
       jsonb_build_object('name', 'Person ' || n), 'queued', 'bench', now()
     from generate_series(1, $3::int) n`,
    [tenant, channel, rows],
  );
  await sql(url, 'vacuum analyze notification_log');
}
