import type { Transaction } from '../database/database.ts';
import type { Audience, Content } from '../intake/command.ts';

/** Whether consent to the category is not needed, assumed until a person opts out, or needed (opt in). */
export type Consent = 'not_needed' | 'opt_out' | 'opt_in';

/** A notification to write to the inboxes of its audience. */
export interface InboxEntry {
  logId: string;
  /** Lease of the delivery. Nothing is written if another instance holds the lease. */
  leaseToken: string;
  tenantId: string;
  audience: Audience;
  content: Content;
  category: string | null;
  consent: Consent;
}

export interface WrittenNotification {
  logId: string;
  tenantId: string;
  userId: string;
}

/** SQL of a UUIDv7, for rows whose number is known only in the statement: 48 bits of milliseconds, version, random bits. */
const UUID_V7 = `encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
  substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
  52, 1), 53, 1), 'hex')::uuid`;

/** One statement writes the notifications of a whole batch to all their inboxes, only for rows whose lease is still held. */
const WRITE_ENTRIES = `with entry as (
    select input.*
    from jsonb_to_recordset($1::jsonb) as input (log_id uuid, lease_token uuid, tenant_id text, scope text,
      scope_id text, user_ids text[], type text, title text, body text, data jsonb, action_url text, actor_id text,
      category text, consent text)
    join notification_log log on log.id = input.log_id and log.lease_token = input.lease_token
    for update of log
  ), audience as (
    select log_id, tenant_id, person.user_id from entry cross join unnest(user_ids) as person (user_id)
    union
    select entry.log_id, entry.tenant_id, policy.user_id
    from entry join policy_definition policy using (tenant_id, scope, scope_id)
  ), wanted as (
    select audience.* from audience join entry using (log_id)
    where entry.consent = 'not_needed' or coalesce((
      select preference.is_enabled from notification_preference preference
      where preference.tenant_id = audience.tenant_id and preference.user_id = audience.user_id
        and preference.category = entry.category and preference.channel = 'in_app'), entry.consent = 'opt_out')
  ), fresh as (
    select audience.*, row_number() over (partition by tenant_id, user_id order by log_id) as nth,
           count(*) over (partition by tenant_id, user_id) as total
    from wanted as audience
    where not exists (select from notification n where n.log_id = audience.log_id and n.user_id = audience.user_id)
  ), head as (
    insert into inbox as box (tenant_id, user_id, last_seq, unread_count)
    select tenant_id, user_id, total, total from fresh where nth = 1 order by tenant_id, user_id
    on conflict (tenant_id, user_id) do update
      set last_seq = box.last_seq + excluded.last_seq, unread_count = box.unread_count + excluded.unread_count
    returning tenant_id, user_id, last_seq
  ), placed as materialized (
    -- Each person has a row in head, and each log a row in entry. A full join cannot be planned as a nested loop, which
    -- the planner might choose because it does not know how many people there are.
    select log_id, tenant_id, user_id, last_seq - total + nth as seq
    from fresh full join head using (tenant_id, user_id)
  ), written as materialized (
    select entry.*, placed.user_id, placed.seq
    from placed full join entry using (log_id)
  )
  insert into notification (id, tenant_id, user_id, created_seq, seq, log_id, type, category, title, body, data,
    action_url, recipient_scope, actor_id)
  select ${UUID_V7}, tenant_id, user_id, seq, seq, log_id, type, category, title, body, data, action_url, scope,
    actor_id
  from written where user_id is not null
  returning log_id as "logId", tenant_id as "tenantId", user_id as "userId"`;

/**
 * Writes notifications to the inboxes of their audiences. It locks the inboxes in a fixed order, takes the next positions
 * and updates the unread counts. One statement for any number of entries and people.
 *
 * @returns the written notifications. An entry whose audience is empty has none.
 */
export function writeToInboxes(
  tx: Pick<Transaction, 'queryPlanned'>,
  entries: InboxEntry[],
): Promise<WrittenNotification[]> {
  if (entries.length === 0) return Promise.resolve([]);
  const rows = entries.map(({ logId, leaseToken, tenantId, audience, content, category, consent }) => ({
    log_id: logId,
    lease_token: leaseToken,
    tenant_id: tenantId,
    scope: audience.scope,
    scope_id: audience.scope === 'users' ? null : audience.scopeId,
    user_ids: audience.scope === 'users' ? audience.userIds : [],
    type: content.type,
    title: content.title,
    body: content.body,
    data: content.data ?? null,
    action_url: content.actionUrl ?? null,
    actor_id: content.actorId ?? null,
    category,
    consent,
  }));
  return tx.queryPlanned<WrittenNotification>(WRITE_ENTRIES, [JSON.stringify(rows)]);
}
