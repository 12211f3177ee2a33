import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

const TABLES = ['delivery_rate', 'provider_circuit'];

/** Adds routes with fallback and failover, fair claims, rate limits, circuit breakers and tenant policies. */
export class Delivery extends Migration {
  override up(): void {
    this.addSql(`
      alter table "notification_log" add column "route" text[] null, add column "step" smallint not null default 0,
        add column "step_attempts" smallint not null default 0, add column "provider" text null,
        add column "excluded_providers" text[] not null default '{}', add column "claims" smallint not null default 0,
        add column "scheduled_at" timestamptz not null default now();
      update "notification_log" set "scheduled_at" = "created_at";
      drop index "notification_log_due";
      create index "notification_log_due" on "notification_log" ("tenant_id", "priority", "due_at")
        where status in ('queued', 'sending', 'retrying');
      -- The table is also a queue: the fill factor leaves space for in-place updates, and vacuum runs early.
      alter table "notification_log" set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
      alter table "delivery_attempt" set (fillfactor = 70);

      alter table "channel_config" add column "position" smallint not null default 0, add column "limits" jsonb null,
        add column "name" text not null default '';
      alter table "channel_config" drop constraint "channel_config_key";
      alter table "channel_config" add constraint "channel_config_key"
        unique ("tenant_id", "channel", "provider", "name");
      alter table "tenant_settings" add column "delivery_mode" text null,
        add column "policies" jsonb not null default '{}';
      alter table "tenant_settings" add constraint "tenant_settings_delivery_mode"
        check (delivery_mode in ('live', 'sandbox', 'hold'));

      create table "delivery_rate" ("tenant_id" text not null, "key" text not null, "tokens" double precision not null,
        "granted" int not null default 0, "refilled_at" timestamptz not null, "next_slot_at" timestamptz not null,
        primary key ("tenant_id", "key"));
      create table "provider_circuit" ("tenant_id" text not null, "channel" text not null, "provider" text not null,
        "state" text not null, "retry_at" timestamptz null, "changed_at" timestamptz not null default now(),
        primary key ("tenant_id", "channel", "provider"));
      alter table "provider_circuit" add constraint "provider_circuit_state"
        check (state in ('closed', 'open', 'half_open'));
    `);
    this.addSql(`grant delete on "delivery_attempt" to "notif_worker";`);
    for (const table of TABLES) {
      this.addSql(`
        ${enableTenantIsolation(table)}
        grant select on "${table}" to "notif_api";
        grant select, insert, update on "${table}" to "notif_worker";
      `);
    }
  }

  override down(): void {
    this.addSql(`
      drop table ${TABLES.map((table) => `"${table}"`).join(', ')};
      alter table "tenant_settings" drop constraint "tenant_settings_delivery_mode";
      alter table "tenant_settings" drop column "delivery_mode", drop column "policies";
      alter table "channel_config" drop constraint "channel_config_key";
      alter table "channel_config" drop column "position", drop column "limits", drop column "name";
      alter table "channel_config" add constraint "channel_config_key" unique ("tenant_id", "channel", "provider");
      revoke delete on "delivery_attempt" from "notif_worker";
      alter table "delivery_attempt" reset (fillfactor);
      alter table "notification_log" reset (fillfactor, autovacuum_vacuum_scale_factor);
      drop index "notification_log_due";
      create index "notification_log_due" on "notification_log" ("priority", "due_at")
        where status in ('queued', 'sending', 'retrying');
      alter table "notification_log" drop column "route", drop column "step", drop column "step_attempts",
        drop column "provider", drop column "excluded_providers", drop column "claims", drop column "scheduled_at";
    `);
  }
}
