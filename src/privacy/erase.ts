import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { isUuid, newId } from '../ids.ts';
import type { Recipient } from '../intake/command.ts';
import { checkRecipient } from '../intake/recipient.ts';
import { hashesOf } from './at-rest.ts';

/** A person who is to be forgotten, or was. */
export interface Erasure {
  id: string;
  requestedAt: Date;
  /** Null while it goes on. */
  completedAt: Date | null;
  /** Notifications that were in their inbox. */
  notifications: number;
  /** Delivery records that hold nothing of them any more. */
  deliveryRecords: number;
  /** Preferences, captured messages and rejected events. */
  others: number;
}

/** By what they are known. */
export interface ErasureSubject extends Omit<Recipient, 'locale' | 'user_id'> {
  userId?: string | undefined;
}

export interface Erasures {
  /**
   * Has everything about a person forgotten, in the background; audited.
   * @throws `validation_failed` naming the field.
   */
  request(actor: Actor, subject: ErasureSubject, traceId: string): Promise<Erasure>;
  find(tenantId: string, id: string): Promise<Erasure | null>;
}

const COLUMNS = `id, requested_at as "requestedAt", completed_at as "completedAt", notifications,
  delivery_records as "deliveryRecords", others`;

export function createErasures(database: Database, onRequested: () => void): Erasures {
  return {
    request: async (actor, { userId, ...addresses }, traceId) => {
      const subject: Recipient = { ...addresses, ...(userId !== undefined && { user_id: userId }) };
      const problems = checkRecipient(subject, (field) => `input.${CAMEL[field] ?? field}`);
      if (problems.length > 0) throw validationFailed(problems);
      if (Object.values(subject).every((value) => value === undefined)) {
        throw validationFailed([{ path: 'input', message: 'must say who it is' }]);
      }
      const id = newId();
      const { tenantId } = actor;
      const erasure = await database.asTenant(tenantId, async (tx) => {
        const [row] = await tx.query<Erasure>(
          `insert into erasure (id, tenant_id, user_id, addresses, requested_by, trace_id)
           values ($1, $2, $3, $4, $5, $6) returning ${COLUMNS}`,
          [id, tenantId, userId ?? null, JSON.stringify(addresses), actor.userId, traceId],
        );
        const known = Object.keys(subject).filter((key) => subject[key as keyof Recipient] !== undefined);
        await writeAudit(tx, {
          actor,
          traceId,
          action: 'person.erasure_requested',
          details: { erasure_id: id, known_by: known },
        });
        return row as Erasure;
      });
      onRequested();
      return erasure;
    },
    find: async (tenantId, id) => {
      if (!isUuid(id)) return null;
      const [erasure] = await database.readAsTenant<Erasure>(
        tenantId,
        `select ${COLUMNS} from erasure where tenant_id = $1 and id = $2`,
        [tenantId, id],
      );
      return erasure ?? null;
    },
  };
}

/** How the fields of a recipient are called by whoever asks. */
const CAMEL: Record<string, string> = { user_id: 'userId', device_token: 'deviceToken', webhook_url: 'webhookUrl' };

interface OpenErasure {
  id: string;
  tenantId: string;
  userId: string | null;
  addresses: Recipient;
  requestedBy: string;
  traceId: string;
  cursor: string | null;
}

/** Rows that one transaction removes or looks at. */
const BATCH = 2_000;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * Does the next part of one erasure that is open: what it has done stays done, and it goes on from there after a crash,
 * in whichever process.
 *
 * @returns false where there is nothing to do, or somebody else is at it.
 */
export function eraseNext(database: Database): Promise<boolean> {
  return database.asWorker(async (tx) => {
    const [erasure] = await tx.query<OpenErasure>(
      `select id, tenant_id as "tenantId", user_id as "userId", addresses, requested_by as "requestedBy",
         trace_id as "traceId", cursor
       from erasure where completed_at is null order by id limit 1 for update skip locked`,
    );
    if (!erasure) return false;
    const notifications = await forgetInbox(tx, erasure);
    if (notifications > 0) {
      await tx.query('update erasure set notifications = notifications + $2 where id = $1', [
        erasure.id,
        notifications,
      ]);
      return true;
    }
    const looked = await forgetRecords(tx, erasure);
    if (looked) return true;
    await complete(tx, erasure, await forgetOthers(tx, erasure));
    return true;
  });
}

async function forgetInbox(tx: Transaction, { tenantId, userId }: OpenErasure): Promise<number> {
  if (userId === null) return 0;
  const gone = await tx.query(
    `with old as (
       select id from notification where tenant_id = $1 and user_id = $2 order by created_seq limit ${BATCH}
     )
     delete from notification where id in (select id from old) returning 1`,
    [tenantId, userId],
  );
  return gone.length;
}

/** @returns false when there are no more records. */
async function forgetRecords(
  tx: Transaction,
  { id, tenantId, userId, addresses, cursor }: OpenErasure,
): Promise<boolean> {
  const hashes = hashesOf(tenantId, addresses);
  const [{ last, changed } = { last: null, changed: 0 }] = await tx.query<{ last: string | null; changed: number }>(
    `with looked as (
       select id from notification_log where tenant_id = $1 and id > $2 order by id limit ${BATCH}
     ), changed as (
       update notification_log log
       set recipient = case when is_theirs then '{}' else log.recipient end,
         params = case when is_theirs then '{}' else log.params end,
         extra = case when is_theirs then null else log.extra end,
         content = case when is_theirs or log.audience->'userIds' = jsonb_build_array($3::text) then null else log.content end,
         audience = case when log.audience->'userIds' ? $3::text
           then jsonb_set(log.audience, '{userIds}', (log.audience->'userIds') - $3::text) else log.audience end,
         trigger_by = nullif(log.trigger_by, $3::text), is_reduced = log.is_reduced or is_theirs,
         status = case when is_theirs and log.status in ('queued', 'sending', 'retrying') then 'suppressed' else log.status end,
         error_code = case when is_theirs and log.status in ('queued', 'sending', 'retrying')
           then 'recipient_erased' else log.error_code end,
         lease_token = case when is_theirs then null else log.lease_token end, updated_at = now()
       from (
         select log.id, coalesce(log.recipient->>'user_id' = $3::text, false)
           or coalesce(lower(log.recipient->>'email') = lower($4::jsonb->>'email'), false)
           or coalesce(log.recipient->>'phone' = $4::jsonb->>'phone', false)
           or coalesce(log.recipient->>'device_token' = $4::jsonb->>'device_token', false)
           or coalesce(log.recipient->>'webhook_url' = $4::jsonb->>'webhook_url', false)
           or coalesce(array[log.recipient->>'email', log.recipient->>'phone', log.recipient->>'device_token',
             log.recipient->>'webhook_url'] && $6::text[], false)
           or coalesce(log.recipient->'hashes' ?| $5::text[], false) as is_theirs
         from notification_log log join looked using (id)
       ) as found
       where log.id = found.id and (is_theirs or log.trigger_by = $3::text or log.audience->'userIds' ? $3::text)
       returning 1
     )
     select (select max(id::text) from looked) as last, (select count(*)::int from changed) as changed`,
    [tenantId, cursor ?? FIRST, userId, JSON.stringify(addresses), hashes, hashes.map((hash) => `sha256:${hash}`)],
  );
  if (last === null) return false;
  await tx.query('update erasure set cursor = $2, delivery_records = delivery_records + $3 where id = $1', [
    id,
    last,
    changed,
  ]);
  return true;
}

async function forgetOthers(tx: Transaction, { tenantId, userId, addresses }: OpenErasure): Promise<number> {
  const names = [userId, ...Object.values(addresses)].filter((name) => name !== null);
  const [{ count } = { count: 0 }] = await tx.query<{ count: number }>(
    `with box as (delete from inbox where tenant_id = $1 and user_id = $2),
     preference as (delete from notification_preference where tenant_id = $1 and user_id = $2 returning 1),
     profile as (delete from recipient_profile where tenant_id = $1 and user_id = $2 returning 1),
     captured as (delete from sandbox_message where tenant_id = $1 and lower(recipient) = any($3) returning 1),
     rejected as (
       delete from rejected_event where tenant_id = $1
         and exists (select from unnest($4::text[]) name where position(convert_to(name, 'UTF8') in raw) > 0)
       returning 1
     )
     select ((select count(*) from preference) + (select count(*) from profile) + (select count(*) from captured)
       + (select count(*) from rejected))::int as count`,
    [tenantId, userId, names.map((name) => name.toLowerCase()), names],
  );
  return count;
}

/** Whoever it was is not written down any more, here either. */
async function complete(tx: Transaction, { id, tenantId, requestedBy, traceId }: OpenErasure, others: number) {
  const [done] = await tx.query<{ notifications: number; deliveryRecords: number }>(
    `update erasure set completed_at = now(), others = $2, user_id = null, addresses = '{}', cursor = null
     where id = $1 returning notifications, delivery_records as "deliveryRecords"`,
    [id, others],
  );
  await writeAudit(tx, {
    actor: { tenantId, userId: requestedBy },
    traceId,
    action: 'person.erased',
    details: { erasure_id: id, notifications: done?.notifications, delivery_records: done?.deliveryRecords, others },
  });
}
