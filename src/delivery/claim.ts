import type { Database } from '../database/database.ts';
import { newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { Audience, Content, Recipient } from '../intake/command.ts';

/** A row that is ours until its lease runs out. */
export interface ClaimedLog {
  id: string;
  tenantId: string;
  eventId: string;
  eventCode: string;
  isTest: boolean;
  channels: Channel[];
  recipient: Recipient;
  audience: Audience | null;
  content: Content | null;
  params: Record<string, unknown>;
  category: string | null;
  expiresAt: Date | null;
  /** Attempts including the one that this claim is for. */
  attempts: number;
  traceId: string;
  triggerBy: string | null;
  createdAt: Date;
  leaseToken: string;
}

/** Prolongs the leases of rows that are still in hand, e.g. waiting for a slow relay. One statement for all. */
export async function renewLeases(database: Database, held: Iterable<ClaimedLog>, leaseMs: number): Promise<void> {
  const rows = [...held];
  if (rows.length === 0) return;
  await database.asWorker((tx) =>
    tx.query(
      `update notification_log log set due_at = now() + $3 * interval '1 millisecond'
       from unnest($1::uuid[], $2::uuid[]) as held (id, lease_token)
       where log.id = held.id and log.lease_token = held.lease_token and log.status = 'sending'`,
      [rows.map((row) => row.id), rows.map((row) => row.leaseToken), leaseMs],
    ),
  );
}

/**
 * Takes rows that are due, most urgent first, and gives each a lease. A row whose lease ran out belonged to a process
 * that died: the attempt that it left open is marked `unknown`, and the row is work again. Sending it once more can
 * double a message and losing it cannot be mended, so it is sent, with the same idempotency key.
 *
 * Right after the server itself was away, leases have run out whose owners are well and about to settle: they are
 * given a moment before anybody takes their rows.
 */
export function claimDue(database: Database, limit: number, leaseMs: number): Promise<ClaimedLog[]> {
  return database.asWorker((tx) =>
    tx.query<ClaimedLog>(
      `with due as (
         select id from notification_log
         where status in ('queued', 'sending', 'retrying') and due_at <= now()
           and (status <> 'sending' or pg_postmaster_start_time() < now() - interval '10 seconds')
         order by priority, due_at limit $1 for update skip locked
       ), crashed as (
         update delivery_attempt attempt set outcome = 'unknown',
           duration_ms = least(extract(epoch from now() - attempt.started_at) * 1000, 2147483647)::int
         from due where attempt.log_id = due.id and attempt.outcome is null
       )
       update notification_log log
       set status = 'sending', attempts = log.attempts + 1, lease_token = $2,
           due_at = now() + $3 * interval '1 millisecond', updated_at = now()
       from due where log.id = due.id
       returning log.id, log.tenant_id as "tenantId", log.event_id as "eventId", log.event_code as "eventCode",
         log.is_test as "isTest", log.channels, log.recipient, log.audience, log.content, log.params, log.category,
         log.expires_at as "expiresAt", log.attempts, log.trace_id as "traceId", log.trigger_by as "triggerBy",
         log.created_at as "createdAt", log.lease_token as "leaseToken"`,
      [limit, newId(), leaseMs],
    ),
  );
}
