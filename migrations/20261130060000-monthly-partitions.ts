import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

/** Partitioned tables: the time-ordered column, the indexes and the privileges. */
const terminal = `status in ('sent', 'sent_fallback', 'failed', 'suppressed', 'expired')`;
const open = `status in ('queued', 'sending', 'retrying')`;

interface Table {
  column: string;
  primaryKey: string;
  indexes: Record<string, string>;
  grants: string[];
}

/** Columns of a delivery record that the API changes in a replay. */
const REPLAYED = `status, due_at, error_code, error_message, sent_at, updated_at, route, step, step_attempts, provider,
  excluded_providers, claims, scheduled_at, unknown_since`;

const TABLES: Record<string, Table> = {
  notification_log: {
    column: 'id',
    primaryKey: '"id"',
    indexes: {
      notification_log_newest: '("tenant_id", "id")',
      notification_log_due: `("tenant_id", "priority", "due_at") where ${open}`,
      notification_log_owner: `("lease_owner") where status = 'sending'`,
      notification_log_collapse: `("tenant_id", "collapse_key", "id") where collapse_key is not null`,
      notification_log_code: `("tenant_id", "event_code" collate "C", "is_test", "id")`,
      notification_log_code_ended: `("tenant_id", "event_code", "channel", "status", "is_test", "id") where ${terminal}`,
      notification_log_ended: `("tenant_id", "status", "channel", "is_test", "id") where ${terminal}`,
      notification_log_open: `("tenant_id", "status", "is_test", "id") where ${open}`,
      notification_log_test: `("tenant_id", "id") where is_test`,
    },
    grants: [
      'select on "notification_log" to "notif_api"',
      `update (${REPLAYED}) on "notification_log" to "notif_api"`,
      'select, insert, update, delete on "notification_log" to "notif_worker"',
    ],
  },
  notification_log_key: {
    column: 'log_id',
    primaryKey: '"tenant_id", "key", "log_id"',
    indexes: { notification_log_key_log: '("log_id")' },
    grants: [
      'select on "notification_log_key" to "notif_api"',
      'select, insert, delete on "notification_log_key" to "notif_worker"',
    ],
  },
  delivery_attempt: {
    column: 'log_id',
    primaryKey: '"log_id", "number"',
    indexes: {
      delivery_attempt_message: `("tenant_id", "provider_message_id", "log_id") where provider_message_id is not null`,
    },
    grants: [
      'select on "delivery_attempt" to "notif_api"',
      'select, insert, update, delete on "delivery_attempt" to "notif_worker"',
    ],
  },
  audit_event: {
    column: 'id',
    primaryKey: '"id"',
    indexes: {
      audit_event_newest: '("tenant_id", "id")',
      audit_event_committed: '("xid", "id")',
      audit_event_action: '("tenant_id", "action", "id")',
      audit_event_actor: `("tenant_id", "actor_id", "id") where actor_id is not null`,
      audit_event_trace: '("tenant_id", "trace_id", "id")',
    },
    grants: ['select, insert on "audit_event" to "notif_api"', 'select, insert on "audit_event" to "notif_worker"'],
  },
};

/**
 * Partitions the records by month over their time-ordered keys. Today's tables become the oldest partition, which holds
 * everything up to the end of the next month. This moves no row, so that the locks are held only for a moment. A default
 * partition takes records that no month has a partition for, e.g. of a process whose clock is wrong, so that none is refused.
 *
 * Partitions are created and dropped through two functions of the owner, because the service itself owns nothing.
 */
export class MonthlyPartitions extends Migration {
  override up(): void {
    this.addSql(`set local lock_timeout = '10s'`);
    this.addSql(`lock table ${Object.keys(TABLES).join(', ')} in access exclusive mode`);
    this.addSql(`
      drop trigger "notification_log_indexed" on "notification_log";
      drop function notification_index_record();
      drop function notification_keys_of(text, text, jsonb, jsonb);
      alter table "delivery_attempt" drop constraint "delivery_attempt_log_id_foreign";
      alter table "notification_log" drop constraint "notification_log_event";
      create temp table month_bound on commit drop as select coalesce(
        (select (regexp_match(pg_get_constraintdef(oid), '[0-9a-f]{8}-[0-9a-f-]{27}'))[1]::uuid from pg_constraint
         where conname = 'notification_log_history_range'),
        ${firstIdOf(`date_trunc('month', now(), 'UTC') + interval '2 months'`)}) as upper;
    `);
    for (const [table, { column, primaryKey, indexes, grants }] of Object.entries(TABLES)) {
      const history = `${table}_history`;
      this.addSql(`
        alter table "${table}" rename to "${history}";
        alter index "${table}_pkey" rename to "${history}_pkey";
        drop policy "${table}_tenant" on "${history}";
        drop policy "${table}_worker" on "${history}";
        revoke all on "${history}" from "notif_api", "notif_worker";
      `);
      for (const index of Object.keys(indexes)) {
        this.addSql(`alter index "${index}" rename to "${historyIndex(table, index)}"`);
      }
      this.addSql(`
        create table "${table}" (like "${history}" including defaults including constraints including storage)
          partition by range ("${column}");
        alter table "${table}" drop constraint if exists "${table}_history_range";
        alter table "${table}" add constraint "${table}_pkey" primary key (${primaryKey});
      `);
      for (const [index, definition] of Object.entries(indexes)) {
        this.addSql(`create index "${index}" on "${table}" ${definition}`);
      }
      // Moves nothing, unless ids contain no time.
      this.addSql(`
        create table "${table}_other" (like "${table}" including all)
          with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
        alter table "${history}" no force row level security;
        with moved as (delete from "${history}" where "${column}" >= (select upper from month_bound) returning *)
          insert into "${table}_other" select * from moved;
        alter table "${history}" force row level security;
        alter table "${table}_other" enable row level security;
        alter table "${table}_other" force row level security;
        alter table "${table}" attach partition "${table}_other" default;
        do $$ begin
          execute format('alter table "${table}" attach partition "${history}" for values from (minvalue) to (%L)',
            (select upper from month_bound));
        end $$;
      `);
      this.addSql(enableTenantIsolation(table));
      for (const grant of grants) this.addSql(`grant ${grant}`);
    }
    for (const table of Object.keys(TABLES)) {
      this.addSql(`alter table "${table}_history" drop constraint if exists "${table}_history_range"`);
    }
    this.addSql(CREATE_PARTITIONS);
    this.addSql(DROP_PARTITION);
    this.addSql(`
      revoke all on function notification_create_partition(int), notification_drop_partition(text, date) from public;
      grant execute on function notification_create_partition(int), notification_drop_partition(text, date)
        to "notif_worker";
      do $$ begin while notification_create_partition(2) loop end loop; end $$;
    `);
  }

  override down(): void {
    this.addSql(`
      drop function notification_create_partition(int);
      drop function notification_drop_partition(text, date);
    `);
    for (const [table, { indexes, grants }] of Object.entries(TABLES)) {
      const history = `${table}_history`;
      this.addSql(`
        alter table "${table}" no force row level security;
        alter table "${table}" detach partition "${history}";
        alter table "${history}" no force row level security;
        insert into "${history}" select * from "${table}";
        drop table "${table}";
        alter table "${history}" rename to "${table}";
        alter index "${history}_pkey" rename to "${table}_pkey";
      `);
      for (const index of Object.keys(indexes)) {
        this.addSql(`alter index "${historyIndex(table, index)}" rename to "${index}"`);
      }
      this.addSql(enableTenantIsolation(table));
      for (const grant of grants) this.addSql(`grant ${grant}`);
    }
    this.addSql(`
      -- An event that came again after its id was forgotten has two records. The older one gets another event id.
      alter table "notification_log" no force row level security;
      update "notification_log" log set event_id = log.id
      where exists (select from "notification_log" newer
        where newer.tenant_id = log.tenant_id and newer.event_id = log.event_id and newer.id > log.id);
      alter table "notification_log" force row level security;
      alter table "notification_log" add constraint "notification_log_event" unique ("tenant_id", "event_id");
      alter table "delivery_attempt" add constraint "delivery_attempt_log_id_foreign"
        foreign key ("log_id") references "notification_log" ("id") on delete cascade;
    `);
  }
}

/** Name of the index of the oldest partition. */
const historyIndex = (table: string, index: string): string => index.replace(table, `${table}_history`);

const names = Object.entries(TABLES)
  .map(([table, { column }]) => `('${table}', '${column}')`)
  .join(', ');

/** SQL of the smallest UUIDv7 of a moment. */
const firstIdOf = (moment: string): string =>
  `(lpad(to_hex((extract(epoch from ${moment}) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid`;

/**
 * Creates the first partition that is missing for the current month and `ahead` further months. A new table is created
 * first and attached then, because creating it as a partition would lock the parent against reading. Records of the month
 * that are in the default partition move to the new one.
 *
 * One call creates at most one partition, so that a transaction holds one exclusive lock and cannot be part of a deadlock.
 * The lock timeouts are shorter than PostgreSQL's `deadlock_timeout` of 1 s, so that no other transaction is aborted.
 *
 * @returns whether it created one.
 */
const CREATE_PARTITIONS = `
  create function notification_create_partition(ahead int) returns boolean language plpgsql security definer
    set search_path = public, pg_temp set lock_timeout = '500ms' as $$
  declare
    part record;
  begin
    -- Two instances would otherwise create the same partition.
    perform pg_advisory_xact_lock(7253002);
    for part in
      select parent, key, parent || to_char(month at time zone 'UTC', '"_"YYYY"_"MM') as name,
        ${firstIdOf('month')} as lower, ${firstIdOf(`(month + interval '1 month')`)} as upper
      from (values ${names}) as partitioned (parent, key), generate_series(date_trunc('month', now() at time zone 'UTC'),
        date_trunc('month', now() at time zone 'UTC') + least(greatest(ahead, 0), 24) * interval '1 month',
        interval '1 month') as utc_month, lateral (select utc_month at time zone 'UTC' as month) moment
      order by month, parent
    loop
      continue when exists (
        select from pg_inherits join pg_class child on child.oid = inhrelid
        where inhparent = part.parent::regclass
          and (child.relname = part.name or (child.relname = part.parent || '_history' and part.upper <=
            (regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \\(''([0-9a-f-]{36})''\\)'))[1]::uuid)));
      execute format('create table %I (like %I including all) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)',
        part.name, part.parent);
      execute format('lock table %I in access exclusive mode', part.parent || '_other');
      -- Row-level security would hide the rows from the owner.
      execute format('alter table %I no force row level security', part.parent || '_other');
      execute format('with moved as (delete from %1$I where %2$I >= %3$L and %2$I < %4$L returning *)
          insert into %5$I select * from moved',
        part.parent || '_other', part.key, part.lower, part.upper, part.name);
      execute format('alter table %I force row level security', part.parent || '_other');
      execute format('alter table %I enable row level security', part.name);
      execute format('alter table %I force row level security', part.name);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)', part.parent, part.name, part.lower,
        part.upper);
      return true;
    end loop;
    return false;
  end $$`;

/**
 * Drops the partition of a month, with `kind` `log` (delivery records, their keys and their attempts) or `audit`. A null
 * month stands for the partition of all earlier records. The parents are locked first, as by every other statement.
 *
 * @returns false if the partition does not exist, is not yet past, or contains unfinished deliveries.
 */
const DROP_PARTITION = `
  create function notification_drop_partition(kind text, month date) returns boolean language plpgsql security definer
    set search_path = public, pg_temp set lock_timeout = '500ms' as $$
  declare
    suffix text := coalesce(to_char(month, '"_"YYYY"_"MM'), '_history');
    parents text[] := case kind when 'log' then array['notification_log', 'notification_log_key', 'delivery_attempt']
      when 'audit' then array['audit_event'] else array[]::text[] end;
    parent text;
    upper uuid;
    is_open boolean := false;
  begin
    select (regexp_match(pg_get_expr(relpartbound, oid), 'TO \\(''([0-9a-f-]{36})''\\)'))[1]::uuid into upper
    from pg_class where oid = to_regclass(quote_ident(parents[1] || suffix)) and relispartition;
    if upper is null or upper > ${firstIdOf('now()')} then return false; end if;
    foreach parent in array parents loop execute format('lock table only %I in access exclusive mode', parent); end loop;
    foreach parent in array parents loop execute format('lock table %I in access exclusive mode', parent || suffix); end loop;
    if kind = 'log' then
      -- Row-level security would hide the rows from the owner.
      execute format('alter table %I no force row level security', parents[1] || suffix);
      execute format('select exists (select from %I where ${open.replaceAll("'", "''")})', parents[1] || suffix) into is_open;
      execute format('alter table %I force row level security', parents[1] || suffix);
    end if;
    if is_open then return false; end if;
    foreach parent in array parents loop execute format('drop table %I', parent || suffix); end loop;
    return true;
  end $$`;
