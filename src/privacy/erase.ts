import { LockMode } from '@mikro-orm/core';

import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { changeStatistics } from '../delivery/statistics-deltas.ts';
import { isUuid, newId } from '../ids.ts';
import type { Recipient } from '../intake/command.ts';
import { checkRecipient } from '../intake/recipient.ts';
import { addressKeys, searchKey } from '../intake/search-key.ts';
import { hashesOf } from './at-rest.ts';
import { ErasureEntity, type StoredErasure } from './erasure.entity.ts';
import { createPersonMatcher, searchableParts } from './names-person.ts';

/** The state of an erasure, without the person's ids. */
export type Erasure = Pick<
  StoredErasure,
  'id' | 'requestedAt' | 'completedAt' | 'notifications' | 'deliveryRecords' | 'others'
>;

/** Ids and addresses of the person to erase. At least one is needed. */
export interface ErasureSubject extends Omit<Recipient, 'locale' | 'user_id'> {
  userId?: string | undefined;
}

export interface Erasures {
  /**
   * Requests the erasure of a person's data; the dispatcher role does it in the background. Audited.
   * @throws `validation_failed` naming the field.
   */
  request(actor: Actor, subject: ErasureSubject, traceId: string): Promise<Erasure>;
  find(tenantId: string, id: string): Promise<Erasure | null>;
}

export function createErasures(database: Database, onRequested: () => void): Erasures {
  return {
    request: async (actor, { userId, ...addresses }, traceId) => {
      const subject: Recipient = { ...addresses, ...(userId !== undefined && { user_id: userId }) };
      const problems = checkRecipient(subject, (field) => `input.${CAMEL[field] ?? field}`);
      if (problems.length > 0) throw validationFailed(problems);
      if (Object.values(subject).every((value) => value === undefined)) {
        throw validationFailed([{ path: 'input', message: 'must name a user id or an address' }]);
      }
      const { tenantId } = actor;
      const erasure = await database.asTenant(tenantId, async (tx) => {
        const requested = tx.em.create(
          ErasureEntity,
          { id: newId(), tenantId, userId: userId ?? null, addresses, requestedBy: actor.userId, traceId },
          { persist: true },
        );
        await tx.em.flush();
        const known = Object.keys(subject).filter((key) => subject[key as keyof Recipient] !== undefined);
        await writeAudit(tx, {
          actor,
          traceId,
          action: 'person.erasure_requested',
          details: { erasure_id: requested.id, known_by: known },
        });
        return requested;
      });
      onRequested();
      return erasure;
    },
    find: async (tenantId, id) => {
      if (!isUuid(id)) return null;
      return database.asTenant(tenantId, ({ em }) => em.findOne(ErasureEntity, { tenantId, id }));
    },
  };
}

/** GraphQL names of a recipient's fields. */
const CAMEL: Record<string, string> = { user_id: 'userId', device_token: 'deviceToken', webhook_url: 'webhookUrl' };

/** Maximum number of rows that one transaction removes or checks. */
const BATCH = 2_000;
/** Maximum size of the rejected events that one transaction checks, in bytes. A larger event is checked alone. */
const MAX_BYTES = 4 * 1024 * 1024;
const FIRST = '00000000-0000-0000-0000-000000000000';

/**
 * Does the next part of one open erasure. Each part commits with its progress, so that any instance continues after a
 * crash.
 *
 * @returns false when no erasure is open, or other instances hold all open ones.
 */
export function eraseNext(database: Database): Promise<boolean> {
  return database.asWorker(async (tx) => {
    const [erasure] = await tx.em.find(
      ErasureEntity,
      { completedAt: null },
      // Skips erasures that another instance is processing.
      { orderBy: { id: 'asc' }, limit: 1, lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE },
    );
    if (!erasure) return false;
    // Records come before the inbox: after them, no dispatcher can write a notification to it.
    if (await eraseRecords(tx, erasure)) return true;
    if (await eraseRejected(tx, erasure)) return true;
    const notifications = await eraseInbox(tx, erasure);
    erasure.notifications += notifications;
    // Completes only in a transaction that finds the inbox empty.
    if (notifications > 0) return true;
    erasure.others += await eraseOthers(tx, erasure);
    await complete(tx, erasure);
    return true;
  });
}

/** Waits for dispatchers that are writing to the inbox, and keeps later ones waiting. */
const LOCK_INBOX = 'select from inbox where tenant_id = $1 and user_id = $2 for update';

/** Deletes in bounded batches without reading the rows: a person may have any number of them. */
const DELETE_NOTIFICATIONS = `with old as (
    select id from notification where tenant_id = $1 and user_id = $2 order by created_seq limit ${BATCH}
  )
  delete from notification where id in (select id from old) returning 1`;

async function eraseInbox(tx: Transaction, { tenantId, userId }: StoredErasure): Promise<number> {
  if (userId === null) return 0;
  await tx.query(LOCK_INBOX, [tenantId, userId]);
  const gone = await tx.query(DELETE_NOTIFICATIONS, [tenantId, userId]);
  return gone.length;
}

/** Condition for records whose only recipient is the person. Compares hashes, too, for addresses that are not stored. */
const IS_THEIRS = `(coalesce(log.recipient->>'user_id' = $3::text, false)
  or coalesce(lower(log.recipient->>'email') = lower($4::jsonb->>'email'), false)
  or coalesce(log.recipient->>'phone' = $4::jsonb->>'phone', false)
  or coalesce(log.recipient->>'device_token' = $4::jsonb->>'device_token', false)
  or coalesce(log.recipient->>'webhook_url' = $4::jsonb->>'webhook_url', false)
  or coalesce(array[log.recipient->>'email', log.recipient->>'phone', log.recipient->>'device_token',
    log.recipient->>'webhook_url'] && $6::text[], false)
  or coalesce(log.recipient->'hashes' ?| $5::text[], false)
  or coalesce(log.audience->'userIds' ? $3::text and (log.audience->'userIds') - $3::text = '[]', false))`;

/**
 * Erases the person from a batch of records in one statement, in the lock order of `lock-order.ts`.
 *
 * A dispatcher holds the old recipients of a record that it has claimed. The record loses its lease, so that the
 * dispatcher can write nothing; if other people are in its audience, it is queued again for them.
 */
const ERASE_RECORDS = `with checked as (
    select id from notification_log where tenant_id = $1 and id > $2 order by id limit ${BATCH}
  ), found as (
    select log.id, ${IS_THEIRS} as is_theirs, coalesce(log.audience->'userIds' ? $3::text, false) as is_in_audience,
      log.status in ('queued', 'sending', 'retrying') as is_open, log.status = 'sending' as is_sending
    from notification_log log join checked using (id)
    where ${IS_THEIRS} or log.trigger_by = $3::text or log.audience->'userIds' ? $3::text
    order by log.id for update of log
  ), changed as (
    update notification_log log
    set recipient = case when is_theirs then '{}' else log.recipient end,
      params = case when is_theirs then '{}' else log.params end,
      extra = case when is_theirs then null else log.extra end,
      content = case when is_theirs then null else log.content end,
      audience = case when is_in_audience
        then jsonb_set(log.audience, '{userIds}', (log.audience->'userIds') - $3::text) else log.audience end,
      trigger_by = nullif(log.trigger_by, $3::text), is_reduced = log.is_reduced or is_theirs,
      status = case when is_open and is_theirs then 'suppressed' when is_requeued then 'queued' else log.status end,
      error_code = case when is_open and is_theirs then 'recipient_erased' else log.error_code end,
      lease_token = case when is_theirs or is_requeued then null else log.lease_token end,
      due_at = case when is_requeued then now() else log.due_at end,
      claims = case when is_requeued then greatest(log.claims - 1, 0) else log.claims end, updated_at = now()
    from (select *, is_sending and is_in_audience and not is_theirs as is_requeued from found) as found
    where log.id = found.id
    returning log.*, is_open and is_theirs as has_ended
  ), counted as (${changeStatistics('add', '(select * from changed where has_ended) as ended')}),
  keyed as (
    delete from notification_log_key key using changed where key.log_id = changed.id and key.key = any($7::uuid[])
  )
  select (select max(id::text) from checked) as last, (select count(*)::int from checked) as checked,
    (select count(*)::int from changed) as changed`;

/** Checks the next delivery records and erases the person from them. @returns whether there may be more. */
async function eraseRecords(tx: Transaction, erasure: StoredErasure): Promise<boolean> {
  const { tenantId, userId, addresses, cursor } = erasure;
  const hashes = hashesOf(tenantId, addresses);
  const [batch] = await tx.query<{ last: string | null; checked: number; changed: number }>(ERASE_RECORDS, [
    tenantId,
    cursor ?? FIRST,
    userId,
    JSON.stringify(addresses),
    hashes,
    hashes.map((hash) => `sha256:${hash}`),
    [...addressKeys(tenantId, addresses), ...(userId === null ? [] : [searchKey('user', tenantId, userId)])],
  ]);
  if (!batch || batch.last === null) return false;
  erasure.cursor = batch.last;
  erasure.deliveryRecords += batch.changed;
  // A shorter batch is the last one, even if new records arrive all the time.
  return batch.checked === BATCH;
}

/**
 * Reads the rejected events of the next batch that may name the person: they contain a part of a name, or a backslash,
 * with which JSON can write any character. Compares in ASCII, so that invalid UTF-8 is no error.
 */
const FIND_REJECTED = `with page as materialized (
    select id, raw, row_number() over (order by id) as nth, sum(octet_length(raw)) over (order by id) as bytes
    from (select id, raw from rejected_event where tenant_id = $1 and id > $2 order by id limit ${BATCH}) as next
  ), checked as materialized (
    select id, raw from page where nth = 1 or bytes <= ${MAX_BYTES}
  ), candidate as (
    select id, raw from checked
    where position('\\x5c'::bytea in raw) > 0 or exists (
      select from unnest($3::text[]) as part
      where position(encode(convert_to(part, 'UTF8'), 'escape') in lower(encode(raw, 'escape') collate "C")) > 0)
  )
  select batch.last, batch."isMore", candidate.id, candidate.raw
  from (
    select max(id::text) as last, count(*) = ${BATCH} or count(*) < (select count(*) from page) as "isMore" from checked
  ) as batch left join candidate on true`;

const DELETE_REJECTED = `with named as (
    select id from rejected_event where tenant_id = $1 and id = any($2) order by id for update
  )
  delete from rejected_event where id in (select id from named) returning 1`;

/**
 * Checks the next rejected events and deletes those that name the person.
 * @returns whether the transaction must end here, because there may be more or rows were deleted.
 */
async function eraseRejected(tx: Transaction, erasure: StoredErasure): Promise<boolean> {
  const { tenantId, rejectedCursor } = erasure;
  const rows = await tx.query<{ last: string | null; isMore: boolean; id: string | null; raw: Buffer }>(FIND_REJECTED, [
    tenantId,
    rejectedCursor ?? FIRST,
    searchableParts(erasure),
  ]);
  const [batch] = rows;
  if (!batch || batch.last === null) return false;
  erasure.rejectedCursor = batch.last;
  const names = createPersonMatcher(erasure);
  const named = rows.filter(({ id, raw }) => id !== null && names(raw)).map(({ id }) => id);
  const deleted = named.length === 0 ? [] : await tx.query(DELETE_REJECTED, [tenantId, named]);
  erasure.others += deleted.length;
  // Locks of rejected events are not kept while the inbox is locked, because retention locks them in the other order.
  return batch.isMore || deleted.length > 0;
}

/** Deletes from four tables in one statement, which returns only the counts. */
const DELETE_OTHERS = `with box as (delete from inbox where tenant_id = $1 and user_id = $2),
  preference as (delete from notification_preference where tenant_id = $1 and user_id = $2 returning 1),
  profile as (delete from recipient_profile where tenant_id = $1 and user_id = $2 returning 1),
  captured as (delete from sandbox_message where tenant_id = $1 and lower(recipient) = any($3) returning 1)
  select ((select count(*) from preference) + (select count(*) from profile)
    + (select count(*) from captured))::int as count`;

async function eraseOthers(tx: Transaction, { tenantId, userId, addresses }: StoredErasure): Promise<number> {
  const names = [userId, ...Object.values(addresses)].filter((name) => name !== null);
  const [{ count } = { count: 0 }] = await tx.query<{ count: number }>(DELETE_OTHERS, [
    tenantId,
    userId,
    names.map((name) => name.toLowerCase()),
  ]);
  return count;
}

/** Marks the erasure as done and removes the person's ids from it. */
async function complete(tx: Transaction, erasure: StoredErasure): Promise<void> {
  const progress = { cursor: null, rejectedCursor: null };
  Object.assign(erasure, { completedAt: new Date(), userId: null, addresses: {}, ...progress });
  const { id, tenantId, requestedBy, traceId, notifications, deliveryRecords, others } = erasure;
  await writeAudit(tx, {
    actor: { tenantId, userId: requestedBy },
    traceId,
    action: 'person.erased',
    details: { erasure_id: id, notifications, delivery_records: deliveryRecords, others },
  });
}
