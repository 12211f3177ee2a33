import type { Transaction } from '../database/database.ts';
import { newId } from '../ids.ts';
import { type NotificationCommand, PRIORITIES } from './command.ts';
import { searchKeysOf } from './search-key.ts';

/** Result of one command. */
export interface Accepted {
  /** Id of the delivery record: a new one, or the existing one of the same event. */
  logId: string;
  isDuplicate: boolean;
}

const INSERT = `
  with input as (
    select * from jsonb_to_recordset($1::jsonb) as command (
      position int, id uuid, tenant_id text, event_id uuid, event_type text, event_code text, is_test boolean,
      channels text[], recipient jsonb, audience jsonb, content jsonb, params jsonb, extra jsonb, category text,
      priority smallint, collapse_key text, expires_at timestamptz, due_at timestamptz, trace_id text,
      traceparent text, trigger_by text, event_created_at timestamptz, search_keys uuid[])
  ), fresh as (
    insert into event_idempotency (tenant_id, event_id, log_id)
    select tenant_id, event_id, id from input order by tenant_id, event_id, position
    on conflict (tenant_id, event_id) do nothing
    returning log_id
  ), inserted as (
    insert into notification_log (id, tenant_id, event_id, event_type, event_code, is_test, channels, recipient,
      audience, content, params, extra, category, priority, collapse_key, expires_at, due_at, scheduled_at, trace_id,
      traceparent, trigger_by, event_created_at, status)
    select id, tenant_id, event_id, event_type, event_code, is_test, channels, recipient, audience, content, params,
      extra, category, priority, collapse_key, expires_at, coalesce(due_at, now()), coalesce(due_at, now()), trace_id, traceparent,
      trigger_by, event_created_at, 'queued'
    from input join fresh on fresh.log_id = input.id
  ), keyed as (
    insert into notification_log_key (tenant_id, key, log_id)
    select tenant_id, key, id from input join fresh on fresh.log_id = input.id cross join unnest(search_keys) as key
  )
  select log_id as id from fresh`;

const FIND = `
  select known.log_id as id, known.tenant_id, known.event_id
  from jsonb_to_recordset($1::jsonb) as wanted (tenant_id text, event_id uuid)
  join event_idempotency known using (tenant_id, event_id)`;

/**
 * Stores commands as delivery records: one record per `(tenantId, eventId)`, also when an event arrives again. The caller
 * may acknowledge the events after the commit. Runs at most two statements, for any number of commands.
 *
 * @returns one result per command, in the same order.
 */
export async function acceptCommands(tx: Transaction, commands: NotificationCommand[]): Promise<Accepted[]> {
  if (commands.length === 0) return [];
  const rows = commands.map(toRow);
  const inserted = new Set(
    (await tx.queryPlanned<{ id: string }>(INSERT, [JSON.stringify(rows)])).map((row) => row.id),
  );

  const duplicates = rows.filter((row) => !inserted.has(row.id));
  const known = new Map<string, string>();
  if (duplicates.length > 0) {
    const keys = duplicates.map(({ tenant_id, event_id }) => ({ tenant_id, event_id }));
    const found = await tx.query<{ id: string; tenant_id: string; event_id: string }>(FIND, [JSON.stringify(keys)]);
    for (const row of found) known.set(eventKey(row.tenant_id, row.event_id), row.id);
  }
  return rows.map((row) => {
    if (inserted.has(row.id)) return { logId: row.id, isDuplicate: false };
    return { logId: known.get(eventKey(row.tenant_id, row.event_id)) as string, isDuplicate: true };
  });
}

const eventKey = (tenantId: string, eventId: string): string => JSON.stringify([tenantId, eventId.toLowerCase()]);

function toRow(command: NotificationCommand, position: number) {
  return {
    position,
    id: newId(),
    tenant_id: command.tenantId,
    event_id: command.eventId,
    event_type: command.eventType,
    event_code: command.eventCode,
    is_test: command.isTest,
    channels: command.channels,
    recipient: command.recipient,
    audience: command.audience ?? null,
    content: command.content ?? null,
    params: command.params,
    extra: command.extra ?? null,
    category: command.category ?? null,
    priority: PRIORITIES.indexOf(command.priority),
    collapse_key: command.collapseKey ?? null,
    expires_at: command.expiresAt ?? null,
    due_at: command.sendAt ?? null,
    trace_id: command.traceId,
    traceparent: command.traceparent ?? null,
    trigger_by: command.triggerBy ?? null,
    event_created_at: command.createdAt,
    search_keys: searchKeysOf(command.tenantId, command),
  };
}
