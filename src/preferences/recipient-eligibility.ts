import type { Database } from '../database/database.ts';
import type { Channel } from '../intake/channel.ts';
import type { CategoryPolicy } from './category.ts';
import { addressHash } from './suppressions.ts';

/** Reasons why a person does not receive a notification through a channel. */
export interface Blocked {
  errorCode: 'opted_out' | 'address_suppressed';
  errorMessage: string;
}

/** Facts that decide whether a person receives one notification. */
export interface ReachOf {
  blocked: Partial<Record<Channel, Blocked>>;
  /** IANA time zone of the person, if known. */
  timeZone?: string;
  /** Newer delivery record that replaces this one. */
  collapsedBy?: string;
}

export interface ReachRequest {
  tenantId: string;
  userId?: string | undefined;
  category: string | null;
  /** Policy of the category; undefined when the tenant has not defined the category. */
  policy?: CategoryPolicy | undefined;
  addresses: { channel: Channel; address: string }[];
  /** True when the person's time zone is needed. */
  needsTimeZone: boolean;
  collapse?: { key: string; logId: string } | undefined;
}

export interface RecipientEligibility {
  /** @returns one answer per request, in the same order. Runs at most one statement, for any number of requests. */
  load(requests: ReachRequest[]): Promise<ReachOf[]>;
}

type Found =
  | { slot: number; kind: 'suppressed'; channel: Channel; value: string }
  | { slot: number; kind: 'preference'; channel: Channel; value: 'true' | 'false' }
  | { slot: number; kind: 'zone'; channel: null; value: string }
  | { slot: number; kind: 'collapsed'; channel: null; value: string };

const FIND = `
  select slot, 'suppressed' as kind, list.channel, list.reason as value
  from jsonb_to_recordset($1::jsonb) as wanted (slot int, tenant_id text, channel text, address_hash text, category text,
    is_mandatory boolean)
  join suppression list using (tenant_id, channel, address_hash)
  where list.category in ('', wanted.category) and not (wanted.is_mandatory and list.reason = 'unsubscribed')
  union all
  select slot, 'preference', preference.channel, preference.is_enabled::text
  from jsonb_to_recordset($2::jsonb) as wanted (slot int, tenant_id text, user_id text, category text)
  join notification_preference preference using (tenant_id, user_id, category)
  union all
  select slot, 'zone', null, profile.time_zone
  from jsonb_to_recordset($3::jsonb) as wanted (slot int, tenant_id text, user_id text)
  join recipient_profile profile using (tenant_id, user_id)
  where profile.time_zone is not null
  union all
  select slot, 'collapsed', null, newer.id::text
  from jsonb_to_recordset($4::jsonb) as wanted (slot int, tenant_id text, collapse_key text, log_id uuid)
  join notification_log log on log.id = wanted.log_id
  cross join lateral (
    select other.id from notification_log other
    where other.tenant_id = wanted.tenant_id and other.collapse_key = wanted.collapse_key and other.id > log.id
      and other.status not in ('suppressed', 'expired', 'failed')
      and coalesce(other.recipient->>'user_id', other.recipient->>'email', other.recipient->>'phone',
            other.recipient->>'device_token', other.recipient->>'webhook_url')
        = coalesce(log.recipient->>'user_id', log.recipient->>'email', log.recipient->>'phone',
            log.recipient->>'device_token', log.recipient->>'webhook_url')
    order by other.id limit 1
  ) newer`;

/** Reads preferences, suppressions and newer deliveries for a whole batch. */
export function createRecipientEligibility(database: Database): RecipientEligibility {
  return {
    load: async (requests) => {
      const slots = [...requests.entries()];
      const addresses = slots.flatMap(([slot, { tenantId, category, policy, addresses: reachable }]) =>
        reachable
          .filter(({ channel }) => channel !== 'in_app')
          .map(({ channel, address }) => ({
            slot,
            tenant_id: tenantId,
            channel,
            address_hash: addressHash(tenantId, channel, address),
            category: category ?? '',
            is_mandatory: category === null || policy?.isMandatory === true,
          })),
      );
      const preferences = slots.flatMap(([slot, { tenantId, userId, category, policy }]) =>
        userId === undefined || category === null || policy?.isMandatory
          ? []
          : [{ slot, tenant_id: tenantId, user_id: userId, category }],
      );
      const profiles = slots.flatMap(([slot, { tenantId, userId, needsTimeZone }]) =>
        userId === undefined || !needsTimeZone ? [] : [{ slot, tenant_id: tenantId, user_id: userId }],
      );
      const collapses = slots.flatMap(([slot, { tenantId, collapse }]) =>
        collapse ? [{ slot, tenant_id: tenantId, collapse_key: collapse.key, log_id: collapse.logId }] : [],
      );
      const wanted = [addresses, preferences, profiles, collapses];
      const found = wanted.every((part) => part.length === 0)
        ? []
        : await database.asWorker((tx) =>
            tx.query<Found>(
              FIND,
              wanted.map((part) => JSON.stringify(part)),
            ),
          );
      const bySlot = Map.groupBy(found, (row) => row.slot);
      return requests.map((request, slot) => reachOf(request, bySlot.get(slot) ?? []));
    },
  };
}

function reachOf({ category, policy, addresses, userId }: ReachRequest, found: Found[]): ReachOf {
  const reach: ReachOf = { blocked: {} };
  const decided = new Map<Channel, boolean>();
  for (const row of found) {
    if (row.kind === 'zone') reach.timeZone = row.value;
    else if (row.kind === 'collapsed') reach.collapsedBy = row.value;
    else if (row.kind === 'preference') decided.set(row.channel, row.value === 'true');
    else {
      const errorMessage = `The address is on the suppression list of ${row.channel} (${row.value}).`;
      reach.blocked[row.channel] ??= { errorCode: 'address_suppressed', errorMessage };
    }
  }
  if (category === null || policy?.isMandatory) return reach;
  for (const { channel } of addresses) {
    const mayDecide = policy?.channels?.includes(channel) ?? true;
    // A recipient without a user id cannot have opted in.
    const byDefault = policy?.defaultEnabled ?? true;
    const isEnabled = userId === undefined ? byDefault : (decided.get(channel) ?? byDefault);
    if (mayDecide && !isEnabled) {
      const errorMessage = `The recipient has disabled the category "${category}" for ${channel}, or has not enabled it.`;
      reach.blocked[channel] ??= { errorCode: 'opted_out', errorMessage };
    }
  }
  return reach;
}
