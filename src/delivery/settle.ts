import type { SendResult } from '../channels/send-result.ts';
import type { Database, Transaction } from '../database/database.ts';
import { newId } from '../ids.ts';
import { type InboxEntry, writeToInboxes, type WrittenNotification } from '../inbox/write.ts';
import { addressFor } from '../intake/recipient.ts';
import type { Channel } from '../intake/channel.ts';
import type { ClaimedLog } from './claim.ts';
import { maskAddress } from '../intake/mask.ts';
import { searchKey } from '../intake/search-key.ts';
import { insertSuppressions, type SuppressionEntry } from '../preferences/suppressions.ts';
import type { Keyring } from '../keyring.ts';
import { LOCK_LEASED } from './lock-order.ts';
import { recipientAtRest, type StoredRecipient } from '../privacy/at-rest.ts';
import type { TenantSettingsSource } from '../tenants/settings.ts';
import type { UsedTemplate } from './plan.ts';
import { changeStatistics } from './statistics-deltas.ts';
import { isTerminal, type LogStatus } from './status.ts';

/** Outcome of one delivery, or its return to the queue. */
export interface Settlement {
  log: ClaimedLog;
  status: LogStatus;
  channel?: Channel | undefined;
  template?: UsedTemplate | undefined;
  /** Time until the row is due again, in milliseconds. Only for a status that is not terminal. */
  retryInMs?: number;
  /** Next position in the route, or the last one for a terminal status; absent to keep the stored one. */
  next?: Pick<ClaimedLog, 'step' | 'stepAttempts' | 'provider' | 'excludedProviders'>;
  errorCode?: string | undefined;
  errorMessage?: string | undefined;
  attempt?: {
    number: number;
    provider: string;
    outcome: SendResult['outcome'];
    /** True if the provider removes repeats by the idempotency key. */
    deduplicates?: boolean;
    durationMs: number;
    providerMessageId?: string;
    /** Set if the attempt failed before its provider began to take the message, so that it is not recorded yet. */
    unopened?: { route: Channel[] };
  };
  /** Attempt to delete if it exists, because its provider was not called. */
  withdrawn?: { number: number };
  /** Address to suppress, because it bounced or its owner complained. */
  suppress?: { address: string; reason: 'hard_bounce' | 'complaint' };
  /** Inbox entry, written in the same transaction, so that it exists exactly once. */
  inbox?: InboxEntry;
}

export interface SettleOptions {
  database: Database;
  settings: Pick<TenantSettingsSource, 'load'>;
  keyring: Keyring;
}

/** Personal data that remains in a row after its terminal status. */
interface RetainedData {
  kept_recipient: StoredRecipient | null;
  drops_params: boolean;
}

export interface Settled {
  logs: { id: string; tenantId: string; status: LogStatus }[];
  notifications: WrittenNotification[];
}

const SETTLE = `
  with input as (
    select * from jsonb_to_recordset($1::jsonb) as settlement (
      id uuid, lease_token uuid, status text, channel text, retry_in_ms bigint, step smallint, step_attempts smallint,
      next_provider text, excluded_providers text[], template_id uuid, template_version int, locale text,
      error_code text, error_message text, attempt_number int, is_atomic boolean, route text[], attempt_channel text, attempt_provider text,
      outcome text, deduplicates boolean, duration_ms int, provider_message_id text, withdrawn_number int, audit_id uuid, audit_action text,
      audit_details jsonb, kept_recipient jsonb, drops_params boolean)
  ), settled as (
    update notification_log log
    set status = input.status, channel = coalesce(input.channel, log.channel), lease_token = null, claims = 0,
        template_id = coalesce(input.template_id, log.template_id),
        template_version = coalesce(input.template_version, log.template_version),
        locale = coalesce(input.locale, log.locale),
        error_code = input.error_code, error_message = input.error_message,
        attempts = coalesce(input.withdrawn_number - 1, input.attempt_number, log.attempts),
        route = coalesce(input.route, log.route), step = coalesce(input.step, log.step),
        step_attempts = case when input.step is null then log.step_attempts else input.step_attempts end,
        provider = case when input.step is null then log.provider else input.next_provider end,
        excluded_providers = coalesce(input.excluded_providers, log.excluded_providers),
        unknown_since = coalesce(log.unknown_since,
          case when input.outcome = 'unknown' and not input.deduplicates then input.attempt_number end),
        due_at = now() + coalesce(input.retry_in_ms, 0) * interval '1 millisecond', updated_at = now(),
        recipient = coalesce(input.kept_recipient, log.recipient),
        params = case when input.drops_params then '{}' else log.params end,
        extra = case when input.drops_params then null else log.extra end,
        is_reduced = log.is_reduced or input.kept_recipient is not null or input.drops_params,
        sent_at = case when input.status in ('sent', 'sent_fallback') then now() end
    from input
    where log.id = input.id and log.lease_token = input.lease_token and log.status = 'sending'
    returning log.id, log.tenant_id, log.trace_id, log.trigger_by, log.status, log.event_code, log.channel,
      log.template_id, log.is_test, log.created_at, log.scheduled_at, log.sent_at, input.attempt_number,
      input.is_atomic, input.attempt_channel, input.attempt_provider, input.outcome, input.duration_ms, input.provider_message_id, input.deduplicates,
      input.error_code, input.error_message, input.withdrawn_number, input.audit_id, input.audit_action,
      input.audit_details
  ), attempted as (
    update delivery_attempt attempt
    set outcome = settled.outcome, duration_ms = settled.duration_ms,
        provider_message_id = settled.provider_message_id, error_code = settled.error_code,
        error_message = settled.error_message
    from settled
    where attempt.log_id = settled.id and attempt.number = settled.attempt_number and not settled.is_atomic
  ), recorded as (
    insert into delivery_attempt (log_id, number, tenant_id, channel, provider, outcome, duration_ms, started_at,
      deduplicates, provider_message_id, error_code, error_message)
    select id, attempt_number, tenant_id, attempt_channel, attempt_provider, outcome, duration_ms,
      now() - duration_ms * interval '1 millisecond', deduplicates, provider_message_id, error_code, error_message
    from settled where is_atomic and attempt_number is not null
    on conflict (log_id, number) do nothing
  ), withdrawn as (
    delete from delivery_attempt attempt using settled
    where attempt.log_id = settled.id and attempt.number = settled.withdrawn_number and attempt.outcome is null
  ), audited as (
    insert into audit_event (id, tenant_id, action, actor_id, trace_id, details)
    select audit_id, tenant_id, audit_action, trigger_by, trace_id, audit_details
    from settled where audit_id is not null
  ), counted as (${changeStatistics('add', 'settled')})
  select id, tenant_id as "tenantId", status from settled`;

/**
 * Records the outcomes of a batch of deliveries in one transaction: statuses, attempts, audit events, inbox rows and
 * suppressions. A row whose lease was lost belongs to another process and is not changed.
 */
export async function settleBatch(
  { database, settings, keyring }: SettleOptions,
  settlements: Settlement[],
): Promise<Settled> {
  const policies = await settings.load(settlements.map(({ log }) => log.tenantId));
  const retainedDataOf = ({ log, status }: Settlement): RetainedData => {
    const privacy = policies.get(log.tenantId)?.privacy;
    if (!privacy || !isTerminal(status)) return { kept_recipient: null, drops_params: false };
    return {
      kept_recipient: recipientAtRest(log.tenantId, log.recipient, privacy.recipients, keyring) ?? null,
      drops_params: privacy.params === 'until_end',
    };
  };
  return database.asWorker(async (tx) => {
    await tx.queryPlanned(LOCK_LEASED, [
      settlements.map(({ log }) => log.id),
      settlements.map(({ log }) => log.leaseToken),
    ]);
    const entries = settlements.flatMap((settlement) => settlement.inbox ?? []);
    const notifications = await writeToInboxes(tx, entries);
    const reached = new Set(notifications.map((notification) => notification.logId));
    const rows = settlements.map((settlement) => ({
      ...toRow(settlement.inbox && !reached.has(settlement.log.id) ? withoutAudience(settlement) : settlement),
      ...retainedDataOf(settlement),
    }));
    const logs = await tx.queryPlanned<Settled['logs'][number]>(SETTLE, [JSON.stringify(rows)]);
    await insertAudienceKeys(tx, entries, notifications);
    await insertSuppressions(tx, settlements.flatMap(suppressionOf));
    return { logs, notifications };
  });
}

/** The members of these audiences are known only now. Users that an event names have their keys already. */
const INSERT_KEYS = `insert into notification_log_key (tenant_id, key, log_id)
  select tenant_id, key, log_id
  from jsonb_to_recordset($1::jsonb) as entry (tenant_id text, key uuid, log_id uuid) on conflict do nothing`;

async function insertAudienceKeys(
  tx: Transaction,
  entries: InboxEntry[],
  written: WrittenNotification[],
): Promise<void> {
  const scoped = new Set(entries.filter(({ audience }) => audience.scope !== 'users').map(({ logId }) => logId));
  const keys = written
    .filter(({ logId }) => scoped.has(logId))
    .map(({ logId, tenantId, userId }) => ({
      tenant_id: tenantId,
      key: searchKey('user', tenantId, userId),
      log_id: logId,
    }));
  if (keys.length > 0) await tx.query(INSERT_KEYS, [JSON.stringify(keys)]);
}

function suppressionOf({ log, channel, suppress }: Settlement): SuppressionEntry[] {
  if (!suppress || channel === undefined) return [];
  const { tenantId, id: sourceLogId } = log;
  return [{ tenantId, channel, category: '', sourceLogId, createdBy: null, ...suppress }];
}

function withoutAudience({ attempt: _none, ...settlement }: Settlement): Settlement {
  return {
    ...settlement,
    status: 'suppressed',
    errorCode: 'audience_empty',
    errorMessage: 'The audience of the notification contains no user.',
  };
}

function toRow(settlement: Settlement) {
  const { log, status, template, attempt, next } = settlement;
  const isAudited = isTerminal(status);
  return {
    id: log.id,
    lease_token: log.leaseToken,
    status,
    channel: settlement.channel ?? null,
    retry_in_ms: settlement.retryInMs ?? null,
    step: next?.step ?? null,
    step_attempts: next?.stepAttempts ?? null,
    next_provider: next?.provider ?? null,
    excluded_providers: next?.excludedProviders ?? null,
    template_id: template?.templateId ?? null,
    template_version: template?.version ?? null,
    locale: template?.locale ?? null,
    error_code: settlement.errorCode ?? null,
    error_message: settlement.errorMessage ?? null,
    attempt_number: attempt?.number ?? null,
    // An attempt without a call of the provider is inserted with its outcome.
    is_atomic: settlement.inbox !== undefined || attempt?.unopened !== undefined,
    route: attempt?.unopened?.route ?? null,
    attempt_channel: attempt ? settlement.channel : null,
    attempt_provider: attempt?.provider ?? null,
    outcome: attempt?.outcome ?? null,
    deduplicates: attempt?.deduplicates ?? false,
    duration_ms: attempt?.durationMs ?? null,
    provider_message_id: attempt?.providerMessageId ?? null,
    withdrawn_number: settlement.withdrawn?.number ?? null,
    audit_id: isAudited ? newId() : null,
    audit_action: log.isTest ? 'notification.test_sent' : 'notification.sent',
    audit_details: isAudited ? auditDetails(settlement) : null,
  };
}

function auditDetails({ log, status, channel, template, errorCode }: Settlement): Record<string, unknown> {
  const address = channel && addressFor(channel, log.recipient);
  return {
    log_id: log.id,
    event_id: log.eventId,
    event_code: log.eventCode,
    status,
    channel: channel ?? null,
    template_id: template?.templateId ?? null,
    recipient: address === undefined ? null : maskAddress(address),
    error_code: errorCode ?? null,
  };
}
