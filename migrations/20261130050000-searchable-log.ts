import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

/** Number of delivery records that one statement reads. Each is a transaction of its own. */
const BATCH = 20_000;
const FIRST = '00000000-0000-0000-0000-000000000000';

/** The tables that the next migration partitions, with their time-ordered column. */
const HISTORY = { notification_log: 'id', delivery_attempt: 'log_id', audit_event: 'id' };

/** Indexes of existing tables. `terminal` is the condition for finished deliveries. */
const terminal = `status in ('sent', 'sent_fallback', 'failed', 'suppressed', 'expired')`;
const open = `status in ('queued', 'sending', 'retrying')`;
const INDEXES = {
  notification_log_code: `"notification_log" ("tenant_id", "event_code" collate "C", "is_test", "id")`,
  notification_log_code_ended: `"notification_log" ("tenant_id", "event_code", "channel", "status", "is_test", "id") where ${terminal}`,
  notification_log_ended: `"notification_log" ("tenant_id", "status", "channel", "is_test", "id") where ${terminal}`,
  notification_log_open: `"notification_log" ("tenant_id", "status", "is_test", "id") where ${open}`,
  notification_log_test: `"notification_log" ("tenant_id", "id") where is_test`,
  delivery_attempt_message: `"delivery_attempt" ("tenant_id", "provider_message_id", "log_id")
    where provider_message_id is not null`,
  audit_event_actor: `"audit_event" ("tenant_id", "actor_id", "id") where actor_id is not null`,
  audit_event_trace: `"audit_event" ("tenant_id", "trace_id", "id")`,
};

/**
 * Adds the keys and indexes by which delivery records are found, and a table of the events that were accepted.
 *
 * It runs beside a working service: indexes are created concurrently, existing records are read in batches, and a trigger
 * does the same for the records that a service of the version before accepts in the meantime. The next migration drops
 * the trigger. After an interruption it starts again from the beginning.
 */
export class SearchableLog extends Migration {
  override isTransactional(): boolean {
    return false;
  }

  override async up(): Promise<void> {
    await this.execute(`
      create table if not exists "event_idempotency" ("tenant_id" text not null, "event_id" uuid not null,
        "log_id" uuid not null, primary key ("tenant_id", "event_id"));
      create index if not exists "event_idempotency_age" on "event_idempotency" ("tenant_id", "log_id");
      create table if not exists "notification_log_key" ("tenant_id" text not null, "key" uuid not null,
        "log_id" uuid not null, primary key ("tenant_id", "key", "log_id"));
      create index if not exists "notification_log_key_log" on "notification_log_key" ("log_id");
    `);
    for (const table of ['event_idempotency', 'notification_log_key']) {
      await this.execute(`
        drop policy if exists "${table}_tenant" on "${table}";
        drop policy if exists "${table}_worker" on "${table}";
        ${enableTenantIsolation(table)}
        grant select on "${table}" to "notif_api";
        grant select, insert, delete on "${table}" to "notif_worker";
      `);
    }
    await this.execute(KEYS_OF_RECORD);
    await this.execute(INDEX_NEW_RECORDS);
    for (let after: string | null = FIRST; after !== null;) after = await this.indexRecords(after);
    for (const [name, definition] of Object.entries(INDEXES)) {
      await this.execute(`drop index concurrently if exists "${name}"`);
      await this.execute(`create index concurrently "${name}" on ${definition}`);
    }
    // The tables become the oldest partition. A validated check proves their range without a scan under a lock. Records
    // outside of it, whose ids contain no time, have to move under the lock.
    for (const [table, column] of Object.entries(HISTORY)) {
      await this.execute(`alter table "${table}" drop constraint if exists "${table}_history_range"`);
      await this.execute(`alter table "${table}" no force row level security`);
      await this.execute(`do $$ declare
          upper uuid := (lpad(to_hex((extract(epoch from date_trunc('month', now(), 'UTC') + interval '2 months') * 1000)::bigint),
            12, '0') || repeat('0', 20))::uuid;
        begin
          if not exists (select from "${table}" where "${column}" >= upper) then
            execute format('alter table "${table}" add constraint "${table}_history_range" check ("${column}" < %L) not valid',
              upper);
          end if;
        end $$`);
      await this.execute(`alter table "${table}" force row level security`);
      await this.execute(`do $$ begin
          if exists (select from pg_constraint where conname = '${table}_history_range') then
            alter table "${table}" validate constraint "${table}_history_range";
          end if;
        end $$`);
    }
  }

  /** Reads the next records in a transaction of its own, as the worker, who sees all tenants. @returns the last id. */
  private indexRecords(after: string): Promise<string | null> {
    return this.getEntityManager().transactional(async (em) => {
      await em.execute('set local role "notif_worker"');
      const [{ last }] = await em.execute<[{ last: string | null }]>(INDEX_RECORDS, [after]);
      return last;
    });
  }

  override async down(): Promise<void> {
    for (const name of Object.keys(INDEXES)) await this.execute(`drop index if exists "${name}"`);
    for (const table of Object.keys(HISTORY)) {
      await this.execute(`alter table "${table}" drop constraint if exists "${table}_history_range"`);
    }
    await this.execute(`
      drop trigger if exists "notification_log_indexed" on "notification_log";
      drop function if exists notification_index_record();
      drop function if exists notification_keys_of(text, text, jsonb, jsonb);
      drop table if exists "event_idempotency", "notification_log_key";
    `);
  }
}

/** Keys of an existing record, as `src/intake/search-key.ts` makes them for new ones. */
const KEYS_OF_RECORD = `
  create or replace function notification_keys_of(tenant text, trace text, recipient jsonb, audience jsonb)
    returns setof uuid language sql immutable set search_path = pg_catalog as $$
      select substr(encode(sha256(convert_to(kind || E'\\n' || tenant || E'\\n' || value, 'UTF8')), 'hex'), 1, 32)::uuid
      from (
        select 'trace' as kind, trace as value
        union select 'user', recipient->>'user_id'
        union select 'user', jsonb_array_elements_text(
          case when jsonb_typeof(audience->'userIds') = 'array' then audience->'userIds' else '[]' end)
      ) named where value is not null
      union
      select case when value ~ '^sha256:[0-9a-f]{64}$' then substr(value, 8, 32)::uuid
        else substr(encode(sha256(convert_to('[' || to_json(tenant)::text || ',"' || channel || '",' || to_json(
          case when channel = 'email' then lower(value) else value end)::text || ']', 'UTF8')), 'hex'), 1, 32)::uuid end
      from (values ('email', recipient->>'email'), ('sms', recipient->>'phone'), ('push', recipient->>'device_token'),
        ('webhook', recipient->>'webhook_url')) as address (channel, value) where value is not null
      union
      select substr(jsonb_array_elements_text(
        case when jsonb_typeof(recipient->'hashes') = 'array' then recipient->'hashes' else '[]' end), 1, 32)::uuid
    $$`;

const INDEX_NEW_RECORDS = `
  create or replace function notification_index_record() returns trigger language plpgsql
    set search_path = public, pg_temp as $$ begin
      insert into event_idempotency (tenant_id, event_id, log_id) values (new.tenant_id, new.event_id, new.id)
        on conflict do nothing;
      insert into notification_log_key (tenant_id, key, log_id)
        select new.tenant_id, key, new.id
        from notification_keys_of(new.tenant_id, new.trace_id, new.recipient, new.audience) key on conflict do nothing;
      return null;
    end $$;
  create or replace trigger "notification_log_indexed" after insert on "notification_log" for each row
    execute function notification_index_record()`;

const INDEX_RECORDS = `
  with batch as materialized (
    select id, tenant_id, event_id, trace_id, recipient, audience from notification_log
    where id > ? order by id limit ${BATCH}
  ), remembered as (
    insert into event_idempotency (tenant_id, event_id, log_id) select tenant_id, event_id, id from batch
    order by tenant_id, event_id on conflict do nothing
  ), keyed as (
    insert into notification_log_key (tenant_id, key, log_id)
    select tenant_id, key, id from batch, notification_keys_of(tenant_id, trace_id, recipient, audience) key
    on conflict do nothing
  )
  select max(id::text) as last from batch`;
