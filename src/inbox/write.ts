import type { Transaction } from '../database/database.ts';
import type { Audience, Content } from '../intake/command.ts';

/** Whether people of an audience have to be asked about the category: not at all, unless they said no, or if they said yes. */
export type Consent = 'not_needed' | 'opt_out' | 'opt_in';

/** A notification on its way into the inboxes of its audience. */
export interface InboxEntry {
  logId: string;
  /** Proves that the delivery is still ours: without it nothing is written. */
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

/** UUIDv7 for rows whose number only the database knows: 48 bits of milliseconds, version, randomness. */
const UUID_V7 = `encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing
  substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
  52, 1), 53, 1), 'hex')::uuid`;

/**
 * Puts notifications into inboxes: audiences are resolved, each inbox row is locked in one order, gives out the next
 * positions and counts the unread. One statement for any number of entries and people.
 *
 * @returns what was written; an entry that nobody is the audience of is not in it.
 */
export function writeToInboxes(tx: Pick<Transaction, 'query'>, entries: InboxEntry[]): Promise<WrittenNotification[]> {
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
  return tx.query<WrittenNotification>(
    `with entry as (
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
       -- Each person has a head, and each log an entry. A full join says so in a way that cannot become a nested loop:
       -- how many people there are is not known when the statement is planned.
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
     returning log_id as "logId", tenant_id as "tenantId", user_id as "userId"`,
    [JSON.stringify(rows)],
  );
}
