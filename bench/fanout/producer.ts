import { randomUUID } from 'node:crypto';

import { Redis } from 'ioredis';
import pg from 'pg';

import { topics } from '../../src/live/bus.ts';
import { notification } from './event.ts';

// Producer, in a separate process: publishes the requested number of events at once.

const {
  FANOUT_EVENTS: events = 'channel',
  FANOUT_CHANNEL: channel = '',
  FANOUT_TENANT: tenant = '',
  FANOUT_USER: user = '',
  FANOUT_TOPIC: topic = '',
} = process.env;
const redis = new Redis(process.env['REDIS_URL'] ?? '');
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 1 });
let number = 0;

const nextNotifications = (count: number): Record<string, unknown>[] =>
  Array.from({ length: count }, () => notification((number += 1)));

async function publishAll(to: string, messages: unknown[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const message of messages) pipeline.publish(to, JSON.stringify(message));
  await pipeline.exec();
}

/**
 * Writes notifications like the service does: positions come from the inbox row, and the wake-up follows the commit.
 */
async function writeToInbox(notifications: Record<string, unknown>[]): Promise<void> {
  const rows = notifications.map((each) => ({ ...each, log_id: randomUUID() }));
  await pool.query(
    `with head as (
       insert into inbox as box (tenant_id, user_id, last_seq, unread_count) values ($1, $2, $3::int, $3::int)
       on conflict (tenant_id, user_id) do update
         set last_seq = box.last_seq + excluded.last_seq, unread_count = box.unread_count + excluded.unread_count
       returning last_seq
     )
     insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, category, title, body, data,
       action_url, recipient_scope)
     select input.id, $1, $2, last_seq - $3::int + nth, last_seq - $3::int + nth, log_id, type, category, title, body, data,
       "actionUrl", "recipientScope"
     from head, rows from (jsonb_to_recordset($4::jsonb) as (id uuid, log_id uuid, type text, category text, title text,
       body text, data jsonb, "actionUrl" text, "recipientScope" text)) with ordinality as input (id, log_id, type,
       category, title, body, data, "actionUrl", "recipientScope", nth)`,
    [tenant, user, rows.length, JSON.stringify(rows)],
  );
  await redis.publish(topics.inbox(tenant, user), 'null');
}

async function publish(count: number): Promise<void> {
  const notifications = nextNotifications(count);
  if (events === 'inbox') await writeToInbox(notifications);
  else if (events === 'signal') {
    const destination = { tenant };
    await publishAll(
      topics.signals,
      notifications.map((data) => ({ topic, data, destination })),
    );
  } else {
    await publishAll(
      channel,
      notifications.map((each) => ({ notificationCreated: each })),
    );
  }
  process.send?.({ published: count });
}

process.on('message', ({ publish: count }: { publish: number }) => void publish(count));
process.on('disconnect', () => process.exit(0));
